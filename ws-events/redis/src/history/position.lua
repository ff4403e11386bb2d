-- KEYS: the stream and the state of a room. ARGV: the run of the server, PUBLISH or SPUBLISH, the
-- channel, the key.
local epoch, last = open(KEYS[1], KEYS[2], ARGV[1])
local head = 'p' .. epoch .. number(last) .. ' ' .. string.len(ARGV[4]) .. ' '
return redis.call(ARGV[2], ARGV[3], head .. ARGV[4])
