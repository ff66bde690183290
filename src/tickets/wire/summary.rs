//! A ticket as a row of a list shows it.

use serde::Serialize;
use utoipa::ToSchema;

use super::highlight::HighlightBody;
use super::{TicketBody, TicketContext};
use crate::audit::wire::{Named, NamedPrincipal, NamedTeam};
use crate::http::{ListItem, Page};
use crate::kernel::{Instant, PrincipalId, Priority, Status, TicketId};
use crate::sla::wire::clocks::{ClockBody, NextDueBody};
use crate::tickets::domain::author::AuthorKind;
use crate::tickets::domain::highlight::is_plain;
use crate::tickets::policy::Reach;
use crate::tickets::store::TicketRow;
use crate::tickets::store::talk::Talk;

/// How many characters an excerpt has at most.
const LONGEST_EXCERPT: usize = 80;

/// Who wrote a comment.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CommentAuthor)]
pub struct AuthorBody {
    /// The id of the person or of the service account.
    #[schema(value_type = String, format = "uuid", examples("019a2f4e-7c1b-7d3e-8f00-1234567890ab"))]
    pub id: PrincipalId,
    /// The name as it is now.
    #[schema(examples("Grace Hopper"))]
    pub name: String,
    /// What they are on this ticket.
    pub kind: AuthorKind,
}

/// The last comment on a ticket, as far as a row shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LastComment)]
pub struct LastCommentBody {
    /// When it was written.
    pub at: Instant,
    /// Who wrote it.
    pub author: AuthorBody,
    /// How it begins, in one line of at most 80 characters; empty once redacted.
    #[schema(max_length = 80)]
    pub excerpt: String,
}

/// A ticket as a row of a list shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TicketSummary, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
    "number": 4711,
    "subject": "The printer on the second floor is on fire",
    "status": "open",
    "priority": "urgent",
    "requester": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000a", "name": "Ada Lovelace" },
    "assignee": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
    "team": null,
    "tags": ["printer"],
    "created_at": "2026-03-02T09:12:00.000000Z",
    "next_due": { "target": "service", "due_at": "2026-03-02T11:13:30.000000Z", "state": "running" },
    "last_comment": {
        "at": "2026-03-02T09:13:30.000000Z", "excerpt": "Somebody is on the way.",
        "author": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper", "kind": "agent" },
    },
    "comment_count": 1,
    "version": 2,
}))]
pub struct TicketSummaryBody {
    /// The id.
    pub id: TicketId,
    /// The number for humans.
    #[schema(minimum = 1)]
    pub number: i64,
    /// One line that says what it is about.
    pub subject: String,
    /// Where it stands in its life.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// Who has the problem.
    #[schema(required)]
    pub requester: Option<NamedPrincipal>,
    /// Who works on it.
    #[schema(required)]
    pub assignee: Option<NamedPrincipal>,
    /// Whose queue it is in.
    #[schema(required)]
    pub team: Option<NamedTeam>,
    /// Labels.
    pub tags: Vec<String>,
    /// When it was typed in.
    pub created_at: Instant,
    /// What is due next of it, or most overdue.
    #[schema(required)]
    pub next_due: Option<NextDueBody>,
    /// The last comment that the caller may see; null when there is none, or the token reads no comments.
    #[schema(required)]
    pub last_comment: Option<LastCommentBody>,
    /// How many comments the caller may see, up to 1,000; null for a token that reads no comments.
    #[schema(required, minimum = 0, maximum = 1000)]
    pub comment_count: Option<i64>,
    /// Grows by one with each change.
    #[schema(minimum = 1)]
    pub version: i64,
    /// Where `q` was found, with `highlight=true` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub highlights: Option<Vec<HighlightBody>>,
}

impl TicketSummaryBody {
    /// A ticket as it is seen by a caller with this reach; `talk` is what was said on it, if they may know.
    pub fn of(row: TicketRow, context: &TicketContext, reach: &Reach, talk: Option<Talk>) -> Self {
        let highlights = context.highlights_of(&row);
        let TicketRow { ticket, team, requester, assignee, times, .. } = row;
        let shown = |named: NamedPrincipal| named.shown(reach.names());
        let clock = |clock| ClockBody::of(clock, &times.timeline, &context.calendar_set, context.now);
        let clocks: Vec<_> = times.clocks.iter().map(clock).collect();
        let talk = talk.filter(|_| reach.reads_comments());
        let comment_count = talk.as_ref().map(|talk| talk.count);
        let last_comment = talk.and_then(|talk| talk.last).map(|last| LastCommentBody {
            at: last.at,
            author: AuthorBody {
                id: last.author_id,
                kind: AuthorKind::on(&ticket, last.author_id, last.role),
                name: reach.names().name(last.author_id, last.author),
            },
            excerpt: excerpt(&last.beginning),
        });
        Self {
            id: ticket.id,
            number: ticket.number,
            subject: ticket.subject,
            status: ticket.status,
            priority: ticket.priority,
            requester: Named::of(ticket.requester_id, requester).map(shown),
            assignee: Named::of(ticket.assignee_id, assignee).map(shown),
            team: Named::of(ticket.team_id, team),
            tags: ticket.tags,
            created_at: ticket.created_at,
            next_due: NextDueBody::of(&clocks).filter(|_| ticket.status != Status::Closed),
            last_comment,
            comment_count,
            version: ticket.version,
            highlights,
        }
    }
}

/// How a text begins, in one line.
fn excerpt(text: &str) -> String {
    let plain: String = text.chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_EXCERPT {
        return line;
    }
    line.chars().take(LONGEST_EXCERPT - 1).chain(['…']).collect()
}

impl ListItem for TicketSummaryBody {}

/// A page of a list of tickets, as the document has it.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = TicketList, example = json!({ "items": [], "next_cursor": null }))]
pub enum TicketListBody {
    /// All of each ticket.
    #[schema(title = "full")]
    Full(Page<TicketBody>),
    /// What a row shows of each.
    #[schema(title = "summary")]
    Summary(Page<TicketSummaryBody>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_excerpt_is_one_short_line(text in "[\\PC\n\t]{0,200}") {
            let excerpt = excerpt(&text);
            prop_assert!(excerpt.chars().count() <= LONGEST_EXCERPT && !excerpt.contains('\n'));
            prop_assert!(excerpt.chars().all(is_plain));
            let words = text.replace(|c| !is_plain(c), " ").split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert!(words.starts_with(excerpt.trim_end_matches('…')));
        }
    }
}
