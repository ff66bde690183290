//! The doors to storage, `read`, `snapshot` and `write`, and what stands behind them on each engine.

mod conn;
mod database;
mod deadline;
pub mod fault;
mod interrupt;
pub mod lanes;
pub mod lease;
mod load;
pub mod lock;
pub mod migrate;
mod postgres;
mod queue;
pub mod raw;
mod replica;
mod root;
mod run;
pub mod schema;
mod session;
pub mod signal;
mod slow;
mod sqlite;
mod steady;
mod turns;
mod url;

pub use conn::{Conn, boxed};
pub(crate) use conn::{EngineConn, load_free, load_locked, on_each, send};
pub use database::{Db, Lagging, copy_sqlite, look};
pub use deadline::{Deadline, MORE_FOR_REPORTS_S};
pub use load::Load;
pub use root::{Root, Roots};
pub use run::{RunQueryDsl, Runs};
pub(crate) use session::Session;
pub use slow::{Listener, slow_queries};
pub(crate) use steady::run_quietly;
pub use steady::steady;
pub use url::DatabaseUrl;
