//! Which tickets a list or a report is about, as clients ask for them.

use deserr::Deserr;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::http::Cursor;
use crate::http::query::{Csv, query_part};
use crate::kernel::fault::{self, Faults};
use crate::kernel::rows::Limit;
use crate::kernel::vocabulary::*;
use crate::kernel::{Instant, PrincipalId, Problem, TeamId};
use crate::tickets::domain::listing::{SlaFilter, Sort};
use crate::tickets::domain::search::Query;
use crate::tickets::policy::reach::Reach;
use crate::tickets::store::{Hits, TicketCriteria};

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

impl PartialSchema for TagName {
    fn schema() -> RefOr<Schema> {
        // Commas separate tags from each other.
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).pattern(Some("^[^,]+$")).into()
    }
}
impl ToSchema for TagName {}

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

/// An id, or one of these words, which are separated by `|`.
fn id_or(words: &str) -> RefOr<Schema> {
    const ID: &str = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^({words}|{ID})$"))).into()
}

impl PartialSchema for TeamChoice {
    fn schema() -> RefOr<Schema> {
        id_or("none")
    }
}
impl ToSchema for TeamChoice {}

impl PartialSchema for PersonChoice {
    fn schema() -> RefOr<Schema> {
        id_or("me|none")
    }
}
impl ToSchema for PersonChoice {}

/// Which tickets are meant: all filters must hold.
#[derive(Debug, Clone, Default, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TicketFilter {
    /// One or more statuses, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Status>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["new", "open"]))]
    pub status: Option<Csv<Status>>,
    /// One or more priorities, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Priority>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["high", "urgent"]))]
    pub priority: Option<Csv<Priority>>,
    /// One or more types, separated by commas.
    #[deserr(default, rename = "type")]
    #[param(rename = "type", value_type = Option<Vec<TicketType>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["incident"]))]
    pub kind: Option<Csv<TicketType>>,
    /// One or more channels, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Channel>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["email", "phone"]))]
    pub channel: Option<Csv<Channel>>,
    /// One or more teams, separated by commas; `none` for tickets in no queue.
    #[deserr(default)]
    #[param(value_type = Option<Vec<TeamChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false)]
    pub team_id: Option<Csv<TeamChoice>>,
    /// One or more assignees, separated by commas; `me`, and `none` for tickets that nobody has.
    #[deserr(default)]
    #[param(value_type = Option<Vec<PersonChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["me"]))]
    pub assignee_id: Option<Csv<PersonChoice>>,
    /// One or more requesters, separated by commas; `me`, and `none` for tickets without one.
    #[deserr(default)]
    #[param(value_type = Option<Vec<PersonChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false)]
    pub requester_id: Option<Csv<PersonChoice>>,
    /// One or more tags, separated by commas: tickets that have any of them.
    #[deserr(default)]
    #[param(value_type = Option<Vec<TagName>>, inline, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["printer"]))]
    pub tag: Option<Csv<TagName>>,
    /// The name that the creator's system has for it.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "alert-4711")]
    pub external_id: Option<TagName>,
    /// Only tickets created after this instant.
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
    /// `breached`: a clock is past its due instant, or was when it ended. `due_within:SECONDS`: a clock runs and is due
    /// within so many seconds, at most 31622400 (a year), of a ticket that is not closed.
    #[deserr(default)]
    #[param(value_type = Option<String>, pattern = "^(breached|due_within:[0-9]{1,8})$", example = "due_within:3600")]
    pub sla: Option<SlaFilter>,
    /// Full-text search in subject, tags, description, and the comments that the caller may see; it needs
    /// `tickets:read`, and looks into comments with `comments:read`. At most 500 characters. Each word must be there,
    /// anywhere in the ticket; a `"phrase in quotes"` as it stands; `print*` finds all words that begin so (two
    /// characters at least); `-word` and `-"a phrase"` must not be there. Words that are written together (`foo-bar`)
    /// are a phrase. Case and diacritics make no difference. All else is ignored; a search without any word finds every
    /// ticket. Searched are the first 6,000 words of tags and description, and the first 2,000 words of each comment;
    /// of each word the first 64 characters.
    #[deserr(default)]
    #[param(value_type = Option<String>, max_length = 500, example = "printer \"on fire\" -paper")]
    pub q: Option<Query>,
}

impl TicketFilter {
    /// What it means at `now` for a caller with this reach. `me` is the caller.
    ///
    /// # Errors
    /// `invalid_query` when a filter makes no sense; `insufficient_scope` for a search by a token that may not read
    /// what is searched; that or `forbidden` for a filter by what the caller may not know of.
    pub fn criteria(self, reach: &Reach, me: PrincipalId, now: Instant) -> Result<TicketCriteria, Problem> {
        if self.activity_after.is_some() || self.activity_before.is_some() {
            reach.require_internal()?;
        }
        Ok(TicketCriteria {
            only_of: reach.only_of(),
            status: self.status.map(|any| once(any.0)),
            priority: self.priority.map(|any| once(any.0)),
            kind: self.kind.map(|any| once(any.0)),
            channel: self.channel.map(|any| once(any.0)),
            team: self.team_id.map(|teams| split(teams.0.iter().map(|team| team.id()))),
            assignee: self.assignee_id.map(|people| split(people.0.iter().map(|person| person.id(me)))),
            requester: self.requester_id.map(|people| split(people.0.iter().map(|person| person.id(me)))),
            tag: self.tag.map(|any| once(any.0.into_iter().map(|tag| tag.0))),
            external_id: self.external_id.map(|id| id.0),
            created_after: self.created_after,
            created_before: self.created_before,
            updated_after: self.updated_after,
            updated_before: self.updated_before,
            activity_after: self.activity_after,
            activity_before: self.activity_before,
            sla: self.sla,
            q: match self.q {
                Some(query) => Hits::of(query, reach.searched()?),
                None => None,
            },
            now,
        })
    }
}

/// The ids to look for, and whether `none` is one of the choices.
fn split<Id: PartialEq>(choices: impl Iterator<Item = Option<Id>>) -> (Vec<Id>, bool) {
    let (ids, nobody): (Vec<_>, Vec<_>) = once(choices).into_iter().partition(Option::is_some);
    (ids.into_iter().flatten().collect(), !nobody.is_empty())
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

/// The order of a list of tickets, and which page of it.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListOptions {
    /// The order; newest first unless said. `due_at` is when the first of the clocks is due that have not ended;
    /// tickets without one, and closed ones, come last. `relevance` needs `q`.
    #[deserr(default)]
    #[param(value_type = Option<Sort>, inline)]
    pub sort: Option<Sort>,
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
            let _ = (text.parse::<TeamChoice>(), text.parse::<PersonChoice>(), text.parse::<TagName>());
        }
    }
}
