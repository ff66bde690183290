-- When something happened last that only staff see: an internal comment, or work. Nothing, if nothing did since this was kept.
ALTER TABLE tickets ADD COLUMN internal_at INTEGER;
-- When anything happened last.
ALTER TABLE tickets ADD COLUMN activity_at INTEGER NOT NULL
    GENERATED ALWAYS AS (max(updated_at, coalesce(internal_at, updated_at))) VIRTUAL;
CREATE INDEX tickets_by_activity ON tickets (activity_at, number);
CREATE INDEX tickets_by_status_activity ON tickets (status, activity_at, number);
