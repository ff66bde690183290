-- Files: what is known of each; its bytes lie where `store_key` says, in a folder or a bucket. It is attached to nothing
-- yet, to a ticket, or to a comment on that.
CREATE TABLE files (
    id BLOB NOT NULL PRIMARY KEY,
    uploaded_by_id BLOB NOT NULL REFERENCES principals (id),
    ticket_number INTEGER REFERENCES tickets (number),
    comment_id BLOB REFERENCES comments (id),
    name TEXT NOT NULL CHECK (length(name) <= 255),
    media_type TEXT NOT NULL,
    -- As what it is shown, if it is of the few kinds that are.
    inline_type TEXT,
    size_b INTEGER NOT NULL CHECK (size_b >= 0),
    sha256 BLOB NOT NULL,
    -- Null when the bytes are gone.
    store_key TEXT UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('unscanned', 'clean', 'infected', 'erasing')),
    origin TEXT NOT NULL CHECK (origin IN ('upload')),
    created_at INTEGER NOT NULL,
    attached_at INTEGER,
    -- When it is looked at next, while it is not scanned.
    scan_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CHECK ((ticket_number IS NULL) = (attached_at IS NULL)),
    CHECK (comment_id IS NULL OR ticket_number IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_uploader ON files (uploaded_by_id, created_at);
CREATE INDEX files_by_ticket ON files (ticket_number, id);
CREATE INDEX files_by_comment ON files (comment_id, id);
CREATE INDEX files_unattached ON files (created_at) WHERE ticket_number IS NULL;
CREATE INDEX files_to_do ON files (state, scan_at) WHERE state <> 'clean';

-- What each instance has written into the folder of files that it has, so that it shows whether all have the same.
CREATE TABLE file_probes (
    instance_id BLOB NOT NULL PRIMARY KEY,
    written_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
