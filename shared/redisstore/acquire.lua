-- Gives or renews the lease of a missing key: one atomic step.
--
-- KEYS  1 the record  2 metadata of its partition
-- ARGV  1 image of the lease  2 TTL, ms  3 not after, us, or 0
--       4 least clock of what is live  5 beginning of a record to be replaced
--       6 "1" to renew
-- Returns status, server time in us, record or the header of what the lease replaced,
-- and if the lease was granted the least revision that a write would have been given, as 16 bytes. Status: 1 granted, 2 held by
-- another, 3 there is a value: the record, 4 not ours to replace, 5 too late,
-- 6 the lease to be renewed is not there.

local call, sub, byte, pack = redis.call, string.sub, string.byte, struct.pack

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local notAfter = tonumber(ARGV[3])
if notAfter > 0 and now > notAfter then
  return {5, now, ''}
end

local image = ARGV[1]
local old = redis.pcall('GETRANGE', KEYS[1], '0', '63')
if type(old) ~= 'string' then
  if string.find(old['err'], 'WRONGTYPE', 1, true) then
    return {4, now, ''}
  end
  return old
end

local version, kind = 0, 0
if #old == 64 and sub(old, 1, 2) == 'nb' then
  version, kind = byte(old, 3, 4)
end
local ours = version == 1 and kind >= 1 and kind <= 6
local mine = ours and kind == 3 and sub(old, 41, 48) == sub(image, 41, 48)
if ARGV[6] == '1' and not mine then
  return {6, now, ''}
end

local discard = ARGV[5] ~= '' and sub(old, 1, #ARGV[5]) == ARGV[5]
if version > 1 then
  return {4, now, ''}
elseif old ~= '' and not discard then
  if not ours then
    return {4, now, ''}
  end
  local live = struct.unpack('>I8', sub(old, 49, 56)) >= tonumber(ARGV[4])
  if live and kind == 3 and not mine then
    return {2, now, ''}
  end
  if kind == 4 or (live and (kind == 1 or kind == 5)) then
    return {3, now, call('GET', KEYS[1])}
  end
end

local revision = ours and sub(old, 9, 24) or string.rep('\0', 16)
local expiry = math.floor(now / 1000) + tonumber(ARGV[2])
call('SET', KEYS[1], sub(image, 1, 8) .. revision .. pack('>I8', 0) .. pack('>I8', expiry) .. sub(image, 41),
  'PX', ARGV[2])

-- See write.lua for the metadata, and for numbers that are not ours.
local meta = call('GETRANGE', KEYS[2], '0', '15')
local epoch, last = pack('>I8', 0), 0
if #meta == 16 then
  epoch, last = sub(meta, 1, 8), struct.unpack('>I8', meta, 9)
end
if last >= now + 86400000000 then
  last = 0
end
return {1, now, ARGV[6] == '1' and '' or old, epoch .. pack('>I8', math.max(now, last + 1))}
