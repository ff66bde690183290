//! Ids that cannot be mixed up: one type for each kind of thing, all UUIDv7 (RFC 9562), so that order by
//! id is order by creation.

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use uuid::Uuid;

use super::FieldError;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        #[diesel(sql_type = crate::kernel::sql::Guid)]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = FieldError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // Only the hyphenated form: an id has one spelling.
                match Uuid::try_parse(text) {
                    Ok(id) if text.len() == 36 => Ok(Self(id)),
                    _ => {
                        let detail = "must be a UUID such as 019a2f4e-7c1b-7d3e-8f00-1234567890ab";
                        Err(FieldError::from(detail).with("format", "uuid"))
                    }
                }
            }
        }

        $crate::kernel::fault::deserr_from_str!($name);
        $crate::kernel::sql::guid!($name);

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
                    .examples([serde_json::json!("019a2f4e-7c1b-7d3e-8f00-1234567890ab")])
                    .build()
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    )*};
}

ids! {
    /// Anything that has an id.
    AnyId;
    /// A ticket.
    TicketId;
    /// Somebody or something that can hold a token: a person or a service account.
    PrincipalId;
    /// A team: a queue of tickets and its members.
    TeamId;
    /// A comment on a ticket.
    CommentId;
    /// Work on a ticket.
    TimeEntryId;
    /// An entry of the audit trail.
    EventId;
    /// A calendar of working hours.
    CalendarId;
    /// An SLA policy.
    PolicyId;
    /// A webhook.
    WebhookId;
    /// A saved view of tickets.
    ViewId;
    /// A file.
    FileId;
    /// Where alerts come from.
    AlertSourceId;
    /// An alert.
    AlertId;
    /// What one change adds to the tallies.
    DeltaId;
}
