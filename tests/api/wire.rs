//! What stands between a service and whom it talks to: a plain TCP proxy that can be told to misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes each connection on to the next of its targets, and knows nothing of what is said on it.
pub struct Proxy {
    pub address: SocketAddr,
    faults: Arc<Faults>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Cut the next connection on which a COMMIT is sent: it arrives, but its answer does not.
    swallows_commit: AtomicBool,
    /// Take no more of what is said, in neither direction, and let nobody know.
    is_silent: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    pub async fn to(targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::<Faults>::default();
        let shared = faults.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let nth = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (target, faults) = (targets[nth % targets.len()], shared.clone());
                tokio::spawn(async move { pass(client, target, &faults).await });
            }
        });
        Self { address, faults, task }
    }

    pub fn swallow_commit(&self) {
        self.faults.swallows_commit.store(true, Ordering::SeqCst);
    }

    /// As a host that has lost its network.
    pub fn be_silent(&self, silent: bool) {
        self.faults.is_silent.store(silent, Ordering::SeqCst);
    }

    pub fn connections(&self) -> usize {
        self.faults.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, target: SocketAddr, faults: &Faults) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let is_swallowed = AtomicBool::new(false);
    let says_commit = |bytes: &[u8]| bytes.windows(6).any(|word| word == b"COMMIT");
    let forth = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let Ok(n @ 1..) = from_client.read(&mut bytes).await else { return };
            hold(faults).await;
            if says_commit(&bytes[..n]) && faults.swallows_commit.swap(false, Ordering::SeqCst) {
                is_swallowed.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&bytes[..n]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let Ok(n @ 1..) = from_server.read(&mut bytes).await else { return };
            hold(faults).await;
            if is_swallowed.load(Ordering::SeqCst) {
                // Cut when the server has said that it is done, and nobody has heard it.
                if says_commit(&bytes[..n]) {
                    return;
                }
            } else if to_client.write_all(&bytes[..n]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}

async fn hold(faults: &Faults) {
    while faults.is_silent.load(Ordering::SeqCst) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
