//! Passwords of people: argon2id, off the event loop, a few at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use tokio::sync::Semaphore;

use crate::kernel::Problem;
use crate::kernel::fault::{self, Faults};
use crate::kernel::secret::Secret;

/// How many are hashed at once: each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;

/// How many may wait for their turn; more are sent away, so that a flood of logins cannot take the memory.
const WAITING: usize = 64;

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
    /// The code and the sentence for the field that holds it.
    pub fn parse(text: String) -> Result<Self, (&'static str, String)> {
        if text.chars().count() < 12 {
            return Err(("too_short", "must have at least 12 characters".into()));
        }
        if text.len() > 256 {
            return Err(("too_long", "must have at most 256 bytes of UTF-8".into()));
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
        Self::parse(text).map_err(|(code, detail)| Faults::at(location, code, detail))
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

/// Where passwords are hashed and verified. Cheap to clone; all clones share the same turns.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    present: Arc<AtomicUsize>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), present: Arc::default() }
    }
}

impl Passwords {
    /// What is stored of `password` (a PHC string).
    ///
    /// # Errors
    /// `unavailable` when too many wait.
    pub async fn hash(&self, password: &Password) -> Result<String, Problem> {
        let password = password.0.clone();
        self.in_turn(move || {
            let hash = Argon2::default().hash_password(password.reveal().as_bytes()).map_err(Problem::internal)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `candidate` is the password that `stored` is of. Without a stored one it never is, and takes as long.
    ///
    /// # Errors
    /// `unavailable` when too many wait.
    pub async fn verify(&self, candidate: Secret<String>, stored: Option<String>) -> Result<bool, Problem> {
        self.in_turn(move || {
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(DUMMY)).map_err(Problem::internal)?;
            let matches = Argon2::default().verify_password(candidate.reveal().as_bytes(), &hash).is_ok();
            Ok(matches && stored.is_some())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let present = Present::enter(&self.present)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Problem::internal)?;
        let task = tokio::task::spawn_blocking(move || {
            // Kept until the work is done, also when the caller has gone away.
            let _kept = (turn, present);
            work()
        });
        task.await.map_err(Problem::internal)?
    }
}

/// One that waits or is at work.
struct Present(Arc<AtomicUsize>);

impl Present {
    fn enter(count: &Arc<AtomicUsize>) -> Result<Self, Problem> {
        let present = Self(Arc::clone(count));
        if count.fetch_add(1, Ordering::Relaxed) < AT_ONCE + WAITING {
            Ok(present)
        } else {
            Err(Problem::unavailable("too many passwords wait to be hashed"))
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text.into()).expect("long enough")
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::default();
        let hash = passwords.hash(&password("correct horse battery")).await.expect("hashes");
        let known = async |text: &str, stored: Option<&str>| {
            passwords.verify(Secret::new(text.into()), stored.map(Into::into)).await.expect("verifies")
        };
        assert!(known("correct horse battery", Some(&hash)).await);
        assert!(!known("correct horse batterz", Some(&hash)).await);
        assert!(!known("correct horse battery", None).await);
        assert_eq!(passwords.present.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_stand_in_costs_what_all_others_cost() {
        let hash = Passwords::default().hash(&password("correct horse battery")).await.expect("hashes");
        let cost = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(&hash), ["", "argon2id", "v=19", "m=19456,t=2,p=1"]);
        assert_eq!(cost(DUMMY), cost(&hash));
        assert_eq!(DUMMY.len(), hash.len());
        assert!(PasswordHash::new(DUMMY).is_ok());
    }

    #[tokio::test]
    async fn a_flood_is_sent_away() {
        let passwords = Passwords::default();
        let all = (0..AT_ONCE + WAITING + 1).map(|_| Present::enter(&passwords.present)).collect::<Vec<_>>();
        assert_eq!(all.iter().filter(|entered| entered.is_err()).count(), 1);
        assert!(passwords.hash(&password("correct horse battery")).await.is_err());
        drop(all);
        assert!(passwords.hash(&password("correct horse battery")).await.is_ok());
    }

    #[test]
    fn a_password_is_long_but_not_endless_and_stays_unseen() {
        assert!(Password::parse("elevenchars".into()).is_err());
        assert!(Password::parse("x".repeat(257)).is_err());
        assert_eq!(format!("{:?}", password("äöüäöüäöüäöü")), "<secret>");
    }
}
