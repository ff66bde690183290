//! The common part of every endpoint: reading a call, conventions of lists, versions and idempotency, and answers.

pub mod accept;
pub mod call;
mod coding;
pub mod cursor;
pub mod edge;
mod endpoints;
pub mod fresh;
pub mod idempotency;
pub mod in_flight;
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
pub mod state;
pub mod table;
pub mod trace;
mod unread;
pub mod unsent;

pub use accept::MediaType;
pub use call::Call;
pub use cursor::Cursor;
pub use endpoints::Endpoints;
pub use limits::{Gate, Limits};
pub use page::Page;
pub use query::{Csv, Flag, PageQuery};
pub use reply::{Answer, Reader, Reply, Resource};
pub use seal::Sealer;
pub use state::State;
pub use table::{Table, TableWriter};
