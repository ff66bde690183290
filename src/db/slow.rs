//! Statements that take long are told of in the log: their text, without the values that are bound in it.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use diesel::connection::{Instrumentation, InstrumentationEvent};

/// Makes what listens to the statements of a connection.
pub type Listener = Arc<dyn Fn() -> Box<dyn Instrumentation> + Send + Sync>;

thread_local! {
    /// When the statement was sent whose answer is being read on this thread right now.
    static SENT: Cell<Option<Stopwatch>> = const { Cell::new(None) };
}

/// Somebody who logs each statement that takes `least` or longer.
pub fn slow_queries(least: Duration) -> Listener {
    Arc::new(move || Box::new(Slow { least, begun: None }))
}

/// Runs a statement of a connection that several are sent on before the first is answered: what listens to the
/// connection hears them mixed up, and knows by this which one it is.
pub(super) async fn timed<F: Future>(statement: F) -> F::Output {
    let sent = Stopwatch::now();
    let mut statement = pin!(statement);
    poll_fn(|context| {
        let outer = SENT.replace(Some(sent));
        let polled = statement.as_mut().poll(context);
        SENT.set(outer);
        polled
    })
    .await
}

struct Slow {
    least: Duration,
    /// When the last statement began, where they come one by one.
    begun: Option<Stopwatch>,
}

impl Instrumentation for Slow {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => self.begun = Some(Stopwatch::now()),
            InstrumentationEvent::FinishQuery { query, .. } => {
                let took = SENT.get().or(self.begun).map_or(Duration::ZERO, |begun| begun.elapsed());
                if took >= self.least {
                    let text = query.to_string();
                    // How the file is kept is no question that somebody asked.
                    if text.starts_with("PRAGMA") {
                        return;
                    }
                    let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    tracing::warn!(duration_us, statement = without_values(&text), "slow query");
                }
            }
            _ => {}
        }
    }
}

/// What stands before the values in diesel's print of a statement.
fn without_values(print: &str) -> &str {
    print.split_once(" -- binds: ").map_or(print, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_told_whatever_stands_in_it() {
        assert_eq!(without_values("SELECT ? -- binds: [\"a -- binds: [b]\"]"), "SELECT ?");
        assert_eq!(without_values("COMMIT"), "COMMIT");
    }
}
