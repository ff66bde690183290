-- Lists begin with what is asked for and go on in the order of the list, so that a page is a short range however many
-- tickets there are. Most ask for a status, too, and there are few of them: without one, a list is merged from a range of
-- each.
DROP INDEX tickets_by_team;
DROP INDEX tickets_by_assignee;
DROP INDEX tickets_by_type;
DROP INDEX tickets_by_channel;
CREATE INDEX tickets_by_status_updated ON tickets (status, updated_at, number);
CREATE INDEX tickets_by_status_priority ON tickets (status, priority_rank, number);
CREATE INDEX tickets_by_priority_created ON tickets (priority, status, created_at, number);
CREATE INDEX tickets_by_team ON tickets (team_id, status, created_at, number);
CREATE INDEX tickets_by_assignee ON tickets (assignee_id, status, created_at, number);
CREATE INDEX tickets_by_type ON tickets (type, status, created_at, number);
CREATE INDEX tickets_by_channel ON tickets (channel, status, created_at, number);

-- A tag's tickets, in the order of their creation.
CREATE TABLE tagged (
    tag text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    ticket_number bigint NOT NULL REFERENCES tickets (number)
);
INSERT INTO tagged (tag, created_at, ticket_number)
SELECT tag, created_at, ticket_number FROM ticket_tags JOIN tickets ON number = ticket_number;
DROP TABLE ticket_tags;
ALTER TABLE tagged RENAME TO ticket_tags;
ALTER TABLE ticket_tags ADD CONSTRAINT ticket_tags_pkey PRIMARY KEY (tag, created_at, ticket_number);
ALTER TABLE ticket_tags RENAME CONSTRAINT tagged_ticket_number_fkey TO ticket_tags_ticket_number_fkey;
CREATE INDEX ticket_tags_by_ticket ON ticket_tags (ticket_number);

-- The ticket's, which never changes: what is late is listed in this order.
ALTER TABLE ticket_clocks ADD COLUMN created_at timestamptz NOT NULL DEFAULT 'epoch';
UPDATE ticket_clocks SET created_at = tickets.created_at FROM tickets WHERE number = ticket_number;
CREATE INDEX ticket_clocks_by_created ON ticket_clocks (created_at, ticket_number, breach_at) WHERE breach_at IS NOT NULL;
DROP INDEX ticket_clocks_by_breach;
CREATE INDEX ticket_clocks_by_breach ON ticket_clocks (breach_at, ticket_number) WHERE breach_at IS NOT NULL;
