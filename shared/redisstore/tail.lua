-- Says whether the journal of a partition can be read on from a position, and reads a
-- few entries. Where there are more, an XRANGE follows in the same pipeline, because Lua
-- takes several times as long for each entry as XRANGE does by itself.
--
-- KEYS  1 metadata of the partition  2 its journal  3 what is never there
-- ARGV  1 epoch of the position, 8 bytes  2 its number  3 its nonce, 8 bytes
--       4 how many entries to read, that at the position among them
-- Returns epoch, "1" for a reset, number and nonce of the position, or for a
-- reset of the last entry there is, server time in us, and for a reset what the
-- server does when its memory is full, if it is bounded, and why it is not known
-- which run of which server this is, if so; "1" if the caller is to write as well;
-- for a reset which run of which server this is, if it is known; and the entries after the
-- position.
--
-- It always writes, so that a primary that was deposed, and may not write
-- without its replicas (min-replicas-to-write), does not answer. Redis before 7,
-- whose scripts do not know its version, heeds that setting outside of scripts only:
-- there the caller writes too.
--
-- The epoch ends when this server may have lost writes: it was started since
-- (its run id is another) or became a primary since (its second replication id
-- is another). That id is zeros before a server's first promotion, and becomes
-- so again when a backlog is given up, which loses nothing. A server that tells
-- neither, or not this user, ends no epoch here, and what others stored stays.

local call, pcall, sub, pack = redis.call, redis.pcall, string.sub, struct.pack
local none = string.rep('0', 40)

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local unknown = ''
local function name(section, field) -- of 40 characters, whatever the server says
  local text = pcall('INFO', section)
  local found = type(text) == 'string' and string.match(text, field .. ':(%x+)')
  if found then
    return sub(found .. none, 1, 40)
  end
  unknown = type(text) == 'table' and text['err'] or 'INFO has no ' .. field
end
local run, second = name('server', 'run_id'), name('replication', 'master_replid2')

-- Metadata is as write.lua has it.
local meta = call('GET', KEYS[1])
local epoch, last, oldRun, oldSecond, previous = nil, 0, nil, nil, 0
if meta and #meta == 96 then
  epoch, last, oldRun, oldSecond = struct.unpack('>c8I8c40c40', meta)
  previous = struct.unpack('>I8', epoch)
end
if last >= now + 86400000000 then
  last = 0
end
if previous >= 9e15 then
  previous = 0
end

local function begin()
  last = math.max(now, last + 1)
  call('DEL', KEYS[2])
  call('XADD', KEYS[2], string.format('%.0f-0', last), 'k', pack('>I8', now))
end

if not epoch or (run and run ~= oldRun) or (second and second ~= none and second ~= oldSecond) then
  epoch = pack('>I8', math.max(now, previous + 1))
  begin()
end
-- A full server may refuse this before it looks whether it may write, as Valkey 9
-- does, and refuses nothing once something was deleted: what is not stored then is
-- there already. Whether it may write, a deletion tells.
local server = run and second and run .. second or ''
run, second = run or oldRun or none, second or oldSecond or none
local written = pcall('SET', KEYS[1], epoch .. pack('>I8', last) .. run .. second)
if written['err'] and not string.find(written['err'], 'OOM', 1, true) then
  return written
elseif written['err'] then
  call('DEL', KEYS[3])
end
local outside = redis.REDIS_VERSION_NUM and '' or '1'

if ARGV[1] == epoch then
  local id = ARGV[2] .. '-0'
  local read = call('XRANGE', KEYS[2], id, '+', 'COUNT', ARGV[4])
  local first = read[1]
  if first and first[1] == id and sub(first[2][2], 1, 8) == ARGV[3] then
    table.remove(read, 1)
    return {epoch, '0', ARGV[2], ARGV[3], now, '', '', outside, '', read}
  end
end

local at = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not at then
  begin()
  call('SETRANGE', KEYS[1], '8', pack('>I8', last))
  at = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
end
local memory, policy = pcall('INFO', 'memory'), ''
if type(memory) == 'string' and string.match(memory, 'maxmemory:(%d+)') ~= '0' then
  policy = string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
end
return {epoch, '1', string.match(at[1], '^%d+'), sub(at[2][2], 1, 8), now, policy, unknown, outside, server, {}}
