//! Which tickets a list or a report is about, as clients ask for them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::http::query::{Csv, Selection, query_part};
use crate::http::{Cursor, Flag};
use crate::kernel::fault::{self, Faults};
use crate::kernel::rows::Limit;
use crate::kernel::vocabulary::*;
use crate::kernel::{FieldError, Instant, PolicyId, PrincipalId, Problem, TeamId, ViewId};
use crate::tickets::domain::listing::{ListView, SlaFilter, SortOrder};
use crate::tickets::domain::reference::TicketRef;
use crate::tickets::domain::search::Query;
use crate::tickets::policy::reach::Reach;
use crate::tickets::store::{Choice, Hits, TicketCriteria};

fault::deserr_from_str!(Query);

/// A tag to filter by.
#[derive(Debug, Clone, PartialEq)]
pub struct TagName(pub String);

impl std::str::FromStr for TagName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Err("must not be empty") } else { Ok(Self(text.to_owned())) }
    }
}

fault::deserr_from_str!(TagName);

/// A queue to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamChoice {
    /// Tickets in no queue.
    NoTeam,
    /// This one.
    Team(TeamId),
}

impl TeamChoice {
    /// The team, if one is meant.
    pub fn id(self) -> Option<TeamId> {
        match self {
            Self::NoTeam => None,
            Self::Team(id) => Some(id),
        }
    }
}

impl std::str::FromStr for TeamChoice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::NoTeam),
            id => id.parse().map(Self::Team).map_err(|_| "must be a team's id or `none`"),
        }
    }
}

/// A queue to filter a list by, or those of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueChoice {
    /// Those that the caller is in.
    Mine,
    /// Another one, or none.
    Team(TeamChoice),
}

impl std::str::FromStr for QueueChoice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mine" => Ok(Self::Mine),
            other => other.parse().map(Self::Team).map_err(|_| "must be a team's id, `mine` or `none`"),
        }
    }
}

/// An SLA policy to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyChoice(Option<PolicyId>);

impl std::str::FromStr for PolicyChoice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            id => id.parse().map(|id| Self(Some(id))).map_err(|_| "must be a policy's id or `none`"),
        }
    }
}

/// Where a ticket stands, or that nobody has solved it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusChoice {
    /// This status.
    One(Status),
    /// All but `resolved` and `closed`.
    Unsolved,
}

/// The word for all statuses in which there is something to do.
const UNSOLVED: &str = "unsolved";

impl StatusChoice {
    fn words() -> impl Iterator<Item = &'static str> {
        Status::ALL.iter().map(|status| status.as_str()).chain([UNSOLVED])
    }

    fn statuses(self) -> Vec<Status> {
        match self {
            Self::One(status) => vec![status],
            Self::Unsolved => Status::ALL.iter().copied().filter(|status| status.is_unsolved()).collect(),
        }
    }
}

impl std::str::FromStr for StatusChoice {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            UNSOLVED => Ok(Self::Unsolved),
            word => word.parse().map(Self::One).map_err(|_: FieldError| FieldError::not_one_of(Self::words())),
        }
    }
}

/// A person to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonChoice {
    /// The caller.
    Me,
    /// Nobody.
    Nobody,
    /// This one.
    Person(PrincipalId),
}

impl PersonChoice {
    /// The person, if one is meant; `me` is the caller.
    pub fn id(self, me: PrincipalId) -> Option<PrincipalId> {
        match self {
            Self::Me => Some(me),
            Self::Nobody => None,
            Self::Person(id) => Some(id),
        }
    }
}

impl std::str::FromStr for PersonChoice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "me" => Ok(Self::Me),
            "none" => Ok(Self::Nobody),
            id => id.parse().map(Self::Person).map_err(|_| "must be an id, `me` or `none`"),
        }
    }
}

const ID: &str = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";

/// An id, or one of these words, which are separated by `|`.
fn id_or(words: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^({words}|{ID})$")))
}

macro_rules! schemas {
    ($($type:ty => $schema:expr),* $(,)?) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
        impl ToSchema for $type {}
    )*};
}

schemas! {
    TeamChoice => id_or("none"),
    QueueChoice => id_or("mine|none"),
    PersonChoice => id_or("me|none"),
    PolicyChoice => id_or("none"),
    // Commas separate tags from each other.
    TagName => ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).pattern(Some("^[^,]+$")),
    StatusChoice => ObjectBuilder::new().schema_type(Type::String).enum_values(Some(StatusChoice::words())),
    SortOrder => {
        let words = SortOrder::all().map(|order| order.to_string());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
    },
    TicketRefs => {
        let one = ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^([0-9]{{1,18}}|{ID})$")));
        ArrayBuilder::new().items(one).min_items(Some(1)).max_items(Some(MOST_NAMED))
    },
}

/// A person, as one is named by who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonRef {
    /// The caller.
    Me,
    /// This one.
    Id(PrincipalId),
}

impl PersonRef {
    /// Who is meant when `me` writes.
    pub fn id(self, me: PrincipalId) -> PrincipalId {
        match self {
            Self::Me => me,
            Self::Id(id) => id,
        }
    }
}

impl std::str::FromStr for PersonRef {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "me" => Ok(Self::Me),
            id => id.parse().map(Self::Id).map_err(|_| "must be a person's id or `me`"),
        }
    }
}

fault::deserr_from_str!(PersonRef);

/// The schema of a [`PersonRef`] that may be null.
pub(super) fn person_ref(description: &str) -> Object {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    let pattern = format!("^(me|{ID})$");
    ObjectBuilder::new().schema_type(types).description(Some(description)).pattern(Some(pattern)).build()
}

// The document wants names for what a parameter takes.
type Statuses = Selection<StatusChoice>;
type Priorities = Selection<Priority>;
type TicketTypes = Selection<TicketType>;
type Channels = Selection<Channel>;
type Queues = Selection<QueueChoice>;
type People = Selection<PersonChoice>;
type Policies = Selection<PolicyChoice>;
type TagNames = Selection<TagName>;

/// Which tickets are meant: all filters must hold.
#[derive(Debug, Clone, Default, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TicketFilter {
    /// One or more statuses, separated by commas; `unsolved` for all but `resolved` and `closed`. As with all filters
    /// that take several values: with a leading `!` at each, all others: `!closed`.
    #[deserr(default)]
    #[param(value_type = Option<Statuses>, inline, style = Form, explode = false, example = json!(["new", "open"]))]
    pub status: Option<Statuses>,
    /// One or more priorities, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Priorities>, inline, style = Form, explode = false, example = json!(["high", "urgent"]))]
    pub priority: Option<Priorities>,
    /// One or more types, separated by commas.
    #[deserr(default, rename = "type")]
    #[param(rename = "type", value_type = Option<TicketTypes>, inline, style = Form, explode = false, example = json!(["incident"]))]
    pub kind: Option<TicketTypes>,
    /// One or more channels, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Channels>, inline, style = Form, explode = false, example = json!(["email", "phone"]))]
    pub channel: Option<Channels>,
    /// One or more teams, separated by commas; `mine` for those that the caller is in, and `none` for tickets in no
    /// queue.
    #[deserr(default)]
    #[param(value_type = Option<Queues>, inline, style = Form, explode = false, example = json!(["mine"]))]
    pub team_id: Option<Queues>,
    /// One or more assignees, separated by commas; `me`, and `none` for tickets that nobody has.
    #[deserr(default)]
    #[param(value_type = Option<People>, inline, style = Form, explode = false, example = json!(["me"]))]
    pub assignee_id: Option<People>,
    /// One or more requesters, separated by commas; `me`, and `none` for tickets without one.
    #[deserr(default)]
    #[param(value_type = Option<People>, inline, style = Form, explode = false)]
    pub requester_id: Option<People>,
    /// One or more SLA policies that tickets have now, separated by commas; `none` for tickets that nothing is promised
    /// about.
    #[deserr(default)]
    #[param(value_type = Option<Policies>, inline, style = Form, explode = false)]
    pub policy_id: Option<Policies>,
    /// One or more tags, separated by commas: tickets that have any of them; `!vip,!spam` for those that have none of
    /// them.
    #[deserr(default)]
    #[param(value_type = Option<TagNames>, inline, style = Form, explode = false, example = json!(["printer"]))]
    pub tag: Option<TagNames>,
    /// The name that the creator's system has for it.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "alert-4711")]
    pub external_id: Option<TagName>,
    /// Only tickets created after this instant. All these bounds are exclusive: of what happened at the very instant,
    /// none is meant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub created_after: Option<Instant>,
    /// Only tickets created before this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub created_before: Option<Instant>,
    /// Only tickets updated after this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub updated_after: Option<Instant>,
    /// Only tickets updated before this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub updated_before: Option<Instant>,
    /// Only tickets to which anything happened after this instant. For those who see what is internal.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub activity_after: Option<Instant>,
    /// Only tickets to which nothing happened at this instant or later. For those who see what is internal.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub activity_before: Option<Instant>,
    /// Only tickets reported after this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub reported_after: Option<Instant>,
    /// Only tickets reported before this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub reported_before: Option<Instant>,
    /// Only tickets that were resolved last after this instant, and are so still.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub resolved_after: Option<Instant>,
    /// Only tickets that were resolved last before this instant, and are so still.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub resolved_before: Option<Instant>,
    /// Only tickets closed after this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub closed_after: Option<Instant>,
    /// Only tickets closed before this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub closed_before: Option<Instant>,
    /// `breached`: a clock is past its due instant, or was when it ended; of what can still be mended, with
    /// `status=unsolved`. `due_within:SECONDS`: a clock runs and is due
    /// within so many seconds, at most 31622400 (a year), of a ticket that is not closed.
    #[deserr(default)]
    #[param(value_type = Option<String>, pattern = "^(breached|due_within:[0-9]{1,8})$", example = "due_within:3600")]
    pub sla: Option<SlaFilter>,
    /// Full-text search in subject, number, external id, the requester's name and address, tags, description, and the
    /// comments that the caller may see; it needs `tickets:read`, and looks into comments with `comments:read`. At most
    /// 500 characters. Each word must be there, anywhere in the ticket; a `"phrase in quotes"` as it stands; `print*`
    /// finds all words that begin so (two characters at least); `-"what is in quotes"` must not be there, and nothing
    /// else excludes: a line that was pasted, `git push --force`, finds what has it. Words that are written together
    /// (`foo-bar`) are a phrase. Case and diacritics make no difference. All else is ignored; a search without any word
    /// finds every ticket. Searched are the first 6,000 words of tags and description, and the first 2,000 words of
    /// each comment; of each word the first 64 characters.
    #[deserr(default)]
    #[param(value_type = Option<String>, max_length = 500, example = "printer \"on fire\" -\"paper jam\"")]
    pub q: Option<Query>,
}

impl TicketFilter {
    /// Whether it asks for the teams of the caller.
    pub fn asks_for_own_teams(&self) -> bool {
        self.team_id.as_ref().is_some_and(|teams| teams.values.contains(&QueueChoice::Mine))
    }

    /// What it means at `now` for a caller with this reach.
    ///
    /// # Errors
    /// `invalid_query` when a filter makes no sense; `insufficient_scope` for a search by a token that may not read
    /// what is searched; that or `forbidden` for a filter by what the caller may not know of.
    pub fn criteria(self, reach: &Reach, me: &Asker, now: Instant) -> Result<TicketCriteria, Problem> {
        if self.activity_after.is_some() || self.activity_before.is_some() {
            reach.require_internal()?;
        }
        Ok(TicketCriteria {
            only_of: reach.only_of(),
            status: self.status.map(|given| among(given, Status::ALL, StatusChoice::statuses)),
            priority: self.priority.map(|given| among(given, Priority::ALL, |priority| vec![priority])),
            kind: self.kind.map(|given| among(given, TicketType::ALL, |kind| vec![kind])),
            channel: self.channel.map(|given| among(given, Channel::ALL, |channel| vec![channel])),
            team: self.team_id.map(|given| choice(given, |team| me.teams_of(team))),
            assignee: self.assignee_id.map(|given| choice(given, |person| vec![person.id(me.id)])),
            requester: self.requester_id.map(|given| choice(given, |person| vec![person.id(me.id)])),
            policy: self.policy_id.map(|given| choice(given, |policy| vec![policy.0])),
            tag: self.tag.map(|given| choice(given, |tag| vec![Some(tag.0)])),
            external_id: self.external_id.map(|id| id.0),
            created_after: self.created_after,
            created_before: self.created_before,
            updated_after: self.updated_after,
            updated_before: self.updated_before,
            activity_after: self.activity_after,
            activity_before: self.activity_before,
            reported_after: self.reported_after,
            reported_before: self.reported_before,
            resolved_after: self.resolved_after,
            resolved_before: self.resolved_before,
            closed_after: self.closed_after,
            closed_before: self.closed_before,
            sla: self.sla,
            q: match self.q {
                Some(query) => Hits::of(query, reach.searched()?),
                None => None,
            },
            now,
        })
    }
}

/// Whoever asks, as far as filters speak of them.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who.
    pub id: PrincipalId,
    /// The teams that they are in, if a filter [asks](TicketFilter::asks_for_own_teams) for those.
    pub teams: Vec<TeamId>,
}

impl Asker {
    fn teams_of(&self, choice: QueueChoice) -> Vec<Option<TeamId>> {
        match choice {
            QueueChoice::Mine => self.teams.iter().copied().map(Some).collect(),
            QueueChoice::Team(team) => vec![team.id()],
        }
    }
}

/// Those of `all` words that are meant.
fn among<G: Copy, T: Copy + PartialEq>(given: Selection<G>, all: &[T], each: impl Fn(G) -> Vec<T>) -> Vec<T> {
    let any = once(given.values.into_iter().flat_map(each));
    if given.is_negated { all.iter().copied().filter(|word| !any.contains(word)).collect() } else { any }
}

/// What to look for; `each` tells what a value means, of which nothing is one.
fn choice<G, T: PartialEq>(given: Selection<G>, each: impl Fn(G) -> Vec<Option<T>>) -> Choice<T> {
    let (some, nothing): (Vec<_>, Vec<_>) =
        once(given.values.into_iter().flat_map(each)).into_iter().partition(Option::is_some);
    let any = some.into_iter().flatten().collect();
    Choice { any, or_nothing: !nothing.is_empty(), is_negated: given.is_negated }
}

/// Each value once: a list goes by each of them, and would meet the same tickets again.
fn once<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

/// How many tickets a list of those that one names has at most.
pub const MOST_NAMED: usize = 200;

/// Tickets by their ids or numbers.
#[derive(Debug, Clone)]
pub struct TicketRefs(pub Vec<TicketRef>);

impl Deserr<Faults> for TicketRefs {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        Csv::<TicketRef, MOST_NAMED>::deserialize_from_value(value, location).map(|Csv(refs)| Self(refs))
    }
}

/// The order of a list of tickets, and which page of it.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListOptions {
    /// The order; newest first unless said. `due_at` is when the first of the clocks is due that have not ended;
    /// tickets without one, and closed ones, come last, and first with `-due_at`. `relevance` needs `q`. After
    /// `priority`, a second order for those of equal priority: `-priority,due_at`. By `created_at` a walk meets each
    /// ticket once. By all others tickets move while one walks: one that changes meanwhile may be met twice, or not at
    /// all.
    #[deserr(default)]
    #[param(value_type = Option<SortOrder>, inline)]
    pub sort: SortOrder,
    /// Only these tickets, by id or number, separated by commas; at most 200. Those that may not be seen, or do not
    /// exist, are left out. Does not go with `q`.
    #[deserr(default)]
    #[param(value_type = Option<TicketRefs>, inline, style = Form, explode = false, example = json!(["4711", "4712"]))]
    pub ids: Option<TicketRefs>,
    /// The list that is saved under this id: its filters and its order, but for those that are named beside it.
    #[deserr(default)]
    #[param(value_type = Option<ViewId>)]
    pub view_id: Option<ViewId>,
    /// Whether `q` is being typed: its last word may go on, unless a space or a quote ends it.
    #[deserr(default)]
    #[param(value_type = Option<bool>)]
    pub typing: Option<Flag>,
    /// Whether to tell where on each ticket `q` was found, in `highlights`: for pages of at most 50 items. Comments are
    /// looked through if neither subject nor description has all of it: of the last 20, the newest that has some of it
    /// is told. Of each text the first 8,000 characters are looked through, and of long searches in long texts not all
    /// tickets of a page.
    #[deserr(default)]
    #[param(value_type = Option<bool>)]
    pub highlight: Option<Flag>,
    /// How much is told of each ticket: all of it, or what a row of a list shows.
    #[deserr(default)]
    #[param(value_type = Option<ListView>, inline, default = "full")]
    pub view: ListView,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}

query_part!(TicketFilter);
query_part!(ListOptions);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_none(text in "(\\PC{0,20}|(me|none|[0-9a-f-]{32,36})(,(me|none))?)") {
            let _ = (text.parse::<QueueChoice>(), text.parse::<PersonChoice>(), text.parse::<TagName>());
        }
    }
}
