/* src/gateway/limit_share_script.h - what the store does with what gateways tell: two scripts in Lua.
 *
 * They use the clock of the server. Amounts are microseconds and requests; numbers of Lua hold microseconds
 * since 1970 exactly to a quarter. A key of another type is in nobody's way: it is replaced.
 */
#ifndef VV_GATEWAY_LIMIT_SHARE_SCRIPT_H
#define VV_GATEWAY_LIMIT_SHARE_SCRIPT_H

/* KEYS: keys of limits. ARGV: our name, how long (us) a gateway's demand counts; then for each key
 *   kind ("r" rate, "w" quota), interval or window (us), passed, age (us), turn, demand, resume (-1: none).
 * A key is a hash: t (theoretical arrival time, us) or w, b, c (number of the window, count before, count);
 * and for every gateway its demand, when it said so, its turn. Answer, for each key: debt (us), 0, part (ppm);
 * of a quota: before, count, part.
 * What we said last was said later than now: the clock went back so far (another server, or put right), and
 * the arrival time goes with it, or everybody would wait for as long. */
#define VV_SHARE_SCRIPT                                                                            \
    "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2]\n"                             \
    "local me, fresh, out = ARGV[1], tonumber(ARGV[2]), {}\n"                                      \
    "local function num(x) return tonumber(x) or 0 end\n"                                          \
    "for i, key in ipairs(KEYS) do\n"                                                              \
    "  local a = 3 + (i - 1) * 7\n"                                                                \
    "  local unit, passed, age = num(ARGV[a + 1]), num(ARGV[a + 2]), num(ARGV[a + 3])\n"           \
    "  local turn, demand, resume = ARGV[a + 4], num(ARGV[a + 5]), num(ARGV[a + 6])\n"             \
    "  local h = redis.pcall('HGETALL', key)\n"                                                    \
    "  if h.err then redis.call('DEL', key) h = {} end\n"                                          \
    "  local f, others, count, back = {}, 0, 1, 0\n"                                               \
    "  for n = 1, #h, 2 do\n"                                                                      \
    "    local k, v = h[n], h[n + 1]\n"                                                            \
    "    if #k == 1 then f[k] = num(v) else\n"                                                     \
    "      local d, at, q = string.match(v, '^(%d+) (%d+) (%d+)$')\n"                              \
    "      if k == me then back = math.max(num(at) - now, 0) if q == turn then passed = 0 end\n"   \
    "      elseif d and math.abs(now - num(at)) <= fresh then\n"                                   \
    "        if d ~= '0' then others, count = others + num(d), count + 1 end\n"                    \
    "      else redis.call('HDEL', key, k) end\n"                                                  \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  local sum = others + demand\n"                                                              \
    "  local floor = sum > 0 and 0.05 * sum / count or 1\n"                                        \
    "  local part = math.ceil((demand + floor) / (sum + count * floor) * 1000000)\n"               \
    "  local said = string.format('%.0f %.0f %s', demand, now, turn)\n"                            \
    "  local expire\n"                                                                             \
    "  if ARGV[a] == 'r' then\n"                                                                   \
    "    local tat = math.max((f.t or 0) - back, now - age)\n"                                     \
    "    if resume >= 0 then tat = math.max(tat, now + resume) end\n"                              \
    "    tat = tat + passed * unit\n"                                                              \
    "    redis.call('HSET', key, 't', string.format('%.1f', tat), me, said)\n"                     \
    "    local debt = math.max(tat - now, 0)\n"                                                    \
    "    expire = debt\n"                                                                          \
    "    out[#out + 1], out[#out + 2], out[#out + 3] = math.floor(debt), 0, part\n"                \
    "  else\n"                                                                                     \
    "    local w = math.floor(now / unit)\n"                                                       \
    "    local b, c = f.b or 0, f.c or 0\n"                                                        \
    "    if f.w ~= w then b, c = f.w == w - 1 and c or 0, 0 end\n"                                 \
    "    c = c + passed\n"                                                                         \
    "    local used = b * (1 - (now - w * unit) / unit) + c\n"                                     \
    "    if resume > used then c = math.floor(c + resume - used) end\n"                            \
    "    redis.call('HSET', key, 'w', string.format('%.0f', w), 'b', string.format('%.0f', b),\n"  \
    "      'c', string.format('%.0f', c), me, said)\n"                                             \
    "    expire = 2 * unit\n"                                                                      \
    "    out[#out + 1], out[#out + 2], out[#out + 3] = math.floor(b), math.floor(c), part\n"       \
    "  end\n"                                                                                      \
    "  redis.call('PEXPIRE', key, string.format('%.0f', math.min(expire / 1000, 1e12) + 10000))\n" \
    "end\n"                                                                                        \
    "return out\n"

/* KEYS: gateways, open. ARGV: our name, how long (us) a gateway counts; then for each of our breakers that is
 * open its name and how long it will be (ms). Answer: seconds and microseconds of the server's clock, how many
 * gateways; then for each breaker that is open elsewhere its name and how long (ms). */
#define VV_SHARE_HELLO                                                                             \
    "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2]\n"                             \
    "local me, fresh = ARGV[1], tonumber(ARGV[2])\n"                                               \
    "local function all(key) local h = redis.pcall('HGETALL', key)\n"                              \
    "  if h.err then redis.call('DEL', key) h = {} end return h end\n"                             \
    "local h, count = all(KEYS[1]), 1\n"                                                           \
    "for n = 1, #h, 2 do if h[n] ~= me then\n"                                                     \
    "  if math.abs(now - (tonumber(h[n + 1]) or 0)) <= fresh then count = count + 1\n"             \
    "  else redis.call('HDEL', KEYS[1], h[n]) end end end\n"                                       \
    "redis.call('HSET', KEYS[1], me, string.format('%.0f', now))\n"                                \
    "redis.call('PEXPIRE', KEYS[1], 60000)\n"                                                      \
    "local out, mine = {tonumber(t[1]), tonumber(t[2]), count}, {}\n"                              \
    "for n = 3, #ARGV, 2 do mine[me .. ' ' .. ARGV[n]] = now + ARGV[n + 1] * 1000 end\n"           \
    "h = all(KEYS[2])\n"                                                                           \
    "for n = 1, #h, 2 do\n"                                                                        \
    "  local who, name = string.match(h[n], '^(%S+) (.*)$')\n"                                     \
    "  local left = ((tonumber(h[n + 1]) or 0) - now) / 1000\n"                                    \
    "  if left <= 0 or not who or (who == me and not mine[h[n]]) then\n"                           \
    "    redis.call('HDEL', KEYS[2], h[n])\n"                                                      \
    "  elseif who ~= me then out[#out + 1] = name out[#out + 1] = math.ceil(left) end\n"           \
    "end\n"                                                                                        \
    "for field, till in pairs(mine) do\n"                                                          \
    "  redis.call('HSET', KEYS[2], field, string.format('%.0f', till))\n"                          \
    "  redis.call('PEXPIRE', KEYS[2], 86400000)\n"                                                 \
    "end\n"                                                                                        \
    "return out\n"
#endif
