-- Lists of tickets under a name: one's own, or shared with a team.
CREATE TABLE ticket_views (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL REFERENCES principals (id),
    team_id uuid REFERENCES teams (id) ON DELETE SET NULL,
    name text NOT NULL,
    -- The parameters of the list of tickets, as in a query.
    filter jsonb NOT NULL,
    sort text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL
);
CREATE INDEX ticket_views_by_owner ON ticket_views (owner_id, id);
CREATE INDEX ticket_views_by_team ON ticket_views (team_id, id);
CREATE INDEX ticket_views_shared ON ticket_views (id) WHERE team_id IS NOT NULL;
