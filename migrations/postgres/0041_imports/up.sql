-- What was imported, by where it came from and by what it was called there: the same again changes nothing, and more of it goes on.
CREATE TABLE imported (
    source text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('person', 'ticket')),
    external_id text COLLATE "C" NOT NULL,
    principal_id uuid REFERENCES principals (id),
    ticket_number bigint REFERENCES tickets (number),
    -- How many entries of its past were taken, what they said, and how long the ticket's trail was then.
    entries bigint NOT NULL,
    digest text NOT NULL,
    trail bigint NOT NULL,
    PRIMARY KEY (source, kind, external_id),
    CHECK ((kind = 'person') = (principal_id IS NOT NULL)),
    CHECK ((kind = 'ticket') = (ticket_number IS NOT NULL))
);
CREATE INDEX imported_by_principal ON imported (principal_id) WHERE principal_id IS NOT NULL;
CREATE INDEX imported_by_ticket ON imported (ticket_number) WHERE ticket_number IS NOT NULL;

-- What is promised about a ticket that was imported counts from then on: before, nobody had promised anything.
ALTER TABLE ticket_clocks ADD COLUMN promised_from timestamptz;

-- Whether what was imported is told, too.
ALTER TABLE webhooks ADD COLUMN include_imported boolean NOT NULL DEFAULT false;
