-- A call of acquire.lua for one lease.
--
-- KEYS  1 the record  2 metadata of its partition
-- ARGV  1 image of the lease  2 TTL, ms  3 numbers, as acquire.go has them  4 beginning of a record to be replaced
-- Returns status, server time in us, record or the header of what the lease replaced, and
-- if the lease was granted the least revision that a write would have been given, as 16 bytes.

local metadata = KEYS[2]
-- include acquirecall.lua
local key, image, ttl, discarded, longest = KEYS[1], ARGV[1], ARGV[2], ARGV[4], nil
local notAfter, minClock, renew = unpack('>I8I8B', ARGV[3])
local function answer(status, record)
  return {status, now, record, status == 1 and least() or nil}
end
-- include acquire.lua
