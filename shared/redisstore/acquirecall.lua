-- What the leases of a call have in common. Included by acquireone.lua and acquiremany.lua.

local call, sub, byte, pack, unpack = redis.call, string.sub, string.byte, struct.pack, struct.unpack

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local zeros = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' -- the revision of what comes first

-- The least revision that a write would be given, as 16 bytes. See write.lua for the
-- metadata, and for numbers that are not ours.
local function least()
  local meta = call('GETRANGE', metadata, '0', '15')
  local epoch, last = pack('>I8', 0), 0
  if #meta == 16 then
    epoch, last = sub(meta, 1, 8), unpack('>I8', meta, 9)
  end
  if last >= now + 86400000000 then
    last = 0
  end
  return epoch .. pack('>I8', math.max(now, last + 1))
end

-- The expiries of a lease with this TTL. Those of a call mostly have the same.
local ttlBefore, endsBefore = nil, nil
local function ends(ttl)
  if ttl ~= ttlBefore then
    ttlBefore, endsBefore = ttl, pack('>I8I8', 0, math.floor(now / 1000) + tonumber(ttl))
  end
  return endsBefore
end
