//! Where log lines go: gathered for a moment and written together, so that requests neither make a system call for each
//! line nor wait for each other's.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered.
const GATHERED_FOR: Duration = Duration::from_millis(10);

/// So much is gathered at most, in bytes; whoever brings more writes it out, and so goes no faster than the log does.
const MOST_B: usize = 1 << 20;

/// Lines on their way to standard error. A process that is killed loses those of the last moment.
#[derive(Clone, Default)]
pub struct LogWriter(Arc<Gathered>);

#[derive(Default)]
struct Gathered {
    lines: Mutex<Vec<u8>>,
    come: Condvar,
    /// Held while lines are written, so that they stay in their order.
    out: Mutex<()>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogWriter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let log = Self::default();
        let written = log.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                let gathered = &written.0;
                let some = gathered.come.wait_while(held(&gathered.lines), |lines| lines.is_empty());
                drop(some.unwrap_or_else(PoisonError::into_inner));
                std::thread::sleep(GATHERED_FOR);
                written.write_out();
            }
        })?;
        Ok(log)
    }

    /// Writes what has been gathered. Nobody can be told that the log cannot be written.
    pub fn write_out(&self) {
        let _order = held(&self.0.out);
        let lines = std::mem::take(&mut *held(&self.0.lines));
        drop(io::stderr().write_all(&lines));
    }
}

/// Takes one line.
pub struct LogLine<'a>(&'a LogWriter);

impl Write for LogLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = held(&self.0.0.lines);
        let (was_empty, full) = (lines.is_empty(), lines.len() + line.len() > MOST_B);
        lines.extend_from_slice(line);
        drop(lines);
        if full {
            self.0.write_out();
        } else if was_empty {
            self.0.0.come.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(self)
    }
}
