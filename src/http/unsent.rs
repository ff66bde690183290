//! Answers that are made but not yet taken: how much of them there may be at once, and how quickly they must be taken.
//! Otherwise a few clients that read slowly, or not at all, would keep all of them in memory.

use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, ContentEncoding, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::coding;
use crate::kernel::Problem;

/// How many bytes of unsent answers one server holds unless told.
pub const MOST_B: usize = 48 << 20;

/// No caller's unsent answers may be more than this part of all that there may be.
const SHARES: usize = 4;

/// Smaller answers are not counted: they fit into the buffer that each connection has anyway.
const SMALL_B: usize = 16 << 10;

/// How much of an answer is handed to its connection at a time.
const PIECE_B: usize = 16 << 10;

/// How much of an answer must be taken in a second, on average and after the grace that each answer has.
const RATE_B: usize = 16 << 10;

/// All who are not known together, as one caller.
const UNKNOWN: u64 = 0;

/// Whose answer it is, where somebody is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub u64);

/// The unsent answers of one server.
#[derive(Debug, Clone)]
pub struct Unsent(Arc<UnsentState>);

#[derive(Debug)]
struct UnsentState {
    most_b: usize,
    grace: Duration,
    held: Mutex<Held>,
    /// Coding takes memory of its own, about a megabyte each: no more at once than there are cores to do it.
    coding: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Held {
    all_b: usize,
    by_caller: HashMap<u64, usize>,
}

/// A part of what may be held, for as long as this lives.
#[derive(Debug)]
struct BudgetShare {
    of: Unsent,
    caller: u64,
    bytes: usize,
}

impl Unsent {
    /// Nothing is held. At most `most_b` bytes will be, and whoever takes nothing of an answer for as long as `grace`
    /// loses it.
    pub fn new(most_b: usize, grace: Duration) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(UnsentState { most_b, grace, held: Mutex::default(), coding: Arc::new(Semaphore::new(cores)) }))
    }

    /// Passes if `caller` may be answered at all.
    ///
    /// # Errors
    /// `unavailable` when they hold their share already.
    pub(super) fn admit(&self, caller: Caller) -> Result<(), Problem> {
        let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.by_caller.get(&caller.0) {
            Some(own) if *own >= self.0.most_b / SHARES => Err(full("the caller does not take its answers")),
            _ => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).all_b >= self.0.most_b
    }

    /// Takes room for `bytes`; nothing if there is too little and it is not `needed`.
    fn part(&self, caller: u64, bytes: usize, needed: bool) -> Option<BudgetShare> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.by_caller.get(&caller).copied().unwrap_or_default();
        let fits = held.all_b + bytes <= self.0.most_b && (own == 0 || own + bytes <= self.0.most_b / SHARES);
        if !fits && !needed {
            return None;
        }
        held.all_b += bytes;
        *held.by_caller.entry(caller).or_default() += bytes;
        Some(BudgetShare { of: self.clone(), caller, bytes })
    }

    /// `bytes`, counted unless they are few; nothing if there is no room for them and they are not `needed`.
    fn counted(&self, caller: u64, bytes: Bytes, needed: bool) -> Option<CountedBody> {
        if bytes.len() <= SMALL_B {
            return Some(CountedBody { bytes, _share: None });
        }
        let share = self.part(caller, bytes.len(), needed)?;
        Some(CountedBody { bytes, _share: Some(share) })
    }

    /// `response` with `body`, coded when a coder is free.
    async fn coded(
        &self,
        caller: u64,
        mut response: HttpResponse<()>,
        body: CountedBody,
        coding: ContentEncoding,
    ) -> Result<HttpResponse<BoxBody>, Error> {
        let turn = self.0.coding.clone().acquire_owned().await.map_err(Problem::internal)?;
        // A client that leaves ends neither the coding nor its turn, and the body is there until then.
        let coder = move || {
            let (_turn, body) = (turn, body);
            coding::coded(coding, &body.bytes)
        };
        let coded = web::block(coder).await?.map_err(Problem::internal)?;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, coding.to_header_value());
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        // What it was made of was counted until now.
        let body = self.counted(caller, Bytes::from(coded), true).ok_or_else(|| full("too much waits to be taken"))?;
        Ok(response.set_body(BoxBody::new(body)))
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        let mut held = self.of.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all_b -= self.bytes;
        if let Some(own) = held.by_caller.get_mut(&self.caller) {
            *own -= self.bytes;
            if *own == 0 {
                held.by_caller.remove(&self.caller);
            }
        }
    }
}

fn full(cause: &'static str) -> Problem {
    let detail = "Too much that was asked for has not been taken yet. Nothing was changed. Try again in a moment.";
    Problem::overloaded(cause).saying(detail)
}

/// Counts what is answered from when it is made, codes it if the client asks for it, and counts what has come of it.
/// What would be too much is not answered; a write is refused before it is done, since it could not be undone.
///
/// # Errors
/// Those of what is behind it.
pub async fn hold(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(unsent) = request.app_data::<web::Data<Unsent>>().map(|unsent| unsent.get_ref().clone()) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let coding = match coding::asked_for(&request) {
        Ok(coding) => coding,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    let writes = !request.method().is_safe();
    if writes && unsent.is_full() {
        return Ok(request.error_response(full("too much waits to be taken")));
    }
    let (request, response) = next.call(request).await?.into_parts();
    if response.body().size() == BodySize::Stream || response.extensions().contains::<Flowing>() {
        // What goes on is counted piece by piece.
        return Ok(ServiceResponse::new(request, response).map_into_boxed_body());
    }
    let (response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(stream) => to_bytes(stream).await.map_err(|error| Problem::internal(error.into().to_string()))?,
    };
    let caller = caller(&request);
    let Some(body) = unsent.counted(caller, body, writes) else {
        return Ok(ServiceResponse::from_err(full("too much waits to be taken"), request));
    };
    let response = match coding {
        Some(coding) if coding::is_worth_it(response.status(), response.headers(), body.bytes.len()) => {
            unsent.coded(caller, response, body, coding).await?
        }
        _ => response.set_body(BoxBody::new(body)),
    };
    Ok(ServiceResponse::new(request, response))
}

/// Sees to it that an answer is taken, once nothing will be changed of it any more.
pub(super) fn send(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let grace = response.request().app_data::<web::Data<Unsent>>().map(|unsent| unsent.0.grace);
    let line = response.request().conn_data::<SocketHandle>().cloned();
    response.map_body(|_, body| match (body.size(), grace) {
        (BodySize::Sized(bytes), Some(grace)) if bytes > SMALL_B as u64 => {
            BoxBody::new(Taken { body, grace, line, taken: Rc::default(), watch: None })
        }
        _ => body,
    })
}

/// A body of pieces that come one by one for as long as `source` has some. Each is counted and must be taken at a rate,
/// as whole answers are; where there is no room for one, the body ends.
pub(super) fn flowing(request: &HttpRequest, source: Pin<Box<dyn Stream<Item = Bytes>>>) -> FlowingBody {
    let unsent = request.app_data::<web::Data<Unsent>>().map(|unsent| unsent.get_ref().clone());
    FlowingBody {
        size: BodySize::Stream,
        source: Box::pin(source.map(Ok)),
        unsent,
        caller: caller(request),
        line: request.conn_data::<SocketHandle>().cloned(),
        piece: None,
    }
}

/// A body of pieces likewise, which breaks where one cannot be made.
pub(super) fn flowing_until_broken(
    request: &HttpRequest,
    source: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>>>>,
) -> FlowingBody {
    FlowingBody { source, ..flowing(request, Box::pin(futures_util::stream::empty())) }
}

/// Marks an answer whose body flows, though its length is known.
pub(super) struct Flowing;

/// A body of `size_b` bytes that come one by one, counted likewise.
pub(super) fn flowing_b(
    request: &HttpRequest,
    size_b: u64,
    source: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>>>>,
) -> FlowingBody {
    FlowingBody { size: BodySize::Sized(size_b), source, ..flowing(request, Box::pin(futures_util::stream::empty())) }
}

/// See [`flowing`].
pub(super) struct FlowingBody {
    size: BodySize,
    source: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>>>>,
    unsent: Option<Unsent>,
    caller: u64,
    line: Option<SocketHandle>,
    piece: Option<Taken>,
}

impl MessageBody for FlowingBody {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        loop {
            if let Some(piece) = &mut self.piece {
                if let Some(part) = ready!(Pin::new(piece).poll_next(cx)) {
                    return Poll::Ready(Some(part));
                }
                self.piece = None;
            }
            let Some(bytes) = ready!(self.source.as_mut().poll_next(cx)) else { return Poll::Ready(None) };
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            match &self.unsent {
                Some(unsent) if bytes.len() > SMALL_B => {
                    let Some(body) = unsent.counted(self.caller, bytes, false) else {
                        tracing::info!("ended a stream, since too much waits to be taken");
                        return Poll::Ready(None);
                    };
                    let (grace, line) = (unsent.0.grace, self.line.clone());
                    let body = BoxBody::new(body);
                    self.piece = Some(Taken { body, grace, line, taken: Rc::default(), watch: None });
                }
                // An empty piece would end the body.
                _ if bytes.is_empty() => {}
                _ => return Poll::Ready(Some(Ok(bytes))),
            }
        }
    }
}

/// Who asks, as a number.
pub(super) fn caller(request: &HttpRequest) -> u64 {
    request.extensions().get().map_or(UNKNOWN, |Caller(caller)| *caller)
}

/// A body that is counted for as long as it lives, unless it is small: it is one piece of memory, whatever part of it
/// has been taken.
struct CountedBody {
    bytes: Bytes,
    _share: Option<BudgetShare>,
}

impl MessageBody for CountedBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = self.bytes.len().min(PIECE_B);
        Poll::Ready((next > 0).then(|| Ok(self.bytes.split_to(next))))
    }
}

/// The socket of a connection, to end it from elsewhere than from where it is written to.
#[derive(Debug, Clone)]
pub struct SocketHandle(Rc<OwnedFd>);

impl SocketHandle {
    /// Keeps the socket of `stream` beside its connection.
    pub fn keep(stream: &impl AsFd, connection: &mut Extensions) {
        // Without it, an answer that is not taken is only ended when its client takes nothing at all.
        if let Ok(socket) = stream.as_fd().try_clone_to_owned() {
            connection.insert(Self(Rc::new(socket)));
        }
    }

    /// Ends the connection. What the system still has to send is forgotten.
    fn end(&self) {
        let socket = socket2::SockRef::from(&*self.0);
        // Whatever cannot be done is done already: it has been ended by somebody else.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// A body that must be taken at a rate.
struct Taken {
    body: BoxBody,
    grace: Duration,
    line: Option<SocketHandle>,
    taken: Rc<Cell<usize>>,
    watch: Option<JoinHandle<()>>,
}

impl Taken {
    /// Ends the connection when too little has been taken. The connection does not ask for more of a body while it has
    /// some to write, so that the body could not tell.
    fn watch(&self) -> Option<JoinHandle<()>> {
        let (line, taken, grace, begun) = (self.line.clone()?, self.taken.clone(), self.grace, Instant::now());
        Some(actix_web::rt::spawn(async move {
            loop {
                let until = begun + allowed(grace, taken.get());
                if until <= Instant::now() {
                    break;
                }
                tokio::time::sleep_until(until).await;
            }
            tracing::info!(taken_b = taken.get(), "ended a connection that takes its answer too slowly");
            line.end();
        }))
    }
}

/// How long it may take to take so many bytes, and the first of the next.
fn allowed(grace: Duration, taken_b: usize) -> Duration {
    let millis = u64::try_from(taken_b.saturating_mul(1_000) / RATE_B).unwrap_or(u64::MAX);
    grace.saturating_add(Duration::from_millis(millis))
}

impl MessageBody for Taken {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.watch.is_none() {
            self.watch = self.watch();
        }
        let next = Pin::new(&mut self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(piece))) = &next {
            self.taken.set(self.taken.get() + piece.len());
        }
        next
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is taken and let go of, in whatever order: no more than there may be, no more than a share each,
        /// and in the end nothing.
        #[test]
        fn what_is_held_is_bounded(asks in prop::collection::vec((0..6u64, 1..400usize, any::<bool>()), 0..200)) {
            let unsent = Unsent::new(1_000, Duration::ZERO);
            let mut parts: Vec<BudgetShare> = Vec::new();
            for (caller, bytes, gives_back) in asks {
                parts.extend(unsent.part(caller, bytes, false));
                if gives_back && !parts.is_empty() {
                    parts.remove(0);
                }
                let held = unsent.0.held.lock().expect("no panic");
                prop_assert_eq!(held.all_b, parts.iter().map(|part| part.bytes).sum::<usize>());
                prop_assert!(held.all_b <= 1_000);
                for (caller, own) in &held.by_caller {
                    let of: Vec<_> = parts.iter().filter(|part| part.caller == *caller).collect();
                    prop_assert_eq!(*own, of.iter().map(|part| part.bytes).sum::<usize>());
                    // A single answer may be larger than a share.
                    prop_assert!(*own <= 250 || of.len() == 1);
                }
            }
            drop(parts);
            let held = unsent.0.held.lock().expect("no panic");
            prop_assert!(held.all_b == 0 && held.by_caller.is_empty());
        }
    }

    #[test]
    fn what_is_needed_is_held_all_the_same_and_then_others_wait() {
        let unsent = Unsent::new(100, Duration::ZERO);
        let needed = unsent.part(1, 120, true);
        assert!(needed.is_some() && unsent.is_full() && unsent.part(2, 1, false).is_none());
        assert!(unsent.admit(Caller(1)).is_err() && unsent.admit(Caller(2)).is_ok());
        drop(needed);
        assert!(!unsent.is_full() && unsent.admit(Caller(1)).is_ok() && unsent.part(2, 1, false).is_some());
    }

    #[test]
    fn an_answer_has_a_grace_and_then_a_rate() {
        let grace = Duration::from_secs(30);
        assert_eq!(allowed(grace, 0), grace);
        assert_eq!(allowed(grace, 1 << 20), grace + Duration::from_secs(64));
    }
}
