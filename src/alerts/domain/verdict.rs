//! What becomes of what a source tells: a function of what is known of the alert and of how its ticket stands.

use super::alert::{Alert, AlertState};
use super::signal::AlertSignal;
use crate::kernel::{Instant, Status, TicketId};

/// How the ticket of an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// The ticket.
    pub id: TicketId,
    /// Where it stands.
    pub status: Status,
    /// When it was resolved.
    pub resolved_at: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertVerdict {
    /// A ticket is opened, which follows up an older one, if there is one.
    Open(Option<TicketId>),
    /// Nothing, but that it was told once more.
    Repeat,
    /// It tells something else: that is noted.
    Note,
    /// It fires again, and its ticket goes on.
    FireAgain,
    /// It fires again, and its ticket comes back.
    Reopen,
    /// It is over.
    End,
    /// It is over, and was not known to fire: a word of its beginning that comes late will be known.
    Remember,
    /// It came too late.
    Ignore,
}

/// How long after an alert was told to be over its firing since the same instant is taken for a message that was late,
/// such as that of the other Alertmanager of a pair, in seconds. Whoever says so later means it: an Alertmanager whose
/// Prometheus fell silent takes its alerts for over, and tells them again as they were when it is back.
const LATE_TWIN_S: i64 = 60;

/// What becomes of `signal` at `now`. `known` is the alert, and `ticket` its ticket, if there are; one that was
/// resolved at most `reopen_within_s` seconds ago comes back.
pub fn judge(
    known: Option<&Alert>,
    ticket: Option<Fate>,
    signal: &AlertSignal,
    reopen_within_s: i64,
    now: Instant,
) -> AlertVerdict {
    let Some(known) = known else {
        return if signal.state == AlertState::Firing { AlertVerdict::Open(None) } else { AlertVerdict::Remember };
    };
    // Who does not say when it began repeats what fires, and begins anew what is over.
    let order = signal.starts_at.map(|at| at.cmp(&known.starts_at));
    let back = || match ticket {
        None => AlertVerdict::Open(None),
        Some(Fate { status: Status::Resolved, resolved_at, .. })
            if resolved_at.is_some_and(|at| at.plus_s(reopen_within_s) >= now) =>
        {
            AlertVerdict::Reopen
        }
        Some(Fate { status: Status::Resolved | Status::Closed, id, .. }) => AlertVerdict::Open(Some(id)),
        Some(_) => AlertVerdict::FireAgain,
    };
    let told_again = || if signal.is_news(known) { AlertVerdict::Note } else { AlertVerdict::Repeat };
    match (signal.state, known.state) {
        (AlertState::Firing, AlertState::Firing) => match order {
            None | Some(std::cmp::Ordering::Equal) => told_again(),
            // The last of those of a group that fire has ended.
            Some(std::cmp::Ordering::Less) if signal.is_group => told_again(),
            Some(std::cmp::Ordering::Less) => AlertVerdict::Ignore,
            // That it was over in between has been lost.
            Some(std::cmp::Ordering::Greater) => match back() {
                AlertVerdict::FireAgain => AlertVerdict::Note,
                other => other,
            },
        },
        (AlertState::Firing, AlertState::Resolved) => match order {
            None | Some(std::cmp::Ordering::Greater) => back(),
            Some(_) if now <= known.last_seen_at.plus_s(LATE_TWIN_S) => AlertVerdict::Ignore,
            Some(_) => back(),
        },
        (AlertState::Resolved, AlertState::Firing) => match order {
            Some(std::cmp::Ordering::Less) if !signal.is_group => AlertVerdict::Ignore,
            // The last of a group may have begun before others that are over; what ended before it fired came late.
            Some(std::cmp::Ordering::Less)
                if signal.ends_at > signal.starts_at && signal.ends_at < Some(known.starts_at) =>
            {
                AlertVerdict::Ignore
            }
            _ => AlertVerdict::End,
        },
        (AlertState::Resolved, AlertState::Resolved) => match order {
            Some(std::cmp::Ordering::Greater) => AlertVerdict::Remember,
            Some(std::cmp::Ordering::Less) => AlertVerdict::Ignore,
            None | Some(std::cmp::Ordering::Equal) => AlertVerdict::Repeat,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::signal::tests::signal;
    use super::*;
    use AlertState::{Firing, Resolved};

    /// When all this happens, in seconds.
    const NOW_S: i64 = 1_000_000;

    fn known(state: AlertState, starts_s: i64) -> Alert {
        let signal = signal(state, Some(starts_s));
        let nil = uuid::Uuid::nil();
        Alert {
            id: nil.into(),
            source_id: nil.into(),
            dedupe_key: signal.dedupe_key,
            ticket_number: Some(1),
            state,
            starts_at: Instant::EPOCH.plus_s(starts_s),
            ends_at: None,
            last_seen_at: Instant::EPOCH.plus_s(NOW_S),
            times: 1,
            severity: signal.severity,
            summary: signal.summary,
            labels: signal.labels,
            annotations: signal.annotations,
            links: signal.links,
            firing_count: signal.firing_count,
            truncated: false,
            truncated_alerts: 0,
            redacted: false,
            own_to: Some(0),
        }
    }

    /// The table of the design, line by line.
    #[test]
    fn each_case_has_its_verdict() {
        let id = TicketId::from(uuid::Uuid::nil());
        let (now, day) = (Instant::EPOCH.plus_s(NOW_S), 86_400);
        let open = Fate { id, status: Status::Open, resolved_at: None };
        let solved_ago = |s: i64| Fate { id, status: Status::Resolved, resolved_at: Some(now.plus_s(-s)) };
        let closed = Fate { id, status: Status::Closed, resolved_at: Some(now) };
        let follow_up = AlertVerdict::Open(Some(id));
        let case = |was: Option<(AlertState, i64)>, ticket: Option<Fate>, state, starts_s| {
            let was = was.map(|(state, starts_s)| known(state, starts_s));
            judge(was.as_ref(), ticket, &signal(state, starts_s), day, now)
        };
        assert_eq!(case(None, None, Firing, Some(10)), AlertVerdict::Open(None));
        assert_eq!(case(None, None, Resolved, Some(10)), AlertVerdict::Remember);
        for ticket in [open, solved_ago(5), closed] {
            assert_eq!(case(Some((Firing, 10)), Some(ticket), Firing, Some(10)), AlertVerdict::Repeat, "a repeat");
            assert_eq!(case(Some((Firing, 10)), Some(ticket), Firing, None), AlertVerdict::Repeat);
            assert_eq!(case(Some((Firing, 10)), Some(ticket), Firing, Some(9)), AlertVerdict::Ignore);
            assert_eq!(case(Some((Resolved, 10)), Some(ticket), Firing, Some(10)), AlertVerdict::Ignore, "a late twin");
            assert_eq!(case(Some((Firing, 10)), Some(ticket), Resolved, Some(10)), AlertVerdict::End);
            assert_eq!(case(Some((Firing, 10)), Some(ticket), Resolved, None), AlertVerdict::End);
            assert_eq!(case(Some((Firing, 10)), Some(ticket), Resolved, Some(9)), AlertVerdict::Ignore);
            assert_eq!(case(Some((Resolved, 10)), Some(ticket), Resolved, Some(10)), AlertVerdict::Repeat);
            assert_eq!(case(Some((Resolved, 10)), Some(ticket), Resolved, Some(11)), AlertVerdict::Remember);
        }
        for was in [Firing, Resolved] {
            let again = |ticket| case(Some((was, 10)), Some(ticket), Firing, Some(11));
            assert_eq!(again(open), if was == Firing { AlertVerdict::Note } else { AlertVerdict::FireAgain });
            assert_eq!((again(solved_ago(day)), again(solved_ago(day + 1))), (AlertVerdict::Reopen, follow_up));
            assert_eq!(again(closed), follow_up);
        }
        assert_eq!(case(Some((Resolved, 10)), None, Firing, Some(11)), AlertVerdict::Open(None));
        for starts_s in [9, 10] {
            let after = |s: i64| {
                let told = signal(Firing, Some(starts_s));
                judge(Some(&known(Resolved, 10)), Some(solved_ago(s)), &told, day, now.plus_s(s))
            };
            assert_eq!((after(LATE_TWIN_S), after(LATE_TWIN_S + 1)), (AlertVerdict::Ignore, AlertVerdict::Reopen));
        }
        assert_eq!(case(Some((Resolved, 10)), Some(open), Firing, None), AlertVerdict::FireAgain);
        // Of a group the last may have begun before the others, but it has not ended before they began.
        let last = |ends_s: i64| {
            let ends_at = Some(Instant::EPOCH.plus_s(ends_s));
            let signal = AlertSignal { is_group: true, ends_at, ..signal(Resolved, Some(5)) };
            judge(Some(&known(Firing, 10)), Some(open), &signal, day, now)
        };
        assert_eq!((last(8), last(12)), (AlertVerdict::Ignore, AlertVerdict::End));
        let louder = AlertSignal { severity: Some("critical".into()), ..signal(Firing, Some(10)) };
        assert_eq!(judge(Some(&known(Firing, 10)), Some(open), &louder, day, now), AlertVerdict::Note);
    }
}
