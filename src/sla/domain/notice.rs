//! What is told of a promise by itself: that it will soon be due, and that it is broken. Pure.

use super::clock::{ClockState, SlaClock, Times};
use super::policy::{Target, notify_before_s};
use crate::kernel::Instant;
use crate::kernel::words::words;

words! {
    /// What is told of a promise.
    pub enum NoticeKind {
        /// It will soon be due.
        DueSoon = "due_soon",
        /// It is broken.
        Breached = "breached",
    }
}

/// What is told once of a promise about a ticket. If it is due at another instant later, that is another notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlaNotice {
    /// What is promised.
    pub target: Target,
    /// What is told of it.
    pub kind: NoticeKind,
    /// When it is, or was, due.
    pub due_at: Instant,
}

impl SlaClock {
    /// From which instant on it is due soon if nothing happens; nothing where nobody asks for that, or no time counts.
    pub fn due_soon_at(&self) -> Option<Instant> {
        let lead_s = self.pledge.notify_before_s.unwrap_or_else(|| notify_before_s(self.pledge.target_s));
        let due_at = self.due_at().filter(|_| lead_s > 0 && self.state() == ClockState::Running);
        due_at.map(|due_at| due_at.plus_s(-lead_s))
    }
}

impl Times {
    /// When the first of its clocks is due soon, of those for which that is later than `after`, if that is said.
    pub fn notice_at(&self, after: Option<Instant>) -> Option<Instant> {
        let open = self.clocks.iter().filter(|_| !self.is_closed());
        open.filter_map(SlaClock::due_soon_at).filter(|at| after.is_none_or(|after| *at > after)).min()
    }

    /// That clocks are due soon at `now`. Of what is late already that is told no more.
    pub fn due_soon(&self, now: Instant) -> impl Iterator<Item = SlaNotice> {
        let open = self.clocks.iter().filter(|_| !self.is_closed());
        open.filter(move |clock| clock.due_soon_at().is_some_and(|at| at <= now)).filter_map(move |clock| {
            let due_at = clock.due_at().filter(|due_at| *due_at >= now)?;
            Some(SlaNotice { target: clock.target, kind: NoticeKind::DueSoon, due_at })
        })
    }

    /// That clocks are broken as it is written down here, and was not `before`.
    pub fn broken_since(&self, before: Option<&Times>) -> Vec<SlaNotice> {
        if before.is_some_and(Times::is_closed) {
            return Vec::new();
        }
        let is_broken = |clock: &&SlaClock| clock.state() == ClockState::Breached;
        let was_broken = |target| before.is_some_and(|b| b.clocks.iter().any(|c| c.target == target && is_broken(&c)));
        let newly = self.clocks.iter().filter(is_broken).filter(|clock| !was_broken(clock.target));
        let notice = |clock: &SlaClock| {
            Some(SlaNotice { target: clock.target, kind: NoticeKind::Breached, due_at: clock.due_at()? })
        };
        newly.filter_map(notice).collect()
    }

    /// The clock that `notice` is about, if that is so at `now`.
    pub fn noticed(&self, notice: &SlaNotice, now: Instant) -> Option<&SlaClock> {
        let is_so = match notice.kind {
            NoticeKind::DueSoon => self.due_soon(now).any(|due_soon| due_soon == *notice),
            NoticeKind::Breached => true,
        };
        let is_meant = |clock: &&SlaClock| clock.target == notice.target && clock.due_at() == Some(notice.due_at);
        self.clocks.iter().filter(|_| is_so).find(is_meant)
    }
}
