//! What a write changes, named before it begins, so that those who change the same come one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::OwnedMutexGuard;

use super::queue::{self, Queue};
use crate::kernel::{AlertSourceId, PrincipalId, Problem, TeamId};

/// The root of something that is changed as one: who is at work on it is the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A ticket, by its number, with its comments, its work, its clocks and its trail.
    Ticket(i64),
    /// A person or a service account, with its logins and memberships.
    Principal(PrincipalId),
    /// A team with its members.
    Team(TeamId),
    /// Whoever has this email address, also while nobody does.
    Address(String),
    /// Whom an issuer knows by this subject, also while nobody does here.
    Subject(String, String),
    /// The ticket for which this principal uses this external id, also while there is none.
    ExternalId(PrincipalId, String),
    /// All alerts of a source.
    AlertSource(AlertSourceId),
    /// All that is imported from a source.
    Import(String),
    /// All sources of alerts, as they are set up.
    AlertSources,
    /// Policies and calendars.
    Configuration,
    /// All webhooks, as they are set up.
    Webhooks,
}

impl Root {
    /// Its name in the process and in the database. That two may have the same does no harm: one waits for the other.
    fn key(&self) -> i64 {
        let name = match self {
            Self::Ticket(number) => format!("ticket {number}"),
            Self::Principal(id) => format!("principal {id}"),
            Self::Team(id) => format!("team {id}"),
            Self::Address(email) => format!("address {email}"),
            Self::Subject(issuer, subject) => format!("subject {issuer} {subject}"),
            Self::ExternalId(creator, id) => format!("external id {creator} {id}"),
            Self::AlertSource(id) => format!("alert source {id}"),
            Self::Import(source) => format!("import {source}"),
            Self::AlertSources => "alert sources".into(),
            Self::Configuration => "configuration".into(),
            Self::Webhooks => "webhooks".into(),
        };
        digest(&SHA256, name.as_bytes()).as_ref().iter().take(8).fold(0, |sum, byte| (sum << 8) | i64::from(*byte))
    }
}

/// All that one write changes. Whoever writes says so; see [`Db::write`](super::Db::write).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots(Vec<i64>);

impl Roots {
    /// Nothing that was there before: for what only adds, or goes through many things and starts again when it meets
    /// somebody.
    pub fn none() -> Self {
        Self::default()
    }

    /// In the order in which everybody takes them, so that nobody waits in a circle.
    pub(super) fn keys(&self) -> &[i64] {
        &self.0
    }
}

impl FromIterator<Root> for Roots {
    fn from_iter<I: IntoIterator<Item = Root>>(roots: I) -> Self {
        let mut keys: Vec<_> = roots.into_iter().map(|root| root.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }
}

/// What several writes change together.
impl FromIterator<Roots> for Roots {
    fn from_iter<I: IntoIterator<Item = Roots>>(all: I) -> Self {
        let mut keys: Vec<_> = all.into_iter().flat_map(|roots| roots.0).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }
}

impl From<Root> for Roots {
    fn from(root: Root) -> Self {
        Self::from_iter([root])
    }
}

impl<const N: usize> From<[Root; N]> for Roots {
    fn from(roots: [Root; N]) -> Self {
        Self::from_iter(roots)
    }
}

/// Those of one process who wait for their turn on a root, in a line for each. They have no connection yet: however
/// many they are, one of them at a time takes one.
#[derive(Clone)]
pub struct Lines(Arc<LinesState>);

struct LinesState {
    lines: Mutex<HashMap<i64, RootLine>>,
    all: Queue,
    /// How many may stand in one line.
    most: AtomicUsize,
}

#[derive(Default)]
struct RootLine {
    turn: Arc<tokio::sync::Mutex<()>>,
    present: usize,
}

/// Somebody's turn, until it is dropped.
pub struct RootTurn {
    // Given back before the place is left.
    _turns: Vec<OwnedMutexGuard<()>>,
    _places: Vec<InLine>,
}

struct InLine {
    lines: Lines,
    key: i64,
}

impl Default for Lines {
    /// Nobody waits.
    fn default() -> Self {
        let inner = LinesState { lines: Mutex::default(), all: Queue::default(), most: AtomicUsize::new(0) };
        let lines = Self(Arc::new(inner));
        lines.resize(queue::MOST);
        lines
    }
}

impl Lines {
    /// Lets `most` wait in all lines together, and half of them in each.
    pub fn resize(&self, most: usize) {
        self.0.all.resize(most);
        self.0.most.store(most.div_ceil(2), Ordering::Relaxed);
    }

    /// Waits for the turn on all of `roots`.
    ///
    /// # Errors
    /// `unavailable` when too many wait.
    pub async fn stand(&self, roots: &Roots) -> Result<RootTurn, Problem> {
        let mut turn = RootTurn { _turns: Vec::new(), _places: Vec::new() };
        for key in roots.keys() {
            let waiting = self.0.all.enter()?;
            let (place, next) = self.enter(*key)?;
            turn._places.push(place);
            turn._turns.push(next.lock_owned().await);
            drop(waiting);
        }
        Ok(turn)
    }

    /// Whether somebody stands in line behind whoever has the turn on `root`.
    pub fn is_awaited(&self, root: &Root) -> bool {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(&root.key()).is_some_and(|line| line.present > 1)
    }

    fn enter(&self, key: i64) -> Result<(InLine, Arc<tokio::sync::Mutex<()>>), Problem> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(key).or_default();
        // One of those in the line is not waiting.
        if line.present > self.0.most.load(Ordering::Relaxed) {
            return Err(Problem::overloaded("too many wait for their turn on the same"));
        }
        line.present += 1;
        Ok((InLine { lines: self.clone(), key }, line.turn.clone()))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut lines = self.lines.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.key) {
            line.present -= 1;
            if line.present == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn lines(most: usize) -> Lines {
        let lines = Lines::default();
        lines.resize(most);
        lines
    }

    #[tokio::test]
    async fn one_after_the_other_and_only_so_many() {
        let lines = lines(4);
        let (busy, other) = (Roots::from(Root::Ticket(1)), Roots::from(Root::Ticket(2)));
        let first = lines.stand(&busy).await.expect("nobody is there");
        assert!(!lines.is_awaited(&Root::Ticket(1)));
        let (mut second, mut third) = (Box::pin(lines.stand(&busy)), Box::pin(lines.stand(&busy)));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert!(lines.is_awaited(&Root::Ticket(1)) && !lines.is_awaited(&Root::Ticket(2)));
        assert!(lines.stand(&busy).await.is_err(), "two wait already");
        assert!(lines.stand(&other).await.is_ok(), "another line is empty");
        drop(first);
        let second = second.await.expect("its turn");
        assert!((&mut third).now_or_never().is_none());
        drop((second, third));
        assert_eq!(lines.len(), 0, "an empty line is none");
    }

    #[tokio::test]
    async fn who_names_the_same_in_another_order_never_waits_in_a_circle() {
        let lines = lines(1024);
        let roots = [Root::Team(TeamId(uuid::Uuid::nil())), Root::Address("a@b.c".into()), Root::Ticket(7)];
        let all: Vec<_> = (0..300)
            .map(|n: usize| {
                let mut some = roots.to_vec();
                some.rotate_left(n % 3);
                some.truncate(1 + n % 3);
                let (lines, some) = (lines.clone(), some.into_iter().collect::<Roots>());
                tokio::spawn(async move {
                    let turn = lines.stand(&some).await;
                    tokio::task::yield_now().await;
                    turn.is_ok()
                })
            })
            .collect();
        for one in all {
            assert!(one.await.expect("no panic"));
        }
        assert_eq!(lines.len(), 0);
    }

    #[test]
    fn roots_are_told_apart() {
        let id = PrincipalId(uuid::Uuid::nil());
        let all: Roots = [
            Root::Ticket(1),
            Root::Ticket(11),
            Root::Principal(id),
            Root::Team(TeamId(id.0)),
            Root::ExternalId(id, "1".into()),
            Root::Address("1".into()),
            Root::Subject("1".into(), "1".into()),
            Root::AlertSource(AlertSourceId(id.0)),
            Root::AlertSources,
            Root::Import("1".into()),
            Root::Configuration,
            Root::Webhooks,
        ]
        .into();
        assert_eq!(all.keys().len(), 12);
        assert_eq!(Roots::from([Root::Ticket(1), Root::Ticket(1)]).keys().len(), 1);
    }
}
