-- What an hour of work costs: of a person, or of everybody whose tickets are in a team's queue.
ALTER TABLE principals ADD COLUMN hourly_rate_minor INTEGER CHECK (hourly_rate_minor >= 0);
ALTER TABLE principals ADD COLUMN hourly_rate_currency TEXT
    CHECK ((hourly_rate_minor IS NULL) = (hourly_rate_currency IS NULL));
ALTER TABLE teams ADD COLUMN hourly_rate_minor INTEGER CHECK (hourly_rate_minor >= 0);
ALTER TABLE teams ADD COLUMN hourly_rate_currency TEXT
    CHECK ((hourly_rate_minor IS NULL) = (hourly_rate_currency IS NULL));

-- Work on a ticket, with the rate that held when it was added and the cost that follows from it. Rows are added and
-- removed, never changed.
CREATE TABLE time_entries (
    id BLOB NOT NULL PRIMARY KEY,
    ticket_number INTEGER NOT NULL REFERENCES tickets (number),
    agent_id BLOB NOT NULL REFERENCES principals (id),
    created_by_id BLOB NOT NULL REFERENCES principals (id),
    work_s INTEGER NOT NULL CHECK (work_s > 0),
    rate_minor INTEGER CHECK (rate_minor >= 0),
    rate_currency TEXT,
    rate_of TEXT CHECK (rate_of IN ('agent', 'team', 'default')),
    cost_minor INTEGER CHECK (cost_minor >= 0),
    cost_currency TEXT,
    note TEXT,
    worked_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CHECK ((rate_minor IS NULL) = (rate_currency IS NULL)),
    CHECK ((rate_minor IS NULL) = (rate_of IS NULL)),
    CHECK ((rate_minor IS NULL) = (cost_minor IS NULL)),
    CHECK ((cost_minor IS NULL) = (cost_currency IS NULL))
);
CREATE INDEX time_entries_by_ticket ON time_entries (ticket_number, id);
CREATE INDEX time_entries_by_time ON time_entries (worked_at);
CREATE INDEX time_entries_by_agent ON time_entries (agent_id, worked_at);
CREATE INDEX time_entries_by_creator ON time_entries (created_by_id);
