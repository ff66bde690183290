//! The common part of every endpoint: reading a call, conventions of lists, versions and idempotency, and answers.

pub mod call;
pub mod edge;
mod endpoints;
pub mod idempotency;
pub mod meter;
pub mod page;
pub mod problem;
pub mod query;
pub mod record;
pub mod reply;
pub mod seal;
pub mod trace;

pub use call::{Call, State};
pub use endpoints::Endpoints;
pub use page::{Cursor, Limit, Page};
pub use query::{Csv, Flag, PageQuery};
pub use reply::Reply;
pub use seal::Sealer;

/// What a handler gives.
pub type Answer = Result<Reply, crate::kernel::Problem>;
