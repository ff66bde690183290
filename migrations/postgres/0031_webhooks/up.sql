-- Where what happens is told to somebody else, each time it does.
CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    -- Whose eyes it sees with.
    principal_id uuid NOT NULL REFERENCES principals (id),
    url text NOT NULL,
    types jsonb NOT NULL,
    condition jsonb NOT NULL,
    include_ticket boolean NOT NULL,
    -- Sealed, and likewise the one before, as long as that is good, too.
    secret text NOT NULL,
    previous_secret text,
    previous_until timestamptz,
    state text NOT NULL CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason text CHECK (disabled_reason IN ('failing', 'gone', 'principal_revoked', 'secret_unreadable')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    -- What was removed goes with its deliveries, a piece at a time.
    deleted_at timestamptz,
    -- The last position of the change log that was handed out, or passed over.
    position bigint NOT NULL,
    -- How many attempts have failed in a row, since when, and until when none is made.
    failures integer NOT NULL,
    failing_since timestamptz,
    rests_until timestamptz,
    -- Which instance sends, and until when it alone does.
    leased_by uuid,
    leased_until timestamptz,
    CHECK ((state = 'disabled') = (disabled_reason IS NOT NULL)),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);
CREATE UNIQUE INDEX webhooks_name_key ON webhooks (name) WHERE deleted_at IS NULL;
CREATE INDEX webhooks_by_principal ON webhooks (principal_id);

-- What is to be sent, and what became of it. No text is kept: what is sent is written when it is sent.
CREATE TABLE webhook_deliveries (
    webhook_id uuid NOT NULL REFERENCES webhooks (id),
    position bigint NOT NULL,
    event_id uuid NOT NULL,
    ticket_number bigint,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts integer NOT NULL,
    due_at timestamptz NOT NULL,
    last_at timestamptz,
    last_status integer,
    last_error text,
    last_duration_ms bigint,
    settled_at timestamptz,
    PRIMARY KEY (webhook_id, position),
    CHECK ((state = 'pending') = (settled_at IS NULL))
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, position) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, state, position);
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (state, settled_at);
