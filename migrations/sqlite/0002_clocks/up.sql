-- One row. Its generation changes with each change of the configuration that other writes rely on.
CREATE TABLE configuration (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    generation BLOB NOT NULL
);
INSERT INTO configuration (id, generation) VALUES (1, zeroblob(16));

-- What holds now; every version that ever held is kept beside it, for the clocks that it judged.
CREATE TABLE calendars (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    is_default BOOLEAN NOT NULL CHECK (is_default IN (0, 1)),
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    version INTEGER NOT NULL
);
CREATE UNIQUE INDEX calendars_name_key ON calendars (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX calendars_default_key ON calendars (is_default) WHERE is_default;
CREATE TABLE calendar_versions (
    calendar_id BLOB NOT NULL REFERENCES calendars (id),
    version INTEGER NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (calendar_id, version)
) WITHOUT ROWID;

CREATE TABLE sla_policies (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    calendar_id BLOB REFERENCES calendars (id),
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    version INTEGER NOT NULL
);
CREATE UNIQUE INDEX sla_policies_name_key ON sla_policies (name) WHERE deleted_at IS NULL;
CREATE INDEX sla_policies_by_position ON sla_policies (position, id);
CREATE INDEX sla_policies_by_calendar ON sla_policies (calendar_id);
CREATE TABLE sla_policy_versions (
    policy_id BLOB NOT NULL REFERENCES sla_policies (id),
    version INTEGER NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (policy_id, version)
) WITHOUT ROWID;

-- How many public comments agents have written, but for those on tickets of their own.
ALTER TABLE tickets ADD COLUMN agent_comments INTEGER NOT NULL DEFAULT 0;
UPDATE tickets SET agent_comments = (
    SELECT count(*) FROM comments c JOIN principals p ON p.id = c.author_id
    WHERE c.ticket_id = tickets.id AND c.visibility = 'public' AND p.role IN ('agent', 'admin')
    AND c.author_id IS NOT tickets.requester_id);

-- The times of each ticket, measured and promised. A clock is breached from `…_breach_at` on, whether or not anything has
-- been written since; it was met at `…_met_at`; with neither it is paused, or there is none.
CREATE TABLE ticket_clocks (
    ticket_number INTEGER NOT NULL PRIMARY KEY REFERENCES tickets (number),
    policy_id BLOB REFERENCES sla_policies (id),
    timeline TEXT NOT NULL,
    clocks TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    breach_at INTEGER,
    last_resolved_at INTEGER,
    response_business_s INTEGER,
    first_reply_business_s INTEGER,
    service_s INTEGER,
    service_business_s INTEGER,
    resolution_s INTEGER,
    resolution_business_s INTEGER,
    response_breach_at INTEGER,
    response_met_at INTEGER,
    first_reply_breach_at INTEGER,
    first_reply_met_at INTEGER,
    service_breach_at INTEGER,
    service_met_at INTEGER
);
CREATE INDEX ticket_clocks_by_policy ON ticket_clocks (policy_id);
CREATE INDEX ticket_clocks_by_due ON ticket_clocks (due_at, ticket_number);
CREATE INDEX ticket_clocks_by_breach ON ticket_clocks (breach_at) WHERE breach_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_resolved ON ticket_clocks (last_resolved_at) WHERE last_resolved_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_response_breach ON ticket_clocks (response_breach_at) WHERE response_breach_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_response_met ON ticket_clocks (response_met_at) WHERE response_met_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_first_reply_breach ON ticket_clocks (first_reply_breach_at) WHERE first_reply_breach_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_first_reply_met ON ticket_clocks (first_reply_met_at) WHERE first_reply_met_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_service_breach ON ticket_clocks (service_breach_at) WHERE service_breach_at IS NOT NULL;
CREATE INDEX ticket_clocks_by_service_met ON ticket_clocks (service_met_at) WHERE service_met_at IS NOT NULL;
CREATE INDEX tickets_unclosed ON tickets (number) WHERE status <> 'closed';
CREATE INDEX tickets_by_started ON tickets (started_at) WHERE started_at IS NOT NULL;
CREATE INDEX tickets_by_first_reply ON tickets (first_replied_at) WHERE first_replied_at IS NOT NULL;

-- Tickets from before: their trail tells how they went. There was no calendar, so business time was all time.
INSERT INTO ticket_clocks (
    ticket_number, timeline, clocks, due_at, last_resolved_at, response_business_s, first_reply_business_s,
    service_s, service_business_s, resolution_s, resolution_business_s)
SELECT number, timeline, '[]', 253402207200000000,
    (SELECT max(v.value ->> 1) FROM json_each(timeline) v WHERE v.value ->> 0 = 'resolved'),
    (started_at - reported_at) / 1000000, (first_replied_at - reported_at) / 1000000, service_s, service_s,
    (resolved_at - reported_at) / 1000000, (resolved_at - reported_at) / 1000000
FROM (
    SELECT t.*,
        CASE WHEN t.resolved_at IS NOT NULL THEN (
            SELECT coalesce(sum(until - at), 0) / 1000000 FROM (
                SELECT v.value ->> 0 AS status, v.value ->> 1 AS at, lead(v.value ->> 1) OVER (ORDER BY v.key) AS until
                FROM json_each(t.timeline) v) WHERE status = 'open') END AS service_s
    FROM (
        SELECT tickets.*,
            (SELECT json_group_array(json_array(status, at)) FROM (
                SELECT c.value ->> 'after' AS status, CASE WHEN c.value ->> 'before' IS NULL THEN tickets.reported_at ELSE e.at END AS at
                FROM events e, json_each(e.changes) c
                WHERE e.ticket_id = tickets.id AND c.value ->> 'field' = 'status' ORDER BY e.id)) AS timeline
        FROM tickets) t);
