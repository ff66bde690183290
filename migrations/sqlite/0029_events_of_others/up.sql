-- Events about something else than a ticket, such as a person. No row is written again.
ALTER TABLE events ALTER COLUMN ticket_id DROP NOT NULL;
ALTER TABLE events ADD COLUMN subject_kind TEXT;
ALTER TABLE events ADD COLUMN subject_id BLOB;
-- Whether it happened here (live) or is told of elsewhere.
ALTER TABLE events ADD COLUMN origin TEXT NOT NULL DEFAULT 'live';
