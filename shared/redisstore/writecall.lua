-- What the writes of a call have in common: it is found out once for all of them. Included
-- by writeone.lua and writemany.lua, which say where metadata, journal and length are.
--
-- The line before this text says which run of which server has it under its name, see
-- run.go: here is its run id, or empty.

local call, pcall, sub, pack, unpack = redis.call, redis.pcall, string.sub, struct.pack, struct.unpack

if not ARGV[1] then
  return -- it is to be known by its name
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local nowText = pack('>I8', now)
local late, most = now + 86400000000, 9e15
local keep, room, fills, tells = 1, 2, 3, 4 -- what a write is to do; 0 for nothing of these
local journaled = length ~= '0'

-- Metadata is the epoch and the last revision, 8 bytes each, and two names of
-- the server, see tail.lua, 40 each. It is read by the first write that needs it. What is
-- there then: all of it, the epoch, the last revision, and the number in its place, which
-- may be of a later write of this call. The clock was not set back if it is past them.
local known, meta, epochThere, lastThere, numberThere, past = false, nil, nil, 0, 0, true
local checked = false -- the epoch began in this run of the server

local none = '0000000000000000000000000000000000000000'
local function names() -- of the server: 40 characters each, whatever it says
  local function name(section, field)
    local text = pcall('INFO', section)
    return sub((type(text) == 'string' and string.match(text, field .. ':(%x+)') or '') .. none, 1, 40)
  end
  return name('server', 'run_id'), name('replication', 'master_replid2')
end

-- Whether a clock is above another, 8 bytes each. It may have more digits than a number
-- here holds, so it is compared in halves.
local function above(a, b)
  local aHigh, aLow = unpack('>I4I4', a)
  local bHigh, bLow = unpack('>I4I4', b)
  return aHigh > bHigh or (aHigh == bHigh and aLow > bLow)
end

-- The soft and the hard expiry of a record with these TTLs. Those of a call mostly have the same.
local softBefore, hardBefore, ends = nil, nil, nil

local function refuse(staged, why) -- and leave no long image behind
  if staged then
    pcall('DEL', staged)
  end
  return why
end
