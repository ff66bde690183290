-- People and service accounts share one table: whatever acts has one id.
CREATE TABLE principals (
    id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('person', 'service_account')),
    name TEXT NOT NULL,
    email TEXT,
    role TEXT CHECK (role IN ('requester', 'agent', 'admin')),
    password_hash TEXT,
    issuer TEXT,
    subject TEXT,
    scopes TEXT,
    secret_hash TEXT,
    active BOOLEAN NOT NULL CHECK (active IN (0, 1)),
    anonymised_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CHECK ((kind = 'person') = (role IS NOT NULL)),
    CHECK ((kind = 'service_account') = (scopes IS NOT NULL AND secret_hash IS NOT NULL)),
    CHECK ((issuer IS NULL) = (subject IS NULL))
);
CREATE UNIQUE INDEX principals_email_key ON principals (email) WHERE email IS NOT NULL;
CREATE UNIQUE INDEX principals_subject_key ON principals (issuer, subject) WHERE issuer IS NOT NULL;
CREATE UNIQUE INDEX principals_account_name_key ON principals (name) WHERE kind = 'service_account' AND active;
CREATE INDEX principals_by_kind ON principals (kind, id);

-- One row for each refresh token ever given; a used one that comes back revokes its whole family.
CREATE TABLE refresh_tokens (
    token_hash TEXT NOT NULL PRIMARY KEY,
    family_id BLOB NOT NULL,
    principal_id BLOB NOT NULL REFERENCES principals (id),
    scopes TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_by_principal ON refresh_tokens (principal_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE teams (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
);
CREATE UNIQUE INDEX teams_name_key ON teams (name);

CREATE TABLE team_members (
    team_id BLOB NOT NULL REFERENCES teams (id),
    principal_id BLOB NOT NULL REFERENCES principals (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (team_id, principal_id)
) WITHOUT ROWID;
CREATE INDEX team_members_by_principal ON team_members (principal_id);

CREATE TABLE tickets (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    subject TEXT NOT NULL,
    description TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('new', 'open', 'waiting_requester', 'waiting_third_party', 'resolved', 'closed')),
    priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    priority_rank INTEGER NOT NULL GENERATED ALWAYS AS
        (CASE priority WHEN 'low' THEN 1 WHEN 'normal' THEN 2 WHEN 'high' THEN 3 ELSE 4 END) STORED,
    type TEXT NOT NULL CHECK (type IN ('incident', 'service_request', 'question', 'problem')),
    channel TEXT NOT NULL CHECK (channel IN ('api', 'web', 'email', 'phone', 'chat', 'counter', 'monitoring')),
    team_id BLOB REFERENCES teams (id),
    assignee_id BLOB REFERENCES principals (id),
    requester_id BLOB REFERENCES principals (id),
    created_by_id BLOB NOT NULL REFERENCES principals (id),
    external_id TEXT,
    follow_up_of BLOB REFERENCES tickets (id),
    tags TEXT NOT NULL,
    custom_fields TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    reported_at INTEGER NOT NULL,
    started_at INTEGER,
    first_replied_at INTEGER,
    resolved_at INTEGER,
    closed_at INTEGER,
    reopen_count INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT tickets_id_key UNIQUE (id)
);
CREATE UNIQUE INDEX tickets_external_id_key ON tickets (created_by_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX tickets_by_external_id ON tickets (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX tickets_by_created ON tickets (created_at, number);
CREATE INDEX tickets_by_updated ON tickets (updated_at, number);
CREATE INDEX tickets_by_priority ON tickets (priority_rank, number);
CREATE INDEX tickets_by_status ON tickets (status, created_at, number);
CREATE INDEX tickets_by_team ON tickets (team_id, created_at, number);
CREATE INDEX tickets_by_assignee ON tickets (assignee_id, created_at, number);
CREATE INDEX tickets_by_requester ON tickets (requester_id, created_at, number);
CREATE INDEX tickets_by_type ON tickets (type, created_at, number);
CREATE INDEX tickets_by_channel ON tickets (channel, created_at, number);
CREATE INDEX tickets_by_follow_up ON tickets (follow_up_of) WHERE follow_up_of IS NOT NULL;
CREATE INDEX tickets_to_close ON tickets (resolved_at) WHERE status = 'resolved';

CREATE TABLE ticket_tags (
    tag TEXT NOT NULL,
    ticket_number INTEGER NOT NULL REFERENCES tickets (number),
    PRIMARY KEY (tag, ticket_number)
) WITHOUT ROWID;
CREATE INDEX ticket_tags_by_ticket ON ticket_tags (ticket_number);

CREATE TABLE comments (
    id BLOB NOT NULL PRIMARY KEY,
    ticket_id BLOB NOT NULL REFERENCES tickets (id),
    author_id BLOB NOT NULL REFERENCES principals (id),
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'internal')),
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    edited_at INTEGER,
    redacted_at INTEGER,
    version INTEGER NOT NULL
);
CREATE INDEX comments_by_ticket ON comments (ticket_id, id);
CREATE INDEX comments_by_author ON comments (author_id);

-- The audit trail. Rows are added in the transaction of the change and never changed, but for the text of a redacted comment.
CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY,
    ticket_id BLOB NOT NULL REFERENCES tickets (id),
    at INTEGER NOT NULL,
    actor_id BLOB REFERENCES principals (id),
    kind TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'internal')),
    comment_id BLOB REFERENCES comments (id),
    changes TEXT NOT NULL
);
CREATE INDEX events_by_ticket ON events (ticket_id, id);
CREATE INDEX events_by_actor ON events (actor_id);
CREATE INDEX events_by_comment ON events (comment_id) WHERE comment_id IS NOT NULL;

-- Answers to requests that carried an Idempotency-Key, for 24 hours.
CREATE TABLE idempotency_keys (
    principal_id BLOB NOT NULL REFERENCES principals (id),
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (principal_id, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
