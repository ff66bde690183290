-- What a team has to do, however much it has done.
CREATE INDEX tickets_unsolved_by_team ON tickets (team_id, reported_at, number) WHERE resolved_at IS NULL;
-- Each search reads the list of new words, so it is kept short.
ALTER INDEX ticket_search_by_word SET (gin_pending_list_limit = 128);
