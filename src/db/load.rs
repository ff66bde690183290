//! How busy a database is.

/// How busy the connections of this process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Connections that are open and do nothing.
    pub idle: usize,
    /// Connections that work.
    pub in_use: usize,
    /// How many there may be; on SQLite there is one for each thread that reads, and one that writes.
    pub max: Option<usize>,
    /// On SQLite, writes that wait for the writer.
    pub writes_waiting: Option<usize>,
}
