//! The use cases of policies.

use super::clocks::configuration_changed;
use crate::auth::policy::Act;
use crate::db::{Conn, Db};
use crate::http::call::IfMatch;
use crate::kernel::rows::Limit;
use crate::kernel::{Code, FieldError, Instant, PolicyId, Problem, TeamId};
use crate::sla::domain::policies::{
    FoundReferences, KeptPolicy, LAST_POSITION, MOST_POLICIES, NewPolicy, PolicyChange, PolicyVersion,
};
use crate::sla::domain::policy::PolicyDefinition;
use crate::sla::domain::preview::{Preview, Trial};
use crate::sla::store::{clocks, configuration, policies as store};

/// How many tickets a preview reads at once, and judges without a pause.
const AT_ONCE: i64 = 200;

/// How many tickets a preview reads at most.
const MOST_PREVIEWED: usize = 20_000;

/// How long the window of a preview may be, in seconds: a leap year.
const LONGEST_WINDOW_S: i64 = 366 * 86_400;

/// At most one page and one of the policies from behind the key `after` on.
pub async fn list_policies(
    conn: &mut Conn,
    after: Option<(i32, PolicyId)>,
    limit: Limit,
) -> Result<Vec<KeptPolicy>, Problem> {
    store::list(conn, after, limit.and_one()).await
}

/// The policy `id`.
///
/// # Errors
/// `not_found`.
pub async fn read_policy(conn: &mut Conn, id: PolicyId) -> Result<KeptPolicy, Problem> {
    store::find(conn, id).await
}

/// At most one page and one of the versions of the policy `id` after the version `after`; also when it was removed.
///
/// # Errors
/// `not_found`.
pub async fn list_policy_versions(
    conn: &mut Conn,
    id: PolicyId,
    after: Option<i64>,
    limit: Limit,
) -> Result<Vec<PolicyVersion>, Problem> {
    store::versions(conn, id, after, limit.and_one()).await
}

/// Makes a policy. No other write may be at work.
///
/// # Errors
/// `validation_failed`, or `conflict` when another policy has the name or there are too many.
pub async fn create_policy(tx: &mut Conn, new: NewPolicy, act: &Act) -> Result<KeptPolicy, Problem> {
    let (count, last) = store::count_and_last(tx).await?;
    let behind = i32::try_from(LAST_POSITION).unwrap_or(i32::MAX).min(last + 1);
    let definition = new.into_definition(behind);
    require_sound(tx, &definition, &[], "").await?;
    if count >= MOST_POLICIES {
        let detail = format!("There are {MOST_POLICIES} SLA policies, and there can be no more. Remove one first.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let policy = KeptPolicy { id: act.id(), definition, created_at: act.now, updated_at: act.now, version: 1 };
    store::insert(tx, &policy).await?;
    configuration_changed(tx, act.now, &act.clock).await?;
    Ok(policy)
}

/// Changes a policy. No other write may be at work.
///
/// # Errors
/// `not_found`, `version_mismatch`, `validation_failed`, or `conflict` when another policy has the name.
pub async fn change_policy(
    tx: &mut Conn,
    id: PolicyId,
    change: PolicyChange,
    condition: &IfMatch,
    act: &Act,
) -> Result<KeptPolicy, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    let Some(after) = before.changed(change, act.now) else { return Ok(before) };
    // A team that was removed may stay: it has no tickets.
    require_sound(tx, &after.definition, &before.definition.condition.team_ids, "").await?;
    store::update(tx, &after).await?;
    configuration_changed(tx, act.now, &act.clock).await?;
    Ok(after)
}

/// Removes a policy. No other write may be at work.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn delete_policy(tx: &mut Conn, id: PolicyId, condition: &IfMatch, act: &Act) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.version)?;
    store::mark_deleted(tx, id, act.now).await?;
    configuration_changed(tx, act.now, &act.clock).await
}

/// Judges `draft` against the tickets that were created from `from` on and before `to`, as if it had held since each
/// was reported. Nothing changes. It is a report: it has its turn and its time among the others.
///
/// # Errors
/// `validation_failed` for the draft, or for a window that is too long or has too many tickets; `unavailable` when its
/// turn does not come, or its time is over.
pub async fn preview_policy(
    db: &Db,
    draft: &NewPolicy,
    from: Instant,
    to: Instant,
    now: Instant,
) -> Result<Preview, Problem> {
    // Before all others, unless it wants another place.
    let draft = draft.clone().into_definition(0);
    let see = async move |conn: &mut Conn| {
        let window = check_window(from, to);
        let has_end = window.is_none();
        let mut faults: Vec<_> = window.into_iter().collect();
        faults.extend(faults_of(conn, &draft, &[], "/policy").await?);
        if has_end && clocks::more_created_than(conn, from, to, MOST_PREVIEWED).await? {
            let detail = format!("the window has more than {MOST_PREVIEWED} tickets: make it shorter");
            faults.push(FieldError::new("/to", "invalid", detail));
        }
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        let trial = Trial::new(configuration::current(conn).await?.as_ref().clone(), draft.clone());
        let mut seen = Preview::default();
        let mut after = Some((Instant::from_micros(from.micros() - 1), i64::MAX));
        while let Some(key) = after {
            let (batch, last) = clocks::created_between(conn, key, to, AT_ONCE).await?;
            for (ticket, times) in &batch {
                trial.see(&mut seen, ticket, times, now);
            }
            after = last;
        }
        Ok(seen)
    };
    db.snapshot(see).await
}

fn check_window(from: Instant, to: Instant) -> Option<FieldError> {
    if to <= from {
        Some(FieldError::new("/to", "invalid", "must be later than from"))
    } else if to > from.plus_s(LONGEST_WINDOW_S) {
        Some(FieldError::new("/to", "invalid", "must be at most 366 days later than from"))
    } else {
        None
    }
}

/// Passes when nothing is wrong with `definition`; `known` teams need not be there any more.
async fn require_sound(
    tx: &mut Conn,
    definition: &PolicyDefinition,
    known: &[TeamId],
    place: &str,
) -> Result<(), Problem> {
    let faults = faults_of(tx, definition, known, place).await?;
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

async fn faults_of(
    conn: &mut Conn,
    definition: &PolicyDefinition,
    known: &[TeamId],
    place: &str,
) -> Result<Vec<FieldError>, Problem> {
    let mut teams = store::teams_among(conn, &definition.condition.team_ids).await?;
    teams.extend(known);
    let calendar = match definition.calendar_id {
        Some(id) => store::calendar(conn, id).await?,
        None => None,
    };
    let weekly_s = calendar.map(|calendar| calendar.weekly_s());
    let faults = definition.faults(&FoundReferences { weekly_s, teams });
    Ok(faults.into_iter().map(|fault| FieldError { pointer: format!("{place}{}", fault.pointer), ..fault }).collect())
}
