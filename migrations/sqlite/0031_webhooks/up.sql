-- Where what happens is told to somebody else, each time it does.
CREATE TABLE webhooks (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- Whose eyes it sees with.
    principal_id BLOB NOT NULL REFERENCES principals (id),
    url TEXT NOT NULL,
    types TEXT NOT NULL,
    condition TEXT NOT NULL,
    include_ticket BOOLEAN NOT NULL CHECK (include_ticket IN (0, 1)),
    -- Sealed, and likewise the one before, as long as that is good, too.
    secret TEXT NOT NULL,
    previous_secret TEXT,
    previous_until INTEGER,
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason TEXT CHECK (disabled_reason IN ('failing', 'gone', 'principal_revoked', 'secret_unreadable')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    -- What was removed goes with its deliveries, a piece at a time.
    deleted_at INTEGER,
    -- The last position of the change log that was handed out, or passed over.
    position INTEGER NOT NULL,
    -- How many attempts have failed in a row, since when, and until when none is made.
    failures INTEGER NOT NULL,
    failing_since INTEGER,
    rests_until INTEGER,
    -- Which instance sends, and until when it alone does.
    leased_by BLOB,
    leased_until INTEGER,
    CHECK ((state = 'disabled') = (disabled_reason IS NOT NULL)),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);
CREATE UNIQUE INDEX webhooks_name_key ON webhooks (name) WHERE deleted_at IS NULL;
CREATE INDEX webhooks_by_principal ON webhooks (principal_id);

-- What is to be sent, and what became of it. No text is kept: what is sent is written when it is sent.
CREATE TABLE webhook_deliveries (
    webhook_id BLOB NOT NULL REFERENCES webhooks (id),
    position INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    ticket_number INTEGER,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    last_at INTEGER,
    last_status INTEGER,
    last_error TEXT,
    last_duration_ms INTEGER,
    settled_at INTEGER,
    PRIMARY KEY (webhook_id, position),
    CHECK ((state = 'pending') = (settled_at IS NULL))
) WITHOUT ROWID;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, position) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, state, position);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (state, settled_at);
