//! When a delivery is tried, and when it is given up.

use aws_lc_rs::digest::{SHA256, digest};

use crate::kernel::{Instant, WebhookId};

/// The pauses after each failed attempt, in seconds: those of Standard Webhooks, 75 h 35 min in all.
pub const PAUSES_S: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// By how much a pause may be longer or shorter, in percent, so that what has failed together is not tried together.
const SPREAD_PERCENT: i64 = 20;

/// How much longer a receiver can make a pause, in seconds.
pub const MOST_ASKED_FOR_S: i64 = 3_600;

/// After how many failures in a row a receiver is down: it is probed then by one delivery at a time.
pub const DOWN_AFTER: i32 = 10;

/// The longest pause between two probes, in seconds.
pub const LONGEST_PROBE_PAUSE_S: i64 = 7_200;

/// For how long everything may fail before a webhook is disabled, in seconds.
pub const GIVEN_UP_AFTER_S: i64 = 5 * 86_400;

/// The same where the secret cannot be read. While keys rotate, an instance may have to wait for its new one.
pub const UNREADABLE_AFTER_S: i64 = 3_600;

/// For how long a secret that was replaced still signs beside the new one, in seconds.
pub const PREVIOUS_SECRET_S: i64 = 86_400;

/// For how long deliveries are remembered that have arrived, in seconds.
pub const DELIVERED_KEPT_S: i64 = 30 * 86_400;

/// For how long those are that have not, in seconds.
pub const DEAD_KEPT_S: i64 = 90 * 86_400;

/// When a delivery is tried again whose attempt number `attempts` has failed at `now`; never, if it was the last.
/// `asked_for_s` is what the receiver asked for: it only makes a pause longer.
pub fn next_attempt(
    webhook: WebhookId,
    position: i64,
    attempts: i32,
    now: Instant,
    asked_for_s: Option<i64>,
) -> Option<Instant> {
    let nth = usize::try_from(attempts).ok()?.checked_sub(1)?;
    let pause_us = PAUSES_S.get(nth)? * 10_000 * spread(webhook, position, attempts);
    let asked_us = asked_for_s.unwrap_or(0).clamp(0, MOST_ASKED_FOR_S) * 1_000_000;
    Some(Instant::from_micros(now.micros() + pause_us.max(asked_us)))
}

/// What a pause is multiplied by, in percent: the same each time it is asked, and another for each attempt.
fn spread(webhook: WebhookId, position: i64, attempts: i32) -> i64 {
    let hash = digest(&SHA256, format!("{webhook} {position} {attempts}").as_bytes());
    let number = hash.as_ref().iter().take(4).fold(0, |sum, byte| (sum << 8) | i64::from(*byte));
    100 - SPREAD_PERCENT + number % (2 * SPREAD_PERCENT + 1)
}

/// Until when nothing is sent to a receiver after so many failures in a row; nothing while it is not down.
pub fn rests_until(failures: i32, now: Instant) -> Option<Instant> {
    let nth = usize::try_from(failures.checked_sub(DOWN_AFTER)?).ok()?;
    let pause_s = PAUSES_S.get(nth).copied().unwrap_or(LONGEST_PROBE_PAUSE_S).min(LONGEST_PROBE_PAUSE_S);
    Some(now.plus_s(pause_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pause_is_as_long_as_it_should_be_and_longer_only_if_asked(
            position in 1i64.., attempts in 1i32..10, asked_s in proptest::option::of(any::<i64>()),
        ) {
            let (webhook, now) = (WebhookId(uuid::Uuid::nil()), Instant::EPOCH.plus_s(1_000));
            let Some(next) = next_attempt(webhook, position, attempts, now, asked_s) else {
                return Err(TestCaseError::fail("there are ten attempts"));
            };
            let pause_s = PAUSES_S[usize::try_from(attempts - 1).expect("small")];
            let (took_us, asked_us) = (next.micros() - now.micros(), asked_s.unwrap_or(0).clamp(0, 3_600) * 1_000_000);
            prop_assert!(took_us >= (pause_s * 800_000).max(asked_us));
            prop_assert!(took_us <= (pause_s * 1_200_000).max(asked_us));
            prop_assert_eq!(next_attempt(webhook, position, attempts, now, asked_s), Some(next));
        }
    }

    #[test]
    fn there_are_ten_attempts_in_three_days() {
        assert_eq!(PAUSES_S.iter().sum::<i64>(), 75 * 3_600 + 35 * 60 + 5);
        let id = WebhookId(uuid::Uuid::nil());
        assert_eq!(next_attempt(id, 1, 10, Instant::EPOCH, Some(60)), None);
        assert_eq!(next_attempt(id, 1, 0, Instant::EPOCH, None), None);
        let many: std::collections::BTreeSet<i64> = (1..500).map(|position| spread(id, position, 1)).collect();
        assert_eq!(many.into_iter().collect::<Vec<_>>(), (80..=120).collect::<Vec<_>>());
    }

    #[test]
    fn probes_become_rarer_to_an_end() {
        let pause_s = |failures| rests_until(failures, Instant::EPOCH).map(|until| until.micros() / 1_000_000);
        assert_eq!((pause_s(0), pause_s(9)), (None, None));
        assert_eq!([10, 11, 12, 13, 14, 99].map(pause_s), [5, 300, 1_800, 7_200, 7_200, 7_200].map(Some));
    }
}
