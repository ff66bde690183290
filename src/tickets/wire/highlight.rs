//! Where a search was found, as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::kernel::CommentId;
use crate::kernel::words::words;
use crate::tickets::domain::highlight::{Highlight, Highlighter};
use crate::tickets::store::TicketRow;

words! {
    /// Where on a ticket something was found.
    pub enum HighlightField {
        /// In its subject.
        Subject = "subject",
        /// In its description.
        Description = "description",
        /// In one of its tags.
        Tag = "tag",
        /// In the name of its requester.
        Requester = "requester",
        /// In its external id.
        ExternalId = "external_id",
        /// In a comment.
        Comment = "comment",
    }
}

/// Characters of an excerpt, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HighlightPlace, example = json!({ "start": 4, "end": 11 }))]
pub struct PlaceBody {
    /// The first of them.
    #[schema(minimum = 0)]
    pub start: usize,
    /// The first behind them.
    #[schema(minimum = 1)]
    pub end: usize,
}

/// Where on a ticket something was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Highlight, example = json!({
    "field": "subject", "comment_id": null, "excerpt": "The printer on the second floor is on fire",
    "places": [{ "start": 4, "end": 11 }],
}))]
pub struct HighlightBody {
    /// In which of its texts.
    pub field: HighlightField,
    /// In which comment.
    #[schema(required)]
    pub comment_id: Option<CommentId>,
    /// The text, or at most 200 characters of it around the first hit, in one line.
    #[schema(max_length = 200)]
    pub excerpt: String,
    /// Which characters of the excerpt are hits, at most 20 of them: Unicode scalar values, of which `[...excerpt]` is
    /// the list in JavaScript.
    #[schema(max_items = 20)]
    pub places: Vec<PlaceBody>,
}

impl HighlightBody {
    /// What was found in `field`.
    pub fn of(field: HighlightField, comment_id: Option<CommentId>, found: Highlight) -> Self {
        let Highlight { excerpt, places, has_all: _ } = found;
        let places = places.into_iter().map(|place| PlaceBody { start: place.start, end: place.end }).collect();
        Self { field, comment_id, excerpt, places }
    }

    /// What is found in a ticket itself, and whether its subject or its description has all of it.
    pub fn of_ticket(row: &TicketRow, highlighter: &mut Highlighter<'_>) -> (Vec<Self>, bool) {
        let TicketRow { ticket, requester, .. } = row;
        let texts = [
            (HighlightField::Subject, Some(&ticket.subject)),
            (HighlightField::Description, Some(&ticket.description)),
            (HighlightField::Requester, requester.as_ref()),
            (HighlightField::ExternalId, ticket.external_id.as_ref()),
        ];
        let tags = ticket.tags.iter().map(|tag| (HighlightField::Tag, Some(tag)));
        let (mut all, mut says_all) = (Vec::new(), false);
        for (field, text) in texts.into_iter().chain(tags) {
            let Some(found) = text.and_then(|text| highlighter.highlight(text)) else { continue };
            says_all |= found.has_all && matches!(field, HighlightField::Subject | HighlightField::Description);
            all.push(Self::of(field, None, found));
        }
        (all, says_all)
    }
}
