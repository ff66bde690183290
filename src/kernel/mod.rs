//! What every room speaks: ids, instants, closed vocabularies, text rules and the one type of error.
//! Pure; nothing here knows of HTTP or of a database connection.

pub mod clock;
pub mod fault;
pub mod fields;
pub mod id;
pub mod instant;
pub mod patch;
pub mod problem;
pub mod secret;
pub mod sql;
pub mod text;
pub mod words;

pub use clock::Clock;
pub use id::{CommentId, DeltaId, EventId, PrincipalId, TeamId, TicketId};
pub use instant::Instant;
pub use patch::{Patch, Set};
pub use problem::{Code, FieldError, Problem};
