-- What happened to tickets, one row each, as the ticket was then: nothing here is ever changed, a correction is a row with `n` = -1.
-- `cells` are sums of it.
CREATE TABLE facts (
    id INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    ticket_number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('created', 'entered', 'left', 'started', 'replied', 'resolved', 'reopened', 'met', 'breached', 'worked')),
    n INTEGER NOT NULL CHECK (n IN (-1, 1)),
    priority TEXT NOT NULL,
    type TEXT NOT NULL,
    channel TEXT NOT NULL,
    team_id BLOB,
    policy_id BLOB,
    assignee_id BLOB,
    tags TEXT NOT NULL,
    target TEXT,
    calendar_s INTEGER,
    business_s INTEGER,
    resolution_s INTEGER,
    resolution_business_s INTEGER,
    is_first_contact BOOLEAN NOT NULL DEFAULT FALSE CHECK (is_first_contact IN (0, 1)),
    worker_id BLOB,
    work_s INTEGER,
    cost_minor INTEGER,
    cost_currency TEXT
);

-- The groups that the ticket was in when an entry was written: it is taken away from there, too.
ALTER TABLE time_entries ADD COLUMN ticket_groups TEXT NOT NULL DEFAULT '{}';
UPDATE time_entries SET ticket_groups = (
    SELECT json_object('priority', t.priority, 'kind', t.type, 'channel', t.channel, 'team', lower(hex(t.team_id)),
        'policy', lower(hex(c.policy_id)), 'assignee', lower(hex(t.assignee_id)), 'tags', json(t.tags))
    FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number WHERE t.number = time_entries.ticket_number);
UPDATE time_entries SET ticket_groups = json_set(ticket_groups, '$.team', NULL) WHERE ticket_groups ->> 'team' = '';
UPDATE time_entries SET ticket_groups = json_set(ticket_groups, '$.policy', NULL) WHERE ticket_groups ->> 'policy' = '';
UPDATE time_entries SET ticket_groups = json_set(ticket_groups, '$.assignee', NULL) WHERE ticket_groups ->> 'assignee' = '';

-- What is known of tickets from before: all of it about the ticket as it is now, and of several resolutions how long the last one took.
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags)
SELECT t.created_at, t.number, 'created', 1, t.priority, t.type, t.channel, t.team_id, c.policy_id, t.assignee_id, t.tags
FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number;
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags, calendar_s, business_s)
SELECT t.started_at, t.number, 'started', 1, t.priority, t.type, t.channel, t.team_id, c.policy_id, t.assignee_id, t.tags,
    (t.started_at - t.reported_at) / 1000000, c.response_business_s
FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number WHERE t.started_at IS NOT NULL;
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags, calendar_s, business_s)
SELECT t.first_replied_at, t.number, 'replied', 1, t.priority, t.type, t.channel, t.team_id, c.policy_id, t.assignee_id, t.tags,
    (t.first_replied_at - t.reported_at) / 1000000, c.first_reply_business_s
FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number WHERE t.first_replied_at IS NOT NULL;
CREATE TEMPORARY TABLE steps AS
SELECT c.ticket_number AS number, v.value ->> 0 AS status, v.value ->> 1 AS at,
    lag(v.value ->> 0) OVER (PARTITION BY c.ticket_number ORDER BY v.key) AS earlier
FROM ticket_clocks c, json_each(c.timeline) v;
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags,
    calendar_s, business_s, resolution_s, resolution_business_s, is_first_contact)
SELECT s.at, t.number, 'resolved', 1, t.priority, t.type, t.channel, t.team_id, c.policy_id, t.assignee_id, t.tags,
    CASE WHEN s.at = c.last_resolved_at THEN c.service_s END, CASE WHEN s.at = c.last_resolved_at THEN c.service_business_s END,
    CASE WHEN s.at = c.last_resolved_at THEN c.resolution_s END, CASE WHEN s.at = c.last_resolved_at THEN c.resolution_business_s END,
    t.reopen_count = 0 AND t.agent_comments <= 1
FROM steps s JOIN tickets t ON t.number = s.number JOIN ticket_clocks c ON c.ticket_number = t.number WHERE s.status = 'resolved';
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags)
SELECT s.at, t.number, 'reopened', 1, t.priority, t.type, t.channel, t.team_id, c.policy_id, t.assignee_id, t.tags
FROM steps s JOIN tickets t ON t.number = s.number JOIN ticket_clocks c ON c.ticket_number = t.number
WHERE s.earlier = 'resolved' AND s.status NOT IN ('resolved', 'closed');
DROP TABLE steps;

-- Clocks as they are written down. A promise that time has broken since is written down later.
CREATE TEMPORARY TABLE written AS
SELECT c.ticket_number AS number, v.value ->> 'target' AS target, v.value ->> 'state' AS state, v.value ->> 'priority' AS priority,
    CASE v.value ->> 'target' WHEN 'response' THEN c.response_met_at WHEN 'first_reply' THEN c.first_reply_met_at ELSE c.service_met_at END AS met_at,
    CASE v.value ->> 'target' WHEN 'response' THEN c.response_breach_at WHEN 'first_reply' THEN c.first_reply_breach_at
        ELSE c.service_breach_at END AS breach_at,
    CASE v.value ->> 'target' WHEN 'response' THEN t.started_at WHEN 'first_reply' THEN t.first_replied_at ELSE t.resolved_at END IS NOT NULL AS ended
FROM ticket_clocks c JOIN tickets t ON t.number = c.ticket_number, json_each(c.clocks) v;
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags, target)
SELECT CASE w.state WHEN 'met' THEN w.met_at ELSE w.breach_at END, t.number, w.state, 1, t.priority, t.type, t.channel, t.team_id, c.policy_id,
    t.assignee_id, t.tags, w.target
FROM written w JOIN tickets t ON t.number = w.number JOIN ticket_clocks c ON c.ticket_number = t.number WHERE w.state IN ('met', 'breached');
INSERT INTO facts (at, ticket_number, kind, n, priority, type, channel, team_id, policy_id, assignee_id, tags, worker_id, work_s, cost_minor, cost_currency)
SELECT e.worked_at, t.number, 'worked', 1, t.priority, t.type, t.channel, t.team_id, c.policy_id, t.assignee_id, t.tags,
    e.agent_id, e.work_s, e.cost_minor, e.cost_currency
FROM time_entries e JOIN tickets t ON t.number = e.ticket_number JOIN ticket_clocks c ON c.ticket_number = t.number;
CREATE INDEX facts_by_time ON facts (at, id);

-- What facts come to, of those about tickets whose `axis` is `key`, in the hour, day or month of UTC that begins `start` hours after 1970.
-- (Not WITHOUT ROWID: a search in such a table reads whole rows, however long, to compare their keys.)
DROP TABLE cells;
DROP TABLE cell_parts;
DROP TABLE fact_log;
DROP TABLE cell_marks;
CREATE TABLE cells (
    axis TEXT NOT NULL,
    level TEXT NOT NULL,
    start INTEGER NOT NULL,
    key TEXT NOT NULL,
    counts BLOB NOT NULL,
    durations BLOB NOT NULL,
    PRIMARY KEY (axis, level, start, key)
);
-- One row, which whoever adds facts or cells writes first, so that two never do at once: the last fact there is, the last one that is in
-- cells, whether what is there of cells is to go before any is built, and the version of how cells and changes are written.
CREATE TABLE cell_marks (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    last_fact INTEGER NOT NULL,
    built_to INTEGER NOT NULL,
    stale BOOLEAN NOT NULL CHECK (stale IN (0, 1)),
    format INTEGER NOT NULL
);
INSERT INTO cell_marks (id, last_fact, built_to, stale, format) SELECT 1, coalesce(max(id), 0), 0, FALSE, 2 FROM facts;

-- Counters take what changes have added; those of clocks and of what there is to do are counted anew, by what is written down.
INSERT INTO tallies (series, labels, hour, n)
SELECT v.value ->> 0, v.value ->> 1, 0, sum(v.value ->> 3) FROM tally_deltas, json_each(deltas) v
WHERE v.value ->> 0 NOT IN ('waiting', 'clocks', 'clocks_breached') GROUP BY 1, 2
ON CONFLICT (series, labels, hour) DO UPDATE SET n = n + excluded.n;
DELETE FROM tally_deltas;
DELETE FROM tallies WHERE n = 0 OR series IN ('clocks', 'clocks_breached')
    OR (series LIKE 'waiting\_%' ESCAPE '\' AND series NOT LIKE 'waiting\_%\_reported' ESCAPE '\');
INSERT INTO tallies (series, labels, hour, n)
SELECT 'clocks_breached', json_array(target, priority), 0, count(*) FROM written WHERE state = 'breached' GROUP BY 2;
INSERT INTO tallies (series, labels, hour, n)
SELECT 'clocks', json_array(target, state), 0, count(*) FROM written WHERE NOT ended AND state <> 'met' GROUP BY 2;
DELETE FROM tallies WHERE series LIKE 'waiting\_%' ESCAPE '\';
CREATE TEMPORARY TABLE told AS
SELECT t.number, ',"' || t.status || '","' || t.priority || '",' || (t.assignee_id IS NOT NULL) || ','
    || coalesce((SELECT json_quote(state) FROM written w WHERE w.number = t.number AND target = 'response'), 'null') || ','
    || coalesce((SELECT json_quote(state) FROM written w WHERE w.number = t.number AND target = 'first_reply'), 'null') || ','
    || coalesce((SELECT json_quote(state) FROM written w WHERE w.number = t.number AND target = 'service'), 'null') || ']' AS stand,
    t.reported_at / 900000000 AS reported,
    CASE WHEN t.team_id IS NULL THEN 'null' ELSE '"' || lower(substr(hex(t.team_id), 1, 8) || '-' || substr(hex(t.team_id), 9, 4) || '-'
        || substr(hex(t.team_id), 13, 4) || '-' || substr(hex(t.team_id), 17, 4) || '-' || substr(hex(t.team_id), 21)) || '"' END AS team,
    '"' || t.priority || '"' AS priority, '"' || t.type || '"' AS type, '"' || t.channel || '"' AS channel,
    CASE WHEN t.assignee_id IS NULL THEN 'null' ELSE '"' || lower(substr(hex(t.assignee_id), 1, 8) || '-' || substr(hex(t.assignee_id), 9, 4) || '-'
        || substr(hex(t.assignee_id), 13, 4) || '-' || substr(hex(t.assignee_id), 17, 4) || '-' || substr(hex(t.assignee_id), 21)) || '"' END AS assignee,
    CASE WHEN c.policy_id IS NULL THEN 'null' ELSE '"' || lower(substr(hex(c.policy_id), 1, 8) || '-' || substr(hex(c.policy_id), 9, 4) || '-'
        || substr(hex(c.policy_id), 13, 4) || '-' || substr(hex(c.policy_id), 17, 4) || '-' || substr(hex(c.policy_id), 21)) || '"' END AS policy
FROM tickets t JOIN ticket_clocks c ON c.ticket_number = t.number WHERE t.resolved_at IS NULL;
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
DROP TABLE places;
DROP TABLE told;

-- From when on a clock will be broken, until that is written down.
UPDATE ticket_clocks SET response_breach_at = NULL WHERE ticket_number IN (SELECT number FROM written WHERE target = 'response' AND state = 'breached');
UPDATE ticket_clocks SET first_reply_breach_at = NULL WHERE ticket_number IN (SELECT number FROM written WHERE target = 'first_reply' AND state = 'breached');
UPDATE ticket_clocks SET service_breach_at = NULL WHERE ticket_number IN (SELECT number FROM written WHERE target = 'service' AND state = 'breached');
DROP TABLE written;
DROP INDEX ticket_clocks_by_resolved;
DROP INDEX ticket_clocks_by_response_met;
DROP INDEX ticket_clocks_by_first_reply_met;
DROP INDEX ticket_clocks_by_service_met;
DROP INDEX tickets_by_started;
DROP INDEX tickets_by_first_reply;
ALTER TABLE ticket_clocks DROP COLUMN response_met_at;
ALTER TABLE ticket_clocks DROP COLUMN first_reply_met_at;
ALTER TABLE ticket_clocks DROP COLUMN service_met_at;

-- All that are told apart by time are by quarters of an hour.
ALTER TABLE tallies RENAME COLUMN hour TO quarter;
