-- Where alerts come from, and what becomes of them.
CREATE TABLE alert_sources (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- Who alone may send, if anybody is named.
    principal_id BLOB REFERENCES principals (id),
    team_id BLOB REFERENCES teams (id) ON DELETE SET NULL,
    team_label TEXT NOT NULL,
    ticket_type TEXT NOT NULL CHECK (ticket_type IN ('incident', 'service_request', 'question', 'problem')),
    -- The priority of each severity.
    priorities TEXT NOT NULL,
    priority_default TEXT NOT NULL CHECK (priority_default IN ('low', 'normal', 'high', 'urgent')),
    group_by TEXT NOT NULL CHECK (group_by IN ('alert', 'group')),
    subject_template TEXT,
    requester_id BLOB REFERENCES principals (id),
    on_resolve TEXT NOT NULL CHECK (on_resolve IN ('resolve_untouched', 'resolve', 'note')),
    reopen_within_s INTEGER NOT NULL,
    backdate_max_s INTEGER NOT NULL,
    enabled BOOLEAN NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    -- What was removed goes with its alerts, a piece at a time.
    deleted_at INTEGER
);
CREATE UNIQUE INDEX alert_sources_name_key ON alert_sources (name) WHERE deleted_at IS NULL;
CREATE INDEX alert_sources_by_principal ON alert_sources (principal_id);
CREATE INDEX alert_sources_by_team ON alert_sources (team_id);
CREATE INDEX alert_sources_by_requester ON alert_sources (requester_id);

-- How many alerts of a source stand how, and how often what came of what it sent.
CREATE TABLE alert_counts (
    source_id BLOB NOT NULL PRIMARY KEY REFERENCES alert_sources (id),
    firing INTEGER NOT NULL,
    resolved INTEGER NOT NULL,
    received_created INTEGER NOT NULL,
    received_updated INTEGER NOT NULL,
    received_reopened INTEGER NOT NULL,
    received_resolved INTEGER NOT NULL,
    received_unchanged INTEGER NOT NULL,
    received_ignored INTEGER NOT NULL
) WITHOUT ROWID;

-- One row for each thing that a source tells of, which is one ticket at a time.
CREATE TABLE alerts (
    id BLOB NOT NULL,
    source_id BLOB NOT NULL REFERENCES alert_sources (id),
    dedupe_key TEXT NOT NULL,
    ticket_number INTEGER REFERENCES tickets (number),
    state TEXT NOT NULL CHECK (state IN ('firing', 'resolved')),
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    last_seen_at INTEGER NOT NULL,
    times INTEGER NOT NULL,
    severity TEXT,
    summary TEXT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    links TEXT NOT NULL,
    -- How many alerts of a group fire.
    firing_count INTEGER NOT NULL,
    truncated BOOLEAN NOT NULL CHECK (truncated IN (0, 1)),
    truncated_alerts INTEGER NOT NULL,
    -- What it says was redacted with its ticket, and is not stored again.
    redacted BOOLEAN NOT NULL DEFAULT FALSE CHECK (redacted IN (0, 1)),
    -- Up to which number of the ticket's trail all of it is the sender's own; nothing once somebody else has acted.
    own_to INTEGER,
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
ALTER TABLE facts ADD COLUMN is_by_alert BOOLEAN NOT NULL DEFAULT FALSE CHECK (is_by_alert IN (0, 1));
UPDATE cell_marks SET built_to = 0, stale = EXISTS (SELECT 1 FROM facts), format = 3;
