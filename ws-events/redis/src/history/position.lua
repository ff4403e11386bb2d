-- KEYS: the stream and the state of a room. ARGV: the run of the server, PUBLISH or SPUBLISH, the
-- channel, the key. Returns 0 if the position is not published, or an error if the server publishes none.
local function publish()
  local room = open(KEYS[1], KEYS[2], ARGV[1])
  keep(KEYS[2], room.age)
  local head = 'p' .. room.epoch .. number(room.last) .. ' ' .. string.len(ARGV[4]) .. ' '
  return 1 + redis.call(ARGV[2], ARGV[3], head .. ARGV[4])
end
local is_published, answer = pcall(publish)
return is_published and answer or refused(answer)
