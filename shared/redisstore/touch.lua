-- Gives a value that lives a later end: one atomic step. Nothing else of it changes.
--
-- KEYS  1 the record
-- ARGV  1 its revision, 16 bytes  2 TTL, ms  3 not after, us, or 0
-- Returns status and server time in us. Status: 1 done, or it ends later already, 2 that value
-- is not there, or has ended, 3 too late.

local call, sub = redis.call, string.sub

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local notAfter = tonumber(ARGV[3])
if notAfter > 0 and now > notAfter then
  return {3, now}
end

local old = redis.pcall('GETRANGE', KEYS[1], '0', '63')
if type(old) ~= 'string' then
  if string.find(old['err'], 'WRONGTYPE', 1, true) then
    return {2, now}
  end
  return old
end
if #old < 64 or sub(old, 1, 4) ~= 'nb\1\1' or sub(old, 9, 24) ~= ARGV[1] then
  return {2, now}
end

local soft, hard = struct.unpack('>I8I8', old, 25)
local today = math.floor(now / 1000)
local ends = soft > 0 and soft or hard
if (ends > 0 and ends <= today) or (hard > 0 and hard <= today) then
  return {2, now}
end
local more = today + tonumber(ARGV[2]) - ends
if ends > 0 and more > 0 then
  if soft > 0 then
    soft = soft + more
  end
  if hard > 0 then
    hard = hard + more
    call('PEXPIREAT', KEYS[1], string.format('%.0f', hard))
  end
  call('SETRANGE', KEYS[1], '24', struct.pack('>I8I8', soft, hard))
end
return {1, now}
