-- Where alerts come from, and what becomes of them.
CREATE TABLE alert_sources (
    id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    -- Who alone may send, if anybody is named.
    principal_id uuid REFERENCES principals (id),
    team_id uuid REFERENCES teams (id) ON DELETE SET NULL,
    team_label text NOT NULL,
    ticket_type text COLLATE "C" NOT NULL CHECK (ticket_type IN ('incident', 'service_request', 'question', 'problem')),
    -- The priority of each severity.
    priorities jsonb NOT NULL,
    priority_default text COLLATE "C" NOT NULL CHECK (priority_default IN ('low', 'normal', 'high', 'urgent')),
    group_by text COLLATE "C" NOT NULL CHECK (group_by IN ('alert', 'group')),
    subject_template text,
    requester_id uuid REFERENCES principals (id),
    on_resolve text COLLATE "C" NOT NULL CHECK (on_resolve IN ('resolve_untouched', 'resolve', 'note')),
    reopen_within_s bigint NOT NULL,
    backdate_max_s bigint NOT NULL,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    -- What was removed goes with its alerts, a piece at a time.
    deleted_at timestamptz
);
CREATE UNIQUE INDEX alert_sources_name_key ON alert_sources (name) WHERE deleted_at IS NULL;
CREATE INDEX alert_sources_by_principal ON alert_sources (principal_id);
CREATE INDEX alert_sources_by_team ON alert_sources (team_id);
CREATE INDEX alert_sources_by_requester ON alert_sources (requester_id);

-- How many alerts of a source stand how, and how often what came of what it sent.
CREATE TABLE alert_counts (
    source_id uuid PRIMARY KEY REFERENCES alert_sources (id),
    firing bigint NOT NULL,
    resolved bigint NOT NULL,
    received_created bigint NOT NULL,
    received_updated bigint NOT NULL,
    received_reopened bigint NOT NULL,
    received_resolved bigint NOT NULL,
    received_unchanged bigint NOT NULL,
    received_ignored bigint NOT NULL
);

-- One row for each thing that a source tells of, which is one ticket at a time.
CREATE TABLE alerts (
    id uuid NOT NULL,
    source_id uuid NOT NULL REFERENCES alert_sources (id),
    dedupe_key text COLLATE "C" NOT NULL,
    ticket_number bigint REFERENCES tickets (number),
    state text COLLATE "C" NOT NULL CHECK (state IN ('firing', 'resolved')),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    last_seen_at timestamptz NOT NULL,
    times bigint NOT NULL,
    severity text,
    summary text NOT NULL,
    labels jsonb NOT NULL,
    annotations jsonb NOT NULL,
    links jsonb NOT NULL,
    -- How many alerts of a group fire.
    firing_count bigint NOT NULL,
    truncated boolean NOT NULL,
    truncated_alerts bigint NOT NULL,
    -- What it says was redacted with its ticket, and is not stored again.
    redacted boolean NOT NULL DEFAULT false,
    -- Up to which number of the ticket's trail all of it is the sender's own; nothing once somebody else has acted.
    own_to bigint,
    PRIMARY KEY (source_id, dedupe_key)
);
CREATE UNIQUE INDEX alerts_id_key ON alerts (id);
CREATE INDEX alerts_by_source ON alerts (source_id, id);
CREATE INDEX alerts_by_source_and_state ON alerts (source_id, state, id);
CREATE INDEX alerts_by_state ON alerts (state, id);
CREATE INDEX alerts_by_ticket ON alerts (ticket_number, id);
CREATE INDEX alerts_to_forget ON alerts (last_seen_at) WHERE state = 'resolved';

-- Of times that a ticket was solved, those by the end of its alert, on which nobody had worked: numbers leave them out
-- of durations. What cells come to is made anew.
ALTER TABLE facts ADD COLUMN is_by_alert boolean NOT NULL DEFAULT false;
UPDATE cell_marks SET built_to = 0, stale = EXISTS (SELECT 1 FROM facts), format = 3;
