//! How lists of tickets are ordered, and by which clocks they are filtered.

use crate::kernel::fault;
use crate::kernel::words::words;

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
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be `breached` or `due_within:SECONDS`, such as due_within:3600, up to 31622400";
        match text.split_once(':') {
            None if text == "breached" => Ok(Self::Breached),
            Some(("due_within", s)) if s.bytes().all(|b| b.is_ascii_digit()) => match s.parse() {
                Ok(s @ 0..=LONGEST_AHEAD_S) => Ok(Self::DueWithin(s)),
                _ => Err(EXPECTED),
            },
            _ => Err(EXPECTED),
        }
    }
}

fault::deserr_from_str!(SlaFilter);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_filter_by_clocks_or_none(text in "(\\PC{0,20}|(breached|due_within)?:?[-+]?[0-9]{0,20})") {
            if let Ok(SlaFilter::DueWithin(s)) = text.parse() {
                prop_assert!((0..=LONGEST_AHEAD_S).contains(&s) && text.starts_with("due_within:"));
            }
        }
    }
}
