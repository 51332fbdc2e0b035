-- A call of acquire.lua for several leases of a partition, one after the other.
--
-- KEYS  1 metadata of the partition; the records
-- ARGV  1 numbers of all leases, as acquire.go has them, each followed by its TTL, ms, 8 bytes
--       of each lease its image
-- Returns server time in us; if a lease was granted the least revision that a write would
-- have been given, as 16 bytes; and of each lease its status, one byte, and the record or
-- header. What fails of one lease is the answer to it. A record that is too long for a
-- call of several has the status 7: its lease is to be asked for alone.

local try = pcall
local metadata = KEYS[1]
-- include acquirecall.lua
local born = nil
local function answer(status, record)
  if status == 1 and not born then
    born = least()
  end
  return string.char(status) .. record
end
local function acquire(key, image, ttl, notAfter, minClock, renew, discarded, longest)
-- include acquire.lua
end

local answers, numbers = {now, ''}, ARGV[1]
-- The numbers are read where they are others than those of the lease before.
local before, notAfter, minClock, renew, ttl
for i = 1, #KEYS - 1 do
  local own = sub(numbers, 25 * i - 24, 25 * i)
  if own ~= before then
    local hard
    notAfter, minClock, renew, hard = unpack('>I8I8BI8', own)
    before, ttl = own, string.format('%d', hard)
  end
  local done, given = try(acquire, KEYS[i + 1], ARGV[i + 1], ttl, notAfter, minClock, renew, '', 4096)
  if not done and type(given) ~= 'table' then -- as in Redis before 7
    given = {err = tostring(given)}
  end
  answers[i + 2] = given
end
answers[2] = born or ''
return answers
