-- People whose new name their tickets show, while not all of these tell yet that something happened to them then.
CREATE TABLE renamed_people (
    principal_id BLOB NOT NULL PRIMARY KEY REFERENCES principals (id) ON DELETE CASCADE,
    renamed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER people_are_renamed AFTER UPDATE OF name ON principals WHEN OLD.name <> NEW.name AND NEW.kind = 'person'
BEGIN
    INSERT INTO renamed_people (principal_id, renamed_at) VALUES (NEW.id, NEW.updated_at)
        ON CONFLICT (principal_id) DO UPDATE SET renamed_at = excluded.renamed_at;
END;
