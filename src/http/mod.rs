//! The common part of every endpoint: reading a call, conventions of lists, versions and idempotency, and answers.

pub mod call;
pub mod edge;
mod endpoints;
pub mod fresh;
pub mod idempotency;
pub mod jobs;
pub mod limits;
pub mod meter;
pub mod origin;
pub mod page;
pub mod problem;
pub mod query;
pub mod quota;
pub mod record;
pub mod reply;
pub mod seal;
pub mod trace;
mod unread;
pub mod unsent;

pub use call::{Call, State};
pub use endpoints::Endpoints;
pub use limits::{Gate, Limits};
pub use page::{Cursor, Limit, Page, Rows};
pub use query::{Csv, Flag, PageQuery};
pub use reply::{Reader, Reply, Resource};
pub use seal::Sealer;

/// What a handler gives.
pub type Answer = Result<Reply, crate::kernel::Problem>;
