-- A call of write.lua for one write.
--
-- KEYS  1 the record  2 metadata of its partition  3 journal of its partition  4 beside
-- ARGV  1 image, or only its header  2 TTL, ms  3 numbers, as write.go has them  4 length of the journal, 0 for none
--       5 channel, if anything is to be published  6 payload before the revision
--       7 payload after it
-- Returns the answer of write.lua.

local metadata, journal, length = KEYS[2], KEYS[3], ARGV[4]
-- include writecall.lua
local key, beside, image, ttl, hard, left = KEYS[1], KEYS[4], ARGV[1], ARGV[2], tonumber(ARGV[2]), 0
local notAfter, floor, soft, born, bornIn, expected, mode = unpack('>I8I8I8I8c8c8B', ARGV[3])
local channel, head, rest = ARGV[5], ARGV[6], ARGV[7]
-- include write.lua
