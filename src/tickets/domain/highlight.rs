//! Where in a text the words of a search are. Pure.

use std::ops::Range;

use super::search::{Query, Term};
use crate::kernel::fold::placed_words;

/// How many characters an excerpt has at most, and how many of them stand before its first hit.
pub const LONGEST_EXCERPT: usize = 200;
const BEFORE: usize = 60;

/// How many places are told of one text.
const MOST_PLACES: usize = 20;

/// Of a text, a piece of one line, and where in it the hits are: in characters (Unicode scalar values) of it, in order,
/// none of which overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highlight {
    /// The piece.
    pub excerpt: String,
    /// The hits.
    pub places: Vec<Range<usize>>,
}

/// Where in `text` what `query` looks for is, with some of what stands around the first of it; nothing if it is not
/// there.
pub fn highlight(text: &str, query: &Query) -> Option<Highlight> {
    let words = placed_words(text);
    let mut hits: Vec<Range<usize>> = query.with.iter().flat_map(|term| hits(&words, term)).collect();
    hits.sort_by_key(|hit| (hit.start, hit.end));
    let first = hits.first()?.start;

    // All places from here on are in characters.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let place = |byte: usize| starts.partition_point(|start| *start < byte);
    let from = if starts.len() <= LONGEST_EXCERPT { 0 } else { place(first).saturating_sub(BEFORE) };
    let to = (from + LONGEST_EXCERPT).min(starts.len());
    let excerpt = text.chars().skip(from).take(to - from).map(|c| if is_plain(c) { c } else { ' ' }).collect();
    let mut places: Vec<Range<usize>> = Vec::new();
    for hit in hits {
        let (start, end) = (place(hit.start), place(hit.end));
        if start < from || end > to {
            continue;
        }
        match places.last_mut().filter(|last| start < last.end + from) {
            Some(last) => last.end = last.end.max(end - from),
            None => places.push(start - from..end - from),
        }
    }
    places.truncate(MOST_PLACES);
    Some(Highlight { excerpt, places })
}

/// Whether `text` has all that `query` looks for.
pub fn has_all(text: &str, query: &Query) -> bool {
    let words = placed_words(text);
    query.with.iter().all(|term| hits(&words, term).next().is_some())
}

/// Where the words of `term` follow each other.
fn hits<'a>(words: &'a [(String, Range<usize>)], term: &'a Term) -> impl Iterator<Item = Range<usize>> + 'a {
    let last = term.words.len().saturating_sub(1);
    let is = move |nth: usize, word: &str| match &term.words[nth] {
        sought if term.prefix && nth == last => word.starts_with(sought.as_str()),
        sought => word == sought,
    };
    let found = words.windows(term.words.len().max(1));
    let found = found.filter(move |run| run.iter().enumerate().all(|(nth, (word, _))| is(nth, word)));
    found.filter_map(|run| Some(run.first()?.1.start..run.last()?.1.end))
}

/// Whether `c` may stand in one line of a page: it neither breaks it nor turns what is around it.
pub fn is_plain(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns && !matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is found, in brackets.
    fn found(text: &str, q: &str) -> Option<String> {
        let highlight = highlight(text, &q.parse().expect("a query"))?;
        let characters: Vec<char> = highlight.excerpt.chars().collect();
        let mut shown = String::new();
        for (nth, c) in characters.iter().enumerate() {
            if highlight.places.iter().any(|place| place.start == nth) {
                shown.push('[');
            }
            shown.push(*c);
            if highlight.places.iter().any(|place| place.end == nth + 1) {
                shown.push(']');
            }
        }
        Some(shown)
    }

    #[test]
    fn hits_are_where_they_are() {
        for (text, q, shown) in [
            ("VPN exit code -1", "exit 1", Some("VPN [exit] code -[1]")),
            ("Der Drucker BRENNT\nlichterloh", "\"drucker brennt\" licht*", Some("Der [Drucker BRENNT] [lichterloh]")),
            ("Blåbær 🔥 syltetøy", "blabaer syltetoy", Some("[Blåbær] 🔥 [syltetøy]")),
            ("東京都", "京", Some("東[京]都")),
            ("user@example.org wrote", "user@example.org", Some("[user@example.org] wrote")),
            ("nothing", "something", None),
            ("a \u{202e}b", "b", Some("a  [b]")),
        ] {
            assert_eq!(found(text, q).as_deref(), shown, "{text} {q}");
        }
        let long = format!("{}needle{}", "hay ".repeat(500), " hay".repeat(500));
        let excerpt = highlight(&long, &"needle".parse().expect("a query")).expect("a hit");
        assert_eq!((excerpt.excerpt.chars().count(), excerpt.places.len()), (LONGEST_EXCERPT, 1));
        assert_eq!(excerpt.places[0], BEFORE..BEFORE + 6);
    }

    proptest! {
        #[test]
        fn places_are_within(text in "(\\PC{0,300}|[ab ]{0,400})", q in "(\\PC{0,20}|[ab*]{1,4})") {
            if let Some(Highlight { excerpt, places }) = highlight(&text, &q.parse().expect("a query")) {
                let length = excerpt.chars().count();
                prop_assert!(length <= LONGEST_EXCERPT && excerpt.chars().all(is_plain));
                prop_assert!(places.iter().all(|place| place.start < place.end && place.end <= length));
                prop_assert!(places.is_sorted_by(|a, b| a.end <= b.start));
            }
        }
    }
}
