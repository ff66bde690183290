//! Connections, and what makes those of a lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{Metrics, RecycleError, RecycleResult};
use diesel::ConnectionError;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::servers::{ServerLimits, Servers, Wire};
use crate::db::session::Session;

/// How long the server may take to hear that a statement is to be ended.
const PATIENCE_TO_CANCEL: Duration = Duration::from_secs(1);

/// One connection. Its statements are carried out in the order in which they are sent.
pub struct Backend {
    pub(super) session: Session,
    /// Set when the connection is gone.
    ended: Arc<AtomicBool>,
    /// Whether somebody is in the middle of something, a transaction for one, as far as is known here.
    pub(super) open: AtomicBool,
    /// How many requests have had their answers on it.
    pub(super) answered: AtomicU64,
    /// What carries its traffic, and how to end what it is asked.
    wire: Wire,
}

impl Backend {
    /// A connection with these `limits` whose traffic the current runtime carries, for as long as that lives. It counts
    /// by its `permit` until it has ended.
    async fn connect(
        servers: &Servers,
        limits: ServerLimits,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, ConnectionError> {
        let (client, wire) = servers.greet(limits, Some(permit)).await?;
        let session = Session::new(client, servers.listener.as_ref().map(|new| new()));
        let (ended, open, answered) = (wire.ended.clone(), AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { session, ended, open, answered, wire })
    }

    /// Ends what the server does on it, which would go on for nobody, and the connection.
    pub(super) fn break_off(&self) {
        if self.is_gone() {
            return;
        }
        self.retire();
        let Wire { cancel, tls, driver, runtime, .. } = self.wire.clone();
        runtime.spawn(async move {
            // What cannot be told ends by the server's own limits.
            drop(tokio::time::timeout(PATIENCE_TO_CANCEL, cancel.cancel_query(tls)).await);
            driver.abort();
        });
    }

    /// What queries run on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn is_gone(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Nobody uses it any more.
    pub(super) fn retire(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// Makes the connections of one lane, of which there are never more than so many.
#[derive(Clone)]
pub(super) struct Maker {
    servers: Servers,
    limits: ServerLimits,
    /// One for each connection; held until it has ended.
    permits: Arc<Semaphore>,
    /// Carries their traffic.
    driver: Handle,
}

impl Maker {
    pub(super) fn new(servers: &Servers, limits: ServerLimits, most: usize, driver: &Handle) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        Self { servers: servers.clone(), limits, permits, driver: driver.clone() }
    }

    pub(super) async fn make(&self) -> Result<Arc<Backend>, ConnectionError> {
        let broken = |e: &dyn ToString| ConnectionError::BadConnection(e.to_string());
        let permit = self.permits.clone().acquire_owned().await.map_err(|e| broken(&e))?;
        let (servers, limits) = (self.servers.clone(), self.limits);
        let connecting = self.driver.spawn(async move { Backend::connect(&servers, limits, permit).await });
        connecting.await.unwrap_or_else(|e| Err(broken(&e))).map(Arc::new)
    }
}

impl deadpool::managed::Manager for Maker {
    type Type = Arc<Backend>;
    type Error = ConnectionError;

    async fn create(&self) -> Result<Arc<Backend>, ConnectionError> {
        self.make().await
    }

    async fn recycle(&self, backend: &mut Arc<Backend>, _: &Metrics) -> RecycleResult<ConnectionError> {
        if backend.is_gone() { Err(RecycleError::message("it is gone")) } else { Ok(()) }
    }
}
