//! Webhooks, as they are served by themselves: handing out what happens, and sending it, on a thread of their own. What
//! waits for a receiver holds up nothing else.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, select};
use tokio::task::{LocalSet, spawn_local};

use super::jobs::{Job, Rest, run_all};
use crate::db::Db;
use crate::db::lease::Holder;
use crate::db::signal::{ChangesPublished, SignalListener};
use crate::http::Sealer;
use crate::http::jobs::Jobs;
use crate::kernel::{Clock, Problem};
use crate::webhooks::service::courier::Courier;
use crate::webhooks::service::{DeliveriesQueued, Sender, hand_out};

/// For how long changes are gathered before they are handed out together.
const GATHERED_FOR: Duration = Duration::from_millis(20);

/// The pause between two looks at what is to be handed out, while there is more.
const HAND_OUT_BREATH: Duration = Duration::from_millis(2);

/// After how long it is looked for what nobody in this process has given word of: what other instances do, and what is
/// due again.
const LOOKED_AFTER: Duration = Duration::from_secs(1);

/// Serves webhooks on a thread of its own, until the process is `ending`; `me` names this instance to others, and
/// `jobs` hears how it goes. Then nothing more is begun, and the thread ends when what is on its way has come back and
/// is recorded, after `patience` at the latest: what is not recorded is sent again.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    db: Db,
    courier: Courier,
    sealer: std::sync::Arc<Sealer>,
    clock: Clock,
    jobs: Jobs,
    me: Holder,
    (mut ending, patience): (SignalListener, Duration),
) -> std::io::Result<JoinHandle<()>> {
    let db = db.patient();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("postman".into()).spawn(move || {
        let sender = Sender::new(db.clone(), clock.clone(), courier, sealer, me);
        let work: Vec<Box<dyn Job>> =
            vec![Box::new(HandOut), Box::new(SendDeliveries { sender: sender.clone(), failed: Rc::default() })];
        let serves = async {
            select(pin!(run_all(work, &jobs, &db, &clock, me)), pin!(ending.heard())).await;
            sender.end();
            drop(tokio::time::timeout(patience, sender.has_ended()).await);
        };
        LocalSet::new().block_on(&runtime, serves);
    })
}

/// Queues what has happened for the webhooks that are to tell it.
struct HandOut;

impl Job for HandOut {
    fn name(&self) -> &'static str {
        "hand_out_deliveries"
    }

    fn interval(&self) -> Duration {
        LOOKED_AFTER
    }

    /// Whoever is first at a webhook does it, in each transaction.
    fn has_lease(&self) -> bool {
        false
    }

    fn waits_for(&self, db: &Db) -> Option<SignalListener> {
        Some(db.kept::<ChangesPublished>().0.listen())
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            tokio::time::sleep(GATHERED_FOR).await;
            let has_more = hand_out(db, clock).await?;
            Ok(if has_more { Rest::More(HAND_OUT_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Sends what is due. Each webhook is sent for by itself, so that a slow receiver waits for itself alone.
struct SendDeliveries {
    sender: Sender,
    /// Why sending for a webhook has ended, if it did not end well.
    failed: Rc<RefCell<Option<Problem>>>,
}

impl Job for SendDeliveries {
    fn name(&self) -> &'static str {
        "send_deliveries"
    }

    fn interval(&self) -> Duration {
        LOOKED_AFTER
    }

    /// There is one for each webhook.
    fn has_lease(&self) -> bool {
        false
    }

    fn waits_for(&self, db: &Db) -> Option<SignalListener> {
        Some(DeliveriesQueued::of(db).0.listen())
    }

    fn run<'a>(&'a mut self, _db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            for busy in self.sender.take_work().await? {
                let (sender, failed) = (self.sender.clone(), self.failed.clone());
                spawn_local(async move {
                    if let Err(problem) = sender.send_for(busy).await {
                        failed.replace(Some(problem));
                    }
                });
            }
            self.failed.take().map_or(Ok(Rest::Nothing), Err)
        }
        .boxed_local()
    }
}
