-- Files: what is known of each; its bytes lie where `store_key` says, in a folder or a bucket. It is attached to nothing
-- yet, to a ticket, or to a comment on that.
CREATE TABLE files (
    id uuid PRIMARY KEY,
    uploaded_by_id uuid NOT NULL REFERENCES principals (id),
    ticket_number bigint REFERENCES tickets (number),
    comment_id uuid REFERENCES comments (id),
    name text NOT NULL CHECK (length(name) <= 255),
    media_type text NOT NULL,
    -- As what it is shown, if it is of the few kinds that are.
    inline_type text,
    size_b bigint NOT NULL CHECK (size_b >= 0),
    sha256 bytea NOT NULL,
    -- Null when the bytes are gone.
    store_key text UNIQUE,
    state text NOT NULL CHECK (state IN ('unscanned', 'clean', 'infected', 'erasing')),
    origin text NOT NULL CHECK (origin IN ('upload')),
    created_at timestamptz NOT NULL,
    attached_at timestamptz,
    -- When it is looked at next, while it is not scanned.
    scan_at timestamptz NOT NULL,
    version bigint NOT NULL,
    CHECK ((ticket_number IS NULL) = (attached_at IS NULL)),
    CHECK (comment_id IS NULL OR ticket_number IS NOT NULL)
);
CREATE INDEX files_by_uploader ON files (uploaded_by_id, created_at);
CREATE INDEX files_by_ticket ON files (ticket_number, id);
CREATE INDEX files_by_comment ON files (comment_id, id);
CREATE INDEX files_unattached ON files (created_at) WHERE ticket_number IS NULL;
CREATE INDEX files_to_do ON files (state, scan_at) WHERE state <> 'clean';

-- What each instance has written into the folder of files that it has, so that it shows whether all have the same.
CREATE TABLE file_probes (
    instance_id uuid PRIMARY KEY,
    written_at timestamptz NOT NULL
);
