//! The endpoint of imports.

use std::collections::VecDeque;

use actix_web::post;
use actix_web::web::Bytes;

use super::service::{self, AT_ONCE, ImportPlan};
use super::wire::{ImportLine, ImportQuery, ImportResultBody, Imported, LONGEST_LINE_B, MOST_BODY_B, ReadLine, read};
use crate::auth::policy::{Act, Administer, Allowed};
use crate::db::Db;
use crate::http::accept::LINES;
use crate::http::seats::Seat;
use crate::http::{Call, Endpoints, PieceSender, Piecewise};
use crate::kernel::{Code, Problem};
use crate::tickets::policy::{Reach, ReachesTickets};

/// How many bytes of lines share a transaction, about.
const AT_ONCE_B: usize = 1 << 20;

/// How many bytes of answers wait until all lines are read. Most clients read only once they have sent everything, and
/// would wait for us, and we for them, if we wrote more than fits between us.
const MOST_WAITING_B: usize = 8 << 20;

/// Registers the endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(create_import);
}

/// Import a past.
///
/// Lines of JSON, people first, then tickets with all that has happened to them, of at most 64 MiB a request and 4
/// MiB a line. Each is lived again by the rules of here at its own instants, so that durations, clocks, the trail and
/// the numbers are what they would have been; what the rules would refuse is mended, and told. Each line is answered
/// by a line, in order, once all are read; while they are sent already where there are more than 8 MiB of answers.
/// The same line again changes nothing, and one with a longer timeline goes on, unless something has happened to its
/// ticket here: so whatever ends in the middle is simply sent again. Events have the `origin` `import`; webhooks tell
/// them only if they say so.
#[utoipa::path(
    operation_id = "create_import", tag = "tickets", security(("bearer" = ["admin"])), params(ImportQuery),
    request_body(content((ImportLine = "application/x-ndjson"))),
    responses((status = 200, description = "What became of each line.", content((ImportResultBody = "application/x-ndjson"))))
)]
#[post("/v1/imports")]
async fn create_import(who: Allowed<Administer>, call: Call) -> Result<Piecewise, Problem> {
    let ImportQuery { source, judge } = call.query()?;
    call.require_no_version()?;
    call.require_lines(MOST_BODY_B)?;
    let taking = Taking {
        db: call.db_to_keep(),
        act: who.act(&call),
        reach: who.reach(),
        plan: ImportPlan { source: source.0, judge },
        request_id: call.request_id(),
        _seat: call.seat(who.who().id)?,
    };
    Ok(Piecewise::made_by(LINES, |pieces| taking.run(call, pieces)))
}

/// An import on its way.
struct Taking {
    db: Db,
    act: Act,
    reach: Reach,
    plan: ImportPlan,
    request_id: String,
    _seat: Seat,
}

/// A line and its number, as far as it makes sense.
type Numbered = (u64, Result<ReadLine, Problem>);

impl Taking {
    async fn run(self, call: Call, pieces: PieceSender) {
        let mut answers = LineAnswers { pieces, waiting: VecDeque::new(), waiting_b: 0 };
        let taken = self.take_all(&call, &mut answers).await;
        // What was done is told, also if there is more that was not.
        let told = answers.send().await;
        if let Err(problem) = taken.and(told) {
            tracing::warn!(code = problem.code().as_str(), cause = %problem, "an import has ended before its end");
            // Whoever reads sees that it is not whole.
            drop(answers.pieces.send(Err(std::io::Error::other(problem.code().as_str()))).await);
        }
    }

    /// # Errors
    /// When the body cannot be read to its end, or the database is away.
    async fn take_all(&self, call: &Call, answers: &mut LineAnswers) -> Result<(), Problem> {
        let mut body = call.upload(MOST_BODY_B)?;
        let (mut rest, mut some, mut some_b, mut number) = (Vec::new(), Vec::new(), 0, 0);
        let mut is_too_long = false;
        loop {
            let piece = body.next().await?;
            let is_last = piece.is_none();
            rest.extend_from_slice(&piece.unwrap_or_default());
            let mut begin = 0;
            if is_too_long {
                // The rest of it is passed over.
                let end = rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                is_too_long = end.is_none();
                begin = end.unwrap_or(rest.len());
            }
            loop {
                let end = rest[begin..].iter().position(|byte| *byte == b'\n').map(|at| begin + at);
                let (line, next) = match end {
                    Some(end) => (&rest[begin..end], end + 1),
                    None if is_last && begin < rest.len() => (&rest[begin..], rest.len()),
                    None => break,
                };
                number += 1;
                if !line.trim_ascii().is_empty() {
                    some_b += line.len();
                    some.push((number, checked(line)));
                }
                begin = next;
                if some.len() >= AT_ONCE || some_b >= AT_ONCE_B {
                    some_b = 0;
                    self.take(std::mem::take(&mut some), answers).await?;
                }
            }
            rest.drain(..begin);
            if rest.len() > LONGEST_LINE_B {
                number += 1;
                some.push((number, Err(too_long())));
                rest.clear();
                is_too_long = true;
            }
            if is_last {
                return self.take(some, answers).await;
            }
        }
    }

    async fn take(&self, some: Vec<Numbered>, answers: &mut LineAnswers) -> Result<(), Problem> {
        let good: Vec<ReadLine> = some.iter().filter_map(|(_, line)| line.as_ref().ok().cloned()).collect();
        let act = Act { now: self.act.clock.now(), ..self.act.clone() };
        let taken = match good.is_empty() {
            true => Vec::new(),
            false => service::import(&self.db.anew(), &act, self.reach, &self.plan, good).await?,
        };
        let mut taken = taken.into_iter();
        let mut answer = Vec::new();
        for (number, line) in some {
            let imported: Result<Imported, Problem> = match line {
                Ok(_) => taken.next().unwrap_or_else(|| Err(Problem::internal("a line has no outcome"))),
                Err(problem) => Err(problem),
            };
            let told = ImportResultBody::of(number, imported, &self.request_id)?;
            serde_json::to_writer(&mut answer, &told).map_err(Problem::internal)?;
            answer.push(b'\n');
        }
        answers.give(Bytes::from(answer)).await
    }
}

/// LineAnswers to lines, and where they go.
struct LineAnswers {
    pieces: PieceSender,
    waiting: VecDeque<Bytes>,
    waiting_b: usize,
}

impl LineAnswers {
    /// Keeps `answer` until all that waits is sent, unless that becomes too much.
    async fn give(&mut self, answer: Bytes) -> Result<(), Problem> {
        self.waiting_b += answer.len();
        self.waiting.push_back(answer);
        if self.waiting_b > MOST_WAITING_B { self.send().await } else { Ok(()) }
    }

    /// # Errors
    /// When nobody reads it.
    async fn send(&mut self) -> Result<(), Problem> {
        self.waiting_b = 0;
        for answer in self.waiting.drain(..).filter(|answer| !answer.is_empty()) {
            let gone = |_| Problem::unavailable("nobody reads the answer");
            self.pieces.send(Ok(answer)).await.map_err(gone)?;
        }
        Ok(())
    }
}

fn checked(line: &[u8]) -> Result<ReadLine, Problem> {
    if line.len() > LONGEST_LINE_B { Err(too_long()) } else { read(line) }
}

fn too_long() -> Problem {
    Problem::new(Code::BodyTooLarge, format!("A line may have at most {LONGEST_LINE_B} bytes."))
}
