//! Signals within this process: that something has come, to whoever waits for it.

use tokio::sync::watch;

/// Wakes all who wait, and does not keep what it was for.
#[derive(Debug, Default)]
pub struct Signal(watch::Sender<()>);

impl Signal {
    /// Wakes all who wait now, and those who look later whether something has come since they began to listen.
    pub fn give(&self) {
        self.0.send_replace(());
    }

    /// Listens from now on.
    pub fn listen(&self) -> SignalListener {
        SignalListener(self.0.subscribe())
    }
}

/// Given when the change log has got more: by this process, and on PostgreSQL by any other, which says so by `NOTIFY`.
#[derive(Debug, Default)]
pub struct ChangesPublished(pub Signal);

/// The channel of PostgreSQL on which that is said.
pub const CHANGES_CHANNEL: &str = "skranke_changes";

/// Given when there is something to do for files: one to be scanned, or one whose bytes are to go.
#[derive(Debug, Default)]
pub struct FilesWaiting(pub Signal);

/// Somebody who listens.
#[derive(Debug)]
pub struct SignalListener(watch::Receiver<()>);

impl SignalListener {
    /// Waits until the signal is given, if it was not since this listens or was last told so.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left to give it.
            std::future::pending().await
        }
    }
}
