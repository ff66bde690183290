//! The words of a ticket and of its files, which more than one room speaks: imported whole, so that a new one is
//! written here alone.

use super::words::words;

words! {
    /// Where a ticket stands in its life.
    pub enum Status {
        /// Reported; nobody has begun to work on it.
        New = "new",
        /// Being worked on.
        Open = "open",
        /// Waiting for the requester.
        WaitingRequester = "waiting_requester",
        /// Waiting for somebody else.
        WaitingThirdParty = "waiting_third_party",
        /// Solved; the requester may still reopen it.
        Resolved = "resolved",
        /// Over: no edit and no comment any more.
        Closed = "closed",
    }
}

words! {
    /// How urgent a ticket is.
    pub enum Priority {
        /// Can wait.
        Low = "low",
        /// The usual.
        Normal = "normal",
        /// Before the usual.
        High = "high",
        /// At once.
        Urgent = "urgent",
    }
}

words! {
    /// What kind of thing was reported (ITIL).
    pub enum TicketType {
        /// Something that worked does not.
        Incident = "incident",
        /// Something is wanted.
        ServiceRequest = "service_request",
        /// Something is asked.
        Question = "question",
        /// The cause behind incidents.
        Problem = "problem",
    }
}

words! {
    /// How it was reported.
    pub enum Channel {
        /// Through this API.
        Api = "api",
        /// On a web page.
        Web = "web",
        /// By email.
        Email = "email",
        /// By telephone.
        Phone = "phone",
        /// In a chat.
        Chat = "chat",
        /// At a counter.
        Counter = "counter",
        /// By a monitoring tool.
        Monitoring = "monitoring",
    }
}

impl Priority {
    /// The place in the order from low to urgent, from 1; the database has the same in `priority_rank`.
    pub fn rank(self) -> i32 {
        match self {
            Priority::Low => 1,
            Priority::Normal => 2,
            Priority::High => 3,
            Priority::Urgent => 4,
        }
    }
}

impl Status {
    /// Whether there is something to do about a ticket that stands so.
    pub const fn is_unsolved(self) -> bool {
        !matches!(self, Status::Resolved | Status::Closed)
    }

    /// The legal next steps.
    pub const fn next(self) -> &'static [Status] {
        use Status::{Closed, New, Open, Resolved, WaitingRequester, WaitingThirdParty};
        match self {
            New => &[Open, Resolved],
            Open => &[WaitingRequester, WaitingThirdParty, Resolved],
            WaitingRequester => &[Open, WaitingThirdParty, Resolved],
            WaitingThirdParty => &[Open, WaitingRequester, Resolved],
            Resolved => &[Open, Closed],
            Closed => &[],
        }
    }
}

words! {
    /// How a clock stands.
    pub enum ClockState {
        /// Time counts.
        Running = "running",
        /// Time does not count now.
        Paused = "paused",
        /// It ended in time.
        Met = "met",
        /// It did not, for good.
        Breached = "breached",
    }
}

words! {
    /// What a clock measures.
    pub enum Target {
        /// From the report until somebody begins to work on it.
        Response = "response",
        /// From the report until an agent first answers in public.
        FirstReply = "first_reply",
        /// The time in `open`: work, without all waiting.
        Service = "service",
    }
}

words! {
    /// How far one can trust a file.
    pub enum FileState {
        /// No scanner has looked at it.
        Unscanned = "unscanned",
        /// A scanner has found nothing in it.
        Clean = "clean",
        /// A scanner has found something in it: its bytes are gone.
        Infected = "infected",
        /// It is being erased, and nobody sees it any more.
        Erasing = "erasing",
    }
}
