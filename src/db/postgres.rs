//! PostgreSQL: a pool of connections by a pure Rust client with rustls.

use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use futures_util::FutureExt;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Load;
use super::conn::{Conn, Kept, Line};
use crate::kernel::Problem;

/// How often a transaction that lost against another is done again before the caller hears of it.
const ATTEMPTS: u32 = 8;

/// Whether other writes may be at work meanwhile.
#[derive(Clone, Copy)]
pub enum Company {
    /// They may.
    Welcome,
    /// They wait.
    None,
}

impl Company {
    /// Takes the lock before the snapshot is taken (`LOCK` takes none), so that whoever waited for it sees all that was
    /// written meanwhile. Reads are never kept waiting.
    fn begin(self) -> &'static str {
        match self {
            Company::Welcome => "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE configuration IN ROW SHARE MODE",
            Company::None => "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE configuration IN EXCLUSIVE MODE",
        }
    }
}

/// The doors to one PostgreSQL primary.
pub struct Postgres {
    pool: Pool<AsyncPgConnection>,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    kept: Arc<Kept>,
}

impl Postgres {
    /// A pool of at most `size` connections to `url`; connects on first use.
    ///
    /// # Errors
    /// A sentence about what is wrong with the URL.
    pub fn open(url: &str, size: usize, wait: Duration) -> Result<Arc<Self>, String> {
        let config = parse(url)?;
        let tls = tls();
        // Connections are driven by the runtime that opens the pool, so that they outlive a single worker.
        let driver = tokio::runtime::Handle::current();
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        let setup = (config.clone(), tls.clone());
        manager.custom_setup = Box::new(move |_| {
            let (config, tls) = setup.clone();
            let connecting = driver.spawn(async move { connect(&config, &tls).await });
            async move { connecting.await.unwrap_or_else(|e| Err(ConnectionError::BadConnection(e.to_string()))) }
                .boxed()
        });
        let pool = Pool::builder(AsyncDieselConnectionManager::new_with_config(url, manager))
            .max_size(size)
            .wait_timeout(Some(wait))
            .create_timeout(Some(wait))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Arc::new(Self { pool, config, tls, kept: Arc::default() }))
    }

    /// How busy the pool is.
    pub fn load(&self) -> Load {
        let status = self.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        Load { idle: status.available, in_use, max: Some(status.max_size), writes_waiting: None }
    }

    /// Runs `work` on a pooled connection, each statement for itself.
    pub async fn read<T>(&self, work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
        let mut conn = self.connection().await?;
        work(&mut conn).await
    }

    /// Runs `work` in a transaction that cannot write and sees one state throughout. It loses against nobody.
    pub async fn snapshot<T>(&self, work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
        self.transaction(work, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// Runs `work` in a transaction of isolation REPEATABLE READ: whoever loses against another starts again, so
    /// that `work` may read, judge and write without locking.
    pub async fn write<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        company: Company,
    ) -> Result<T, Problem> {
        let mut attempt = 1;
        loop {
            match self.transaction(work, company.begin()).await {
                Err(problem) if problem.is_transient() && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn transaction<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        begin: &str,
    ) -> Result<T, Problem> {
        let mut conn = self.connection().await?;
        let Line::Postgres(pooled) = &mut conn.line else { unreachable!("the pool is PostgreSQL's") };
        AnsiTransactionManager::begin_transaction_sql(&mut ***pooled, begin).await?;
        let outcome = work(&mut conn).await;
        let Line::Postgres(pooled) = &mut conn.line else { unreachable!("the pool is PostgreSQL's") };
        match outcome {
            Ok(value) => {
                AnsiTransactionManager::commit_transaction(&mut ***pooled).await?;
                Ok(value)
            }
            Err(problem) => {
                // A rollback that fails breaks the connection, and the pool drops it: the change is undone either way.
                if let Err(error) = AnsiTransactionManager::rollback_transaction(&mut ***pooled).await {
                    tracing::warn!(cause = %error, "rollback failed");
                }
                Err(problem)
            }
        }
    }

    /// A connection of its own, outside the pool: for migrations, which hold a lock for as long as it lives.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn detached(&self) -> Result<AsyncPgConnection, Problem> {
        connect(&self.config, &self.tls).await.map_err(|e| Problem::unavailable(e.to_string()))
    }

    async fn connection(&self) -> Result<Conn, Problem> {
        let pooled = self.pool.get().await.map_err(|e| Problem::unavailable(e.to_string()))?;
        Ok(Conn::new(Line::Postgres(Box::new(pooled)), self.kept.clone()))
    }
}

async fn connect(
    config: &tokio_postgres::Config,
    tls: &MakeRustlsConnect,
) -> Result<AsyncPgConnection, ConnectionError> {
    let (client, connection) = config.connect(tls.clone()).await.map_err(|e| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        ConnectionError::BadConnection(format!("{e}{source}"))
    })?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// Reads the URL. Without `sslmode`, a server on this machine is spoken to in the clear and any other with TLS when
/// it offers it; `sslmode=require` always verifies the certificate.
pub(super) fn parse(url: &str) -> Result<tokio_postgres::Config, String> {
    let mut config: tokio_postgres::Config = url.parse().map_err(|e: tokio_postgres::Error| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        format!("{e}{source}")
    })?;
    let local = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    });
    if local && !url.contains("sslmode=") {
        config.ssl_mode(SslMode::Disable);
    }
    if config.get_application_name().is_none() {
        config.application_name("skranke");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    Ok(config)
}

fn tls() -> MakeRustlsConnect {
    let mut roots = rustls::RootCertStore::empty();
    let (good, bad) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(good, bad, "root certificates");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    match config {
        Ok(config) => MakeRustlsConnect::new(config),
        Err(error) => unreachable!("the provider has the default protocol versions: {error}"),
    }
}
