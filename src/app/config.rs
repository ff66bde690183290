//! Settings: one table of keys, read from the environment and an optional TOML file, all checked at start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::issuers::{IssuerConfig, Issuers};
use crate::auth::keys::{SigningKey, SigningKeys};
use crate::auth::service::Lifetimes;
use crate::db::{DatabaseUrl, Db, lanes, slow_queries};
use crate::files::service::cabinet::Cabinet;
use crate::files::service::clamd::Clamd;
use crate::files::store::bucket::{Bucket, BucketPlan};
use crate::files::store::bytes::ByteStore;
use crate::files::store::local::LocalFolder;
use crate::http::origin::Proxies;
use crate::http::{Limits, unsent};
use crate::kernel::money::MOST_MINOR;
use crate::kernel::requesters::{AgentNames, RequesterRules};
use crate::kernel::secret::Secret;
use crate::kernel::{Currency, Money, Problem};
use crate::webhooks::domain::Egress;

/// A key of the table.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable. In the TOML file it is written in lower case and without `SKRANKE_`.
    pub key: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

macro_rules! settings {
    ($($key:literal = $default:literal, $doc:literal;)*) => {
        /// Every key there is.
        pub const SETTINGS: &[Setting] = &[$(Setting { key: $key, default: $default, doc: $doc },)*];
    };
}

settings! {
    "DATABASE_URL" = "sqlite://data/skranke.db", "Where the data lies: `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`. With PostgreSQL, `?sslmode=require` demands TLS and verifies the certificate; of several hosts (`@HOST1,HOST2/`) the one that takes writes is used.";
    "DATABASE_URL_FILE" = "", "The same, as the path of a file that holds it, since it may hold a password.";
    "DATABASE_REPLICA_URL" = "", "A replica of the PostgreSQL primary, as `postgres://…`: lists and searches of tickets and the reports under `/v1/metrics` are read from it, and may lag. Where it is away, from the primary.";
    "DATABASE_REPLICA_URL_FILE" = "", "The same, as the path of a file that holds it.";
    "SKRANKE_LISTEN" = "127.0.0.1:8080", "The address and port to listen on.";
    "SKRANKE_MIGRATE_ON_START" = "", "`true` or `false`: whether to bring the schema up to date at start. Unset: `true` on SQLite, `false` on PostgreSQL, where `skranke migrate` does it.";
    "SKRANKE_SIGNING_KEY" = "", "The Ed25519 private key that signs tokens, as PKCS #8 PEM. Required on PostgreSQL; on SQLite one is made beside the database.";
    "SKRANKE_SIGNING_KEY_FILE" = "", "The same, as the path of a file that holds it.";
    "SKRANKE_PREVIOUS_SIGNING_KEY" = "", "A second key whose tokens are still accepted, while keys rotate.";
    "SKRANKE_PREVIOUS_SIGNING_KEY_FILE" = "", "The same, as the path of a file that holds it.";
    "SKRANKE_ISSUER" = "skranke", "`iss` of our own tokens.";
    "SKRANKE_AUDIENCE" = "skranke", "`aud` of every token that is meant for this service.";
    "SKRANKE_ACCESS_TOKEN_TTL_S" = "900", "How long an access token of `POST /v1/auth/token` is good, in seconds (60 to 86400).";
    "SKRANKE_REFRESH_TOKEN_TTL_S" = "2592000", "How long a refresh token is good, in seconds (60 to 31536000).";
    "SKRANKE_ISSUERS" = "", "Outside issuers whose tokens are accepted, as a JSON array; in the TOML file as `[[issuers]]` tables.";
    "SKRANKE_ISSUERS_FILE" = "", "The same, as the path of a file that holds it, since it may hold secrets.";
    "SKRANKE_CORS_ORIGINS" = "", "Origins whose pages may call the API from a browser, separated by commas; none unless set.";
    "SKRANKE_CLOSE_AFTER_S" = "604800", "How long a ticket stays resolved before it is closed, in seconds (0 to 31536000).";
    "SKRANKE_REQUESTERS_MAY_SET" = "", "What requesters may set of their tickets besides subject, description, custom fields and external id: any of `priority`, `type`, `channel`, `team_id` and `tags`, separated by commas; none unless set, since policies go by them, and they buy a faster promise.";
    "SKRANKE_AGENT_NAMES" = "full", "How requesters see others named: `full`, `first` (the first word of the name), or `hidden` (`Helpdesk`).";
    "SKRANKE_POLICY_NAMES" = "full", "Whether requesters see what SLA policies are called: `full` or `hidden`.";
    "SKRANKE_HOURLY_RATE_MINOR" = "", "What an hour of work costs where neither agent nor team has a rate, in minor units such as cents (0 to 100000000000). Unset: nothing is known of it.";
    "SKRANKE_CURRENCY" = "EUR", "The currency of `SKRANKE_HOURLY_RATE_MINOR` (ISO 4217).";
    "SKRANKE_BODY_LIMIT_B" = "524288", "The largest request body, in bytes (1024 to 16777216).";
    "SKRANKE_FILES" = "", "Where files lie: `file://FOLDER`, or `s3://BUCKET/PREFIX` of a store that speaks S3. Unset: in `files` beside the database on SQLite, and in `data/files` on PostgreSQL, where all instances need the same folder.";
    "SKRANKE_S3_ENDPOINT" = "", "Where the store of `s3://…` is, such as `https://minio.example.org`; Amazon's unless set.";
    "SKRANKE_S3_REGION" = "us-east-1", "In which region the bucket is.";
    "SKRANKE_S3_ACCESS_KEY" = "", "The id of the key to the bucket. Unset: what the surroundings give, such as the role of a machine.";
    "SKRANKE_S3_SECRET_KEY" = "", "The secret of that key.";
    "SKRANKE_S3_SECRET_KEY_FILE" = "", "The same, as the path of a file that holds it.";
    "SKRANKE_FILE_LIMIT_B" = "26214400", "The largest file, in bytes (1024 to 1073741824).";
    "SKRANKE_SCAN" = "off", "What scans files: `off`, `clamd:unix:/PATH`, or `clamd:tcp://HOST:PORT`. While it is away, requesters get no file that is not scanned.";
    "SKRANKE_DATABASE_POOL_SIZE" = "16", "How many connections to PostgreSQL this process opens at most, all in all (4 to 1000; with a replica 5 at least, and those to it are among them).";
    "SKRANKE_DATABASE_WAIT_S" = "5", "How long a request may take, from its head to its commit, in seconds (1 to 60); a report or a search has five more.";
    "SKRANKE_DATABASE_QUEUE" = "1024", "How many requests may wait for the database at once (1 to 100000); more are answered 503 at once.";
    "SKRANKE_REQUESTS_PER_PRINCIPAL" = "60000", "How many requests a minute one person or service account may send to this instance (0 to 10000000); 0 for no limit.";
    "SKRANKE_REQUESTS_PER_ADDRESS" = "120000", "The same for one address, with or without a token; of IPv6 for one network of 64 bits.";
    "SKRANKE_FAILED_LOGINS" = "10", "How many logins of one address for one account may fail in ten minutes (0 to 1000); 0 for no limit. A wrong `current_password` is one of them. Ten times as many for one address in ten minutes, whomever it names, and for one account in an hour, from all addresses that it has not logged in from.";
    "SKRANKE_TRUSTED_PROXIES" = "127.0.0.0/8,::1", "Networks (CIDR) or addresses of proxies, separated by commas, whose `Forwarded` or `X-Forwarded-For` says where a request comes from.";
    "SKRANKE_CONNECTIONS" = "16384", "How many connections of clients may be open at once (16 to 1000000); never more than open files allow.";
    "SKRANKE_CONNECTIONS_PER_ADDRESS" = "1024", "How many of them one address may have that is no trusted proxy (0 to 1000000); 0 for no limit.";
    "SKRANKE_STREAMS" = "4096", "How many requests may wait for changes at once (1 to 1000000): `GET /v1/changes` with `wait_s`. More are answered 503; of one principal, more than eight are answered 429.";
    "SKRANKE_CLIENT_TIMEOUT_S" = "30", "How long a client may take to send the head of a first request, and a body, and how long it may take nothing of its answer, in seconds (1 to 600).";
    "SKRANKE_EGRESS_ALLOW" = "", "Networks (CIDR) or addresses inside, separated by commas, that webhooks may lead to, over `http`, too; none unless set: they lead to public addresses alone, by `https`.";
    "SKRANKE_SLOW_QUERY_MS" = "500", "From how many milliseconds on a statement to the database is logged as slow, without the values in it (0 to 3600000); 0 for never.";
    "SKRANKE_WORKERS" = "0", "How many threads answer requests (0 to 256); 0 for one a core.";
    "SKRANKE_SHUTDOWN_S" = "30", "How long running requests may take to finish after SIGTERM, in seconds (0 to 600).";
    "SKRANKE_OTLP_ENDPOINT" = "", "Where traces of requests are sent, by OTLP over HTTP, for example `http://127.0.0.1:4318`; nowhere unless set. The standard variables `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` and `OTEL_RESOURCE_ATTRIBUTES` are read, too.";
    "SKRANKE_LOG" = "info,actix_server=warn,actix_http=off", "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `skranke=debug,info`.";
    "SKRANKE_LOG_FORMAT" = "auto", "`pretty`, `json`, or `auto`: pretty on a terminal, JSON otherwise.";
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// All settings, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the data lies.
    pub database: DatabaseUrl,
    /// A replica of it to read from.
    pub replica: Option<DatabaseUrl>,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Whether to migrate at start.
    pub migrate_on_start: bool,
    /// Our keys, if they are given; on SQLite they may lie beside the database.
    pub keys: GivenKeys,
    /// `iss` of our own tokens.
    pub issuer: String,
    /// `aud` of tokens for us.
    pub audience: String,
    /// How long tokens are good.
    pub lifetimes: Lifetimes,
    /// Outside issuers.
    pub issuers: Vec<IssuerConfig>,
    /// Origins that may call from a browser.
    pub cors_origins: Vec<String>,
    /// How long a ticket stays resolved, in seconds.
    pub close_after_s: i64,
    /// What requesters may set, and what they are shown.
    pub requesters: RequesterRules,
    /// What an hour of work costs where neither agent nor team has a rate.
    pub default_rate: Option<Money>,
    /// The largest request body, in bytes.
    pub body_limit_b: usize,
    /// Where files lie.
    pub files: FilePlan,
    /// The largest file, in bytes.
    pub file_limit_b: u64,
    /// What scans files, if anything does.
    pub scanner: Option<Clamd>,
    /// PostgreSQL's pool size.
    pub pool_size: usize,
    /// How long a request waits for a connection, in seconds.
    pub pool_wait_s: u64,
    /// How many requests may wait for the database.
    pub queue: usize,
    /// How much is let in.
    pub limits: Limits,
    /// Where webhooks may lead besides public addresses.
    pub egress: Arc<Egress>,
    /// From when on a statement is slow, in milliseconds; 0 for never.
    pub slow_query_ms: u64,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// How long shutting down may take, in seconds.
    pub shutdown_s: u64,
    /// Where traces are sent.
    pub otlp_endpoint: Option<String>,
    /// The log filter.
    pub log: String,
    /// The log format.
    pub log_format: LogFormat,
    /// Variables that look like settings and are none.
    pub unknown: Vec<Unknown>,
}

/// Where files are to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePlan {
    /// In this folder.
    Folder(PathBuf),
    /// In this bucket.
    Bucket(BucketPlan),
}

impl std::fmt::Display for FilePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "the folder {}", folder.display()),
            Self::Bucket(plan) => write!(f, "the bucket {}", plan.bucket),
        }
    }
}

/// A variable of the environment that begins as ours do, and means nothing here.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name. Its value may be a secret in the wrong place.
    pub key: String,
    /// The setting whose name is most like it.
    pub nearest: &'static str,
}

impl Unknown {
    fn new(key: &str) -> Self {
        // `DATABASE_URL` and others have no prefix.
        let bare = key.strip_prefix("SKRANKE_").unwrap_or(key);
        let likeness = |setting: &&Setting| {
            strsim::damerau_levenshtein(setting.key, key).min(strsim::damerau_levenshtein(setting.key, bare))
        };
        Self { key: key.to_owned(), nearest: SETTINGS.iter().min_by_key(likeness).map_or("", |setting| setting.key) }
    }
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is no setting; the nearest is {}; see skranke --help", self.key, self.nearest)
    }
}

/// Whether Kubernetes sets such a variable in every pod that runs beside a Service whose name begins with `skranke`, or
/// Docker for a container that is linked by such a name: `SKRANKE_SERVICE_HOST`, `SKRANKE_API_SERVICE_PORT_HTTP`,
/// `SKRANKE_PORT=tcp://…`, `SKRANKE_PORT_8080_TCP_ADDR`.
fn is_of_an_orchestrator(key: &str, value: &str) -> bool {
    let Some(rest) = key.strip_prefix("SKRANKE_") else { return false };
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let parts: Vec<&str> = rest.split('_').collect();
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let is_protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    let speaks = |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    is_name(rest)
        && match parts.as_slice() {
            [.., "SERVICE", "HOST"] => true,
            [.., "PORT", port, protocol, "ADDR" | "PORT" | "PROTO"] => is_port(port) && is_protocol(protocol),
            [.., "PORT", port, protocol] if is_protocol(protocol) => is_port(port) && speaks(value),
            [.., "PORT"] if speaks(value) => true,
            parts => parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) && is_port(value),
        }
}

/// The signing keys that the settings name.
#[derive(Debug, Default)]
pub struct GivenKeys {
    signing: Option<Secret<String>>,
    previous: Option<Secret<String>>,
}

impl Config {
    /// Reads and checks the environment and the file that `SKRANKE_CONFIG` names. What is no setting is a fault in the
    /// file, which is ours alone, but not in the environment, where others set variables, too.
    ///
    /// # Errors
    /// Every key that is wrong, with what it should be.
    pub fn load(environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<String>> {
        let mut reader = SettingsReader::default();
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        // Empty is as good as not set: what composes containers sets all that it knows of.
        if let Some(path) = environment.get("SKRANKE_CONFIG").filter(|path| !path.is_empty()) {
            reader.read_file(Path::new(path));
        }
        reader.read_environment(&environment);
        reader.finish()
    }

    /// Our keys: those given, or on SQLite the one beside the database, which is made if it is missing.
    ///
    /// # Errors
    /// A sentence that says what is missing or wrong.
    pub fn keys(&self) -> Result<SigningKeys, String> {
        self.keys_with(|path| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| {
                    format!("DATABASE_URL should name a file whose folder can be made: {}: {e}", folder.display())
                })?;
            }
            SigningKey::beside_database(path)
        })
    }

    /// As [`keys`](Self::keys), but nothing is made.
    ///
    /// # Errors
    /// A sentence that says what is missing or wrong.
    pub fn keys_there(&self) -> Result<SigningKeys, String> {
        self.keys_with(SigningKey::read)
    }

    fn keys_with(&self, beside: impl Fn(&Path) -> Result<SigningKey, String>) -> Result<SigningKeys, String> {
        let read =
            |name: &str, pem: &Secret<String>| SigningKey::from_pem(pem.reveal()).map_err(|e| format!("{name} {e}"));
        let signer = match (&self.keys.signing, self.key_beside_database()) {
            (Some(pem), _) => read("SKRANKE_SIGNING_KEY", pem)?,
            (None, Some(path)) => beside(&path)?,
            (None, None) => {
                return Err(
                    "SKRANKE_SIGNING_KEY or SKRANKE_SIGNING_KEY_FILE is required on PostgreSQL, since several \
                            instances share it: make one with `openssl genpkey -algorithm ed25519 -out skranke.key`"
                        .into(),
                );
            }
        };
        let previous = self.keys.previous.as_ref().map(|pem| read("SKRANKE_PREVIOUS_SIGNING_KEY", pem)).transpose()?;
        Ok(SigningKeys::new(signer, previous))
    }

    /// Where the key that signs lies, if it is not given by a setting.
    pub fn key_beside_database(&self) -> Option<PathBuf> {
        match (&self.keys.signing, &self.database) {
            (None, DatabaseUrl::Sqlite(path)) => Some(path.with_extension("key")),
            _ => None,
        }
    }

    /// What the server has for files. Must be called within a tokio runtime that lives as long as it is used.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn cabinet(&self) -> Result<Cabinet, String> {
        let bytes = match &self.files {
            FilePlan::Folder(folder) => ByteStore::Local(LocalFolder::at(folder)),
            FilePlan::Bucket(plan) => ByteStore::Bucket(Bucket::open(plan).map_err(|e| format!("SKRANKE_FILES: {e}"))?),
        };
        Ok(Cabinet::new(bytes).up_to(self.file_limit_b).scanned_by(self.scanner.clone()))
    }

    /// Opens the database.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_database(&self) -> Result<Db, Problem> {
        let wait = Duration::from_secs(self.pool_wait_s);
        let slow = (self.slow_query_ms > 0).then(|| slow_queries(Duration::from_millis(self.slow_query_ms)));
        let db = Db::open_with(&self.database, self.pool_size, wait, slow.clone())?;
        let db = match &self.replica {
            Some(replica) => db.with_replica(replica, self.pool_size, slow)?,
            None => db,
        };
        Ok(db.with_queue(self.queue))
    }
}

/// The table as text, for `--help`.
pub fn table() -> String {
    let mut text = String::from("Settings (environment, or the TOML file that SKRANKE_CONFIG names):\n");
    for Setting { key, default, doc } in SETTINGS {
        let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key}{default}\n      {doc}");
    }
    text
}

#[derive(Default)]
struct SettingsReader {
    values: BTreeMap<&'static str, String>,
    issuers: Vec<IssuerConfig>,
    unknown: Vec<Unknown>,
    faults: Vec<String>,
}

impl SettingsReader {
    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (key, value) in environment {
            match SETTINGS.iter().find(|setting| setting.key == key) {
                Some(setting) => drop(self.values.insert(setting.key, value.clone())),
                None if key == "SKRANKE_CONFIG" || key.starts_with("SKRANKE_TEST_") => {}
                None if is_of_an_orchestrator(key, value) => {}
                None if key.starts_with("SKRANKE_") => self.unknown.push(Unknown::new(key)),
                None => {}
            }
        }
    }

    fn read_file(&mut self, path: &Path) {
        // Not the error's own print: that shows the line, which may hold a secret.
        let say = |text: &str, error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count() + 1);
            format!("line {line}: {}", error.message())
        };
        let read = std::fs::read_to_string(path).map_err(|e| e.to_string());
        let table = match read.and_then(|text| text.parse::<toml::Table>().map_err(|e| say(&text, e))) {
            Ok(table) => table,
            Err(error) => return self.faults.push(format!("SKRANKE_CONFIG: {}: {error}", path.display())),
        };
        for (name, value) in table {
            if name == "issuers" {
                match value.try_into() {
                    Ok(issuers) => self.issuers = issuers,
                    Err(error) => {
                        self.faults.push(format!("{}: issuers: {}", path.display(), without_value(error.message())))
                    }
                }
                continue;
            }
            let setting = SETTINGS.iter().find(|s| {
                s.key.trim_start_matches("SKRANKE_").eq_ignore_ascii_case(&name) && s.key != "SKRANKE_ISSUERS"
            });
            let text = match value {
                toml::Value::String(text) => Some(text),
                toml::Value::Integer(number) => Some(number.to_string()),
                toml::Value::Boolean(flag) => Some(flag.to_string()),
                toml::Value::Array(items) => items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
                    .map(|items| items.join(",")),
                _ => None,
            };
            match (setting, text) {
                (Some(setting), Some(text)) => drop(self.values.insert(setting.key, text)),
                (Some(_), None) => {
                    self.faults.push(format!("{}: {name} should be a string, a number or a boolean", path.display()))
                }
                (None, _) => self.faults.push(format!("{}: {name} is no setting; see skranke --help", path.display())),
            }
        }
    }

    fn text(&self, key: &'static str) -> String {
        let default = || SETTINGS.iter().find(|s| s.key == key).map(|s| s.default.to_owned()).unwrap_or_default();
        self.values.get(key).cloned().unwrap_or_else(default)
    }

    fn given(&self, key: &'static str) -> Option<String> {
        self.values.get(key).filter(|text| !text.is_empty()).cloned()
    }

    /// The value as `T`, or `instead` with a fault noted that names the key and what it should be, never the value.
    fn read<T>(&mut self, key: &'static str, instead: T, read: impl Fn(&str) -> Option<T>, expected: &str) -> T {
        read(self.text(key).trim()).unwrap_or_else(|| {
            self.faults.push(format!("{key} {expected}"));
            instead
        })
    }

    fn number<T: FromStr + PartialOrd + Copy + std::fmt::Display>(
        &mut self,
        key: &'static str,
        least: T,
        most: T,
    ) -> T {
        let within = |text: &str| text.parse().ok().filter(|n| (least..=most).contains(n));
        self.read(key, least, within, &format!("should be a whole number from {least} to {most}"))
    }

    /// The value, or what is in the file that `file_key` names, with the key that it came by. A line break at the end
    /// of a file does not count.
    fn given_or_in_file(&mut self, key: &'static str, file_key: &'static str) -> Option<(&'static str, String)> {
        match (self.given(key), self.given(file_key)) {
            (Some(_), Some(_)) => {
                self.faults.push(format!("{key} and {file_key} are both set; set one of them"));
                None
            }
            (Some(text), None) => Some((key, text)),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some((file_key, text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    self.faults.push(format!("{file_key} should name a file that can be read: {error}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn database(&mut self) -> DatabaseUrl {
        const KEY: &str = "DATABASE_URL";
        let faults = self.faults.len();
        let given = self.given_or_in_file(KEY, "DATABASE_URL_FILE");
        let instead = DatabaseUrl::Sqlite(PathBuf::new());
        if self.faults.len() > faults {
            return instead;
        }
        let (key, text) = given.unwrap_or_else(|| (KEY, self.text(KEY)));
        text.parse().unwrap_or_else(|expected| {
            self.faults.push(format!("{key} {expected}"));
            instead
        })
    }

    fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret<String>> {
        let (key, text) = self.given_or_in_file(key, file_key)?;
        if let Err(expected) = SigningKey::from_pem(&text) {
            self.faults.push(format!("{key} {expected}"));
        }
        Some(Secret::new(text))
    }

    fn default_rate(&mut self) -> Option<Money> {
        let amount = |text: &str| match text {
            "" => Some(None),
            text => text.parse().ok().filter(|amount| (0..=MOST_MINOR).contains(amount)).map(Some),
        };
        let expected = format!("should be a whole number from 0 to {MOST_MINOR}, or empty");
        let amount_minor = self.read("SKRANKE_HOURLY_RATE_MINOR", None, amount, &expected);
        let currency = |text: &str| text.parse::<Currency>().ok().map(Some);
        let currency = self.read("SKRANKE_CURRENCY", None, currency, "should be three capital letters such as EUR");
        Money::from_stored(amount_minor, currency)
    }

    fn replica(&mut self, primary: &DatabaseUrl) -> Option<DatabaseUrl> {
        let (key, url) = self.given_or_in_file("DATABASE_REPLICA_URL", "DATABASE_REPLICA_URL_FILE")?;
        match (url.parse(), primary) {
            (Ok(replica @ DatabaseUrl::Postgres(_)), DatabaseUrl::Postgres(_)) => return Some(replica),
            (Ok(DatabaseUrl::Postgres(_)), DatabaseUrl::Sqlite(_)) => {
                self.faults.push(format!("{key} should be empty on SQLite, which has no replicas"));
            }
            _ => {
                let expected = "should be postgres://USER:PASSWORD@HOST/DATABASE, as DATABASE_URL is";
                self.faults.push(format!("{key} {expected}"));
            }
        }
        None
    }

    fn files(&mut self, database: &DatabaseUrl) -> FilePlan {
        let beside = match database {
            DatabaseUrl::Sqlite(path) => path.with_file_name("files"),
            DatabaseUrl::Postgres(_) => PathBuf::from("data/files"),
        };
        let bucket = self.bucket();
        let plan = |text: &str| {
            if text.is_empty() {
                return Some(FilePlan::Folder(beside.clone()));
            }
            if let Some(path) = text.strip_prefix("file://").filter(|path| !path.is_empty()) {
                return Some(FilePlan::Folder(path.into()));
            }
            let (name, prefix) = text.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
            let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            let is_bucket = !name.is_empty() && name.bytes().all(fine) && prefix.bytes().all(|b| fine(b) || b == b'/');
            let prefix = prefix.trim_matches('/').to_owned();
            is_bucket.then(|| FilePlan::Bucket(BucketPlan { bucket: name.to_owned(), prefix, ..bucket.clone() }))
        };
        let expected = "should be file://FOLDER or s3://BUCKET/PREFIX";
        self.read("SKRANKE_FILES", FilePlan::Folder(beside.clone()), plan, expected)
    }

    /// How a bucket is spoken to, whichever it is.
    fn bucket(&mut self) -> BucketPlan {
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'!'..=b'~'));
        let endpoint = |text: &str| match text {
            "" => Some(None),
            text => reqwest::Url::parse(text)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
                .map(|_| Some(text.to_owned())),
        };
        let id = |text: &str| if text.is_empty() { Some(None) } else { is_word(text).then(|| Some(text.to_owned())) };
        let id = self.read("SKRANKE_S3_ACCESS_KEY", None, id, "should be the id of a key, without spaces");
        let secret = self.given_or_in_file("SKRANKE_S3_SECRET_KEY", "SKRANKE_S3_SECRET_KEY_FILE");
        if let Some((key, _)) = secret.as_ref().filter(|(_, text)| !is_word(text)) {
            self.faults.push(format!("{key} should be the secret of a key, without spaces"));
        }
        if id.is_some() != secret.is_some() {
            self.faults.push("SKRANKE_S3_ACCESS_KEY and SKRANKE_S3_SECRET_KEY go together: set both or neither".into());
        }
        BucketPlan {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: self.read(
                "SKRANKE_S3_ENDPOINT",
                None,
                endpoint,
                "should be an address such as https://minio.example.org",
            ),
            region: self.read(
                "SKRANKE_S3_REGION",
                String::new(),
                |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-').then(|| text.to_owned()),
                "should be a region such as us-east-1",
            ),
            key: id.zip(secret.map(|(_, text)| Secret::new(text))),
        }
    }

    fn limits(&mut self) -> Limits {
        const EXPECTED: &str = "should be networks or addresses such as 10.0.0.0/8, separated by commas";
        Limits {
            per_principal: self.number("SKRANKE_REQUESTS_PER_PRINCIPAL", 0, 10_000_000),
            per_address: self.number("SKRANKE_REQUESTS_PER_ADDRESS", 0, 10_000_000),
            failed_logins: self.number("SKRANKE_FAILED_LOGINS", 0, 1000),
            connections: self.number("SKRANKE_CONNECTIONS", 16, 1_000_000),
            connections_per_address: self.number("SKRANKE_CONNECTIONS_PER_ADDRESS", 0, 1_000_000),
            client_timeout: Duration::from_secs(self.number("SKRANKE_CLIENT_TIMEOUT_S", 1, 600)),
            unsent_b: unsent::MOST_B,
            seats: self.number("SKRANKE_STREAMS", 1, 1_000_000),
            heartbeat: Limits::default().heartbeat,
            proxies: self.read("SKRANKE_TRUSTED_PROXIES", Proxies::default(), Proxies::parse, EXPECTED),
        }
    }

    fn finish(mut self) -> Result<Config, Vec<String>> {
        let database = self.database();
        let replica = self.replica(&database);
        let fewest_connections = if replica.is_some() { lanes::FEWEST_WITH_REPLICA } else { lanes::FEWEST };
        let on_sqlite = matches!(database, DatabaseUrl::Sqlite(_));
        let keys = GivenKeys {
            signing: self.secret("SKRANKE_SIGNING_KEY", "SKRANKE_SIGNING_KEY_FILE"),
            previous: self.secret("SKRANKE_PREVIOUS_SIGNING_KEY", "SKRANKE_PREVIOUS_SIGNING_KEY_FILE"),
        };
        if let Some((key, json)) = self.given_or_in_file("SKRANKE_ISSUERS", "SKRANKE_ISSUERS_FILE") {
            match serde_json::from_str(&json) {
                Ok(issuers) => self.issuers = issuers,
                Err(error) => {
                    let fault = without_value(&error.to_string());
                    self.faults.push(format!("{key} should be a JSON array of issuers: {fault}"));
                }
            }
        }
        let audience = self.read("SKRANKE_AUDIENCE", String::new(), not_empty, "should not be empty");
        let issuers = std::mem::take(&mut self.issuers);
        let issuer = self.read("SKRANKE_ISSUER", String::new(), not_empty, "should not be empty");
        if let Err(fault) = Issuers::new(&issuers, &issuer) {
            self.faults.push(format!("SKRANKE_ISSUERS: {fault}"));
        }
        let config = Config {
            listen: self.read(
                "SKRANKE_LISTEN",
                SocketAddr::from(([127, 0, 0, 1], 0)),
                |text| text.to_socket_addrs().ok()?.next(),
                "should be ADDRESS:PORT, for example 127.0.0.1:8080",
            ),
            migrate_on_start: self.read(
                "SKRANKE_MIGRATE_ON_START",
                on_sqlite,
                |text| if text.is_empty() { Some(on_sqlite) } else { text.parse().ok() },
                "should be true or false",
            ),
            issuer,
            lifetimes: Lifetimes {
                access_s: self.number("SKRANKE_ACCESS_TOKEN_TTL_S", 60, 86_400),
                refresh_s: self.number("SKRANKE_REFRESH_TOKEN_TTL_S", 60, 31_536_000),
            },
            cors_origins: self.read(
                "SKRANKE_CORS_ORIGINS",
                vec![],
                origins,
                "should be origins such as https://desk.example.org, separated by commas",
            ),
            close_after_s: self.number("SKRANKE_CLOSE_AFTER_S", 0, 31_536_000),
            requesters: RequesterRules {
                may_set: self.read(
                    "SKRANKE_REQUESTERS_MAY_SET",
                    vec![],
                    |text| match text {
                        "" => Some(vec![]),
                        some => some.split(',').map(|word| word.trim().parse().ok()).collect(),
                    },
                    "should be some of priority, type, channel, team_id and tags, separated by commas",
                ),
                agent_names: self.read(
                    "SKRANKE_AGENT_NAMES",
                    AgentNames::Full,
                    |text| text.parse().ok(),
                    "should be full, first or hidden",
                ),
                hides_policies: self.read(
                    "SKRANKE_POLICY_NAMES",
                    false,
                    |text| match text {
                        "full" => Some(false),
                        "hidden" => Some(true),
                        _ => None,
                    },
                    "should be full or hidden",
                ),
            },
            default_rate: self.default_rate(),
            body_limit_b: self.number("SKRANKE_BODY_LIMIT_B", 1024, 16 << 20),
            files: self.files(&database),
            file_limit_b: self.number("SKRANKE_FILE_LIMIT_B", 1024, 1 << 30),
            scanner: self.read(
                "SKRANKE_SCAN",
                None,
                |text| if text == "off" { Some(None) } else { text.parse().ok().map(Some) },
                "should be off, clamd:unix:/PATH or clamd:tcp://HOST:PORT",
            ),
            pool_size: self.number("SKRANKE_DATABASE_POOL_SIZE", fewest_connections, 1000),
            pool_wait_s: self.number("SKRANKE_DATABASE_WAIT_S", 1, 60),
            queue: self.number("SKRANKE_DATABASE_QUEUE", 1, 100_000),
            limits: self.limits(),
            egress: Arc::new(self.read(
                "SKRANKE_EGRESS_ALLOW",
                Egress::default(),
                Egress::parse,
                "should be networks or addresses such as 10.0.0.0/8, separated by commas",
            )),
            slow_query_ms: self.number("SKRANKE_SLOW_QUERY_MS", 0, 3_600_000),
            workers: self.number("SKRANKE_WORKERS", 0, 256),
            shutdown_s: self.number("SKRANKE_SHUTDOWN_S", 0, 600),
            otlp_endpoint: self.read(
                "SKRANKE_OTLP_ENDPOINT",
                None,
                |text| if text.is_empty() { Some(None) } else { collector(text).map(Some) },
                "should be the address of a collector such as http://127.0.0.1:4318",
            ),
            log: self.read(
                "SKRANKE_LOG",
                String::new(),
                log_filter,
                "should be error, warn, info, debug, trace, or directives such as skranke=debug,info",
            ),
            log_format: self.read("SKRANKE_LOG_FORMAT", LogFormat::Json, log_format, "should be pretty, json or auto"),
            database,
            replica,
            keys,
            audience,
            issuers,
            unknown: self.unknown,
        };
        if self.faults.is_empty() {
            return Ok(config);
        }
        // What is no setting may be the reason.
        self.faults.extend(config.unknown.iter().map(Unknown::to_string));
        Err(self.faults)
    }
}

/// What serde says is wrong, without the value that it has found, which may be a secret in the wrong place.
fn without_value(fault: &str) -> String {
    let shows = ["invalid type: ", "invalid value: ", "unknown variant "].iter().any(|start| fault.starts_with(start));
    match fault.rsplit_once(", expected ") {
        Some((_, expected)) if shows => format!("expected {expected}"),
        _ if shows => "something is of the wrong type".to_owned(),
        _ => fault.to_owned(),
    }
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A lone word is a level: the library would take any other for the name of a module and log nothing else.
fn log_filter(text: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = |word: &str| word.contains(['=', '[']) || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let proper = text.split(',').map(str::trim).all(level) && tracing_subscriber::EnvFilter::try_new(text).is_ok();
    proper.then(|| text.to_owned())
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "pretty" => Some(LogFormat::Pretty),
        "json" => Some(LogFormat::Json),
        "auto" if std::io::IsTerminal::is_terminal(&std::io::stderr()) => Some(LogFormat::Pretty),
        "auto" => Some(LogFormat::Json),
        _ => None,
    }
}

fn collector(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()).then(|| text.to_owned())
}

fn origins(text: &str) -> Option<Vec<String>> {
    let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    origins
        .map(|origin| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
            (!host.is_empty() && !host.contains(['/', '*', ' '])).then(|| origin.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::load(environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let config = load(&[]).expect("defaults are fine");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert!(config.migrate_on_start && config.cors_origins.is_empty());
    }

    #[test]
    fn each_wrong_key_is_named_with_what_it_should_be_and_no_secret_is_shown() {
        for setting in SETTINGS.iter().filter(|s| !s.key.ends_with("_FILE")) {
            // Whatever is a fine value for one of these is for no other.
            if matches!(setting.key, "SKRANKE_ISSUER" | "SKRANKE_AUDIENCE") {
                continue;
            }
            let faults = load(&[(setting.key, "hunter2 = ==")]).err().unwrap_or_default();
            assert!(faults.iter().any(|f| f.contains(setting.key)), "{}: {faults:?}", setting.key);
            assert!(!faults.concat().contains("hunter2"), "{faults:?}");
        }
        let faults = load(&[("SKRANKE_LISTEN", "nowhere"), ("SKRANKE_TYPO", "1"), ("DATABASE_URL", "mysql://x")]).err();
        assert_eq!(faults.map(|f| f.len()), Some(3));
    }

    #[test]
    fn what_orchestrators_set_is_ignored_and_what_else_is_unknown_is_told_with_the_nearest_name() {
        let kubernetes = [
            ("SKRANKE_SERVICE_HOST", "10.96.0.17"),
            ("SKRANKE_SERVICE_PORT", "8080"),
            ("SKRANKE_SERVICE_PORT_HTTP", "8080"),
            ("SKRANKE_SERVICE_PORT_HTTP_ALT_2", "8081"),
            ("SKRANKE_PORT", "tcp://10.96.0.17:8080"),
            ("SKRANKE_PORT_8080_TCP", "tcp://10.96.0.17:8080"),
            ("SKRANKE_PORT_8080_TCP_PROTO", "tcp"),
            ("SKRANKE_PORT_8080_TCP_PORT", "8080"),
            ("SKRANKE_PORT_8080_TCP_ADDR", "10.96.0.17"),
            ("SKRANKE_PORT_53_UDP", "udp://[fd00::1]:53"),
            ("SKRANKE_PORT_9_SCTP_ADDR", "fd00::1"),
            // Of a Service `skranke-api`, and of one whose name has a port in it.
            ("SKRANKE_API_SERVICE_HOST", "10.96.0.18"),
            ("SKRANKE_API_SERVICE_PORT", "80"),
            ("SKRANKE_API_SERVICE_PORT_WEB", "80"),
            ("SKRANKE_API_PORT", "tcp://10.96.0.18:80"),
            ("SKRANKE_API_PORT_80_TCP", "tcp://10.96.0.18:80"),
            ("SKRANKE_API_PORT_80_TCP_ADDR", "10.96.0.18"),
            ("SKRANKE_PORT_2_PORT_80_TCP_PORT", "80"),
        ];
        assert_eq!(load(&kubernetes).map(|config| config.unknown), Ok(vec![]));
        for (key, value, nearest) in [
            ("SKRANKE_PORT", "8080", "SKRANKE_LOG"),
            ("SKRANKE_LISTEN_PORT", "8080", "SKRANKE_LISTEN"),
            ("SKRANKE_PORT_HTTP_TCP", "tcp://10.96.0.17:8080", ""),
            ("SKRANKE_PORT_8080_TCP_HOST", "10.96.0.17", ""),
            ("SKRANKE_SERVICE_PORT", "hunter2", ""),
            ("SKRANKE_service_host", "10.96.0.17", ""),
            ("SKRANKE_LISTEM", "hunter2", "SKRANKE_LISTEN"),
            ("SKRANKE_DATABASE_WIAT_S", "hunter2", "SKRANKE_DATABASE_WAIT_S"),
            ("SKRANKE_DATABASE_URL", "hunter2", "DATABASE_URL"),
            ("SKRANKE_ISSUER_FILE", "hunter2", "SKRANKE_ISSUERS_FILE"),
            ("SKRANKE_SIGNING_KEYFILE", "hunter2", "SKRANKE_SIGNING_KEY_FILE"),
            ("SKRANKE_", "hunter2", ""),
        ] {
            let unknown = load(&[(key, value)]).expect("no fault").unknown;
            let [one] = unknown.as_slice() else { panic!("{key}: {unknown:?}") };
            assert!(one.key == key && (nearest.is_empty() || one.nearest == nearest), "{one}");
            assert!(!one.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn the_default_rate_is_an_amount_beside_its_currency_or_nothing() {
        let rate = |settings: &[(&str, &str)]| load(settings).map(|config| config.default_rate);
        let money = |amount_minor, currency: &str| {
            Ok(Some(Money { amount_minor, currency: currency.parse().expect("a currency") }))
        };
        assert_eq!(rate(&[]), Ok(None));
        assert_eq!(rate(&[("SKRANKE_CURRENCY", "NOK"), ("SKRANKE_HOURLY_RATE_MINOR", "")]), Ok(None));
        assert_eq!(rate(&[("SKRANKE_HOURLY_RATE_MINOR", "4000")]), money(4000, "EUR"));
        assert_eq!(rate(&[("SKRANKE_HOURLY_RATE_MINOR", "0"), ("SKRANKE_CURRENCY", "NOK")]), money(0, "NOK"));
        for bad in ["-1", "1.5", "40 EUR", "100000000001"] {
            let faults = rate(&[("SKRANKE_HOURLY_RATE_MINOR", bad), ("SKRANKE_CURRENCY", "eur")]);
            assert_eq!(faults.map_err(|faults| faults.len()), Err(2), "{bad}");
        }
    }

    #[test]
    fn the_file_is_read_and_the_environment_wins() {
        let folder = std::env::temp_dir().join(format!("skranke-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("skranke.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nclose_after_s = 5\ncors_origins = [\"https://a.example\"]\n")
            .expect("a file");
        let path = path.to_string_lossy().into_owned();
        let config = load(&[("SKRANKE_CONFIG", &path), ("SKRANKE_LISTEN", "127.0.0.1:2")]).expect("fine");
        assert_eq!((config.listen.port(), config.close_after_s), (2, 5));
        assert_eq!(config.cors_origins, ["https://a.example"]);
        std::fs::write(&path, "lisen = 1\n").expect("a file");
        assert!(load(&[("SKRANKE_CONFIG", &path)]).err().unwrap_or_default().concat().contains("lisen"));
        std::fs::remove_dir_all(folder).expect("gone");
    }
}
