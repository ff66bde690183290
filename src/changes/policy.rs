//! Which changes a caller may read.

use crate::audit::domain::{EventKind, Visibility};
use crate::auth::domain::Principal;
use crate::auth::policy::{Administer, Allowed, ReadAlerts, ReadComments, ReadPeople, ReadTickets, ReadWork};
use crate::kernel::PrincipalId;
use crate::kernel::requesters::NamesShown;
use crate::tickets::policy::ReachesTickets;

/// The changes that a caller may know of. Queries for changes take one, and only the permission to read tickets gives
/// one.
#[derive(Debug, Clone)]
pub struct Sightline {
    only_of: Option<PrincipalId>,
    internal_too: bool,
    kinds: Vec<EventKind>,
    names: NamesShown,
}

impl Sightline {
    /// What `who` may know of, as they may now: of comments and of work only who may read them.
    pub fn of(who: &Allowed<ReadTickets>) -> Self {
        let caller: &Principal = who.who();
        let (comments, work) = (caller.may::<ReadComments>(), caller.may::<ReadWork>());
        let people = caller.may::<ReadPeople>();
        let kinds = EventKind::ALL.iter().copied().filter(|kind| match kind {
            EventKind::TicketCreated | EventKind::TicketUpdated | EventKind::TicketRedacted => true,
            EventKind::CommentAdded | EventKind::CommentEdited | EventKind::CommentRedacted => comments,
            EventKind::FileAttached | EventKind::FileDeleted | EventKind::FileInfected => comments,
            EventKind::TimeEntryAdded | EventKind::TimeEntryDeleted => work,
            EventKind::UserCreated | EventKind::UserUpdated | EventKind::UserAnonymised => people,
            EventKind::AlertFired | EventKind::AlertUpdated | EventKind::AlertResolved => caller.may::<ReadAlerts>(),
            EventKind::SlaDueSoon | EventKind::SlaBreached => caller.sees_internal(),
            EventKind::WebhookDisabled => caller.may::<Administer>(),
        });
        let (internal_too, names) = (caller.sees_internal(), caller.names_shown());
        Self { only_of: who.reach().only_of(), internal_too, kinds: kinds.collect(), names }
    }

    /// What sees everything: for what is read once for many, each of whom is shown what they may see.
    pub(in crate::changes) fn everything() -> Self {
        Self { only_of: None, internal_too: true, kinds: EventKind::ALL.to_vec(), names: NamesShown::default() }
    }

    /// How people are named.
    pub fn names(&self) -> NamesShown {
        self.names
    }

    /// Whether there may be `kind`.
    pub(in crate::changes) fn has(&self, kind: EventKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The requester whose tickets alone are told of; nobody when all are.
    pub(in crate::changes) fn only_of(&self) -> Option<PrincipalId> {
        self.only_of
    }

    /// What visibility there may be.
    pub(in crate::changes) fn visibility(&self) -> Option<Visibility> {
        (!self.internal_too).then_some(Visibility::Public)
    }

    /// Which of `wanted` there may be; of all, if nothing is said of them.
    pub(in crate::changes) fn kinds(&self, wanted: Option<&[EventKind]>) -> Vec<EventKind> {
        self.kinds.iter().copied().filter(|kind| wanted.is_none_or(|wanted| wanted.contains(kind))).collect()
    }

    /// How a change is written: with its position or without, and with which names.
    pub fn form(&self) -> (bool, NamesShown) {
        (self.has_positions(), self.names)
    }

    /// Whether positions are told: from those that are passed over a requester would learn of what they may not see.
    pub fn has_positions(&self) -> bool {
        self.only_of.is_none()
    }
}
