-- Tickets that are not solved, for whoever looks at them by age.
CREATE INDEX tickets_unsolved ON tickets (reported_at, number)
    WHERE status IN ('new', 'open', 'waiting_requester', 'waiting_third_party');

-- What there is to do, told without reading tickets: the unsolved tickets at the places of each axis, by how they stand, the
-- quarter of an hour of their report, and the quarters in which promises about them are broken. Labels have the place, as JSON;
-- `hour` has quarters since 1970.
CREATE TEMPORARY TABLE told (
    number INTEGER NOT NULL PRIMARY KEY, stand TEXT NOT NULL, reported INTEGER NOT NULL, late INTEGER,
    team TEXT NOT NULL, priority TEXT NOT NULL, type TEXT NOT NULL, channel TEXT NOT NULL, assignee TEXT NOT NULL,
    policy TEXT NOT NULL);
INSERT INTO told
SELECT t.number, ',"' || t.status || '","' || t.priority || '",' || (t.assignee_id IS NOT NULL) || ','
    || coalesce((SELECT CASE value ->> 'state' WHEN 'met' THEN '"met"' WHEN 'paused' THEN '"paused"' ELSE '"open"' END
        FROM json_each(c.clocks) WHERE value ->> 'target' = 'response'), 'null') || ','
    || coalesce((SELECT CASE value ->> 'state' WHEN 'met' THEN '"met"' WHEN 'paused' THEN '"paused"' ELSE '"open"' END
        FROM json_each(c.clocks) WHERE value ->> 'target' = 'first_reply'), 'null') || ','
    || coalesce((SELECT CASE value ->> 'state' WHEN 'met' THEN '"met"' WHEN 'paused' THEN '"paused"' ELSE '"open"' END
        FROM json_each(c.clocks) WHERE value ->> 'target' = 'service'), 'null') || ']',
    t.reported_at / 900000000, c.breach_at / 900000000,
    CASE WHEN t.team_id IS NULL THEN 'null' ELSE '"' || lower(substr(hex(t.team_id), 1, 8) || '-' || substr(hex(t.team_id), 9, 4) || '-'
        || substr(hex(t.team_id), 13, 4) || '-' || substr(hex(t.team_id), 17, 4) || '-' || substr(hex(t.team_id), 21)) || '"' END,
    '"' || t.priority || '"', '"' || t.type || '"', '"' || t.channel || '"',
    CASE WHEN t.assignee_id IS NULL THEN 'null' ELSE '"' || lower(substr(hex(t.assignee_id), 1, 8) || '-' || substr(hex(t.assignee_id), 9, 4) || '-'
        || substr(hex(t.assignee_id), 13, 4) || '-' || substr(hex(t.assignee_id), 17, 4) || '-' || substr(hex(t.assignee_id), 21)) || '"' END,
    CASE WHEN c.policy_id IS NULL THEN 'null' ELSE '"' || lower(substr(hex(c.policy_id), 1, 8) || '-' || substr(hex(c.policy_id), 9, 4) || '-'
        || substr(hex(c.policy_id), 13, 4) || '-' || substr(hex(c.policy_id), 17, 4) || '-' || substr(hex(c.policy_id), 21)) || '"' END
FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number
WHERE t.status IN ('new', 'open', 'waiting_requester', 'waiting_third_party');
CREATE TEMPORARY TABLE breaches (
    number INTEGER NOT NULL, target INTEGER NOT NULL, hour INTEGER NOT NULL, PRIMARY KEY (number, target)) WITHOUT ROWID;
INSERT INTO breaches
SELECT ticket_number AS number, 0 AS target, response_breach_at / 900000000 AS hour
FROM ticket_clocks JOIN told ON number = ticket_number WHERE response_breach_at IS NOT NULL
UNION ALL SELECT ticket_number, 1, first_reply_breach_at / 900000000
FROM ticket_clocks JOIN told ON number = ticket_number WHERE first_reply_breach_at IS NOT NULL
UNION ALL SELECT ticket_number, 2, service_breach_at / 900000000
FROM ticket_clocks JOIN told ON number = ticket_number WHERE service_breach_at IS NOT NULL;
CREATE TEMPORARY TABLE further AS
SELECT number, hour, lag(hour) OVER (PARTITION BY number ORDER BY hour) AS earlier FROM breaches;
CREATE INDEX temp.further_by_number ON further (number);
CREATE TEMPORARY TABLE places AS
SELECT number, 'all' AS axis, 'null' AS place FROM told
UNION ALL SELECT number, 'team', team FROM told
UNION ALL SELECT number, 'priority', priority FROM told
UNION ALL SELECT number, 'type', type FROM told
UNION ALL SELECT number, 'channel', channel FROM told
UNION ALL SELECT number, 'assignee', assignee FROM told
UNION ALL SELECT number, 'policy', policy FROM told
UNION ALL SELECT told.number, 'tag', json_quote(value) FROM told JOIN tickets USING (number), json_each(tickets.tags)
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
SELECT 'waiting_' || axis || '_next', '["' || printf('%010d', hour) || '",' || place || ']', earlier, count(*)
FROM places JOIN further USING (number) WHERE earlier < hour GROUP BY 1, 2, 3;
DROP TABLE places;
DROP TABLE further;
DROP TABLE breaches;
DROP TABLE told;
