-- Says whether the journal of a partition can be read on from a position. An
-- XRANGE follows in the same pipeline: Lua reads one entry only, because it
-- takes several times as long for each as XRANGE does by itself.
--
-- KEYS  1 metadata of the partition  2 its journal
-- ARGV  1 epoch of the position, 8 bytes  2 its number  3 its nonce, 8 bytes
-- Returns epoch, "1" for a reset, number and nonce of the position, or for a
-- reset of the last entry there is, server time in us, and for a reset what the
-- server does when its memory is full, if it is bounded.
--
-- It always writes, so that a primary that was deposed, and may not write
-- without its replicas (min-replicas-to-write), does not answer.
--
-- The epoch ends when this server may have lost writes: it was started since
-- (its run id is another) or became a primary since (its second replication id
-- is another). That id is zeros before a server's first promotion, and becomes
-- so again when a backlog is given up, which loses nothing.

local call, sub, pack = redis.call, string.sub, struct.pack
local none = string.rep('0', 40)

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)') or ''
local second = string.match(call('INFO', 'replication'), 'master_replid2:(%x+)') or none

local meta = call('HMGET', KEYS[1], 'epoch', 'last', 'run', 'second')
local epoch, last = meta[1], tonumber(meta[2] or '') or 0
if last >= now + 86400000000 then
  last = 0
end

local function begin()
  local number = string.format('%.0f', math.max(now, last + 1))
  call('DEL', KEYS[2])
  call('XADD', KEYS[2], number .. '-0', 'k', pack('>I8', now))
  call('HSET', KEYS[1], 'last', number)
end

if not epoch or #epoch ~= 8 or meta[3] ~= run or (second ~= none and second ~= meta[4]) then
  local previous = 0
  if epoch and #epoch == 8 then
    previous = struct.unpack('>I8', epoch)
  end
  if previous >= now + 86400000000 then
    previous = 0
  end
  epoch = pack('>I8', math.max(now, previous + 1))
  begin()
end
call('HSET', KEYS[1], 'epoch', epoch, 'run', run, 'second', second)

if ARGV[1] == epoch then
  local id = ARGV[2] .. '-0'
  local first = call('XRANGE', KEYS[2], id, id)[1]
  if first and sub(first[2][2], 1, 8) == ARGV[3] then
    return {epoch, '0', ARGV[2], ARGV[3], now, ''}
  end
end

local at = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not at then
  begin()
  at = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
end
local memory = call('INFO', 'memory')
local policy = ''
if string.match(memory, 'maxmemory:(%d+)') ~= '0' then
  policy = string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
end
return {epoch, '1', string.match(at[1], '^%d+'), sub(at[2][2], 1, 8), now, policy}
