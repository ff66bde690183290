-- People whose new name their tickets show, while not all of these tell yet that something happened to them then.
CREATE TABLE renamed_people (
    principal_id uuid PRIMARY KEY REFERENCES principals (id) ON DELETE CASCADE,
    renamed_at timestamptz NOT NULL
);
CREATE FUNCTION note_renamed_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO renamed_people (principal_id, renamed_at) VALUES (NEW.id, NEW.updated_at)
        ON CONFLICT (principal_id) DO UPDATE SET renamed_at = excluded.renamed_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER people_are_renamed AFTER UPDATE OF name ON principals FOR EACH ROW
    WHEN (OLD.name <> NEW.name AND NEW.kind = 'person') EXECUTE FUNCTION note_renamed_person();
