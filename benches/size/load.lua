-- The load of one run of wrk. Arguments: a file of requests, and a prefix for Idempotency-Keys. Each line of the file:
-- group, weight of the group, method, path, 1 if it takes an Idempotency-Key, body; separated by tabs. A request is
-- picked by chance: a group by its weight, then a line of it.

local groups, total, prefix, sent = {}, 0, "", 0

function init(args)
    local by_name = {}
    for line in io.lines(args[1]) do
        local name, weight, method, path, key, body = line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.-)\t(.*)$")
        local group = by_name[name]
        if not group then
            group = { weight = tonumber(weight), lines = {} }
            by_name[name] = group
            groups[#groups + 1] = group
            total = total + group.weight
        end
        group.lines[#group.lines + 1] = { method = method, path = path, key = key == "1", body = body ~= "" and body or nil }
    end
    prefix = args[2]
    math.randomseed(tonumber(args[3]))
    wrk.headers["Authorization"] = "Bearer " .. args[4]
end

function request()
    local group = groups[1]
    if #groups > 1 then
        local left = math.random() * total
        for _, candidate in ipairs(groups) do
            group = candidate
            left = left - candidate.weight
            if left < 0 then break end
        end
    end
    local line = group.lines[math.random(#group.lines)]
    local headers = nil
    if line.body then
        headers = { ["Authorization"] = wrk.headers["Authorization"], ["Content-Type"] = "application/json" }
        if line.key then
            sent = sent + 1
            headers["Idempotency-Key"] = prefix .. sent
        end
    end
    return wrk.format(line.method, line.path, headers, line.body)
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"bad_status":%d,"bad_socket":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
