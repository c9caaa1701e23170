-- May this user open one more session? The same answer as POST /v1/admission gives, asked of the projection in Redis (docs/admission.md).
-- The rules are those of streams/admission.py and streams/limits.py; a test holds the two against each other.
--
-- KEYS  1 PREFIXu:IDENTITY   2 PREFIXr:IDENTITY   3 PREFIXpolicy   4 PREFIXstate
-- ARGV  1 nas   2 MAC as aa:bb:cc:dd:ee:ff, or empty   3 groups the login knows of, with commas (guest types as guest:NAME), or empty
--       4 Acct-Session-Id or empty   5 audit-session-id or empty   6 a new id for the reservation
--       7 milliseconds to reserve for   8 reservations of one user at most   9 milliseconds the projection may be behind
-- Answers a JSON object: allowed, reason, rule, reservation, policy_version; or error, where nobody knows.
local nas, device, new_id = ARGV[1], ARGV[2], ARGV[6]
local hold_ms, per_user_max, behind_max_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

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
local state = redis.call('HMGET', KEYS[4], 'ready', 'at_ms')
if state[1] ~= '1' then return cjson.encode({ error = 'the projection is not complete' }) end
local behind_ms = now_ms - tonumber(state[2])
if behind_ms > behind_max_ms then return cjson.encode({ error = 'the projection is ' .. behind_ms .. ' ms behind' }) end
local policy = cjson.decode(redis.call('GET', KEYS[3]) or '{"version":0,"limit":[]}')

-- 2. What is open, what is known, what is reserved
local sessions, known = {}, { groups = {}, holds = {}, spent = {} }
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
  if same and not s.going then return answer(true, 'this session is open already, as ' .. s.name, nil, policy.version) end
end

local mine, reserved, used = nil, {}, {}
stored = redis.call('HGETALL', KEYS[2])
for i = 1, #stored, 2 do
  local r = cjson.decode(stored[i + 1])
  r.id = stored[i]
  local over = r.until_ms <= now_ms
  for _, s in ipairs(sessions) do -- a session that began there since then has taken it
    if not over and not used[s.name] and s.nas == r.nas and (r.device == '' or s.device == r.device) and s.order_ms >= r.made_ms then
      used[s.name], over = true, true
    end
  end
  if over then
    redis.call('HDEL', KEYS[2], r.id)
  elseif device ~= '' and r.nas == nas and r.device == device then
    mine = r
  else
    reserved[#reserved + 1] = r
  end
end
table.sort(reserved, function(a, b) return a.until_ms < b.until_ms end)

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

-- 4. Quotas that are spent
for _, spent in ipairs(known.spent) do
  if now_ms < spent.until_ms then return answer(false, spent.text, spent.rule, policy.version) end
end

-- 5. The limits in their order
local function slot(limit, row)
  if limit.count == 'devices' and row.device ~= '' then return row.device end
  if row.roams_as and row.roams_as ~= '' then return '=' .. row.roams_as end
  return row.name or row.id
end

local passed, told = {}, nil
for _, kind in ipairs({ 'user', 'user-in-group', 'guest-type' }) do
  for _, limit in ipairs(policy.limit) do
    for _, scope in ipairs(limit.applies_to == kind and scopes(limit, own) or {}) do
      local slots, stuck, current, from_reserved = {}, {}, 0, 0
      local function take(row)
        if not any(scopes(limit, joined(row.groups)), scope) then return false end
        local taken = slot(limit, row)
        if not slots[taken] then slots[taken], current = true, current + 1 end
        if row.cannot_go then stuck[taken] = true end
        return true
      end
      for _, s in ipairs(sessions) do
        local aged = limit.counter_time_limit_s > 0 and now_ms - s.began_ms >= limit.counter_time_limit_s * 1000
        if s.counts and not aged and not any(s.breached, limit.name) then take(s) end
      end
      for _, r in ipairs(reserved) do
        if take(r) then from_reserved = from_reserved + 1 end
      end
      local text = limit.name .. (scope ~= '' and ' in ' .. scope or '') .. ': ' .. current .. ' open of ' .. limit.max_sessions .. ' allowed'
      local has_slot = limit.count == 'devices' and device ~= '' and slots[device]
      if has_slot or current < limit.max_sessions then
        passed[#passed + 1] = text
      else
        text = limit.applies_to .. ' limit ' .. text
        if not limit.acts then
          told = told or { rule = limit.name, text = text .. '; the rule lets it be' }
        else
          local held = false
          for _, hold in ipairs(known.holds) do
            held = held or (device ~= '' and hold.device == device and hold.rule == limit.name and now_ms < hold.until_ms)
          end
          if held then text = text .. '; this device was evicted by it a moment ago' end
          local others_can_go = false
          for taken in pairs(slots) do others_can_go = others_can_go or not stuck[taken] end
          -- the newcomer is the newest: it goes itself, unless the rule takes an older one and there is one that can go
          if held or limit.victim == 'newest' or not others_can_go then
            if from_reserved > 0 then text = text .. '; ' .. from_reserved .. ' of them reserved a moment ago' end
            return answer(false, text, limit.name, policy.version)
          end
          told = { rule = limit.name, text = text .. '; another session goes when this one starts', last = true }
        end
      end
      if told and told.last then break end
    end
    if told and told.last then break end
  end
  if told and told.last then break end
end

-- 6. Let in: reserve, for longer where it is reserved already; the oldest makes room
for i = 1, #reserved + 1 - per_user_max do redis.call('HDEL', KEYS[2], reserved[i].id) end
local id = mine and mine.id or new_id
local made_ms = mine and mine.made_ms or now_ms
redis.call('HSET', KEYS[2], id, cjson.encode({ nas = nas, device = device, groups = asking, made_ms = made_ms, until_ms = now_ms + hold_ms }))
redis.call('PEXPIRE', KEYS[2], hold_ms)
local reason = told and told.text or (#passed > 0 and table.concat(passed, '; ') or 'no limit applies')
return answer(true, reason, told and told.rule, policy.version, id)
