//! The command line.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a command says goes to its terminal")]

use std::io::{BufWriter, IsTerminal, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use futures_util::future::select;
use tokio::signal::unix::{SignalKind, signal};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::config::{self, Config, LogFormat, Unknown};
use super::{backup, check, generate, import, janitor, postman, rebuild, server};
use crate::auth::domain::{Role, Scopes};
use crate::auth::password::{Party, Password, Passwords};
use crate::auth::service::{Authority, KeptRules};
use crate::db::lease::{self, Holder};
use crate::db::signal::Signal;
use crate::db::{Conn, DatabaseUrl, Db, Root, Roots};
use crate::http::State;
use crate::http::jobs::Jobs;
use crate::http::origin::Origin;
use crate::http::seal::Sealer;
use crate::http::trace::Traces;
use crate::imports::domain::{ImportOutcome, Judge};
use crate::imports::service::ImportPlan;
use crate::imports::wire::ImportSource;
use crate::kernel::secret::Secret;
use crate::kernel::text::{Email, Line};
use crate::kernel::{Clock, FieldError, Problem};
use crate::tickets::service::ClosesAfter;
use crate::webhooks::service::courier::{Courier, CourierPatience};
use crate::{people, webhooks};

/// How long a token of `skranke token` is good unless told, in seconds: a day.
const TOKEN_TTL_S: i64 = 86_400;

/// So many lines of the log wait at most to be written.
const MOST_LINES: usize = 4_096;

/// A headless helpdesk: tickets over a JSON HTTP API.
#[derive(Debug, Parser)]
#[command(name = "skranke", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (what happens without a command)
    Serve,
    /// Bring the database's schema up to date
    Migrate,
    /// Write SQLite's file anew, so that nothing is left in it of what was erased
    Vacuum,
    /// Print the OpenAPI document
    Openapi,
    /// Print a token, and nothing else; the person or account is made if missing
    Token(TokenArgs),
    /// Set up people who administer
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Copy the SQLite database to a new file while the server is at work
    Backup {
        /// The file to write, which must not be there
        file: PathBuf,
        /// Copy the signing key beside it, too: whoever has it can make tokens
        #[arg(long)]
        with_key: bool,
    },
    /// Look at settings, keys and database, and change nothing; exits with 1 if something is wrong
    Check {
        /// Also look at every ticket, and count again what is kept of them
        #[arg(long)]
        deep: bool,
    },
    /// Make the kept numbers and the search index anew from tickets, also while the service is at work; goes on where
    /// it was cut short
    Rebuild,
    /// Import people and tickets with their past from lines of JSON, also while the service is at work; run again, it
    /// goes on where it was cut short
    Import(ImportArgs),
    /// Ask the server at SKRANKE_LISTEN whether it can serve; for health checks of containers
    Health,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// The person's role: requester, agent or admin
    #[arg(long, required_unless_present = "service_account", value_parser = parse_role)]
    role: Option<Role>,
    /// The person's email address
    #[arg(long, required_unless_present = "service_account", value_parser = parse_email)]
    email: Option<Email>,
    /// The person's name, if it is made
    #[arg(long, required_unless_present = "service_account", value_parser = parse_name)]
    name: Option<Line<200>>,
    /// The name of a service account, instead of a person
    #[arg(long, requires = "scopes", conflicts_with_all = ["role", "email", "name"], value_parser = parse_name)]
    service_account: Option<Line<200>>,
    /// What the token may be used for, separated by spaces; for a person everything that the role allows unless said
    #[arg(long, value_parser = parse_scopes)]
    scopes: Option<Scopes>,
    /// How long it is good, in seconds
    #[arg(long, default_value_t = TOKEN_TTL_S, value_parser = clap::value_parser!(i64).range(1..=315_360_000))]
    ttl_s: i64,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// The file to read; - for standard input
    file: PathBuf,
    /// Where it comes from: external ids of one source are never those of another
    #[arg(long, default_value = "import", value_parser = parse_source)]
    source: ImportSource,
    /// By which promises the past is judged: none, or current (the policies that hold now)
    #[arg(long, default_value = "none", value_parser = parse_judge)]
    judge: Judge,
}

fn parse_source(text: &str) -> Result<ImportSource, FieldError> {
    text.parse()
}

fn parse_judge(text: &str) -> Result<Judge, FieldError> {
    text.parse()
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Make an admin with a password
    Create {
        /// The email address, which is the user name
        #[arg(long, value_parser = parse_email)]
        email: Email,
        /// The name
        #[arg(long, value_parser = parse_name)]
        name: Line<200>,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
}

fn parse_role(text: &str) -> Result<Role, FieldError> {
    text.parse()
}

fn parse_scopes(text: &str) -> Result<Scopes, String> {
    Scopes::parse(text)
}

fn parse_email(text: &str) -> Result<Email, String> {
    Email::parse(text.to_owned()).map_err(|fault| fault.detail)
}

fn parse_name(text: &str) -> Result<Line<200>, String> {
    Line::parse(text.to_owned()).map_err(|fault| fault.detail)
}

/// Why a command failed, and with which exit code.
enum Failure {
    /// 2: a setting is wrong.
    Settings(Vec<String>),
    /// 1: anything else.
    Other(String),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let cause = problem.cause().map(|c| format!(" ({c})")).unwrap_or_default();
        Self::Other(format!("{}{cause}", problem.detail()))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Runs the command line and gives the exit code: 0, 1 for a failure, 2 for wrong settings or arguments.
#[must_use]
pub fn run() -> std::process::ExitCode {
    let parsed = Arguments::command()
        .after_long_help(config::table())
        .try_get_matches()
        .and_then(|m| Arguments::from_arg_matches(&m));
    let line = match parsed {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    match dispatch(line.command.unwrap_or(Command::Serve)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(Failure::Settings(faults)) => {
            for fault in faults {
                eprintln!("skranke: {fault}");
            }
            std::process::ExitCode::from(2)
        }
        Err(Failure::Other(sentence)) => {
            eprintln!("skranke: {sentence}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    if let Command::Openapi = command {
        print!("{}", generate::document()?);
        return Ok(());
    }
    let config = Config::load(
        std::env::vars_os().map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned())),
    );
    let config = match (config, &command) {
        (Ok(config), _) => config,
        (Err(faults), Command::Check { .. }) => {
            return tell(faults.into_iter().map(|fault| check::Finding { what: "settings", outcome: Err(fault) }));
        }
        (Err(faults), _) => return Err(Failure::Settings(faults)),
    };
    let log = start_log(&config);
    for Unknown { key, nearest } in &config.unknown {
        tracing::warn!(key, nearest, "a variable that is no setting is ignored; see skranke --help");
    }
    let outcome = carry_out(command, config);
    drop(log);
    outcome
}

fn carry_out(command: Command, config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve => serve(config).await,
            Command::Migrate => migrate(&config).await,
            Command::Vacuum => vacuum(&config),
            Command::Token(args) => token(&config, args).await,
            Command::Admin(AdminCommand::Create { email, name, password_stdin }) => {
                create_admin(&config, email, name, password_stdin).await
            }
            Command::Backup { file, with_key } => backup(&config, &file, with_key),
            Command::Check { deep } => tell(check::check(&config, deep).await),
            Command::Rebuild => {
                rebuild::run(&database(&config).await?.patient(), &Clock::system()).await?;
                println!("What is kept of tickets is made anew.");
                Ok(())
            }
            Command::Import(args) => import(&config, args).await,
            Command::Health => health(&config).await,
            Command::Openapi => unreachable!("answered above"),
        }
    })
}

/// Starts the log, whose last lines are written when what this gives is dropped. Lines are written by a thread of their
/// own, so that requests neither make a system call for each nor wait for each other's; where they come faster than
/// they can be written, whoever brings more waits.
fn start_log(config: &Config) -> WorkerGuard {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_default();
    let lines = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(MOST_LINES).thread_name("log");
    let (writer, guard) = lines.finish(BufWriter::new(std::io::stderr()));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    match config.log_format {
        LogFormat::Pretty => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
    guard
}

/// The database, ready: migrated if the settings say so.
async fn database(config: &Config) -> Result<Db, Failure> {
    let db = config.open_database()?;
    if let Some(why) = db.refusal().await {
        return Err(Failure::Settings(vec![format!("the database cannot be used: {why}")]));
    }
    if config.migrate_on_start {
        db.migrate().await?;
    }
    Ok(db)
}

fn authority(config: &Config) -> Result<Authority, Failure> {
    let keys = config.keys().map_err(|fault| Failure::Settings(vec![fault]))?;
    Authority::new(keys, config.issuer.clone(), config.audience.clone(), config.lifetimes, &config.issuers)
        .map_err(|fault| Failure::Settings(vec![fault]))
}

/// What carries the messages of webhooks.
fn courier(config: &Config, keeps_connections: bool) -> Result<Courier, Failure> {
    let (egress, source) = (config.egress.clone(), config.issuer.clone());
    Courier::new(egress, source, CourierPatience::default(), keeps_connections).map_err(Failure::Other)
}

async fn serve(config: Config) -> Result<(), Failure> {
    let authority = authority(&config)?;
    let db = database(&config).await?;
    let clock = Clock::system();
    let listener = TcpListener::bind(config.listen).map_err(|e| {
        Failure::Other(format!("cannot listen on {}: {e}; choose another address with SKRANKE_LISTEN", config.listen))
    })?;
    let address = listener.local_addr()?;
    let endpoint = config.otlp_endpoint.as_deref();
    let traces = endpoint.map(Traces::start).transpose().map_err(Failure::Other)?;
    let (jobs, me) = (Jobs::default(), clock.id::<Holder>(clock.now()));
    db.kept::<ClosesAfter>().set(config.close_after_s);
    db.kept::<KeptRules>().set(config.requesters.clone());
    let cabinet = config.cabinet().map_err(|fault| Failure::Settings(vec![fault]))?;
    janitor::start(db.clone(), cabinet.clone(), config.close_after_s, clock.clone(), jobs.clone(), me)?;
    let sealer = Arc::new(Sealer::new(authority.keys.all().iter().map(|key| key.seed()))?);
    let ending = Arc::<Signal>::default();
    let until = (ending.listen(), Duration::from_secs(config.shutdown_s));
    let postman =
        postman::start(db.clone(), courier(&config, true)?, sealer.clone(), clock.clone(), jobs.clone(), me, until)?;
    let leases = db.clone();
    let state = State {
        sealer,
        db,
        clock,
        body_limit_b: config.body_limit_b,
        default_rate: config.default_rate,
        in_flight: Default::default(),
        writers: Default::default(),
        jobs,
        ending: ending.clone(),
    };
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        select(pin!(term.recv()), pin!(int.recv())).await;
        ending.give();
    });
    let mut limits = config.limits.clone();
    limits.connections = limits.connections.min(server::most_connections());
    let settings = server::Settings {
        state,
        authority: Arc::new(authority),
        courier: Arc::new(courier(&config, false)?),
        cabinet,
        cors_origins: config.cors_origins.clone(),
        limits,
        workers: config.workers,
        shutdown_s: config.shutdown_s,
        signals: true,
    };
    let server = server::build(settings, listener)?;
    greet(&config, address);
    tracing::info!(listen = %address, version = env!("CARGO_PKG_VERSION"), "ready");
    server.await?;
    // A panic there was told already.
    tokio::task::spawn_blocking(move || drop(postman.join())).await.map_err(|e| Failure::Other(e.to_string()))?;
    if leases.is_shared() {
        // If it fails, they end by themselves.
        let give_up = async move |tx: &mut Conn| {
            lease::give_up(tx, me).await?;
            webhooks::store::deliveries::give_up(tx, me).await
        };
        drop(leases.write(Roots::none(), give_up).await);
    }
    if let Some(traces) = traces {
        // It waits for the collector, on a thread for that.
        tokio::task::spawn_blocking(move || traces.finish()).await.map_err(|e| Failure::Other(e.to_string()))?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What a newcomer wants to know first.
fn greet(config: &Config, address: std::net::SocketAddr) {
    let this = std::env::args().next().unwrap_or_else(|| "skranke".into());
    let plain = this.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c));
    let this = if plain { this } else { format!("'{}'", this.replace('\'', r"'\''")) };
    let data = match &config.database {
        DatabaseUrl::Sqlite(path) => path.display().to_string(),
        DatabaseUrl::Postgres(_) => "PostgreSQL".into(),
    };
    println!("Skranke {} listens on http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  data   {data}");
    println!("  docs   http://{address}/docs/");
    println!("  token  {this} token --role admin --email you@example.org --name \"Your Name\"");
}

async fn migrate(config: &Config) -> Result<(), Failure> {
    let done = config.open_database()?.migrate().await?;
    println!("The schema is up to date; migrations run: {done}.");
    Ok(())
}

fn vacuum(config: &Config) -> Result<(), Failure> {
    config.open_database()?.rewrite()?;
    println!("The file is written anew. Nothing is left in it of what was erased.");
    Ok(())
}

async fn token(config: &Config, args: TokenArgs) -> Result<(), Failure> {
    let authority = authority(config)?;
    let db = database(config).await?;
    let clock = Clock::system();
    let now = clock.now();
    let ids = clock.clone();
    let TokenArgs { role, email, name, service_account, scopes, ttl_s } = args;
    let (id, narrowed) = match (service_account, role, email, name) {
        (Some(name), ..) => {
            let scopes = scopes.unwrap_or_default();
            let make = async move |tx: &mut crate::db::Conn| {
                people::service::find_or_create_account(tx, &name, scopes, now, &ids).await
            };
            (db.write(Roots::none(), make).await?, None)
        }
        (None, Some(role), Some(email), Some(name)) => {
            let address = Root::Address(email.as_str().to_owned());
            let make = async move |tx: &mut crate::db::Conn| {
                people::service::find_or_create_person(tx, &email, name.as_str(), role, now, &ids).await
            };
            if scopes.is_some_and(|scopes| !scopes.are_within(role.scopes())) {
                return Err(Failure::Other(format!("a person who is {role} may have at most: {}", role.scopes())));
            }
            (db.write(address, make).await?, scopes)
        }
        _ => return Err(Failure::Other("give --role, --email and --name, or --service-account and --scopes".into())),
    };
    println!("{}", authority.mint(id, narrowed, ttl_s, now, &clock)?);
    Ok(())
}

async fn create_admin(config: &Config, email: Email, name: Line<200>, password_stdin: bool) -> Result<(), Failure> {
    let text = if password_stdin || !std::io::stdin().is_terminal() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        rpassword::prompt_password("Password: ")?
    };
    let password = Password::parse(text).map_err(|fault| Failure::Other(format!("the password {}", fault.detail)))?;
    // Nobody else waits in this process.
    let party = Party::Origin(Origin::Ours);
    let hash = Secret::new(Passwords::default().hash(party, &password).await?);
    let db = database(config).await?;
    let clock = Clock::system();
    let now = clock.now();
    let shown = email.as_str().to_owned();
    db.write(Roots::none(), async move |tx| {
        people::service::create_admin(tx, email.clone(), name.clone(), hash.clone(), now, &clock).await
    })
    .await?;
    println!("{shown} can log in now.");
    Ok(())
}

fn backup(config: &Config, file: &Path, with_key: bool) -> Result<(), Failure> {
    let written = backup::write(config, file, with_key).map_err(|refusal| match refusal {
        backup::Refusal::Elsewhere(how) => Failure::Settings(vec![how]),
        backup::Refusal::Failed(sentence) => Failure::Other(sentence),
    })?;
    println!("Wrote {}: {} bytes.", file.display(), written.size_b);
    println!("Files are not in it: copy {} after it, and not before.", config.files);
    match (written.key, config.key_beside_database()) {
        (Some(copy), _) => println!("Wrote {}: whoever has it can make tokens, so keep it as safe.", copy.display()),
        (None, Some(key)) => println!(
            "The signing key {} is not in it: keep it apart, or copy it along by --with-key. \
             Without it, access tokens from before a restore are refused, and people log in again.",
            key.display()
        ),
        (None, None) => println!("The signing key is not in it, but where SKRANKE_SIGNING_KEY or its file is kept."),
    }
    Ok(())
}

/// Prints what was found, a line each; fails when something is wrong.
fn tell(found: impl IntoIterator<Item = check::Finding>) -> Result<(), Failure> {
    let mut failed = 0;
    for finding in found {
        println!("{finding}");
        failed += usize::from(finding.outcome.is_err());
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Other(format!("checks that failed: {failed}"))) }
}

async fn import(config: &Config, ImportArgs { file, source, judge }: ImportArgs) -> Result<(), Failure> {
    let db = database(config).await?.patient();
    let plan = ImportPlan { source: source.0, judge };
    let told = import::run(&db, &file, &plan).await?;
    let of = |outcome| told.taken.get(&outcome).copied().unwrap_or(0);
    println!(
        "Taken: {} new, {} gone on with, {} as they were; mended: {}; not taken: {}.",
        of(ImportOutcome::Created),
        of(ImportOutcome::Continued),
        of(ImportOutcome::Unchanged),
        told.mended,
        told.failed
    );
    if told.failed == 0 { Ok(()) } else { Err(Failure::Other(format!("lines that were not taken: {}", told.failed))) }
}

async fn health(config: &Config) -> Result<(), Failure> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    // A proxy knows nothing of this machine.
    let client = reqwest::Client::builder().no_proxy().build().map_err(|e| Failure::Other(e.to_string()))?;
    let asked = client.get(format!("http://{address}/health/ready")).send().await;
    let answer = asked.map_err(|e| Failure::Other(e.to_string()))?;
    if answer.status().is_success() { Ok(()) } else { Err(Failure::Other(format!("not ready: {}", answer.status()))) }
}
