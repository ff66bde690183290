-- What was imported, by where it came from and by what it was called there: the same again changes nothing, and more of it goes on.
CREATE TABLE imported (
    source TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('person', 'ticket')),
    external_id TEXT NOT NULL,
    principal_id BLOB REFERENCES principals (id),
    ticket_number INTEGER REFERENCES tickets (number),
    -- How many entries of its past were taken, what they said, and how long the ticket's trail was then.
    entries INTEGER NOT NULL,
    digest TEXT NOT NULL,
    trail INTEGER NOT NULL,
    PRIMARY KEY (source, kind, external_id),
    CHECK ((kind = 'person') = (principal_id IS NOT NULL)),
    CHECK ((kind = 'ticket') = (ticket_number IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX imported_by_principal ON imported (principal_id) WHERE principal_id IS NOT NULL;
CREATE INDEX imported_by_ticket ON imported (ticket_number) WHERE ticket_number IS NOT NULL;

-- What is promised about a ticket that was imported counts from then on: before, nobody had promised anything.
ALTER TABLE ticket_clocks ADD COLUMN promised_from INTEGER;

-- Whether what was imported is told, too.
ALTER TABLE webhooks ADD COLUMN include_imported BOOLEAN NOT NULL DEFAULT FALSE CHECK (include_imported IN (0, 1));
