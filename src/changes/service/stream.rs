//! Streams: the feed of one reader, told as it grows.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::time::{Instant as Tick, Interval, interval_at, sleep_until};

use super::tail::{ChangeTail, TailListener, Tailed};
use super::{Feed, LogPlace, PAUSE, Start, begin, read};
use crate::changes::policy::Sightline;
use crate::db::signal::SignalListener;
use crate::db::{Conn, Db};
use crate::http::Call;
use crate::http::event_stream::Frames;
use crate::http::seal::Sealer;
use crate::http::seats::Seat;
use crate::kernel::{Clock, Code, PrincipalId, Problem};
use crate::tickets::policy::Reach;

/// How many bytes are sent at once, but for the last event of them.
const FRAMES_B: usize = 64 << 10;

/// Asks again who the reader is, and what they may see.
pub type Renew = Box<dyn Fn() -> LocalBoxFuture<'static, Result<(Sightline, Reach), Problem>>>;

/// The reader of a stream.
pub struct Follower {
    db: Db,
    clock: Clock,
    feed: Feed,
    place: LogPlace,
    sealer: Arc<Sealer>,
    /// With what cursors are sealed.
    owner: Vec<u8>,
    reader: PrincipalId,
    renew: Renew,
    tail: TailListener,
    ending: SignalListener,
    beat: Interval,
    /// When to read the log, while there may be something in it that was not told.
    looks_at: Option<Tick>,
    /// When it was read last.
    looked_at: Tick,
    /// Whether something has happened to the reader themselves, so that it is asked again who they are.
    is_in_doubt: bool,
    /// What is told first.
    opening: Option<Frames>,
    _seat: Seat,
}

/// What comes next.
enum Told {
    Some(Frames),
    Last(Frames),
}

impl Follower {
    /// A reader of `feed` from `start` on, who has a seat. What was given as a place in another history is told, and
    /// gone on from the end of this one.
    ///
    /// # Errors
    /// When the beginning cannot be read.
    pub async fn new(
        call: &Call,
        feed: Feed,
        start: Start,
        owner: Vec<u8>,
        (reader, renew): (PrincipalId, Renew),
        seat: Seat,
    ) -> Result<Self, Problem> {
        let db = call.db_to_keep();
        let tail = ChangeTail::of(&db).listen(&db);
        let (place, diverged) = begin_anyhow(&call.db(), start).await?;
        let mut opening = Frames::opening().at(&call.sealer().seal_cursor(&owner, &place.to_bytes())?);
        if let Some(problem) = diverged {
            opening.say("reset", &said(&problem))?;
        }
        let beat = interval_at(Tick::now() + call.heartbeat(), call.heartbeat());
        let (clock, sealer, ending) = (call.clock().clone(), call.sealer().clone(), call.ending());
        let (looked_at, opening) = (Tick::now(), Some(opening));
        Ok(Self {
            db,
            clock,
            feed,
            place,
            sealer,
            owner,
            reader,
            renew,
            tail,
            ending,
            beat,
            looks_at: None,
            looked_at,
            is_in_doubt: false,
            opening,
            _seat: seat,
        })
    }

    /// All that is told, to the end.
    pub fn frames(self) -> impl Stream<Item = Frames> {
        unfold(Some(self), |follower| async {
            let mut follower = follower?;
            let told = follower.next().await.unwrap_or_else(|problem| end(&problem));
            Some(match told {
                Told::Some(frames) => (frames, Some(follower)),
                Told::Last(frames) => (frames, None),
            })
        })
    }

    async fn next(&mut self) -> Result<Told, Problem> {
        if let Some(opening) = self.opening.take() {
            return Ok(Told::Some(opening));
        }
        loop {
            if std::mem::take(&mut self.is_in_doubt) {
                return Box::pin(self.live_on()).await;
            }
            let mut frames = Frames::default();
            if self.looks_at.is_none() {
                frames = self.hear()?;
            }
            if frames.is_empty() && !self.is_in_doubt {
                let look = self.looks_at;
                tokio::select! {
                    biased;
                    () = self.ending.heard() => return Ok(end(&shutting_down())),
                    _ = self.beat.tick() => return Box::pin(self.live_on()).await,
                    () = sleep_until(look.unwrap_or_else(Tick::now)), if look.is_some() => {
                        frames = Box::pin(self.look()).await?;
                    }
                    () = self.tail.news(), if look.is_none() => {}
                }
            }
            if !frames.is_empty() {
                return Ok(Told::Some(frames));
            }
        }
    }

    /// A heartbeat: tells where to go on, if the reader still is who they were and the log is the one it was.
    async fn live_on(&mut self) -> Result<Told, Problem> {
        match (self.renew)().await {
            Ok((sightline, reach)) => (self.feed.sightline, self.feed.reach) = (sightline, reach),
            // It is asked again with the next one.
            Err(problem) if problem.code().status() >= 500 => {}
            Err(problem) => return Ok(end(&problem)),
        }
        self.tail.keep_reading(&self.db);
        let mut diverged = None;
        if !self.tail.knows(self.place) {
            // What cannot be looked at is looked at with the next one.
            if let Ok((place, problem)) = begin_anyhow(&self.db.anew(), Start::Behind(self.place)).await {
                (self.place, diverged) = (place, problem);
            }
        }
        let mut frames = Frames::default().at(&self.cursor(self.place)?);
        if let Some(problem) = diverged {
            frames.say("reset", &said(&problem))?;
        }
        Ok(Told::Some(frames))
    }

    /// What stands in the log behind what was told.
    async fn look(&mut self) -> Result<Frames, Problem> {
        let (feed, place, at) = (self.feed.clone(), self.place, self.clock.now());
        self.looked_at = Tick::now();
        let page = self.db.anew().list(async move |conn: &mut Conn| read(conn, &feed, place, at).await).await;
        let Ok(page) = page else {
            // It is told later; the place is kept.
            self.looks_at = Some(Tick::now() + PAUSE);
            return Ok(Frames::default());
        };
        let mut frames = Frames::default();
        for item in &page.items {
            frames.event(&self.cursor(item.place)?, item.kind.as_str(), &item.json);
        }
        let (is_there, is_told) = (page.place == self.place, !page.items.is_empty());
        self.place = page.place;
        self.looks_at = (!is_there).then(|| Tick::now() + if is_told { Duration::ZERO } else { PAUSE });
        Ok(frames)
    }

    /// What of that which was read for all is for the reader.
    fn hear(&mut self) -> Result<Frames, Problem> {
        let mut frames = Frames::default();
        while frames.is_empty() && !self.is_in_doubt && self.looks_at.is_none() {
            let changes = match self.tail.behind(self.place) {
                Tailed::Told(changes) if !changes.is_empty() => changes,
                Tailed::Told(_) | Tailed::Ahead | Tailed::Unread => break,
                Tailed::Unkept => {
                    self.looks_at = Some(self.looked_at + PAUSE);
                    break;
                }
            };
            for change in changes {
                let Feed { sightline, criteria, includes_ticket, .. } = &self.feed;
                let is_told = change.is_for(sightline, criteria);
                if is_told && *includes_ticket {
                    // Tickets are read for the reader, and for several changes at once.
                    self.looks_at = Some(self.looked_at + PAUSE);
                    break;
                }
                if is_told {
                    let json = change.json(sightline);
                    frames.event(&self.cursor(change.place())?, change.kind().as_str(), &json);
                }
                self.place = change.place();
                // What is behind it is told to whom they are then.
                self.is_in_doubt = change.is_about(self.reader);
                if self.is_in_doubt || frames.len() >= FRAMES_B {
                    break;
                }
            }
        }
        Ok(frames)
    }

    fn cursor(&self, place: LogPlace) -> Result<String, Problem> {
        self.sealer.seal_cursor(&self.owner, &place.to_bytes())
    }
}

/// The place where a feed begins; of a start in another history the end of this one, and what is to be said of it.
async fn begin_anyhow(db: &Db, start: Start) -> Result<(LogPlace, Option<Problem>), Problem> {
    let begun = async move |conn: &mut Conn| match begin(conn, start).await {
        Err(problem) if problem.code() == Code::CursorDiverged => Ok((begin(conn, Start::Head).await?, Some(problem))),
        place => Ok((place?, None)),
    };
    db.read(begun).await
}

/// The last that is told: why it ends.
fn end(problem: &Problem) -> Told {
    let mut frames = Frames::default();
    // What cannot be said is not said: it ends all the same.
    drop(frames.say("end", &said(problem)));
    Told::Last(frames)
}

/// Why all streams end when the process does.
fn shutting_down() -> Problem {
    Problem::unavailable("shutting down").saying("The service is shutting down. Come again, and go on where you were.")
}

/// What is told of a problem.
fn said(problem: &Problem) -> serde_json::Value {
    json!({ "code": problem.code().as_str(), "detail": problem.detail() })
}
