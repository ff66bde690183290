//! Writing exports: short reads, one after the other, so that nothing is held open meanwhile. What happens while they
//! go on is told by the feed from where it was at the beginning.

use std::time::{Duration, Instant as Stopwatch};

use actix_web::web::Bytes;
use serde::Serialize;

use super::wire::{self, ExportForm, ExportPart};
use crate::audit::domain::TrailOrder;
use crate::audit::store::TrailPage;
use crate::audit::wire::EventBody;
use crate::auth::policy::{Allowed, Lasting, ReadComments, ReadTickets, ReadWork};
use crate::comments::policy::Sight;
use crate::comments::store::CommentPage;
use crate::comments::wire::CommentBody;
use crate::db::{Conn, Db};
use crate::http::PieceSender;
use crate::http::seats::Seat;
use crate::kernel::rows::{Limit, Rows};
use crate::kernel::{Clock, Problem};
use crate::tickets::domain::Ticket;
use crate::tickets::policy::{Reach, ReachesTickets};
use crate::tickets::store::{TicketCriteria, TicketRow};
use crate::tickets::wire::{TicketBody, TicketRef};
use crate::time_entries::wire::TimeEntryBody;
use crate::{audit, comments, tickets, time_entries};

/// How many tickets are read at once.
const AT_ONCE: i64 = 200;

/// Through how many numbers one look goes at first, and at most where it meets nothing.
const NUMBERS_AT_ONCE: i64 = 2_000;
const MOST_NUMBERS_AT_ONCE: i64 = 32_000;

/// How many bytes are sent at once, about.
const PIECE_B: usize = 256 << 10;

/// An export on its way.
pub struct Export {
    /// The database.
    pub db: Db,
    /// The source of now.
    pub clock: Clock,
    /// Who asks, and goes on to be allowed to.
    pub who: Lasting<ReadTickets>,
    /// Which tickets.
    pub criteria: TicketCriteria,
    /// What comes with each.
    pub parts: Vec<ExportPart>,
    /// In which form.
    pub form: ExportForm,
    /// Behind which number it begins.
    pub after: i64,
    /// Up to which number it goes.
    pub until: i64,
    /// The cursor of the feed at the beginning.
    pub cursor: String,
    /// How much time is between two times that the caller is asked for.
    pub renewed_every: Duration,
    /// The seat of whoever waits.
    pub seat: Seat,
}

/// What the caller may read, as of now.
struct Eyes {
    reach: Reach,
    sight: Option<Sight>,
    internal: bool,
    sees_work: bool,
}

impl Eyes {
    fn of(who: &Allowed<ReadTickets>) -> Self {
        Self {
            reach: who.reach(),
            sight: who.and::<ReadComments>().is_ok().then(|| Sight::of(who.who())),
            internal: who.who().sees_internal(),
            sees_work: who.and::<ReadWork>().is_ok(),
        }
    }
}

/// Nobody listens any more.
struct Gone;

/// Gathers what is written until it is worth sending.
struct PieceWriter {
    pieces: PieceSender,
    written: Vec<u8>,
}

impl PieceWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.written.extend_from_slice(bytes);
        if self.written.len() >= PIECE_B { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Gone> {
        let piece = Bytes::from(std::mem::take(&mut self.written));
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.send(Ok(piece)).await.map_err(|_| Gone)
    }
}

/// Why an export ends before its end.
enum Ended {
    Gone,
    Failed(Problem),
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Problem> for Ended {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl Export {
    /// Writes all of it into `pieces`. What ends before its end has no last line, and its connection breaks.
    pub async fn write(self, pieces: PieceSender) {
        let broken = pieces.clone();
        let mut out = PieceWriter { pieces, written: Vec::new() };
        if let Err(Ended::Failed(problem)) = self.write_all(&mut out).await {
            let cause = problem.cause().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(code = problem.code().as_str(), cause, "an export has ended before its end");
            // Whoever reads sees that it is not whole.
            drop(broken.send(Err(std::io::Error::other(problem.code().as_str()))).await);
        }
    }

    async fn write_all(self, out: &mut PieceWriter) -> Result<(), Ended> {
        let _seat = &self.seat;
        match self.form {
            ExportForm::Lines => out.write(&line(&serde_json::json!({ "cursor": self.cursor }))?).await?,
            ExportForm::Table => out.write(&wire::header()?).await?,
        }
        let mut eyes = Eyes::of(self.who.allowed());
        let (mut after, mut count, mut numbers, mut renewed) = (self.after, 0_i64, NUMBERS_AT_ONCE, Stopwatch::now());
        while after < self.until {
            if renewed.elapsed() >= self.renewed_every {
                eyes = Eyes::of(&self.who.renewed().await?);
                renewed = Stopwatch::now();
            }
            let until = self.until.min(after.saturating_add(numbers));
            let (criteria, now) =
                (TicketCriteria { only_of: eyes.reach.only_of(), ..self.criteria.clone() }, self.clock.now());
            let read = async move |conn: &mut Conn| {
                let rows = tickets::store::numbered(conn, &criteria, (after, until), AT_ONCE).await?;
                let context = tickets::service::context(conn, rows.iter(), now).await?;
                // Where nobody has a number it goes on with the next that somebody has: numbers can be far apart.
                let next =
                    if rows.iter().next().is_none() { tickets::store::number_behind(conn, until).await? } else { None };
                Ok((rows, context, next))
            };
            let (rows, context, next) = self.db.anew().list(read).await?;
            let is_all = !rows.has_more(usize::try_from(AT_ONCE - 1).unwrap_or(usize::MAX));
            let rows = rows.into_vec();
            let is_empty = rows.is_empty();
            numbers = if is_empty { (numbers * 2).min(MOST_NUMBERS_AT_ONCE) } else { NUMBERS_AT_ONCE };
            after = match (is_empty, is_all) {
                (true, _) => next.map_or(self.until, |next| next - 1),
                (false, true) => until,
                (false, false) => rows.last().map_or(until, |row| row.ticket.number),
            };
            for row in rows {
                let ticket = (!self.parts.is_empty()).then(|| row.ticket.clone());
                count += 1;
                self.write_ticket(out, &eyes, row, ticket, &context).await?;
            }
            out.send().await?;
        }
        if self.form == ExportForm::Lines {
            out.write(&line(&serde_json::json!({ "end": true, "tickets": count }))?).await?;
        }
        Ok(out.send().await?)
    }

    async fn write_ticket(
        &self,
        out: &mut PieceWriter,
        eyes: &Eyes,
        row: TicketRow,
        ticket: Option<Ticket>,
        context: &tickets::wire::TicketContext,
    ) -> Result<(), Ended> {
        let body = TicketBody::of(row, context, &eyes.reach);
        if self.form == ExportForm::Table {
            return Ok(out.write(&wire::ticket_row(&body)?).await?);
        }
        let mut text = line(&body)?;
        if let Some(ticket) = ticket {
            // The parts stand beside the ticket's own fields.
            text.truncate(text.len() - 2);
            out.write(&text).await?;
            for part in &self.parts {
                self.write_part(out, eyes, &ticket, *part).await?;
            }
            text = b"}\n".to_vec();
        }
        Ok(out.write(&text).await?)
    }

    async fn write_part(
        &self,
        out: &mut PieceWriter,
        eyes: &Eyes,
        ticket: &Ticket,
        part: ExportPart,
    ) -> Result<(), Ended> {
        let (reach, limit) = (eyes.reach, Limit::most());
        match part {
            ExportPart::Comments => {
                let Some(sight) = eyes.sight else { return Ok(()) };
                out.write(b",\"comments\":[").await?;
                let (mut behind, mut comma) = (None, "");
                loop {
                    let (ticket, page) = (ticket.clone(), CommentPage { behind, limit, ..CommentPage::default() });
                    let read = async move |conn: &mut Conn| {
                        let rows = comments::store::list(conn, &ticket, sight, page).await?;
                        let files = comments::service::files_of(conn, rows.iter()).await?;
                        Ok((rows, files))
                    };
                    let (rows, mut files) = self.db.anew().list(read).await?;
                    let (rows, more) = page_of(rows, limit);
                    behind = rows.last().map(|row| row.comment.id);
                    for row in rows {
                        item(out, &mut comma, &CommentBody::from(row).with_files(&mut files)).await?;
                    }
                    if !more {
                        break;
                    }
                }
            }
            ExportPart::TimeEntries => {
                if !eyes.sees_work {
                    return Ok(());
                }
                out.write(b",\"time_entries\":[").await?;
                let (mut behind, mut comma) = (None, "");
                loop {
                    let ticket = ticket.clone();
                    let read =
                        async move |conn: &mut Conn| time_entries::store::list(conn, &ticket, behind, limit).await;
                    let (rows, more) = page_of(self.db.anew().list(read).await?.into(), limit);
                    behind = rows.last().map(|row| row.entry.id);
                    for row in rows {
                        item(out, &mut comma, &TimeEntryBody::from(row)).await?;
                    }
                    if !more {
                        break;
                    }
                }
            }
            ExportPart::Events => {
                out.write(b",\"events\":[").await?;
                let (mut behind, mut comma, internal) = (None, "", eyes.internal);
                loop {
                    let (id, page) = (ticket.id, TrailPage { order: TrailOrder::At, behind, limit });
                    let read = async move |conn: &mut Conn| {
                        let rows = audit::store::list(conn, id, internal, page).await?;
                        let names = tickets::service::names(conn, &reach, &rows).await?;
                        Ok((rows, names))
                    };
                    let (rows, names) = self.db.anew().list(read).await?;
                    let (rows, more) = page_of(rows, limit);
                    behind = rows.last().map(|row| row.id);
                    for row in rows {
                        item(out, &mut comma, &EventBody::named(row, &names)).await?;
                    }
                    if !more {
                        break;
                    }
                }
            }
            ExportPart::Sla => {
                let (which, now) = (TicketRef::Number(ticket.number), self.clock.now());
                let read = async move |conn: &mut Conn| tickets::service::explain(conn, &reach, which, now).await;
                let told = self.db.anew().list(read).await?;
                out.write(b",\"sla\":").await?;
                return Ok(out.write(&serde_json::to_vec(&told).map_err(Problem::internal)?).await?);
            }
        }
        Ok(out.write(b"]").await?)
    }
}

/// The rows of a page, and whether there are more.
fn page_of<R>(rows: Rows<R>, limit: Limit) -> (Vec<R>, bool) {
    let more = rows.has_more(limit.size());
    let mut rows = rows.into_vec();
    rows.truncate(limit.size());
    (rows, more)
}

async fn item(out: &mut PieceWriter, comma: &mut &str, item: &impl Serialize) -> Result<(), Ended> {
    out.write(comma.as_bytes()).await?;
    *comma = ",";
    Ok(out.write(&serde_json::to_vec(item).map_err(Problem::internal)?).await?)
}

fn line(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let mut line = serde_json::to_vec(value).map_err(Problem::internal)?;
    line.push(b'\n');
    Ok(line)
}
