-- What nobody of a team has taken yet, in the order of lists.
CREATE INDEX tickets_unassigned_by_team ON tickets (team_id, status, created_at, number) WHERE assignee_id IS NULL;
