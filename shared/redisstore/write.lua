-- Puts a record in its place: one atomic step.
--
-- KEYS  1 the record  2 metadata of its partition  3 journal of its partition
--       4 of a long image, where all of it was put just before, with its TTL; of a
--         watermark, and of a tombstone that may replace one, the highest clock of the
--         watermarks of the partition that were swept, 8 bytes
-- ARGV  1 image, or only its header  2 TTL, ms
--       3 not after, us, or 0; least revision; soft TTL, ms; of a fill, number
--         and epoch that acquire.lua returned, or 0: 8 bytes each
--       4 nonce of the image, 8 bytes, and the key as the journal has it
--       5 "" for a write, "keep" for one that keeps a value that is there, as
--         stale, "room" for one that a full server refused, "fill" for a fill, "told" for
--         one that the journal tells of
--       6 nonce of the record that a fill replaces, "" for its lease
--       7 length of the journal, 0 for none
--       8 channel, if anything is to be published  9 payload before the revision
--       10 payload after it
-- Returns epoch, revision, server time in us and the number that the journal has it under,
-- 8 bytes each; or server time and "1" for too late, "2" if the lease, or the record to be
-- replaced, is not there, "3" if the long image is not, "4" if it cannot be renamed. What is
-- stored already is answered as if it was stored now.
--
-- Numbers that are a day or more ahead of the clock are not ours and count as
-- 0: they would carry every later revision with them. A watermark that is written
-- with a floor says something by its number, so that goes on from the floor and from
-- the one that is there, whatever the clock was when those were given. It takes no
-- other number along: the journal has such a watermark under one of its own, which is
-- lower. Past 2^53 numbers would lose digits, so none of 9e15 or more is ours.
--
-- Redis prints a number by way of 17 digits, and takes a string as it is: hence
-- numbers in quotes, and the time put together from its digits. Lua copies and
-- hashes every string that it makes: hence a record is stamped where it is
-- stored, and a long image does not come through here.

-- The line before this text says which run of which server has it under its name, see
-- run.go: here is its run id, or empty.

local call, pcall, sub, pack, unpack = redis.call, redis.pcall, string.sub, struct.pack, struct.unpack

if not ARGV[1] then
  return -- it is to be known by its name
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local late, most = now + 86400000000, 9e15
local new = string.byte(ARGV[1], 4)
local staged, swept
if new == 2 or new == 4 then -- they are short
  swept = KEYS[4]
else
  staged = KEYS[4]
end
local function refuse(why) -- and leave no long image behind
  if staged then
    pcall('DEL', staged)
  end
  return why
end
local notAfter, floor, soft, born = unpack('>I8I8I8I8', ARGV[3])
if notAfter > 0 and now > notAfter then
  return refuse(pack('>I8', now) .. '1')
end

local nonce, mode, journaled = sub(ARGV[4], 1, 8), ARGV[5], ARGV[7] ~= '0'
local fill, told = mode == 'fill' or mode == 'told', mode ~= 'fill' -- what is written is told
local old = pcall('GETRANGE', KEYS[1], '0', '63')
if type(old) == 'table' then
  if not string.find(old['err'], 'WRONGTYPE', 1, true) then
    return refuse(old)
  end
  old = ''
end
local kind, previous, watermark = 0, 0, 0
if #old == 64 and sub(old, 1, 3) == 'nb\1' then
  kind, previous = string.byte(old, 4), unpack('>I8', old, 17)
  if kind ~= 3 and sub(old, 41, 48) == nonce then
    local entry = sub(old, 17, 24)
    if kind == 4 and journaled then -- it may be under a lower number; the last one is no lower
      local ends = pcall('XREVRANGE', KEYS[3], '+', '-', 'COUNT', '1')[1]
      entry = pack('>I8', ends and tonumber(string.match(ends[1], '^%d+')) or 1)
    end
    return refuse(sub(old, 9, 24) .. pack('>I8', now) .. entry)
  end
  if (kind == 3 or kind == 4) and previous < most then
    watermark = previous + 1
  end
  if previous >= late then
    previous = 0
  end
end
if fill then
  local there = kind == 3 and sub(old, 41, 48) == nonce
  if ARGV[6] ~= '' then
    there = kind >= 1 and kind <= 6 and sub(old, 41, 48) == ARGV[6]
  end
  if not there then
    return refuse(pack('>I8', now) .. '2')
  end
end
if staged and sub(call('GETRANGE', staged, '0', '63'), 41, 48) ~= nonce then
  return pack('>I8', now) .. '3'
end

-- Whether a clock is above another, 8 bytes each. It may have more digits than a number
-- here holds, so it is compared in halves.
local function above(a, b)
  local aHigh, aLow = unpack('>I4I4', a)
  local bHigh, bLow = unpack('>I4I4', b)
  return aHigh > bHigh or (aHigh == bHigh and aLow > bLow)
end

-- What was swept counts where no watermark is. The clock of a watermark that goes comes
-- first: should a later step fail, what counts is too high and never too low.
local least = nil
if swept and (kind == 4) == (new == 2) then
  local highest = pcall('GET', swept)
  if type(highest) == 'table' then
    return highest
  end
  least = highest and #highest == 8 and highest or pack('>I8', 0)
end
if least and mode == 'fill' and new == 2 and above(sub(old, 49, 56), least) then
  call('SET', swept, sub(old, 49, 56))
end

-- Metadata is the epoch and the last revision, 8 bytes each, and two names of
-- the server, see tail.lua, 40 each.
local meta = call('GET', KEYS[2])
local epoch, last = nil, 0
if meta and #meta == 96 then
  epoch, last = sub(meta, 1, 8), unpack('>I8', meta, 9)
  if last >= late then
    last = 0
  end
end
-- What ended the lease may be among what was lost when an epoch began.
local bornIn, before = sub(ARGV[3], 33, 40), epoch
if fill and bornIn ~= (epoch or '') and bornIn ~= pack('>I8', 0) then
  return refuse(pack('>I8', now) .. '2')
end

-- A server that was started or promoted since the epoch began may lack writes of it: an
-- epoch begins, as it does in tail.lua, before the write is confirmed.
local none = '0000000000000000000000000000000000000000'
local function names() -- of the server: 40 characters each, whatever it says
  local function name(section, field)
    local text = pcall('INFO', section)
    return sub((type(text) == 'string' and string.match(text, field .. ':(%x+)') or '') .. none, 1, 40)
  end
  return name('server', 'run_id'), name('replication', 'master_replid2')
end
if epoch and journaled and told and (here == '' or string.find(meta, here, 17, true) ~= 17) then
  local run, second = names()
  if (run ~= none and run ~= sub(meta, 17, 56)) or (second ~= none and second ~= sub(meta, 57, 96)) then
    epoch = nil
  end
end

if floor > 0 and floor < most and new == 4 then
  watermark = math.max(watermark, floor)
else
  watermark = 0
end
if floor >= late then
  floor = 0
end
local revision = math.max(now, previous + 1, last + 1, floor)
if born > 0 and last <= now and not told then
  -- A fill is as old as its load. Numbers that this key had before are lower,
  -- unless the clock was set back.
  revision = math.max(previous + 1, math.min(born, now), floor)
end

-- A full server refuses what may take memory, unless the script has begun to
-- write: what makes values absent begins with the one that is there.
if mode == 'room' then
  call('DEL', KEYS[1])
end

-- The journal comes first: should a later step fail, it has an entry too many
-- and never one too few. An entry that does not fit behind the last one means
-- that the metadata was lost: a new journal of a new epoch begins, as it does in
-- place of what is no journal. Whatever else the server says, a right that is
-- missing for one, says nothing of the journal, which stays.
if journaled and told then
  local id = revision == now and time[1] .. sub('00000', #time[2]) .. time[2] or string.format('%.0f', revision)
  id = id .. '-0'
  local added = pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[7], id, 'k', ARGV[4])
  if type(added) == 'table' then
    local broken = false
    for _, sign in ipairs({'WRONGTYPE', 'equal or smaller', 'exhausted'}) do
      broken = broken or string.find(added['err'], sign, 1, true)
    end
    if not broken then
      return refuse(added)
    end
    call('DEL', KEYS[3])
    call('XADD', KEYS[3], id, 'k', ARGV[4])
    epoch = nil
  end
end

-- A new epoch names the run of the server that it began in, as tail.lua does:
-- otherwise the first look at the journal would take it for one of before a
-- restart, and end what was just written.
local number = pack('>I8', revision)
local entry = number
if epoch then
  call('SETRANGE', KEYS[2], '8', pack('>I8', math.max(last, revision)))
else
  local run, second = none, none
  if journaled then
    run, second = names()
  end
  local least = before and unpack('>I8', before) + 1 or 0
  epoch = pack('>I8', math.max(now, least <= most and least or 0))
  call('SET', KEYS[2], epoch .. number .. run .. second)
end

if watermark > revision then
  number = pack('>I8', watermark)
end
local stamp, hard = epoch .. number, tonumber(ARGV[2])
if mode == 'keep' and (kind == 1 or kind == 6) then
  -- The header alone changes; value and expiry of the key stay.
  call('SETRANGE', KEYS[1], '3', '\6' .. sub(old, 5, 8) .. stamp .. sub(old, 25, 40) .. nonce)
else
  local today = math.floor(now / 1000)
  if staged then
    if pcall('RENAME', staged, KEYS[1])['err'] then
      return refuse(pack('>I8', now) .. '4')
    end
  elseif hard > 0 then
    call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  else
    call('SET', KEYS[1], ARGV[1])
  end
  call('SETRANGE', KEYS[1], '8', stamp .. pack('>I8I8', soft > 0 and today + soft or 0, hard > 0 and today + hard or 0))
  -- Of two watermarks the higher clock stays, and what was swept counts for one with a clock.
  if new == 4 then
    local clock = sub(ARGV[1], 49, 56)
    local high = kind == 4 and sub(old, 49, 56) or least
    if high and above(high, clock) and (kind == 4 or above(clock, pack('>I8', 0))) then
      call('SETRANGE', KEYS[1], '48', high)
    end
  end
end

if ARGV[8] then
  call('PUBLISH', ARGV[8], ARGV[9] .. stamp .. ARGV[10])
end
return stamp .. pack('>I8', now) .. entry
