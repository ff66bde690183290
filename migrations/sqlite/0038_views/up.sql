-- Lists of tickets under a name: one's own, or shared with a team.
CREATE TABLE ticket_views (
    id BLOB NOT NULL PRIMARY KEY,
    owner_id BLOB NOT NULL REFERENCES principals (id),
    team_id BLOB REFERENCES teams (id) ON DELETE SET NULL,
    name TEXT NOT NULL,
    -- The parameters of the list of tickets, as in a query.
    filter TEXT NOT NULL,
    sort TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ticket_views_by_owner ON ticket_views (owner_id, id);
CREATE INDEX ticket_views_by_team ON ticket_views (team_id, id);
CREATE INDEX ticket_views_shared ON ticket_views (id) WHERE team_id IS NOT NULL;
