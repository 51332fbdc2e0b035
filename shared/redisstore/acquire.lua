-- Gives or renews the lease of a missing key: one atomic step.
--
-- KEYS  1 the record
-- ARGV  1 image of the lease  2 TTL, ms  3 not after, us, or 0
--       4 least clock of what is live  5 beginning of a record to be replaced
--       6 "1" to renew
-- Returns status, server time in us, record. Status: 1 granted, 2 held by
-- another, 3 there is a value: the record, 4 not ours to replace, 5 too late,
-- 6 the lease to be renewed is not there.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if tonumber(ARGV[3]) > 0 and now > tonumber(ARGV[3]) then
  return {5, now, ''}
end

local image = ARGV[1]
local old = redis.pcall('GETRANGE', KEYS[1], 0, 63)
if type(old) ~= 'string' then
  if string.find(old['err'], 'WRONGTYPE', 1, true) then
    return {4, now, ''}
  end
  return old
end

if ARGV[6] == '1' and not (string.sub(old, 1, 4) == 'nb\1\3' and string.sub(old, 41, 48) == string.sub(image, 41, 48)) then
  return {6, now, ''}
end

local revision = string.rep('\0', 16)
if old ~= '' then
  local ours = #old == 64 and string.sub(old, 1, 2) == 'nb'
  if ours and string.byte(old, 3) > 1 then
    return {4, now, ''}
  end
  local discard = ARGV[5] ~= '' and string.sub(old, 1, #ARGV[5]) == ARGV[5]
  if not discard then
    if not ours then
      return {4, now, ''}
    end
    local kind = string.byte(old, 4)
    local live = struct.unpack('>I8', string.sub(old, 49, 56)) >= tonumber(ARGV[4])
    if live and kind == 3 and string.sub(old, 41, 48) ~= string.sub(image, 41, 48) then
      return {2, now, ''}
    end
    if kind == 4 or (live and kind == 1) then
      return {3, now, redis.call('GET', KEYS[1])}
    end
  end
  if ours then
    revision = string.sub(old, 9, 24)
  end
end

local expiry = math.floor(now / 1000) + tonumber(ARGV[2])
redis.call('SET', KEYS[1], table.concat({
  string.sub(image, 1, 8), revision, struct.pack('>I8', 0), struct.pack('>I8', expiry),
  string.sub(image, 41)}), 'PX', ARGV[2])
return {1, now, ''}
