-- Puts a record in its place: one atomic step.
--
-- KEYS  1 the record  2 metadata of its partition
-- ARGV  1 image  2 TTL, ms  3 soft TTL, ms  4 not after, us, or 0
--       5 least revision  6 epoch for a partition that has none, 8 bytes
--       7 "1" for a fill
--       8 channel  9 payload  10 place of the revision in it, or ""
-- Returns status, epoch, revision, server time in us. Status: 0 stored or
-- stored before, 1 too late, 2 the lease is not there.

local DAY = 86400000000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if tonumber(ARGV[4]) > 0 and now > tonumber(ARGV[4]) then
  return {1, '', 0, now}
end

-- Numbers far ahead of the clock are not ours: they would carry every later
-- revision with them, and past 2^53 they would lose digits.
local function plausible(n)
  if n and n < now + DAY then
    return n
  end
  return 0
end

local image = ARGV[1]
local nonce = string.sub(image, 41, 48)
local old = redis.pcall('GETRANGE', KEYS[1], 0, 63)
local kind, epoch, previous = 0, '', 0
if type(old) == 'string' and #old == 64 and string.sub(old, 1, 3) == 'nb\1' then
  kind = string.byte(old, 4)
  epoch = string.sub(old, 9, 16)
  previous = plausible(struct.unpack('>I8', string.sub(old, 17, 24)))
  if kind ~= 3 and string.sub(old, 41, 48) == nonce then
    return {0, epoch, previous, now}
  end
end
if ARGV[7] == '1' and (kind ~= 3 or string.sub(old, 41, 48) ~= nonce) then
  return {2, '', 0, now}
end

local meta = redis.call('HMGET', KEYS[2], 'epoch', 'last')
epoch = meta[1]
if not epoch or #epoch ~= 8 then
  epoch = ARGV[6]
  redis.call('HSET', KEYS[2], 'epoch', epoch)
end
local revision = math.max(now, previous + 1, plausible(tonumber(meta[2] or '')) + 1, plausible(tonumber(ARGV[5])))
redis.call('HSET', KEYS[2], 'last', string.format('%.0f', revision))

local function expiry(ms)
  if ms > 0 then
    return math.floor(now / 1000) + ms
  end
  return 0
end

local ttl = tonumber(ARGV[2])
local number = struct.pack('>I8', revision)
image = table.concat({
  string.sub(image, 1, 8), epoch, number,
  struct.pack('>I8', expiry(tonumber(ARGV[3]))), struct.pack('>I8', expiry(ttl)),
  string.sub(image, 41)})
if ttl > 0 then
  redis.call('SET', KEYS[1], image, 'PX', ARGV[2])
else
  redis.call('SET', KEYS[1], image)
end

if ARGV[10] ~= '' then
  local at = tonumber(ARGV[10])
  redis.call('PUBLISH', ARGV[8], table.concat({
    string.sub(ARGV[9], 1, at), epoch, number, string.sub(ARGV[9], at + 17)}))
end
return {0, epoch, revision, now}
