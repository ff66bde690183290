-- Tickets that are not solved, for whoever looks at them by age.
CREATE INDEX tickets_unsolved ON tickets (reported_at, number)
    WHERE status IN ('new', 'open', 'waiting_requester', 'waiting_third_party');

-- What there is to do, told without reading tickets: the unsolved tickets at the places of each axis, by how they stand, the
-- quarter of an hour of their report, and the quarters in which promises about them are broken. Labels have the place, as JSON;
-- `hour` has quarters since 1970.
CREATE TEMPORARY TABLE told AS
SELECT t.number, ',"' || t.status || '","' || t.priority || '",' || (t.assignee_id IS NOT NULL)::integer || ','
    || coalesce((SELECT CASE v ->> 'state' WHEN 'met' THEN '"met"' WHEN 'paused' THEN '"paused"' ELSE '"open"' END
        FROM jsonb_array_elements(c.clocks) v WHERE v ->> 'target' = 'response'), 'null') || ','
    || coalesce((SELECT CASE v ->> 'state' WHEN 'met' THEN '"met"' WHEN 'paused' THEN '"paused"' ELSE '"open"' END
        FROM jsonb_array_elements(c.clocks) v WHERE v ->> 'target' = 'first_reply'), 'null') || ','
    || coalesce((SELECT CASE v ->> 'state' WHEN 'met' THEN '"met"' WHEN 'paused' THEN '"paused"' ELSE '"open"' END
        FROM jsonb_array_elements(c.clocks) v WHERE v ->> 'target' = 'service'), 'null') || ']' AS stand,
    floor(extract(epoch FROM t.reported_at) / 900)::bigint AS reported, floor(extract(epoch FROM c.breach_at) / 900)::bigint AS late,
    coalesce('"' || t.team_id || '"', 'null') AS team,
    '"' || t.priority || '"' AS priority, '"' || t.type || '"' AS type, '"' || t.channel || '"' AS channel,
    coalesce('"' || t.assignee_id || '"', 'null') AS assignee,
    coalesce('"' || c.policy_id || '"', 'null') AS policy
FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number
WHERE t.status IN ('new', 'open', 'waiting_requester', 'waiting_third_party');
CREATE TEMPORARY TABLE breaches AS
SELECT ticket_number AS number, 0 AS target, floor(extract(epoch FROM response_breach_at) / 900)::bigint AS hour
FROM ticket_clocks JOIN told ON number = ticket_number WHERE response_breach_at IS NOT NULL
UNION ALL SELECT ticket_number, 1, floor(extract(epoch FROM first_reply_breach_at) / 900)::bigint
FROM ticket_clocks JOIN told ON number = ticket_number WHERE first_reply_breach_at IS NOT NULL
UNION ALL SELECT ticket_number, 2, floor(extract(epoch FROM service_breach_at) / 900)::bigint
FROM ticket_clocks JOIN told ON number = ticket_number WHERE service_breach_at IS NOT NULL;
CREATE TEMPORARY TABLE further AS
SELECT number, hour, lag(hour) OVER (PARTITION BY number ORDER BY hour) AS earlier FROM breaches;
CREATE TEMPORARY TABLE places AS
SELECT number, 'all' AS axis, 'null' AS place FROM told
UNION ALL SELECT number, 'team', team FROM told
UNION ALL SELECT number, 'priority', priority FROM told
UNION ALL SELECT number, 'type', type FROM told
UNION ALL SELECT number, 'channel', channel FROM told
UNION ALL SELECT number, 'assignee', assignee FROM told
UNION ALL SELECT number, 'policy', policy FROM told
UNION ALL SELECT told.number, 'tag', v::text FROM told JOIN tickets USING (number), jsonb_array_elements(tickets.tags) v
UNION ALL SELECT told.number, 'tag', 'null' FROM told JOIN tickets USING (number) WHERE tickets.tags = '[]';
INSERT INTO tallies (series, labels, hour, n)
SELECT 'waiting_' || axis || '_stand', '[' || place || stand, 0, count(*) FROM places JOIN told USING (number) GROUP BY 1, 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'waiting_' || axis || '_reported', '[' || place || ']', reported, count(*)
FROM places JOIN told USING (number) GROUP BY 1, 2, 3;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'waiting_' || axis || '_late', '[' || place || ']', late, count(*)
FROM places JOIN told USING (number) WHERE late IS NOT NULL GROUP BY 1, 2, 3;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'waiting_' || axis || '_breach', '[' || place || ',' || target || ']', hour, count(*)
FROM places JOIN breaches USING (number) GROUP BY 1, 2, 3;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'waiting_' || axis || '_next', '["' || lpad(hour::text, 10, '0') || '",' || place || ']', earlier, count(*)
FROM places JOIN further USING (number) WHERE earlier < hour GROUP BY 1, 2, 3;
DROP TABLE places;
DROP TABLE further;
DROP TABLE breaches;
DROP TABLE told;
