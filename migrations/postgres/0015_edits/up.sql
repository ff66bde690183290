-- Edits of policies and calendars are numbered. A ticket tells which of them its clocks have followed last; an edit stays, with
-- all that held from its instant on, until every ticket that is not closed has followed it.
ALTER TABLE configuration ADD COLUMN edit bigint NOT NULL DEFAULT 0;
CREATE TABLE configuration_edits (
    number bigint NOT NULL PRIMARY KEY,
    generation uuid NOT NULL,
    edited_at timestamptz NOT NULL,
    contents jsonb NOT NULL
);
ALTER TABLE tickets ADD COLUMN followed_edit bigint NOT NULL DEFAULT 0;
CREATE INDEX tickets_by_edit ON tickets (followed_edit, number) WHERE status <> 'closed';
DROP INDEX tickets_unclosed;
