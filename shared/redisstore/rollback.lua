-- Begins a new epoch if the journal of a partition has lost what was read in it: an
-- entry is missing, or is another, although an older one is there. What is trimmed is the
-- oldest. So this server is back where it was before, and INFO may not say so: the machine
-- was restored with its memory, keys were restored from a dump, databases were swapped.
--
-- KEYS  1 metadata of the partition  2 its journal
-- ARGV  1 epoch of what was read, 8 bytes  2 its number  3 its nonce, 8 bytes
-- Returns 1 if an epoch began. The next look at the journal finds its beginning.

local call, sub = redis.call, string.sub

local meta = call('GET', KEYS[1])
if not meta or #meta ~= 96 or sub(meta, 1, 8) ~= ARGV[1] then
  return 0
end
local id = ARGV[2] .. '-0'
local first = call('XRANGE', KEYS[2], '-', id, 'COUNT', 1)[1]
local at = call('XRANGE', KEYS[2], id, id)[1]
if not first or (at and sub(at[2][2], 1, 8) == ARGV[3]) then
  return 0
end
local time = call('TIME')
local epoch = math.max(time[1] * 1000000 + time[2], struct.unpack('>I8', meta) + 1)
call('DEL', KEYS[2]) -- first: a full server refuses nothing after a deletion
call('SETRANGE', KEYS[1], '0', struct.pack('>I8', epoch))
return 1
