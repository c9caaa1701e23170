-- May this user open one more session? The same answer as POST /v1/admission gives, asked of the projection in Redis (docs/admission.md).
-- The rules are those of streams/admission.py, streams/limits.py and streams/group_limits.py; a test holds the two against each other.
--
-- KEYS  1 PREFIXu:IDENTITY   2 PREFIXr:IDENTITY   3 PREFIXpolicy   4 PREFIXstate
-- ARGV  1 nas   2 MAC as aa:bb:cc:dd:ee:ff, or empty   3 groups the login knows of, with commas (guest types as guest:NAME), or empty
--       4 Acct-Session-Id or empty   5 audit-session-id or empty
--       6 a new id for the reservation; empty: nothing is asked, a session has begun there (the projector says so)
--       7 milliseconds to reserve for   8 reservations of one user at most   9 milliseconds the projection may be behind
-- Answers a JSON object: allowed, reason, rule, reservation, policy_version; or error, where nobody knows.
--
-- Beside these keys it reads PREFIXg:GROUP, and keeps who was let in and counts in a limit of a group in PREFIXl:LIMIT/GROUP, a sorted set of
-- slots by when they lapse. So it is for one Redis, not for a cluster of them.
local nas, device, new_id = ARGV[1], ARGV[2], ARGV[6]
local hold_ms, per_user_max, behind_max_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local prefix = KEYS[3]:sub(1, -7) -- without `policy`
local identity = KEYS[1]:sub(#prefix + 3)

local function answer(allowed, reason, rule, version, reservation)
  return cjson.encode({
    allowed = allowed, reason = reason, rule = rule or cjson.null, reservation = reservation or cjson.null, policy_version = version,
  })
end

local function any(list, wanted)
  for _, each in ipairs(list) do
    if each == wanted then return true end
  end
  return false
end

-- 1. Is the projection what it should be?
if new_id ~= '' then
  local state = redis.call('HMGET', KEYS[4], 'ready', 'at_ms')
  if state[1] ~= '1' then return cjson.encode({ error = 'the projection is not complete' }) end
  local behind_ms = now_ms - tonumber(state[2])
  if behind_ms > behind_max_ms then return cjson.encode({ error = 'the projection is ' .. behind_ms .. ' ms behind' }) end
elseif redis.call('EXISTS', KEYS[2]) == 0 then
  return cjson.encode({})
end
local policy = cjson.decode(redis.call('GET', KEYS[3]) or '{"version":0,"limit":[],"rate":[],"spent":[]}')

-- 2. What is open, what is known, what is reserved
local sessions, known = {}, { groups = {}, holds = {}, spent = {}, recent = {} }
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local value = cjson.decode(stored[i + 1])
  if stored[i] == 'identity' then known = value else
    value.name = stored[i]
    sessions[#sessions + 1] = value
  end
end
table.sort(sessions, function(a, b) return a.opened_offset < b.opened_offset end)
for _, s in ipairs(sessions) do
  local same = (device ~= '' and s.device == device)
    or (ARGV[4] ~= '' and s.nas == nas and s.acct_session_id == ARGV[4])
    or (ARGV[5] ~= '' and s.audit_session_id == ARGV[5])
  if new_id ~= '' and same and not s.going then return answer(true, 'this session is open already, as ' .. s.name, nil, policy.version) end
end

local mine, reserved, lapsed = nil, {}, {}
stored = redis.call('HGETALL', KEYS[2])
for i = 1, #stored, 2 do
  local r = cjson.decode(stored[i + 1])
  r.id, r.nth = stored[i], r.nth or 0
  if r.until_ms <= now_ms then
    lapsed[#lapsed + 1] = r
  elseif new_id ~= '' and device ~= '' and r.nas == nas and r.device == device then
    mine = r
  else
    reserved[#reserved + 1] = r
  end
end
table.sort(reserved, function(a, b) return a.nth < b.nth end)
if new_id == '' then -- a session has begun: it takes the reservation that was for it, its own device's before one for any
  local taken = nil
  for i, r in ipairs(reserved) do
    if r.nas == nas and r.device == device and device ~= '' then taken = i break end
    if r.nas == nas and r.device == '' then taken = taken or i end
  end
  if taken then lapsed[#lapsed + 1] = table.remove(reserved, taken) end
end

-- Reservations that stand no longer hold no slots of groups, but for those that another one of the user's holds
local function give_back(gone, standing)
  if #gone == 0 then return end
  local kept = {}
  for _, r in ipairs(standing) do
    for _, hold in ipairs(r.holds or {}) do kept[hold[1] .. '\n' .. hold[2]] = true end
  end
  for _, r in ipairs(gone) do
    redis.call('HDEL', KEYS[2], r.id)
    for _, hold in ipairs(r.holds or {}) do
      if not kept[hold[1] .. '\n' .. hold[2]] then redis.call('ZREM', hold[1], hold[2]) end
    end
  end
end
local standing, nth = { unpack(reserved) }, 0
if mine then standing[#standing + 1] = mine end
for _, r in ipairs(standing) do nth = math.max(nth, r.nth) end
give_back(lapsed, standing)

-- 3. Who is in which groups, and which limits touch him
local function joined(groups)
  local all = {}
  for _, group in ipairs(known.groups) do all[#all + 1] = group end
  for _, group in ipairs(groups) do
    if not any(all, group) then all[#all + 1] = group end
  end
  return all
end

local function fits(pattern, name)
  return name:find('^' .. pattern:gsub('[^%w]', '%%%0'):gsub('%%%*', '.*') .. '$') ~= nil
end

local function exempt(limit, groups)
  for _, pattern in ipairs(limit['except']) do
    for _, group in ipairs(groups) do
      if fits(pattern, group) then return true end
    end
  end
  return false
end

local function scopes(limit, groups)
  if exempt(limit, groups) then return {} end
  if limit.applies_to == 'user' then return { '' } end
  local found = {}
  for _, group in ipairs(groups) do
    local is_guest = group:sub(1, 6) == 'guest:'
    local name = is_guest and group:sub(7) or group
    if is_guest == (limit.applies_to == 'guest-type') and fits(limit.group, name) then found[#found + 1] = name end
  end
  return found
end

local asking = {}
for group in ARGV[3]:gmatch('[^,]+') do asking[#asking + 1] = group end
local own = joined(asking)

local function is_aged(limit, s)
  return limit.counter_time_limit_s > 0 and now_ms - s.began_ms >= limit.counter_time_limit_s * 1000
end

-- A slot of a group is a user's device, or without a MAC a session by itself
local function group_slot(limit, row)
  if limit.count == 'devices' and row.device ~= '' then return identity .. '/' .. row.device end
  return row.name or row.id
end

local function reserved_key(limit, group) return prefix .. 'l:' .. limit.name .. '/' .. group end

-- The slots of a group that the user's own sessions take; they are among those that its figures count
local function own_slots(limit, group)
  local slots = {}
  for _, s in ipairs(sessions) do
    local counts = any(s.slots, group) and not is_aged(limit, s) and not any(s.breached, limit.name)
    if counts and not exempt(limit, joined(s.groups)) then slots[group_slot(limit, s)] = true end
  end
  return slots
end

-- What is reserved for a device that is on already, elsewhere than it was to come, is one slot with its session
local by_name = {}
for _, limit in ipairs(policy.limit) do by_name[limit.name] = limit end
for _, r in ipairs(standing) do
  local left = {}
  for _, hold in ipairs(r.holds or {}) do
    local limit = by_name[hold[3]]
    if limit and own_slots(limit, hold[4])[hold[2]] then redis.call('ZREM', hold[1], hold[2]) else left[#left + 1] = hold end
  end
  if #left < #(r.holds or {}) then
    r.holds = left
    redis.call('HSET', KEYS[2], r.id, cjson.encode(r))
  end
end
if new_id == '' then return cjson.encode({}) end

-- 4. Rates of which a Start would be one too many, and quotas that are spent
local function of_them(count)
  return count > 0 and '; ' .. count .. ' of them reserved a moment ago' or ''
end

for _, rate in ipairs(policy.rate) do
  for _, scope in ipairs(scopes(rate, own)) do
    local current, from_reserved = 0, 0
    for _, recent in ipairs(known.recent) do
      if recent.rule == rate.name and recent.group == scope then
        for _, at_ms in ipairs(recent.at_ms) do
          if now_ms - at_ms < rate.within_s * 1000 then current = current + 1 end
        end
      end
    end
    for _, r in ipairs(reserved) do
      if any(scopes(rate, joined(r.groups)), scope) then from_reserved = from_reserved + 1 end
    end
    current = current + from_reserved
    if current >= rate.starts then
      local text = rate.applies_to .. ' rate ' .. rate.name .. (scope ~= '' and ' in ' .. scope or '') .. ': ' .. current .. ' starts in '
        .. rate.within_s .. ' s of ' .. rate.starts .. ' allowed'
      return answer(false, text .. of_them(from_reserved), rate.name, policy.version)
    end
  end
end

for _, spents in ipairs({ known.spent, policy.spent }) do
  for _, spent in ipairs(spents) do
    if now_ms < spent.until_ms and (spent.group == '' or any(own, spent.group)) then
      return answer(false, spent.text, spent.rule, policy.version)
    end
  end
end

-- 5. The limits in their order
local function slot(limit, row)
  if limit.count == 'devices' and row.device ~= '' then return row.device end
  if row.roams_as and row.roams_as ~= '' then return '=' .. row.roams_as end
  return row.name or row.id
end

local passed, reported, told = {}, {}, nil
local takes_the_oldest = { ['oldest'] = true, ['least-recently-active'] = true, ['all-others'] = true }

local function is_held(limit)
  for _, hold in ipairs(known.holds) do
    if device ~= '' and hold.device == device and hold.rule == limit.name and now_ms < hold.until_ms then return true end
  end
  return false
end

-- What follows from a limit that acts and has no slot: an answer where the newcomer is the one to go, else `told`. `slots`: the user's own
-- that may go instead, `stuck` those that cannot; the newcomer is the newest
local function breached(limit, text, slots, stuck, from_reserved, spares_others)
  local held = is_held(limit)
  if held then text = text .. '; this device was evicted by it a moment ago' end
  local others_can_go = false
  for taken in pairs(slots) do others_can_go = others_can_go or not stuck[taken] end
  if held or spares_others or limit.victim == 'newest' or not others_can_go then
    return answer(false, text .. of_them(from_reserved), limit.name, policy.version)
  end
  told = { rule = limit.name, text = text .. '; another session goes when this one starts', last = true }
end

local function ask_own(limit, scope)
  local slots, stuck, current, from_reserved = {}, {}, 0, 0
  local function take(row)
    if not any(scopes(limit, joined(row.groups)), scope) then return false end
    local taken = slot(limit, row)
    if not slots[taken] then slots[taken], current = true, current + 1 end
    if row.cannot_go then stuck[taken] = true end
    return true
  end
  for _, s in ipairs(sessions) do
    if s.counts and not is_aged(limit, s) and not any(s.breached, limit.name) then take(s) end
  end
  for _, r in ipairs(reserved) do
    if take(r) then from_reserved = from_reserved + 1 end
  end
  local text = limit.name .. (scope ~= '' and ' in ' .. scope or '') .. ': ' .. current .. ' open of ' .. limit.max_sessions .. ' allowed'
  if (limit.count == 'devices' and device ~= '' and slots[device]) or current < limit.max_sessions then
    passed[#passed + 1] = text
  elseif not limit.acts then
    told = told or { rule = limit.name, text = limit.applies_to .. ' limit ' .. text .. '; the rule lets it be' }
  else
    return breached(limit, limit.applies_to .. ' limit ' .. text, slots, stuck, from_reserved, false)
  end
end

local function ask_group(limit, group, figures)
  local key, mine_alone, slots, current = reserved_key(limit, group), {}, own_slots(limit, group), 0
  if figures[limit.name] then current = figures[limit.name].current end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms)
  local others = redis.call('ZCARD', key)
  for _, r in ipairs(standing) do
    for _, hold in ipairs(r.holds or {}) do
      if hold[1] == key and not mine_alone[hold[2]] then mine_alone[hold[2]], others = true, others - 1 end
    end
  end
  current = current + others
  for _, r in ipairs(reserved) do
    for _, hold in ipairs(r.holds or {}) do
      if hold[1] == key and not slots[hold[2]] then slots[hold[2]], current, others = true, current + 1, others + 1 end
    end
  end
  local text = limit.name .. ' in ' .. group .. ': ' .. current .. ' open of ' .. limit.max_sessions .. ' allowed'
  local can_evict = others > 0 or (figures[limit.name] and figures[limit.name].evicts)
  if (limit.count == 'devices' and device ~= '' and slots[identity .. '/' .. device]) or current < limit.max_sessions then
    passed[#passed + 1] = text
  elseif not limit.acts then
    reported[#reported + 1] = 'group limit ' .. text
  elseif limit.victim_scope == 'group' and takes_the_oldest[limit.victim] and can_evict and not is_held(limit) then
    passed[#passed + 1] = text -- somebody else of the group goes
  else
    local may_go, stuck, from_reserved = {}, {}, 0
    for _, s in ipairs(sessions) do
      if s.counts and any(s.slots, group) then
        may_go[slot(limit, s)] = true
        if s.cannot_go then stuck[slot(limit, s)] = true end
      end
    end
    for _, r in ipairs(reserved) do
      if any(r.slots or {}, group) then may_go[slot(limit, r)], from_reserved = true, from_reserved + 1 end
    end
    return breached(limit, 'group limit ' .. text, may_go, stuck, from_reserved, limit.victim_scope == 'group')
  end
end

local in_groups = {} -- whose limits touch the newcomer, in the order in which they do
for _, limit in ipairs(policy.limit) do
  for _, group in ipairs(limit.applies_to == 'group' and scopes(limit, own) or {}) do
    if not any(in_groups, group) then in_groups[#in_groups + 1] = group end
  end
end

local function ask_all(kind)
  for _, limit in ipairs(policy.limit) do
    for _, scope in ipairs(limit.applies_to == kind and scopes(limit, own) or {}) do
      local refused = ask_own(limit, scope)
      if refused or (told and told.last) then return refused end
    end
  end
end

local function ask_groups()
  for _, group in ipairs(in_groups) do
    local figures = cjson.decode(redis.call('GET', prefix .. 'g:' .. group) or '{}')
    for _, limit in ipairs(policy.limit) do
      if limit.applies_to == 'group' and any(scopes(limit, own), group) then
        local refused = ask_group(limit, group, figures)
        if refused or (told and told.last) then return refused end
      end
    end
  end
end

for _, ask in ipairs({
  function() return ask_all('user') end,
  function() return ask_all('user-in-group') end,
  ask_groups,
  function() return ask_all('guest-type') end,
}) do
  local refused = ask()
  if refused then return refused end
  if told and told.last then break end
end

-- 6. Let in: reserve, for longer where it is reserved already; the oldest makes room
local gone = { mine } -- what it held in other groups, for one
for i = 1, #reserved + 1 - per_user_max do gone[#gone + 1] = table.remove(reserved, 1) end
local until_ms = now_ms + hold_ms
local r = { id = mine and mine.id or new_id, nth = nth + 1, nas = nas, device = device, groups = asking, until_ms = until_ms, slots = in_groups, holds = {} }
for _, limit in ipairs(policy.limit) do
  for _, group in ipairs(limit.applies_to == 'group' and scopes(limit, own) or {}) do
    local key, member = reserved_key(limit, group), group_slot(limit, r)
    redis.call('ZADD', key, until_ms, member)
    redis.call('PEXPIRE', key, hold_ms)
    r.holds[#r.holds + 1] = { key, member, limit.name, group }
  end
end
give_back(gone, { r, unpack(reserved) })
redis.call('HSET', KEYS[2], r.id, cjson.encode(r))
redis.call('PEXPIRE', KEYS[2], hold_ms)
local reason = told and told.text
if not reason then
  for _, text in ipairs(passed) do reported[#reported + 1] = text end
  reason = #reported > 0 and table.concat(reported, '; ') or 'no limit applies'
end
return answer(true, reason, told and told.rule, policy.version, r.id)
