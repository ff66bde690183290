-- What its creator's system calls a ticket is free again once the ticket is closed: a job that fails again a week later reports anew.
DROP INDEX tickets_external_id_key;
CREATE UNIQUE INDEX tickets_external_id_key ON tickets (created_by_id, external_id)
    WHERE external_id IS NOT NULL AND status <> 'closed';
-- There may be many of one name by then: they are found in the order of their creation.
DROP INDEX tickets_by_external_id;
CREATE INDEX tickets_by_external_id ON tickets (external_id, created_at, number) WHERE external_id IS NOT NULL;
