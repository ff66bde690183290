//! What every handler works with.

use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest};

use super::fresh::Writers;
use super::in_flight::InFlight;
use super::jobs::Jobs;
use super::seal::Sealer;
use crate::db::signal::Signal;
use crate::db::{Db, Deadline};
use crate::kernel::{Clock, Money};

/// What every handler works with.
#[derive(Clone)]
pub struct State {
    /// The database.
    pub db: Db,
    /// The source of time and ids.
    pub clock: Clock,
    /// The largest body that is read, in bytes.
    pub body_limit_b: usize,
    /// What an hour of work costs where neither agent nor team says so.
    pub default_rate: Option<Money>,
    /// Requests with an `Idempotency-Key` that this instance is working on.
    pub in_flight: InFlight,
    /// Seals the answers that are kept for an `Idempotency-Key`.
    pub sealer: Arc<Sealer>,
    /// Who has written through this instance lately.
    pub writers: Writers,
    /// What runs by itself in this process.
    pub jobs: Jobs,
    /// Given when the process is told to end: whoever waits for something to happen is answered at once.
    pub ending: Arc<Signal>,
}

impl State {
    /// Until when `request` may take: from when its head was read, for as long as requests wait for the database.
    pub fn deadline(&self, request: &HttpRequest) -> Deadline {
        request.extensions().get().copied().unwrap_or_else(|| Deadline::within(self.db.wait()))
    }
}
