//! What every room speaks: ids, instants, closed vocabularies, text rules and the one type of error.
//! Pure; nothing here knows of HTTP or of a database connection.

pub mod clock;
pub mod fault;
mod field_error;
pub mod fields;
pub mod fold;
pub mod id;
pub mod instant;
pub mod json;
pub mod money;
pub mod patch;
pub mod problem;
pub mod requesters;
pub mod rows;
pub mod secret;
pub mod sql;
pub mod text;
pub mod vocabulary;
pub mod whole;
pub mod words;

pub use clock::Clock;
pub use field_error::FieldError;
pub use id::{
    AlertId, AlertSourceId, AnyId, CalendarId, CommentId, DeltaId, EventId, FileId, PolicyId, PrincipalId, TeamId,
    TicketId, TimeEntryId, ViewId, WebhookId,
};
pub use instant::Instant;
pub use money::{Currency, Money, MoneyInput, MoneyPatch, MoneyPatchInput};
pub use patch::{Patch, Set};
pub use problem::{Code, Problem};
pub use vocabulary::*;
