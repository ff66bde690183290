//! Whether the process lives, and whether it can serve.

use actix_web::get;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{Answer, Call, Endpoints, Reply};
use crate::kernel::Problem;

/// Registers the endpoints of health.
pub fn routes(config: &mut impl Endpoints) {
    config.service(live).service(ready);
}

/// The state of the service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "status": "ok" }))]
struct Health {
    /// Always `ok`; anything else is a problem.
    status: &'static str,
}

/// Does the process live?
///
/// Touches nothing but the process itself: restart it when this fails.
#[utoipa::path(operation_id = "health_live", tag = "operation", responses((status = 200, description = "It lives.", body = Health)))]
#[get("/health/live")]
async fn live() -> Answer {
    Reply::ok(&Health { status: "ok" })
}

/// Can it serve?
///
/// 503 while the database is away or lacks a migration: send it no requests then.
#[utoipa::path(operation_id = "health_ready", tag = "operation", extensions(("x-problems" = json!(["unavailable"]))),
    responses((status = 200, description = "It can serve.", body = Health)))]
#[get("/health/ready")]
async fn ready(call: Call) -> Answer {
    match call.db().is_behind().await {
        Ok(false) => Reply::ok(&Health { status: "ok" }),
        Ok(true) => Err(Problem::unavailable("the database lacks a migration: run `skranke migrate`")),
        Err(problem) => Err(Problem::unavailable(problem.to_string())),
    }
}
