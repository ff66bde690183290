//! What is said differently to each engine: how it reads the JSON of the changes of an event.

use diesel::sql_types::{Bool, Nullable, Text};

use crate::db::raw::{Raw, raw};
use crate::db::{Conn, EngineConn};
use crate::kernel::sql::JsonDocument;

/// The fields whose values are what somebody has written.
const TEXTS: &str = "('subject', 'description', 'custom_fields', 'external_id', 'body', 'note')";

/// The status that an event of a ticket gave it, if it gave it another.
pub fn new_status(conn: &Conn) -> Raw<Nullable<Text>> {
    raw(match conn.line {
        EngineConn::Sqlite(_) => {
            "(SELECT value ->> 'after' FROM json_each(events.changes) WHERE value ->> 'field' = 'status')"
        }
        EngineConn::Postgres(_) => {
            "(SELECT value ->> 'after' FROM jsonb_array_elements(events.changes) AS change (value) \
             WHERE value ->> 'field' = 'status')"
        }
    })
}

/// The changes of an event without what people have written, and whether there is any of it.
pub fn without_texts(conn: &Conn) -> (Raw<JsonDocument>, Raw<Bool>) {
    let (emptied, all) = match conn.line {
        EngineConn::Sqlite(_) => (
            format!(
                "(SELECT json_group_array(json(CASE WHEN value ->> 'field' IN {TEXTS} \
                 THEN json_object('field', value ->> 'field', 'before', NULL, 'after', NULL) ELSE value END)) \
                 FROM (SELECT value FROM json_each(events.changes) ORDER BY key))"
            ),
            "json_each(events.changes)",
        ),
        EngineConn::Postgres(_) => (
            format!(
                "(SELECT coalesce(jsonb_agg(CASE WHEN value ->> 'field' IN {TEXTS} \
                 THEN value || '{{\"before\": null, \"after\": null}}' ELSE value END ORDER BY place), '[]') \
                 FROM jsonb_array_elements(events.changes) WITH ORDINALITY AS change (value, place))"
            ),
            "jsonb_array_elements(events.changes) AS change (value)",
        ),
    };
    let has_texts = format!(
        "EXISTS (SELECT 1 FROM {all} WHERE value ->> 'field' IN {TEXTS} \
         AND coalesce(value ->> 'before', value ->> 'after') IS NOT NULL)"
    );
    (raw(emptied), raw(has_texts))
}
