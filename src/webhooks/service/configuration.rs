//! Setting up webhooks. Whoever names somebody in whose name a webhook tells, or where it tells it, hands on what that
//! one may see: nobody hands on what they do not have.

use aws_lc_rs::rand;

use crate::audit::store::log;
use crate::auth::domain::{Principal, Scopes};
use crate::auth::policy::{Act, ReadTickets};
use crate::auth::service::standing;
use crate::db::Conn;
use crate::http::Sealer;
use crate::http::call::IfMatch;
use crate::http::idempotency::withdraw;
use crate::kernel::rows::Limit;
use crate::kernel::secret::Secret;
use crate::kernel::{Code, FieldError, PrincipalId, Problem, TeamId, WebhookId};
use crate::people::domain::Gift;
use crate::sla::store::policies::teams_among;
use crate::webhooks::domain::message::SigningSecret;
use crate::webhooks::domain::schedule::PREVIOUS_SECRET_S;
use crate::webhooks::domain::{Egress, MOST_WEBHOOKS, NewWebhook, WebhookChange, WebhookState, WebhookTarget};
use crate::webhooks::store::{self, SealedSecrets, WebhookRow};

/// At most one page and one of the webhooks after `after`.
pub async fn list_webhooks(
    conn: &mut Conn,
    after: Option<WebhookId>,
    limit: Limit,
) -> Result<Vec<WebhookRow>, Problem> {
    store::list(conn, after, limit.and_one()).await
}

/// The webhook `id`.
///
/// # Errors
/// `not_found`.
pub async fn read_webhook(conn: &mut Conn, id: WebhookId) -> Result<WebhookRow, Problem> {
    store::find(conn, id).await
}

/// Makes a webhook, which tells what happens from now on; gives its secret too, which nobody can read again.
///
/// # Errors
/// `validation_failed`; `forbidden` when the caller lacks what the webhook would see; `conflict` when another webhook
/// has the name or there are too many.
pub async fn create_webhook(
    tx: &mut Conn,
    mut new: NewWebhook,
    act: &Act,
    egress: &Egress,
    sealer: &Sealer,
) -> Result<(WebhookRow, Secret<String>), Problem> {
    let (mut faults, id) = (Vec::new(), act.id::<WebhookId>());
    settle(&mut new.url, egress, &mut faults);
    let principal = eyes(tx, new.principal_id.unwrap_or(act.who.id), &mut faults).await?;
    let webhook = new.into_webhook(id, principal.as_ref().map_or(act.who.id, |principal| principal.id), act.now);
    find_teams(tx, &webhook.filter.condition.team_ids, &[], &mut faults).await?;
    let principal = require(principal, faults)?;
    Gift::of(&act.who).check(principal.scopes, Scopes::default())?;
    if store::count(tx).await? >= MOST_WEBHOOKS {
        let detail = format!("There are {MOST_WEBHOOKS} webhooks, and there can be no more. Remove one first.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let (secret, sealed) = make_secret(id, sealer)?;
    let secrets = SealedSecrets { secret: sealed, previous_secret: None, previous_until: None };
    let head = log::head(tx).await?;
    store::insert(tx, &webhook, &secrets, head).await?;
    Ok((WebhookRow { webhook, principal_name: principal.name }, secret))
}

/// Changes a webhook.
///
/// # Errors
/// `not_found`, `version_mismatch`, `validation_failed`; `forbidden` when the caller lacks what the webhook sees;
/// `conflict` when another webhook has the name.
pub async fn change_webhook(
    tx: &mut Conn,
    id: WebhookId,
    mut change: WebhookChange,
    condition: &IfMatch,
    act: &Act,
    egress: &Egress,
) -> Result<WebhookRow, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.webhook.version)?;
    let (mut faults, is_switched) = (Vec::new(), change.state.is_some());
    if let Some(url) = &mut change.url {
        settle(url, egress, &mut faults);
    }
    let Some(webhook) = before.webhook.changed(change, act.now) else {
        return if faults.is_empty() { Ok(before) } else { Err(Problem::invalid(faults)) };
    };
    // A team that was removed may stay: it has no tickets.
    let known = &before.webhook.filter.condition.team_ids;
    find_teams(tx, &webhook.filter.condition.team_ids, known, &mut faults).await?;
    let mut principal_name = before.principal_name.clone();
    // What waits while it is paused goes where it leads when it goes on: so it is asked for each change.
    require_all_of(tx, &before, act).await?;
    // Who is not active any more may stay, as long as nothing is told.
    if webhook.state == WebhookState::Active || webhook.principal_id != before.webhook.principal_id {
        let principal = require(eyes(tx, webhook.principal_id, &mut faults).await?, faults)?;
        Gift::of(&act.who).check(principal.scopes, Scopes::default())?;
        principal_name = principal.name;
    } else if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let begins_anew = is_switched && webhook.state == WebhookState::Active || webhook.url != before.webhook.url;
    store::update(tx, &webhook, begins_anew).await?;
    Ok(WebhookRow { webhook, principal_name })
}

/// Gives a webhook another secret, with which whoever gets it can tell its receiver anything. The one before signs
/// beside it for a day. No kept answer tells that any more.
///
/// # Errors
/// `not_found`, `version_mismatch`; `forbidden` when the caller lacks what the webhook sees.
pub async fn rotate_webhook_secret(
    tx: &mut Conn,
    id: WebhookId,
    condition: &IfMatch,
    act: &Act,
    sealer: &Sealer,
) -> Result<(WebhookRow, Secret<String>), Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.webhook.version)?;
    require_all_of(tx, &before, act).await?;
    let (secret, sealed) = make_secret(id, sealer)?;
    let old = store::secrets(tx, id).await?;
    let secrets = SealedSecrets {
        secret: sealed,
        previous_secret: Some(old.secret),
        previous_until: Some(act.now.plus_s(PREVIOUS_SECRET_S)),
    };
    let webhook = before.webhook.with_new_secret(act.now);
    store::update(tx, &webhook, false).await?;
    store::set_secrets(tx, id, &secrets).await?;
    withdraw(tx, id).await?;
    Ok((WebhookRow { webhook, principal_name: before.principal_name }, secret))
}

/// Removes a webhook. What waits to be sent is not sent, and no kept answer tells its secret any more.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn delete_webhook(tx: &mut Conn, id: WebhookId, condition: &IfMatch, act: &Act) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.webhook.version)?;
    store::mark_deleted(tx, id, act.now).await?;
    withdraw(tx, id).await
}

/// Passes if the caller may hand on all that `webhook` tells.
///
/// # Errors
/// `forbidden`.
async fn require_all_of(tx: &mut Conn, webhook: &WebhookRow, act: &Act) -> Result<(), Problem> {
    match standing(tx, webhook.webhook.principal_id).await? {
        Some(principal) => Gift::of(&act.who).check(principal.scopes, Scopes::default()),
        None => Ok(()),
    }
}

/// Writes a URL as it was understood.
fn settle(url: &mut String, egress: &Egress, faults: &mut Vec<FieldError>) {
    match WebhookTarget::parse(url, egress) {
        Ok(target) => *url = target.url().to_string(),
        Err(detail) => faults.push(FieldError::new("/url", "invalid", detail)),
    }
}

/// The one in whose name a webhook is to tell, who must be able to see tickets.
async fn eyes(tx: &mut Conn, id: PrincipalId, faults: &mut Vec<FieldError>) -> Result<Option<Principal>, Problem> {
    let principal = standing(tx, id).await?;
    match &principal {
        Some(principal) if principal.may::<ReadTickets>() => {}
        Some(_) => faults.push(FieldError::new("/principal_id", "invalid", "may not read tickets")),
        None => faults.push(FieldError::new("/principal_id", "not_found", "there is none who is active")),
    }
    Ok(principal)
}

fn require(principal: Option<Principal>, faults: Vec<FieldError>) -> Result<Principal, Problem> {
    principal.filter(|_| faults.is_empty()).ok_or_else(|| Problem::invalid(faults))
}

async fn find_teams(
    tx: &mut Conn,
    wanted: &[TeamId],
    known: &[TeamId],
    faults: &mut Vec<FieldError>,
) -> Result<(), Problem> {
    let teams = teams_among(tx, wanted).await?;
    let is_lost = |team: &TeamId| !teams.contains(team) && !known.contains(team);
    for (nth, _) in wanted.iter().enumerate().filter(|(_, team)| is_lost(team)) {
        faults.push(FieldError::new(format!("/condition/team_ids/{nth}"), "not_found", "there is no such team"));
    }
    Ok(())
}

/// A new secret as it is shown, and as it is stored.
fn make_secret(id: WebhookId, sealer: &Sealer) -> Result<(Secret<String>, String), Problem> {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).map_err(|_| Problem::internal("no randomness"))?;
    let shown = SigningSecret::shown(&bytes);
    let sealed = sealer.seal_secret(&id.to_string(), shown.reveal())?;
    Ok((shown, sealed))
}
