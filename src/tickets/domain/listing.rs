//! How lists of tickets are ordered, and by which clocks they are filtered.

use crate::kernel::words::words;
use crate::kernel::{FieldError, fault};

words! {
    /// The order of a list of tickets; `-` for descending.
    pub enum Sort {
        /// Oldest first.
        Created = "created_at",
        /// Newest first.
        CreatedDesc = "-created_at",
        /// Longest untouched first.
        Updated = "updated_at",
        /// Last touched first.
        UpdatedDesc = "-updated_at",
        /// Longest without anything happening first; for those who see what is internal.
        Activity = "activity_at",
        /// What something happened to last first; for those who see what is internal.
        ActivityDesc = "-activity_at",
        /// Least urgent first.
        Priority = "priority",
        /// Most urgent first.
        PriorityDesc = "-priority",
        /// What is due first, or was, comes first; tickets with nothing due come last.
        Due = "due_at",
        /// The reverse.
        DueDesc = "-due_at",
        /// Of what `q` finds: where it is in the subject alone first, then where in tags and description too, then
        /// where in comments too; of equals the newest first. Where each word is in more than 10,000 of them, simply
        /// the newest first.
        Relevance = "relevance",
    }
}

impl Sort {
    /// Whether there is one order for many tickets with the same value, so that a second one makes sense.
    fn has_ties(self) -> bool {
        matches!(self, Self::Priority | Self::PriorityDesc)
    }

    /// Whether it is the same for everybody, and of a value that hardly two tickets share.
    fn breaks_ties(self) -> bool {
        !self.has_ties() && self != Self::Relevance
    }
}

/// The order of a list of tickets: by one thing, or by priority and then by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortOrder {
    /// By this.
    pub first: Sort,
    /// Those of equal priority by this.
    pub then: Option<Sort>,
}

impl Default for SortOrder {
    fn default() -> Self {
        Self { first: Sort::CreatedDesc, then: None }
    }
}

impl SortOrder {
    /// Every order that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let then = |first: Sort| Sort::ALL.iter().filter(move |then| first.has_ties() && then.breaks_ties());
        let alone = Sort::ALL.iter().map(|first| Self { first: *first, then: None });
        let both = Sort::ALL
            .iter()
            .flat_map(move |first| then(*first).map(move |then| Self { first: *first, then: Some(*then) }));
        alone.chain(both)
    }

    /// Whether what only staff see has a part in it.
    pub fn is_internal(self) -> bool {
        let is_internal = |sort| matches!(sort, Sort::Activity | Sort::ActivityDesc);
        is_internal(self.first) || self.then.is_some_and(is_internal)
    }
}

impl std::fmt::Display for SortOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.then {
            None => self.first.fmt(f),
            Some(then) => write!(f, "{},{then}", self.first),
        }
    }
}

impl std::str::FromStr for SortOrder {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, then) = text.split_once(',').map_or((text, None), |(first, then)| (first, Some(then)));
        let order = Self { first: first.parse()?, then: then.map(str::parse).transpose()? };
        let fault = match order.then {
            Some(_) if !order.first.has_ties() => "takes a second order after priority alone: -priority,created_at",
            Some(then) if !then.breaks_ties() => "must have an order by time as its second one: -priority,due_at",
            _ => return Ok(order),
        };
        let all: Vec<String> = Self::all().map(|order| order.to_string()).collect();
        Err(FieldError::from(fault).with("values", all))
    }
}

fault::deserr_from_str!(SortOrder);

words! {
    /// How much a list tells of each ticket.
    #[derive(Default)]
    pub enum ListView {
        /// All of it.
        #[default]
        Full = "full",
        /// What a row shows.
        Summary = "summary",
    }
}

/// How long ahead `due_within` can look, in seconds: a year.
const LONGEST_AHEAD_S: i64 = 366 * 86_400;

/// Clocks to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlaFilter {
    /// At least one clock is breached.
    Breached,
    /// At least one clock runs and is due within so many seconds.
    DueWithin(i64),
}

impl std::str::FromStr for SlaFilter {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            let detail = "must be `breached` or `due_within:SECONDS`, such as due_within:3600, up to 31622400";
            FieldError::from(detail).with("values", vec!["breached", "due_within:SECONDS"]).with("max", LONGEST_AHEAD_S)
        };
        match text.split_once(':') {
            None if text == "breached" => Ok(Self::Breached),
            Some(("due_within", s)) if s.bytes().all(|b| b.is_ascii_digit()) => match s.parse() {
                Ok(s @ 0..=LONGEST_AHEAD_S) => Ok(Self::DueWithin(s)),
                _ => Err(expected()),
            },
            _ => Err(expected()),
        }
    }
}

fault::deserr_from_str!(SlaFilter);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_order_is_read_as_it_is_written() {
        let all: Vec<_> = SortOrder::all().collect();
        assert_eq!(all.len(), 11 + 2 * 8);
        for order in all {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for text in [
            "",
            "created_at,priority",
            "priority,priority",
            "priority,relevance",
            "priority,",
            "-priority,due_at,created_at",
        ] {
            assert!(text.parse::<SortOrder>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_by_clocks_or_none(text in "(\\PC{0,20}|(breached|due_within)?:?[-+]?[0-9]{0,20})") {
            if let Ok(SlaFilter::DueWithin(s)) = text.parse() {
                prop_assert!((0..=LONGEST_AHEAD_S).contains(&s) && text.starts_with("due_within:"));
            }
        }
    }
}
