//! Where in a text the words of a search are. Pure.

use std::ops::Range;

use super::search::{Query, Term};
use crate::kernel::fold::placed_words;

/// How many characters an excerpt has at most, and how many of them stand before its first hit.
pub const LONGEST_EXCERPT: usize = 200;
const BEFORE: usize = 60;

/// How many places are told of one text.
const MOST_PLACES: usize = 20;

/// How many characters of a text are looked through.
pub const LOOKED_THROUGH: usize = 8_000;

/// How much is looked through for one page: bytes, and words held against terms. What would be more is not looked
/// through, however long the search and the texts are.
const MOST_STEPS: usize = 4_000_000;

/// Of a text, a piece of one line, and where in it the hits are: in characters (Unicode scalar values) of it, in order,
/// none of which overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highlight {
    /// The piece.
    pub excerpt: String,
    /// The hits.
    pub places: Vec<Range<usize>>,
    /// Whether the text has all that is looked for.
    pub has_all: bool,
}

/// Looks through the texts of a page for what a query asks for.
#[derive(Debug)]
pub struct Highlighter<'a> {
    query: &'a Query,
    steps_left: usize,
}

impl<'a> Highlighter<'a> {
    /// One that looks for `query`.
    pub fn of(query: &'a Query) -> Self {
        Self { query, steps_left: MOST_STEPS }
    }

    /// Where in `text` that is, with some of what stands around the first of it; nothing if it is not there, or if too
    /// much was looked through already.
    pub fn highlight(&mut self, text: &str) -> Option<Highlight> {
        let text = text.char_indices().nth(LOOKED_THROUGH).map_or(text, |(end, _)| &text[..end]);
        self.steps_left = self.steps_left.checked_sub(text.len())?;
        let words = placed_words(text);
        self.steps_left = self.steps_left.checked_sub(words.len() * self.query.with.len())?;
        let each = self.query.with.iter().map(|term| hits(&words, term).collect::<Vec<_>>());
        let each: Vec<Vec<Range<usize>>> = each.collect();
        let has_all = each.iter().all(|hits| !hits.is_empty());
        let hits: Vec<_> = each.into_iter().flatten().collect();
        (!hits.is_empty()).then(|| shown(text, hits, has_all))
    }
}

fn shown(text: &str, mut hits: Vec<Range<usize>>, has_all: bool) -> Highlight {
    hits.sort_by_key(|hit| (hit.start, hit.end));
    let first = hits.first().map_or(0, |hit| hit.start);
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
    Highlight { excerpt, places, has_all }
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
        let query = q.parse().expect("a query");
        let highlight = Highlighter::of(&query).highlight(text)?;
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
        let query = "needle".parse().expect("a query");
        let excerpt = Highlighter::of(&query).highlight(&long).expect("a hit");
        assert_eq!((excerpt.excerpt.chars().count(), excerpt.places.len()), (LONGEST_EXCERPT, 1));
        assert_eq!(excerpt.places[0], BEFORE..BEFORE + 6);
    }

    #[test]
    fn looking_through_has_an_end() {
        let query: Query = (0..120).map(|n| format!("w{n} ")).collect::<String>().parse().expect("a query");
        let text = "w1 ".repeat(30_000);
        let mut highlighter = Highlighter::of(&query);
        let looked = (0..1_000).take_while(|_| highlighter.highlight(&text).is_some()).count();
        // Each of 2,667 words is held against 120 terms, and nothing behind 8,000 characters is looked at.
        assert_eq!(looked, MOST_STEPS / (2_667 * 120 + LOOKED_THROUGH));
        let behind = format!("{}needle", "hay ".repeat(LOOKED_THROUGH));
        assert_eq!(Highlighter::of(&"needle".parse().expect("a query")).highlight(&behind), None);
    }

    proptest! {
        #[test]
        fn places_are_within(text in "(\\PC{0,300}|[ab ]{0,400})", q in "(\\PC{0,20}|[ab*]{1,4})") {
            let query = q.parse().expect("a query");
            if let Some(Highlight { excerpt, places, .. }) = Highlighter::of(&query).highlight(&text) {
                let length = excerpt.chars().count();
                prop_assert!(length <= LONGEST_EXCERPT && excerpt.chars().all(is_plain));
                prop_assert!(places.iter().all(|place| place.start < place.end && place.end <= length));
                prop_assert!(places.is_sorted_by(|a, b| a.end <= b.start));
            }
        }
    }
}
