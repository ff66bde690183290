//! Passwords of people: argon2id, off the event loop, a few at a time, and each in their turn.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use tokio::sync::oneshot;

use crate::http::limits::Attempt;
use crate::http::origin::Origin;
use crate::kernel::fault::{self, Faults};
use crate::kernel::secret::Secret;
use crate::kernel::{FieldError, PrincipalId, Problem};

/// How many are hashed at once: each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;

/// How many may wait for their turn, some three seconds; more are sent away, so that a flood of logins cannot take the
/// memory. Whoever wants to fill all places comes from as many addresses: a longer line makes room for a shorter one.
const WAITING: usize = 256;

/// How many of one person or service account may wait: more than anybody needs. An address may be that of many people.
const WAITING_OF_ONE: usize = 8;

/// The hash that stands in where there is none: of nothing that anybody knows, with the parameters of all others, so
/// that a wrong name takes as long as a wrong password.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$7vw711GrrWc/2jyXtmd7Sw$NJO4sJXwYntKzDzflb7C1h/p7KUAI6V9KhiHZFqxHPI";

/// A password that somebody sets: at least 12 characters, at most 256 bytes (NIST SP 800-63B asks for no more rules).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Secret<String>);

impl Password {
    /// Takes `text` if it is long enough and no longer than is hashed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: String) -> Result<Self, FieldError> {
        if text.chars().count() < 12 {
            let fault = FieldError::of_value("too_short", "must have at least 12 characters");
            return Err(fault.with("min", 12).with("unit", "characters"));
        }
        if text.len() > 256 {
            let fault = FieldError::of_value("too_long", "must have at most 256 bytes of UTF-8");
            return Err(fault.with("max", 256).with("unit", "bytes"));
        }
        Ok(Self(Secret::new(text)))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Deserr<Faults> for Password {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let text = fault::string(value, location)?;
        Self::parse(text).map_err(|fault| Faults::of_value(location, fault))
    }
}

impl utoipa::PartialSchema for Password {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .min_length(Some(12))
            .max_length(Some(256))
            .description(Some("At least 12 characters, at most 256 bytes of UTF-8."))
            .examples([serde_json::json!("correct horse battery staple")])
            .build()
            .into()
    }
}
impl utoipa::ToSchema for Password {}

/// For whom a password is hashed. Turns go round among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// Whoever logs in from there: who it is, is not known yet.
    Origin(Origin),
    /// Somebody who has a token.
    Principal(PrincipalId),
}

/// Where passwords are hashed and verified. Cheap to clone; all clones share the same turns.
#[derive(Debug, Clone, Default)]
pub struct Passwords(HashingTurns);

impl Passwords {
    /// What is stored of `password` (a PHC string).
    ///
    /// # Errors
    /// `unavailable` when too many wait.
    pub async fn hash(&self, party: Party, password: &Password) -> Result<String, Problem> {
        let password = password.0.clone();
        self.in_turn(party, move || {
            let hash = Argon2::default().hash_password(password.reveal().as_bytes()).map_err(Problem::internal)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `candidate` is the password that `stored` is of. Without a stored one it never is, and takes as long.
    /// Nobody finds out without an attempt that counts.
    ///
    /// # Errors
    /// `unavailable` when too many wait.
    pub async fn verify(
        &self,
        _counted: &Attempt<'_>,
        party: Party,
        candidate: Secret<String>,
        stored: Option<String>,
    ) -> Result<bool, Problem> {
        self.in_turn(party, move || {
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(DUMMY)).map_err(Problem::internal)?;
            let matches = Argon2::default().verify_password(candidate.reveal().as_bytes(), &hash).is_ok();
            Ok(matches && stored.is_some())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        party: Party,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.0.take(party).await?;
        let task = tokio::task::spawn_blocking(move || {
            // Kept until the work is done, also when the caller has gone away.
            let _kept = turn;
            work()
        });
        task.await.map_err(Problem::internal)?
    }
}

/// Who is at work, and who waits.
#[derive(Debug, Clone)]
struct HashingTurns(Arc<Mutex<HashingQueue>>);

/// One that is at work. When it ends, the next one's turn begins.
#[derive(Debug)]
struct HashingTurn(Option<HashingTurns>);

#[derive(Debug)]
struct HashingQueue {
    free: usize,
    /// In the order in which they have their turns; none is empty.
    lines: VecDeque<PartyLine>,
}

/// Those of one party who wait, in the order in which they came.
#[derive(Debug)]
struct PartyLine {
    party: Party,
    waiting: VecDeque<oneshot::Sender<HashingTurn>>,
}

impl Default for HashingTurns {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(HashingQueue { free: AT_ONCE, lines: VecDeque::new() })))
    }
}

impl HashingTurns {
    async fn take(&self, party: Party) -> Result<HashingTurn, Problem> {
        let too_many = || Problem::unavailable("too many passwords wait to be hashed");
        let (sender, mine) = oneshot::channel();
        {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return Ok(HashingTurn(Some(self.clone())));
            }
            if !queue.join(party, sender) {
                return Err(too_many());
            }
        }
        // Who was sent away for others hears nothing more.
        mine.await.map_err(|_| too_many())
    }

    fn queue(&self) -> MutexGuard<'_, HashingQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HashingTurn {
    fn drop(&mut self) {
        while let Some(turns) = self.0.take() {
            let next = {
                let mut queue = turns.queue();
                let next = queue.next();
                queue.free += usize::from(next.is_none());
                next
            };
            // Who has gone away meanwhile gives it back.
            if let Some(Err(mut back)) = next.map(|next| next.send(HashingTurn(Some(turns)))) {
                self.0 = back.0.take();
            }
        }
    }
}

impl HashingQueue {
    /// Whether one more of `party` may wait. Where there is no room left, somebody of the party that waits with the
    /// most makes room for one with fewer: whatever one does, all others have their turns.
    fn join(&mut self, party: Party, sender: oneshot::Sender<HashingTurn>) -> bool {
        for line in &mut self.lines {
            line.waiting.retain(|waiting| !waiting.is_closed());
        }
        self.lines.retain(|line| !line.waiting.is_empty());
        let of = |line: &PartyLine| line.waiting.len();
        let mine = self.lines.iter().find(|line| line.party == party).map_or(0, of);
        if matches!(party, Party::Principal(_)) && mine >= WAITING_OF_ONE {
            return false;
        }
        if self.lines.iter().map(of).sum::<usize>() >= WAITING {
            match self.lines.iter_mut().max_by_key(|line| line.waiting.len()) {
                Some(longest) if longest.waiting.len() > mine + 1 => drop(longest.waiting.pop_back()),
                _ => return false,
            }
        }
        match self.lines.iter_mut().find(|line| line.party == party) {
            Some(line) => line.waiting.push_back(sender),
            None => self.lines.push_back(PartyLine { party, waiting: [sender].into() }),
        }
        true
    }

    /// The first of the party whose turn it is; after that it is the others' turn.
    fn next(&mut self) -> Option<oneshot::Sender<HashingTurn>> {
        let mut line = self.lines.pop_front()?;
        let next = line.waiting.pop_front();
        if !line.waiting.is_empty() {
            self.lines.push_back(line);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text.into()).expect("long enough")
    }

    /// Somebody who logs in from the `n`th address.
    fn address(n: u16) -> Party {
        let [high, low] = n.to_be_bytes();
        Party::Origin(Origin::Address(std::net::IpAddr::from([198, 18, high, low])))
    }

    fn person() -> Party {
        Party::Principal(uuid::Uuid::nil().into())
    }

    fn passed_all(turns: &HashingTurns) -> bool {
        let queue = turns.queue();
        queue.free == AT_ONCE && queue.lines.is_empty()
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::default();
        let gate = crate::http::Gate::new(&crate::http::Limits::default(), &crate::kernel::Clock::system());
        let attempt = gate.attempt(Origin::Ours, None).expect("no limit");
        let hash = passwords.hash(person(), &password("correct horse battery")).await.expect("hashes");
        let known = async |text: &str, stored: Option<&str>| {
            let (text, stored) = (Secret::new(text.into()), stored.map(Into::into));
            passwords.verify(&attempt, address(1), text, stored).await.expect("verifies")
        };
        assert!(known("correct horse battery", Some(&hash)).await);
        assert!(!known("correct horse batterz", Some(&hash)).await);
        assert!(!known("correct horse battery", None).await);
        assert!(passed_all(&passwords.0));
    }

    #[tokio::test]
    async fn the_stand_in_costs_what_all_others_cost() {
        let hash = Passwords::default().hash(person(), &password("correct horse battery")).await.expect("hashes");
        let cost = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(&hash), ["", "argon2id", "v=19", "m=19456,t=2,p=1"]);
        assert_eq!(cost(DUMMY), cost(&hash));
        assert_eq!(DUMMY.len(), hash.len());
        assert!(PasswordHash::new(DUMMY).is_ok());
    }

    type Waiting<'a> = futures::future::BoxFuture<'a, Result<HashingTurn, Problem>>;

    /// `n` of a party who ask for a turn and have none yet; those who are sent away at once are left out.
    fn ask(turns: &HashingTurns, party: Party, n: usize) -> Vec<Waiting<'_>> {
        let mut asked: Vec<Waiting<'_>> = (0..n).map(|_| Box::pin(turns.take(party)) as Waiting<'_>).collect();
        asked.retain_mut(|one| match one.now_or_never() {
            Some(outcome) => {
                assert!(outcome.is_err(), "nobody is at work any more");
                false
            }
            None => true,
        });
        asked
    }

    async fn both_at_work(turns: &HashingTurns) -> [HashingTurn; AT_ONCE] {
        [turns.take(address(0)).await.expect("free"), turns.take(address(0)).await.expect("free")]
    }

    #[tokio::test]
    async fn a_flood_is_sent_away_and_whoever_leaves_makes_room() {
        let turns = HashingTurns::default();
        let at_work = both_at_work(&turns).await;
        let mut flood = ask(&turns, address(1), WAITING + 36);
        assert_eq!(flood.len(), WAITING);
        flood.truncate(10);
        assert_eq!(ask(&turns, address(1), WAITING).len(), WAITING - 10);
        drop(at_work);
        for one in flood {
            drop(one.await.expect("a turn"));
        }
        assert!(passed_all(&turns));
        assert!(turns.take(address(1)).await.is_ok());
    }

    #[tokio::test]
    async fn one_person_takes_nobody_elses_turn() {
        let turns = HashingTurns::default();
        let mut at_work = Vec::from(both_at_work(&turns).await);
        assert_eq!(ask(&turns, person(), 100).len(), WAITING_OF_ONE, "and they have gone again");
        let (mut greedy, others) = (ask(&turns, person(), 100), ask(&turns, address(1), 50));
        assert_eq!((greedy.len(), others.len()), (WAITING_OF_ONE, 50));
        // One and one: after two turns, one of the others has had theirs.
        at_work.truncate(1);
        let first = greedy.remove(0).await.expect("whoever came first");
        drop(first);
        let mut others = others.into_iter();
        assert!(others.next().expect("one").now_or_never().is_some_and(|turn| turn.is_ok()));
        for other in others {
            drop(other.now_or_never().transpose().expect("not sent away"));
        }
    }

    #[tokio::test]
    async fn the_longest_line_makes_room_for_a_shorter_one_until_they_are_alike() {
        let turns = HashingTurns::default();
        let _at_work = both_at_work(&turns).await;
        let mut flood = ask(&turns, address(1), WAITING + 36);
        assert_eq!(ask(&turns, address(2), WAITING).len(), WAITING / 2);
        let second = ask(&turns, address(2), WAITING);
        flood.retain_mut(|one| one.now_or_never().is_none());
        assert_eq!(flood.len(), WAITING / 2, "the newest were sent away");
        let many: Vec<_> =
            (3..=u16::try_from(WAITING).expect("few")).flat_map(|n| ask(&turns, address(n), 5)).collect();
        let waiting = turns.queue().lines.iter().map(|line| line.waiting.len()).collect::<Vec<_>>();
        assert!(waiting.len() == WAITING && waiting.iter().all(|n| *n == 1), "{waiting:?}");
        // Where each has one, whoever comes last is sent away.
        assert!(ask(&turns, address(u16::MAX), 1).is_empty());
        drop((flood, second, many));
    }

    #[tokio::test]
    async fn turns_go_round() {
        let turns = HashingTurns::default();
        let at_work = both_at_work(&turns).await;
        let mut lines: Vec<Vec<Waiting<'_>>> = (1..=3).map(|n| ask(&turns, address(n), 3)).collect();
        drop(at_work);
        // Two have a turn each time, and give it on when they are done.
        let mut had = Vec::new();
        while had.len() < 9 {
            for (n, line) in lines.iter_mut().enumerate() {
                if let Some(turn) = line.first_mut().and_then(|first| first.now_or_never()) {
                    drop((turn.expect("a turn"), line.remove(0)));
                    had.push(n);
                }
            }
        }
        for n in 0..3 {
            let firsts = had.iter().take(4).filter(|party| **party == n).count();
            assert!(firsts >= 1, "{had:?}");
        }
        assert!(passed_all(&turns));
    }

    #[test]
    fn a_password_is_long_but_not_endless_and_stays_unseen() {
        assert!(Password::parse("elevenchars".into()).is_err());
        assert!(Password::parse("x".repeat(257)).is_err());
        assert_eq!(format!("{:?}", password("äöüäöüäöüäöü")), "<secret>");
    }
}
