-- KEYS: the record of a session. ARGV: a record that takes its place, and its generation, and for how many
-- milliseconds that is kept. Returns the record before, or nothing.
local before = redis.call('GET', KEYS[1])
if before then
  redis.call('SET', KEYS[1], string.sub(before, 1, 20) .. ARGV[1], 'PX', ARGV[2])
  return string.sub(before, 21)
end
return false
