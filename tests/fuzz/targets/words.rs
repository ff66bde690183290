//! What is searched, and what is searched for: each word of a ticket is a query that finds it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skranke::tickets::domain::search::{Document, Part, Query};

fuzz_target!(|texts: (&str, &str)| {
    let document = Document::of_ticket(texts.0, &[], texts.1);
    for part in [Part::Subject, Part::Body] {
        for word in document.part(part).split_ascii_whitespace() {
            assert!(!word.contains(|c: char| c.is_ascii_punctuation() && c != '_'), "{word:?} would end a phrase");
            let query: Query = word.parse().unwrap_or_default();
            let found = query.with.iter().flat_map(|term| &term.words).all(|asked| asked == word);
            assert!(found, "{word:?} is asked for as {query:?}");
        }
    }
    for (word, places) in document.places() {
        assert!(!word.is_empty() && !places.is_empty() && places.len() <= 256, "PostgreSQL takes 256 places of a word");
        assert!(places.iter().all(|(_, place)| *place < 1 << 14), "PostgreSQL counts to 16,383");
    }
    let _ = texts.0.parse::<Query>();
});
