-- A call of write.lua for several writes of a partition, one after the other: none with
-- anything beside. All of them make room or none does, because a full server refuses a script
-- nothing any more once it has deleted something.
--
-- KEYS  1 metadata of the partition  2 its journal; the records
-- ARGV  1 length of the journal, 0 for none  2 channel, if anything is to be published, or empty
--       3 numbers of all writes, as write.go has them, each followed by its TTL, ms, 8 bytes
--       of each write its image, and with a channel its payload before and after the revision
-- Returns the answers of write.lua. What fails of one write is the answer to it: the others
-- are carried out.

local try = pcall
local metadata, journal, length = KEYS[1], KEYS[2], ARGV[1]
-- include writecall.lua
local function write(key, beside, image, ttl, hard, left, notAfter, floor, soft, born, bornIn, expected, mode, channel, head, rest)
-- include write.lua
end

local answers, numbers, channel, each = {}, ARGV[3], nil, 1
if ARGV[2] ~= '' then
  channel, each = ARGV[2], 3
end
-- The numbers are read where they are others than those of the write before.
local before, notAfter, floor, soft, born, bornIn, expected, mode, hard, ttl
for i = 1, #KEYS - 2 do
  local own, from = sub(numbers, 57 * i - 56, 57 * i), 4 + each * (i - 1)
  if own ~= before then
    notAfter, floor, soft, born, bornIn, expected, mode, hard = unpack('>I8I8I8I8c8c8BI8', own)
    before, ttl = own, string.format('%d', hard)
  end
  local done, answer = try(write, KEYS[i + 2], nil, ARGV[from], ttl, hard, #KEYS - 2 - i,
    notAfter, floor, soft, born, bornIn, expected, mode, channel, ARGV[from + 1], ARGV[from + 2])
  if not done and type(answer) ~= 'table' then -- as in Redis before 7
    answer = {err = tostring(answer)}
  end
  answers[i] = answer
end
return answers
