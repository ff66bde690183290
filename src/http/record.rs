//! Lines of the log that tell who logged in and who administered: of the target `audit`, with ids alone, no text.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode, header};
use uuid::Uuid;

use crate::kernel::PrincipalId;

/// Whoever has asked for something that only administration may do; kept beside the request until it is answered.
#[derive(Debug, Clone, Copy)]
pub struct Administering(pub PrincipalId);

/// Tells of an act of administration, if `request` was one: also of one that was refused.
pub(super) fn administration(
    request: &HttpRequest,
    method: &Method,
    status: StatusCode,
    made: Option<&header::HeaderValue>,
) {
    use actix_web::HttpMessage;
    let Some(Administering(actor)) = request.extensions().get::<Administering>().copied() else { return };
    if matches!(*method, Method::GET | Method::HEAD) {
        return;
    }
    // What was made tells its place; everything else is named by the path. Whatever is no id may be a text.
    let made = made.and_then(|place| place.to_str().ok()?.rsplit('/').next());
    let named = request.match_info().iter().map(|(_, value)| value).chain(made);
    let is_id = |text: &&str| Uuid::try_parse(text).is_ok() || text.bytes().all(|b| b.is_ascii_digit());
    let target_id = named.filter(is_id).collect::<Vec<_>>().join("/");
    let route = request.match_pattern().unwrap_or_default();
    tracing::info!(
        target: "audit",
        action = format_args!("{method} {route}"),
        actor_id = %actor,
        target_id,
        status = status.as_u16(),
        "administration"
    );
}

/// Tells that somebody has got tokens by `grant`.
pub fn login(grant: &'static str, actor: PrincipalId) {
    tracing::info!(target: "audit", action = "login", grant, actor_id = %actor, "login");
}

/// Tells that somebody was refused tokens, and by whose name they asked, if there is somebody of that name.
pub fn refused_login(grant: &'static str, claimed: Option<PrincipalId>) {
    let target_id = claimed.map(|id| id.to_string()).unwrap_or_default();
    tracing::info!(target: "audit", action = "login", grant, target_id, "login refused");
}
