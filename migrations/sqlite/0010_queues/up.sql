-- What a team has to do, however much it has done.
CREATE INDEX tickets_unsolved_by_team ON tickets (team_id, reported_at, number) WHERE resolved_at IS NULL;
