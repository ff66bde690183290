//! The endpoint of several operations.

use actix_web::post;
use futures_util::future::join_all;

use super::policy::may_do;
use super::service::{self, PreparedOperation};
use super::wire::{BulkOperation, BulkRequest, BulkResult, BulkResults, MOST_BODY_B};
use crate::auth::policy::{Act, Allowed, WriteTickets};
use crate::db::{Conn, Roots};
use crate::http::idempotency::KeyedParts;
use crate::http::{Answer, Call, Endpoints, Reply};
use crate::kernel::rows::MOST_B;
use crate::kernel::{Code, Problem};
use crate::tickets::policy::{Reach, ReachesTickets};

/// How many transactions are at work at once.
const AT_ONCE: usize = 8;

/// For how many operations a request counts once more.
const COUNTED_AS_ONE: usize = 10;

/// Registers the endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(write_tickets);
}

/// Write several tickets.
///
/// At most 200 operations, each of which is judged and done as it would be alone, and has a result of its own, in their
/// order. With `atomic` all are done, or none: the answer is then the problem of the first that fails. With an
/// `Idempotency-Key` each that was done is remembered by itself: the same request again replays those, and goes on with
/// the rest. For limits ten operations count as one request more.
#[utoipa::path(
    operation_id = "write_tickets", tag = "tickets", security(("bearer" = ["tickets:write"])), request_body = BulkRequest,
    extensions(("x-problems" = json!([
        "illegal_transition", "ticket_closed", "conflict", "duplicate_external_id", "version_mismatch", "idempotency_key_reused", "idempotency_in_progress",
    ]))),
    responses((status = 200, description = "What became of each.", body = BulkResults))
)]
#[post("/v1/tickets/bulk")]
async fn write_tickets(who: Allowed<WriteTickets>, call: Call) -> Answer {
    call.no_query()?;
    call.require_no_version()?;
    let BulkRequest { atomic, operations } = call.body_up_to(MOST_BODY_B).await?;
    call.count_more(who.who().id, operations.0.len() / COUNTED_AS_ONE)?;
    let (parts, _entry) = call.parts(who.who())?;
    let bulk = Bulk { call: &call, act: who.act(&call), reach: who.reach(), parts };
    let each = operations.0.into_iter().map(|operation| {
        let operation = operation.0.map_err(Problem::invalid)?;
        may_do(&who, &operation)?;
        Ok(operation)
    });
    let each: Vec<Result<BulkOperation, Problem>> =
        each.enumerate().map(|(nth, one)| one.map_err(|problem: Problem| at(nth, problem))).collect();
    let outcomes = if atomic { bulk.all_or_none(each).await? } else { bulk.each(each).await? };
    let (mut room_b, request_id) = (MOST_B, call.request_id());
    let items = outcomes.iter().map(|outcome| BulkResult::of(outcome, &mut room_b, &request_id));
    Reply::ok(&BulkResults { items: items.collect::<Result<_, _>>()? })
}

/// What is wrong with an operation, at its place in the request.
fn at(nth: usize, problem: Problem) -> Problem {
    problem.placed(|place| match place.starts_with("/operations/") {
        true => place.to_owned(),
        false => format!("/operations/{nth}{place}"),
    })
}

struct Bulk<'a> {
    call: &'a Call,
    act: Act,
    reach: Reach,
    parts: KeyedParts,
}

impl Bulk<'_> {
    /// Does all in one transaction.
    async fn all_or_none(&self, operations: Vec<Result<BulkOperation, Problem>>) -> Result<Vec<Answer>, Problem> {
        let mut ready = Vec::with_capacity(operations.len());
        for (nth, operation) in operations.into_iter().enumerate() {
            let operation = operation.map_err(|problem| first(nth, problem))?;
            let prepared = service::prepare(&self.call.db(), &self.act, &self.reach, operation).await;
            ready.push(prepared.map_err(|problem| first(nth, at(nth, problem)))?);
        }
        let roots: Roots = ready.iter().map(PreparedOperation::roots).collect();
        let (act, reach, parts, answers) = (self.act.clone(), self.reach, self.parts.clone(), self.call.answers());
        let all = async move |tx: &mut Conn| {
            let (act, mut done) = (act.in_turn(), Vec::with_capacity(ready.len()));
            parts.claim(tx).await?;
            for (nth, one) in ready.iter().enumerate() {
                let work = async |tx: &mut Conn| service::carry_out(tx, &act, &reach, one.clone(), &answers).await;
                done.push(parts.once(tx, nth, work).await.map_err(|problem| first(nth, at(nth, problem)))?);
            }
            Ok(done)
        };
        Ok(self.call.db().lengthy().write(roots, all).await?.into_iter().map(Ok).collect())
    }

    /// Does each in a transaction of its own, some at once; those on one ticket in their order.
    ///
    /// # Errors
    /// When another request with the same key is at work, or it was used for another one.
    async fn each(&self, operations: Vec<Result<BulkOperation, Problem>>) -> Result<Vec<Answer>, Problem> {
        if self.parts.is_keyed() {
            let parts = self.parts.clone();
            self.call.db().write(Roots::none(), async move |tx: &mut Conn| parts.claim(tx).await).await?;
        }
        let mut outcomes: Vec<Option<Answer>> = operations.iter().map(|_| None).collect();
        let mut waiting = operations.into_iter().enumerate().peekable();
        while waiting.peek().is_some() {
            let (mut some, mut numbers) = (Vec::new(), Vec::new());
            while let Some((nth, operation)) = waiting.next_if(|_| some.len() < AT_ONCE) {
                let ready = match operation {
                    Ok(operation) => service::prepare(&self.call.db(), &self.act, &self.reach, operation).await,
                    Err(problem) => Err(problem),
                };
                match ready {
                    Ok(ready) if ready.number().is_some_and(|number| numbers.contains(&number)) => {
                        // Behind those that come before it.
                        self.do_some(&mut some, &mut outcomes).await;
                        numbers.clear();
                        numbers.extend(ready.number());
                        some.push((nth, ready));
                    }
                    Ok(ready) => {
                        numbers.extend(ready.number());
                        some.push((nth, ready));
                    }
                    Err(problem) => outcomes[nth] = Some(Err(at(nth, problem))),
                }
            }
            self.do_some(&mut some, &mut outcomes).await;
        }
        let outcomes: Vec<Answer> = outcomes.into_iter().map(|one| one.unwrap_or_else(|| Err(not_done()))).collect();
        // What is wrong with the key is wrong with the whole request.
        for outcome in &outcomes {
            if let Err(problem) = outcome
                && matches!(problem.code(), Code::IdempotencyKeyReused | Code::IdempotencyInProgress)
            {
                return Err(Problem::new(problem.code(), problem.detail()));
            }
        }
        Ok(outcomes)
    }

    async fn do_some(&self, some: &mut Vec<(usize, PreparedOperation)>, outcomes: &mut [Option<Answer>]) {
        let each = some.drain(..).map(|(nth, ready)| async move { (nth, self.do_one(nth, ready).await) });
        for (nth, outcome) in join_all(each).await {
            outcomes[nth] = Some(outcome.map_err(|problem| at(nth, problem)));
        }
    }

    async fn do_one(&self, nth: usize, ready: PreparedOperation) -> Answer {
        let (act, reach, parts, answers) = (self.act.clone(), self.reach, self.parts.clone(), self.call.answers());
        let roots = ready.roots();
        let one = async move |tx: &mut Conn| {
            let act = act.in_turn();
            let work = async |tx: &mut Conn| service::carry_out(tx, &act, &reach, ready.clone(), &answers).await;
            parts.once(tx, nth, work).await
        };
        self.call.db().write(roots, one).await
    }
}

/// What stopped all of them, with its place.
fn first(nth: usize, problem: Problem) -> Problem {
    problem.with("pointer", format!("/operations/{nth}"))
}

fn not_done() -> Problem {
    Problem::internal("an operation has no outcome")
}
