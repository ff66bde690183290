//! Other programs: started with care, and gone when this one is.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What was started and the signal that ends it, for when this program is told to end.
static ENDINGS: Mutex<Vec<(u32, &'static str)>> = Mutex::new(Vec::new());

/// Ends all that was started when this program gets SIGINT or SIGTERM.
pub fn tidy_up_on_signals() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut term = signal(SignalKind::terminate()).expect("signals");
            let mut int = signal(SignalKind::interrupt()).expect("signals");
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        });
        for (pid, signal) in ENDINGS.lock().expect("endings").iter() {
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        }
        eprintln!("\nsize: told to end");
        std::process::exit(130);
    });
}

/// A program that runs until this is dropped.
pub struct Running {
    child: Child,
    stop: &'static str,
}

impl Running {
    /// Starts `command`, which `stop` (the name of a signal) will end.
    pub fn start(command: &mut Command, stop: &'static str) -> Self {
        let child = command.spawn().unwrap_or_else(|e| fail(&format!("cannot start {command:?}: {e}")));
        ENDINGS.lock().expect("endings").push((child.id(), stop));
        Self { child, stop }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The processor time that it has taken so far, and the processes that it has started, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        cpu_us(self.pid())
    }

    /// A figure of `/proc/PID/status` in KiB.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.pid();
        if !self.has_ended() {
            let _ = Command::new("kill").arg(format!("-{}", self.stop)).arg(pid.to_string()).status();
            let deadline = Instant::now() + Duration::from_secs(120);
            while !self.has_ended() {
                if Instant::now() > deadline {
                    let _ = self.child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        ENDINGS.lock().expect("endings").retain(|(other, _)| *other != pid);
    }
}

/// `/proc/PID/stat` counts in hundredths of a second, on every Linux.
const TICK_US: f64 = 1e4;

/// The processor time that a process has taken so far, with those that it has started, ended or not, in microseconds:
/// in user mode and in the kernel.
pub fn cpu_us(pid: u32) -> f64 {
    // Behind the name, which may have spaces in it: the state, the parent; from the 12th on utime, stime, cutime,
    // cstime.
    let figures = |pid: &str| -> Option<Vec<i64>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = text.rsplit_once(')')?;
        Some(rest.split_whitespace().map(|figure| figure.parse().unwrap_or(0)).collect())
    };
    let own = figures(&pid.to_string()).map_or(0, |own| own[11..15].iter().sum());
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = all.filter_map(|entry| figures(entry.file_name().to_str()?));
    let children: i64 =
        others.filter(|other| other[1] == i64::from(pid)).map(|other| other[11..13].iter().sum::<i64>()).sum();
    (own + children) as f64 * TICK_US
}

/// The processor time that this program itself has taken so far, without what it has started, in microseconds.
pub fn own_cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let figures = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2)).into_iter().flatten();
    figures.filter_map(|figure| figure.parse::<f64>().ok()).sum::<f64>() * TICK_US
}

/// Says why and ends, after all that was started.
pub fn fail(why: &str) -> ! {
    // Unwinding drops what runs.
    panic!("{why}")
}

/// A port on 127.0.0.1 where nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map(|a| a.port()).expect("a free port")
}

/// Waits until somebody listens.
pub fn wait_for_port(port: u16, running: &mut Running) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if running.has_ended() || Instant::now() > deadline {
            fail("a server did not come up");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a program is, in PATH or one of `further` folders.
pub fn find(program: &str, further: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = further.iter().cloned().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What a command prints.
pub fn output(command: &mut Command) -> String {
    String::from_utf8_lossy(&succeed(command).stdout).into_owned()
}

/// What a command prints, and what it says beside that.
pub fn all_output(command: &mut Command) -> String {
    let done = succeed(command);
    String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
}

fn succeed(command: &mut Command) -> std::process::Output {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|e| fail(&format!("cannot run {command:?}: {e}")));
    if !done.status.success() {
        fail(&format!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr)));
    }
    done
}

/// The free room on the disk of `path`, in bytes.
pub fn free_bytes(path: &Path) -> u64 {
    let text = output(Command::new("df").args(["--output=avail", "-B1"]).arg(path));
    text.lines().nth(1).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// The server, released.
pub struct Server {
    pub port: u16,
    pub running: Running,
    /// From the start of the process to the first answer of `/health/ready`.
    pub ready: Duration,
}

/// What a server needs to know.
#[derive(Clone)]
pub struct Settings {
    pub program: PathBuf,
    pub environment: Vec<(String, String)>,
    pub log: PathBuf,
}

impl Settings {
    /// A command of the binary with these settings and no others.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("SKRANKE_") || name.starts_with("DATABASE_") || name.starts_with("PG") {
                command.env_remove(name);
            }
        }
        // As the image and the systemd unit have it.
        command.env("MIMALLOC_PURGE_DELAY", "10").envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(settings: &Settings) -> Self {
        let port = free_port();
        let log = std::fs::File::create(&settings.log).expect("a log");
        let mut command = settings.command();
        command.arg("serve").env("SKRANKE_LISTEN", format!("127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let began = Instant::now();
        let mut running = Running::start(&mut command, "TERM");
        while !is_ready(port) {
            if running.has_ended() || began.elapsed() > Duration::from_secs(120) {
                fail(&format!("the server did not become ready; see {}", settings.log.display()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { port, running, ready: began.elapsed() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn is_ready(port: u16) -> bool {
    answers(port, "/health/ready")
}

/// Whether a server answers this path with 200.
fn answers(port: u16, path: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let asked = stream.write_all(asked.as_bytes());
    let mut answer = [0; 16];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

/// Waits until a server has done what load has left behind: requests whose caller has gone are carried out all the
/// same. It is idle when answers come at once, several times in a row, so that each of its threads has given some.
pub fn wait_until_idle(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut at_once = 0;
    while at_once < 8 && Instant::now() < deadline {
        let began = Instant::now();
        let answered = answers(port, "/health/live");
        at_once = if answered && began.elapsed() < Duration::from_millis(25) { at_once + 1 } else { 0 };
    }
}
