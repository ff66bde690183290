//! How the connections of a process to PostgreSQL are shared out among what they are for, so that nobody stands behind
//! what takes longer, and all of them together are never more than the setting.

/// The fewest connections that do: one to write, one for single things, one for lists and reports, and one for what
/// runs by itself.
pub const FEWEST: usize = 4;

/// The fewest with a replica, which is asked for lists and reports on one more.
pub const FEWEST_WITH_REPLICA: usize = 5;

/// How many connections there are for what. What runs by itself has one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// For transactions that write.
    pub writes: usize,
    /// For those who authenticate, and for what reads single things.
    pub points: usize,
    /// For lists, searches and reports.
    pub lists: usize,
    /// The same at a replica.
    pub replica: usize,
}

impl Shares {
    /// What becomes of `size` connections, of which there are the fewest at least, for `threads` that serve requests.
    /// More than half are for those who write: they hold theirs for longest.
    pub fn of(size: usize, threads: usize, has_replica: bool) -> Self {
        let fewest = if has_replica { FEWEST_WITH_REPLICA } else { FEWEST };
        let serving = size.max(fewest) - 1;
        let points = (serving / 4).clamp(1, 2 * threads.max(1));
        let all_lists = ((serving - points) / 3).max(fewest - 3);
        let replica = if has_replica { all_lists.div_ceil(2) } else { 0 };
        Self { writes: serving - points - all_lists, points, lists: all_lists - replica, replica }
    }
}

/// How many of `count` connections are for the `nth` of `threads` alone. None, if there are fewer than `least` for
/// each: all threads then have them in common.
pub fn part(count: usize, threads: usize, nth: usize, least: usize) -> Option<usize> {
    (count >= least * threads).then(|| count / threads + usize::from(nth < count % threads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn connections_add_up_to_the_setting_and_each_has_its_own(
            size in 1_usize..=64, threads in 1_usize..=32, has_replica: bool, least in 1_usize..=4,
        ) {
            let shares = Shares::of(size, threads, has_replica);
            let Shares { writes, points, lists, replica } = shares;
            let fewest = if has_replica { FEWEST_WITH_REPLICA } else { FEWEST };
            // One is for what runs by itself; none is left over.
            prop_assert_eq!(writes + points + lists + replica + 1, size.max(fewest));
            prop_assert!(writes >= 1 && points >= 1 && lists >= 1, "{:?}", shares);
            prop_assert_eq!(replica >= 1, has_replica);
            prop_assert!(size < 8 || 2 * writes >= size - 1, "{:?} of {}", shares, size);
            for count in [writes, points, lists, replica] {
                let parts: Vec<_> = (0..threads).map(|nth| part(count, threads, nth, least)).collect();
                // Either each thread has its own, all of them together, or they have all in common.
                match parts.iter().copied().sum::<Option<usize>>() {
                    Some(sum) => prop_assert!(sum == count && parts.iter().flatten().all(|own| *own >= least)),
                    None => prop_assert!(parts.iter().all(Option::is_none)),
                }
            }
        }
    }
}
