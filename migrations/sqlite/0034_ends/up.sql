-- Tickets by when they were resolved or closed, those of a policy in the order of their creation, and those that are dated
-- back: all others were reported when they were created.
CREATE INDEX tickets_by_resolved ON tickets (resolved_at, number) WHERE resolved_at IS NOT NULL;
CREATE INDEX tickets_by_closed ON tickets (closed_at, number) WHERE closed_at IS NOT NULL;
CREATE INDEX tickets_dated_back ON tickets (created_at, number) WHERE reported_at < created_at;
DROP INDEX ticket_clocks_by_policy;
CREATE INDEX ticket_clocks_by_policy ON ticket_clocks (policy_id, created_at, ticket_number);
