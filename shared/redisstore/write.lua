-- Puts a record in its place: one atomic step.
--
-- KEYS  1 the record  2 metadata of its partition  3 journal of its partition
-- ARGV  1 image  2 TTL, ms  3 soft TTL, ms  4 not after, us, or 0
--       5 least revision  6 "1" for a fill
--       7 channel  8 payload  9 place of the revision in it, or ""
--       10 length of the journal, 0 for none  11 the key as the journal has it
--       12 nonce of the record that a fill replaces, "" for its lease
--       13 "1" to keep a value that is there, as stale
-- Returns status, epoch, revision, server time in us. Status: 0 stored or
-- stored before, 1 too late, 2 the lease, or the record to be replaced, is not
-- there.
--
-- Numbers that are a day or more ahead of the clock are not ours and count as
-- 0: they would carry every later revision with them, and past 2^53 they would
-- lose digits.

local call, sub, pack = redis.call, string.sub, struct.pack
local image = ARGV[1]

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local late = now + 86400000000
local notAfter = tonumber(ARGV[4])
if notAfter > 0 and now > notAfter then
  return {1, '', 0, now}
end

local old = redis.pcall('GETRANGE', KEYS[1], 0, 63)
local kind, previous = 0, 0
if type(old) == 'string' and #old == 64 and sub(old, 1, 3) == 'nb\1' then
  kind = string.byte(old, 4)
  previous = struct.unpack('>I8', sub(old, 17, 24))
  if previous >= late then
    previous = 0
  end
  if kind ~= 3 and sub(old, 41, 48) == sub(image, 41, 48) then
    return {0, sub(old, 9, 16), previous, now}
  end
end
if ARGV[6] == '1' then
  local there = kind == 3 and sub(old, 41, 48) == sub(image, 41, 48)
  if ARGV[12] ~= '' then
    there = kind >= 1 and kind <= 6 and sub(old, 41, 48) == ARGV[12]
  end
  if not there then
    return {2, '', 0, now}
  end
end

local meta = call('HMGET', KEYS[2], 'epoch', 'last')
local epoch, last, floor = meta[1], tonumber(meta[2] or '') or 0, tonumber(ARGV[5])

-- A new epoch names the run of the server that it began in, as tail.lua does:
-- otherwise the first look at the journal would take it for one of before a
-- restart, and end what was just written.
local function begin()
  epoch = pack('>I8', now)
  if ARGV[10] ~= '0' then
    call('HSET', KEYS[2], 'run', string.match(call('INFO', 'server'), 'run_id:(%x+)') or '',
      'second', string.match(call('INFO', 'replication'), 'master_replid2:(%x+)') or string.rep('0', 40))
  end
end

if not epoch or #epoch ~= 8 then
  begin()
end
if last >= late then
  last = 0
end
if floor >= late then
  floor = 0
end
local revision = math.max(now, previous + 1, last + 1, floor)

-- The journal comes first: should a later step fail, it has an entry too many
-- and never one too few. An entry that does not fit behind the last one means
-- that the metadata was lost: a new journal of a new epoch begins.
local number = string.format('%.0f', revision)
if ARGV[10] ~= '0' and ARGV[6] ~= '1' then
  local add = {'XADD', KEYS[3], 'MAXLEN', '~', ARGV[10], number .. '-0', 'k', sub(image, 41, 48) .. ARGV[11]}
  if type(redis.pcall(unpack(add))) == 'table' then
    begin()
    call('DEL', KEYS[3])
    call(unpack(add))
  end
end
call('HSET', KEYS[2], 'last', number, 'epoch', epoch)

-- Of two watermarks the higher clock stays. A clock may have more digits than a
-- number here holds, so it is compared in halves.
local clock = sub(image, 49, 56)
if kind == 4 and string.byte(image, 4) == 4 then
  local oldHigh, oldLow = struct.unpack('>I4I4', sub(old, 49, 56))
  local newHigh, newLow = struct.unpack('>I4I4', clock)
  if oldHigh > newHigh or (oldHigh == newHigh and oldLow > newLow) then
    clock = sub(old, 49, 56)
  end
end

local soft, hard = tonumber(ARGV[3]), tonumber(ARGV[2])
local today = math.floor(now / 1000)
local stamp = epoch .. pack('>I8', revision)
if ARGV[13] == '1' and (kind == 1 or kind == 6) then
  -- The header alone changes; value and expiry of the key stay.
  call('SETRANGE', KEYS[1], 0, sub(old, 1, 3) .. '\6' .. sub(old, 5, 8) .. stamp ..
    sub(old, 25, 40) .. sub(image, 41, 48) .. sub(old, 49, 64))
else
  image = sub(image, 1, 8) .. stamp ..
    pack('>I8', soft > 0 and today + soft or 0) .. pack('>I8', hard > 0 and today + hard or 0) ..
    sub(image, 41, 48) .. clock .. sub(image, 57)
  if hard > 0 then
    call('SET', KEYS[1], image, 'PX', ARGV[2])
  else
    call('SET', KEYS[1], image)
  end
end

if ARGV[9] ~= '' then
  local at = tonumber(ARGV[9])
  call('PUBLISH', ARGV[7], sub(ARGV[8], 1, at) .. stamp .. sub(ARGV[8], at + 17))
end
return {0, epoch, revision, now}
