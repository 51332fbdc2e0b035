-- Gives or renews the lease of a missing key: one atomic step. Included by acquireone.lua,
-- and by acquiremany.lua as a function. Given are
--
-- key        the record
-- image      of the lease
-- ttl        ms
-- notAfter   us, or 0
-- minClock   least clock of what is live
-- renew      1 to renew
-- discarded  beginning of a record to be replaced, or empty
-- longest    record that is returned, nil for any
--
-- Returns what answer makes of a status, and of the record or the header of what the lease
-- replaced. Status: 1 granted, 2 held by another, 3 there is a value: the record, 4 not ours
-- to replace, 5 too late, 6 the lease to be renewed is not there, 7 the record is too long.

if notAfter > 0 and now > notAfter then
  return answer(5, '')
end

-- Mostly nothing is there. If this fails for any other reason, what follows finds it.
if renew == 0 then
  local stored = redis.pcall('SET', key, sub(image, 1, 8) .. zeros .. ends(ttl) .. sub(image, 41), 'NX', 'PX', ttl)
  if stored and stored['ok'] then
    return answer(1, '')
  end
end

local old = redis.pcall('GETRANGE', key, '0', '63')
if type(old) ~= 'string' then
  if string.find(old['err'], 'WRONGTYPE', 1, true) then
    return answer(4, '')
  end
  return old
end

local version, kind = 0, 0
if #old == 64 and sub(old, 1, 2) == 'nb' then
  version, kind = byte(old, 3, 4)
end
local ours = version == 1 and kind >= 1 and kind <= 6
local mine = ours and kind == 3 and sub(old, 41, 48) == sub(image, 41, 48)
if renew == 1 and not mine then
  return answer(6, '')
end

local discard = discarded ~= '' and sub(old, 1, #discarded) == discarded
if version > 1 then
  return answer(4, '')
elseif old ~= '' and not discard then
  if not ours then
    return answer(4, '')
  end
  local live = unpack('>I8', old, 49) >= minClock
  if live and kind == 3 and not mine then
    return answer(2, '')
  end
  if kind == 4 or (live and (kind == 1 or kind == 5)) then
    local record = longest and call('GETRANGE', key, '0', longest) or call('GET', key)
    if longest and #record > longest then
      return answer(7, '')
    end
    return answer(3, record)
  end
end

local revision = ours and sub(old, 9, 24) or zeros
call('SET', key, sub(image, 1, 8) .. revision .. ends(ttl) .. sub(image, 41), 'PX', ttl)

return answer(1, renew == 1 and '' or old)
