//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use actix_web::get;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::Deadline;
use crate::http::{Answer, Call, Endpoints, Reply};
use crate::kernel::Problem;
use crate::tally::store::cells;
use crate::tickets::store::search;

/// How long the database has to show that it is there: shorter than what asks usually waits.
const READY_WITHIN: Duration = Duration::from_secs(2);

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

/// Whether the service can serve.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "status": "ok", "late_jobs": [] }))]
struct Readiness {
    /// Always `ok`; anything else is a problem.
    status: &'static str,
    /// Jobs of this instance that have not succeeded for ten of their intervals and ten minutes. Requests are answered
    /// all the same: look into the log.
    #[schema(example = json!(["fold_tally"]))]
    late_jobs: Vec<&'static str>,
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
/// 503 while the database is away, does not answer within two seconds, lacks a migration, has lost a file, or holds
/// numbers or a search index that only a newer version can read: send it no requests then. A job that has not succeeded
/// for long is named, but keeps nobody from being served.
#[utoipa::path(operation_id = "health_ready", tag = "operation", extensions(("x-problems" = json!(["unavailable"]))),
    responses((status = 200, description = "It can serve.", body = Readiness)))]
#[get("/health/ready")]
async fn ready(call: Call) -> Answer {
    call.db().are_files_there()?;
    let db = call.db().until(Deadline::within(READY_WITHIN));
    match db.is_behind().await {
        Ok(false) => {
            let marks = db.read(async |conn| cells::marks(conn).await).await;
            marks.map_err(|problem| Problem::unavailable(problem.to_string()))?;
            let words = db.read(async |conn| search::readable(conn).await).await;
            words.map_err(|problem| Problem::unavailable(problem.to_string()))?;
            Reply::ok(&Readiness { status: "ok", late_jobs: call.jobs().late(call.now()) })
        }
        Ok(true) => Err(Problem::unavailable("the database lacks a migration: run `skranke migrate`")),
        Err(problem) => Err(Problem::unavailable(problem.to_string())),
    }
}
