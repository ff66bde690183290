-- One row. Its generation changes with each change of the configuration that other writes rely on.
CREATE TABLE configuration (
    id integer NOT NULL PRIMARY KEY CHECK (id = 1),
    generation uuid NOT NULL
);
INSERT INTO configuration (id, generation) VALUES (1, '00000000-0000-0000-0000-000000000000');

-- What holds now; every version that ever held is kept beside it, for the clocks that it judged.
CREATE TABLE calendars (
    id uuid NOT NULL PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    is_default boolean NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL
);
CREATE UNIQUE INDEX calendars_name_key ON calendars (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX calendars_default_key ON calendars (is_default) WHERE is_default;
CREATE TABLE calendar_versions (
    calendar_id uuid NOT NULL REFERENCES calendars (id),
    version bigint NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (calendar_id, version)
);

CREATE TABLE sla_policies (
    id uuid NOT NULL PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    calendar_id uuid REFERENCES calendars (id),
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL
);
CREATE UNIQUE INDEX sla_policies_name_key ON sla_policies (name) WHERE deleted_at IS NULL;
CREATE INDEX sla_policies_by_position ON sla_policies (position, id);
CREATE INDEX sla_policies_by_calendar ON sla_policies (calendar_id);
CREATE TABLE sla_policy_versions (
    policy_id uuid NOT NULL REFERENCES sla_policies (id),
    version bigint NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (policy_id, version)
);

-- How many public comments agents have written, but for those on tickets of their own.
ALTER TABLE tickets ADD COLUMN agent_comments integer NOT NULL DEFAULT 0;
UPDATE tickets SET agent_comments = (
    SELECT count(*) FROM comments c JOIN principals p ON p.id = c.author_id
    WHERE c.ticket_id = tickets.id AND c.visibility = 'public' AND p.role IN ('agent', 'admin')
    AND c.author_id IS DISTINCT FROM tickets.requester_id);

-- The times of each ticket, measured and promised. A clock is breached from `…_breach_at` on, whether or not anything has
-- been written since; it was met at `…_met_at`; with neither it is paused, or there is none.
CREATE TABLE ticket_clocks (
    ticket_number bigint NOT NULL PRIMARY KEY REFERENCES tickets (number),
    policy_id uuid REFERENCES sla_policies (id),
    timeline jsonb NOT NULL,
    clocks jsonb NOT NULL,
    due_at timestamptz NOT NULL,
    breach_at timestamptz,
    last_resolved_at timestamptz,
    response_business_s bigint,
    first_reply_business_s bigint,
    service_s bigint,
    service_business_s bigint,
    resolution_s bigint,
    resolution_business_s bigint,
    response_breach_at timestamptz,
    response_met_at timestamptz,
    first_reply_breach_at timestamptz,
    first_reply_met_at timestamptz,
    service_breach_at timestamptz,
    service_met_at timestamptz
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
SELECT number, timeline, '[]', '9999-12-30T22:00:00Z',
    (SELECT to_timestamp(0) + max((v.value ->> 1)::bigint) * interval '1 microsecond'
        FROM jsonb_array_elements(timeline) v WHERE v.value ->> 0 = 'resolved'),
    floor(extract(epoch FROM started_at - reported_at)), floor(extract(epoch FROM first_replied_at - reported_at)), service_s, service_s,
    floor(extract(epoch FROM resolved_at - reported_at)), floor(extract(epoch FROM resolved_at - reported_at))
FROM (
    SELECT t.*,
        CASE WHEN t.resolved_at IS NOT NULL THEN (
            SELECT coalesce(sum(until - at), 0)::bigint / 1000000 FROM (
                SELECT v.value ->> 0 AS status, (v.value ->> 1)::bigint AS at, lead((v.value ->> 1)::bigint) OVER (ORDER BY v.place) AS until
                FROM jsonb_array_elements(t.timeline) WITH ORDINALITY v (value, place)) s WHERE status = 'open') END AS service_s
    FROM (
        SELECT tickets.*,
            (SELECT jsonb_agg(jsonb_build_array(c.value ->> 'after', (extract(epoch FROM
                    CASE WHEN c.value ->> 'before' IS NULL THEN tickets.reported_at ELSE e.at END) * 1000000)::bigint) ORDER BY e.id)
                FROM events e, jsonb_array_elements(e.changes) c
                WHERE e.ticket_id = tickets.id AND c.value ->> 'field' = 'status') AS timeline
        FROM tickets) t) u;
