//! Who waits for something to happen, or does what takes long: how many there may be, so that nobody takes all
//! connections, or all the work of serving them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernel::{PrincipalId, Problem};

/// How many seats one principal may have.
pub const MOST_OF_ONE: usize = 8;

/// In how many seconds somebody may have left who waits.
const RETRY_AFTER_S: u64 = 1;

/// The seats of one server.
#[derive(Debug, Clone)]
pub struct Seats(Arc<SeatCounts>);

#[derive(Debug)]
struct SeatCounts {
    most: usize,
    most_of_one: usize,
    /// What somebody with a seat does.
    doing: &'static str,
    taken: Mutex<HashMap<PrincipalId, usize>>,
}

/// A seat that is taken.
#[derive(Debug)]
pub struct Seat {
    of: Seats,
    who: PrincipalId,
}

impl Seats {
    /// At most `most` of them, for those who wait for changes.
    pub fn new(most: usize) -> Self {
        Self::of(most, MOST_OF_ONE, "wait for changes")
    }

    /// At most `most` of them, and `most_of_one` for one principal, for those who are `doing` something.
    pub fn of(most: usize, most_of_one: usize, doing: &'static str) -> Self {
        Self(Arc::new(SeatCounts { most, most_of_one, doing, taken: Mutex::default() }))
    }

    /// A seat for `who`.
    ///
    /// # Errors
    /// `rate_limited` when they have too many, `unavailable` when all are taken.
    pub fn take(&self, who: PrincipalId) -> Result<Seat, Problem> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.0.most {
            return Err(Problem::unavailable(format!("all seats of those who {} are taken", self.0.doing)));
        }
        let own = taken.entry(who).or_default();
        let SeatCounts { most_of_one, doing, .. } = *self.0;
        if *own >= most_of_one {
            let detail = format!("You {doing} {most_of_one} times already. End one of them first.");
            return Err(Problem::rate_limited(detail, RETRY_AFTER_S));
        }
        *own += 1;
        drop(taken);
        Ok(Seat { of: self.clone(), who })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.of.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Code;
    use uuid::Uuid;

    #[test]
    fn nobody_takes_all_seats_and_each_is_free_again() {
        let seats = Seats::new(MOST_OF_ONE + 1);
        let (one, other) = (PrincipalId(Uuid::from_u128(1)), PrincipalId(Uuid::from_u128(2)));
        let mut own: Vec<Seat> = (0..MOST_OF_ONE).map(|_| seats.take(one).expect("a seat")).collect();
        assert_eq!(seats.take(one).expect_err("too many").code(), Code::RateLimited);
        let last = seats.take(other).expect("a seat");
        assert_eq!(seats.take(other).expect_err("none is left").code(), Code::Unavailable);
        drop(last);
        own.pop();
        assert_eq!(seats.taken(), MOST_OF_ONE - 1);
        drop((seats.take(one).expect("a seat"), own));
        assert_eq!(seats.taken(), 0);
    }
}
