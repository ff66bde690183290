-- Events about something else than a ticket, such as a person. No row is written again.
ALTER TABLE events ALTER COLUMN ticket_id DROP NOT NULL;
ALTER TABLE events ADD COLUMN subject_kind text, ADD COLUMN subject_id uuid;
-- Whether it happened here (live) or is told of elsewhere.
ALTER TABLE events ADD COLUMN origin text NOT NULL DEFAULT 'live';

-- Those have no version of a ticket, and are put into the inbox by whoever writes them.
DROP TRIGGER events_of_older_version ON events;
CREATE TRIGGER events_of_older_version BEFORE INSERT ON events
    FOR EACH ROW WHEN (NEW.ticket_version IS NULL AND NEW.subject_id IS NULL) EXECUTE FUNCTION log_event_of_older_version();
