-- Puts a record in its place: one atomic step. Included by writeone.lua, and by
-- writemany.lua as a function. Given are
--
-- key       the record
-- beside    of a long image, where all of it was put just before, with its TTL; of a
--           watermark, and of a tombstone that may replace one, the highest clock of the
--           watermarks of the partition that were swept, 8 bytes
-- image     all of it, or only its header
-- ttl, hard TTL, ms: as a string, and as a number
-- notAfter  us, or 0
-- floor     least revision
-- soft      soft TTL, ms
-- born      of a fill, number that acquire.lua returned, or 0; bornIn, the epoch, 8 bytes
-- expected  nonce of the record that a fill replaces, 8 bytes, zeros for its lease
-- mode      what it is to do: 0 to write, 1 to keep a value that is there, as stale, 2 to
--           write what a full server refused, 3 to fill, 4 to fill so that the journal
--           tells of it
-- left      how many writes of the call come after it
-- channel   if anything is to be published, and head and rest of the payload, which are
--           before and after the revision
--
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
-- Redis prints a number by way of 17 digits, and takes a string as it is: hence numbers in
-- quotes, and the time put together from its digits. Lua copies and hashes every string that
-- it makes: hence a record is stamped where it is stored, and a long image does not come
-- through here.

local new = string.byte(image, 4)
local staged, swept
if new == 2 or new == 4 then -- they are short
  swept = beside
else
  staged = beside
end
if notAfter > 0 and now > notAfter then
  return refuse(staged, nowText .. '1')
end

local nonce, fill, told = sub(image, 41, 48), mode == fills or mode == tells, mode ~= fills -- what is written is told
local old = pcall('GETRANGE', key, '0', '63')
if type(old) == 'table' then
  if not string.find(old['err'], 'WRONGTYPE', 1, true) then
    return refuse(staged, old)
  end
  old = ''
end
local kind, previous, watermark = 0, 0, 0
if #old == 64 and sub(old, 1, 3) == 'nb\1' then
  kind, previous = string.byte(old, 4), unpack('>I8', old, 17)
  if kind ~= 3 and sub(old, 41, 48) == nonce then
    local entry = sub(old, 17, 24)
    if kind == 4 and journaled then -- it may be under a lower number; the last one is no lower
      local ends = pcall('XREVRANGE', journal, '+', '-', 'COUNT', '1')[1]
      entry = pack('>I8', ends and tonumber(string.match(ends[1], '^%d+')) or 1)
    end
    return refuse(staged, sub(old, 9, 24) .. nowText .. entry)
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
  if expected ~= '\0\0\0\0\0\0\0\0' then
    there = kind >= 1 and kind <= 6 and sub(old, 41, 48) == expected
  end
  if not there then
    return refuse(staged, nowText .. '2')
  end
end
if staged and sub(call('GETRANGE', staged, '0', '63'), 41, 48) ~= nonce then
  return nowText .. '3'
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
if least and mode == fills and new == 2 and above(sub(old, 49, 56), least) then
  call('SET', swept, sub(old, 49, 56))
end

if not known then
  meta = call('GET', metadata)
  if meta and #meta == 96 then
    epochThere, lastThere = sub(meta, 1, 8), unpack('>I8', meta, 9)
    if lastThere >= late then
      lastThere = 0
    end
  end
  known, numberThere, past = true, lastThere, lastThere <= now
end
local epoch, last = epochThere, lastThere
-- What ended the lease may be among what was lost when an epoch began.
local before = epoch
if fill and bornIn ~= (epoch or '') and bornIn ~= '\0\0\0\0\0\0\0\0' then
  return refuse(staged, nowText .. '2')
end

-- A server that was started or promoted since the epoch began may lack writes of it: an
-- epoch begins, as it does in tail.lua, before the write is confirmed.
if epoch and journaled and told and not checked then
  if here == '' or string.find(meta, here, 17, true) ~= 17 then
    local run, second = names()
    if (run ~= none and run ~= sub(meta, 17, 56)) or (second ~= none and second ~= sub(meta, 57, 96)) then
      epoch = nil
    end
  end
  checked = epoch ~= nil
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
if born > 0 and past and not told then
  -- A fill is as old as its load. Numbers that this key had before are lower,
  -- unless the clock was set back.
  revision = math.max(previous + 1, math.min(born, now), floor)
end

-- A full server refuses what may take memory, unless the script has begun to
-- write: what makes values absent begins with the one that is there.
if mode == room then
  call('DEL', key)
end

-- The journal comes first: should a later step fail, it has an entry too many
-- and never one too few. An entry that does not fit behind the last one means
-- that the metadata was lost: a new journal of a new epoch begins, as it does in
-- place of what is no journal. Whatever else the server says, a right that is
-- missing for one, says nothing of the journal, which stays.
if journaled and told then
  local id = revision == now and time[1] .. sub('00000', #time[2]) .. time[2] .. '-0' or string.format('%d-0', revision)
  local name = sub(key, #metadata + 2)
  local added = pcall('XADD', journal, 'MAXLEN', '~', length, id, 'k', nonce .. name)
  if type(added) == 'table' then
    local broken = false
    for _, sign in ipairs({'WRONGTYPE', 'equal or smaller', 'exhausted'}) do
      broken = broken or string.find(added['err'], sign, 1, true)
    end
    if not broken then
      return refuse(staged, added)
    end
    call('DEL', journal)
    call('XADD', journal, id, 'k', nonce .. name)
    epoch = nil
  end
  lastThere = revision -- even if the rest fails: no later write of this call may have its number
end

-- A new epoch names the run of the server that it began in, as tail.lua does:
-- otherwise the first look at the journal would take it for one of before a
-- restart, and end what was just written.
local number = pack('>I8', revision)
local entry = number
if epoch then
  -- The first write of a call that is told makes room for those after it, so that one of them
  -- writes it. Where the number is as high already, nothing is to be written.
  last = math.max(last, revision)
  if last > numberThere then
    local highest = last + (told and left or 0)
    call('SETRANGE', metadata, '8', pack('>I8', highest))
    numberThere = highest
  end
  lastThere = last
else
  local run, second = none, none
  if journaled then
    run, second = names()
  end
  local least = before and unpack('>I8', before) + 1 or 0
  epoch = pack('>I8', math.max(now, least <= most and least or 0))
  local new = epoch .. number .. run .. second
  call('SET', metadata, new)
  meta, epochThere, lastThere, numberThere, checked = new, epoch, revision, revision, journaled
end

if watermark > revision then
  number = pack('>I8', watermark)
end
local stamp = epoch .. number
if mode == keep and (kind == 1 or kind == 6) then
  -- The header alone changes; value and expiry of the key stay.
  call('SETRANGE', key, '3', '\6' .. sub(old, 5, 8) .. stamp .. sub(old, 25, 40) .. nonce)
else
  if staged then
    if pcall('RENAME', staged, key)['err'] then
      return refuse(staged, nowText .. '4')
    end
  elseif hard > 0 then
    call('SET', key, image, 'PX', ttl)
  else
    call('SET', key, image)
  end
  if soft ~= softBefore or hard ~= hardBefore then
    local today = math.floor(now / 1000)
    softBefore, hardBefore = soft, hard
    ends = pack('>I8I8', soft > 0 and today + soft or 0, hard > 0 and today + hard or 0)
  end
  call('SETRANGE', key, '8', stamp .. ends)
  -- Of two watermarks the higher clock stays, and what was swept counts for one with a clock.
  if new == 4 then
    local clock = sub(image, 49, 56)
    local high = kind == 4 and sub(old, 49, 56) or least
    if high and above(high, clock) and (kind == 4 or above(clock, pack('>I8', 0))) then
      call('SETRANGE', key, '48', high)
    end
  end
end

if channel then
  call('PUBLISH', channel, head .. stamp .. rest)
end
return stamp .. nowText .. entry
