//! What of a ticket is searched, and how people ask for it. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use crate::kernel::FieldError;
use crate::kernel::fold::{each_word, is_alone, words};

/// How many characters a search may have.
pub const LONGEST_QUERY: usize = 500;

/// How many of the first words of a comment are searched.
const COMMENT_WORDS: u16 = 2_000;

/// How often a word counts in one document; PostgreSQL keeps no more places of it. One less, to be on the safe side.
const MOST_PLACES: u16 = 255;

/// What stands between two texts, so that no phrase reaches from one into the next. No search has it as a word.
const GAP: &str = "_";

/// The parts of a ticket that are searched. Whoever may see one may see all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The subject.
    Subject,
    /// Tags and description.
    Body,
    /// Public comments.
    Comments,
    /// Internal comments.
    Internal,
}

impl Part {
    /// All of them, in their order.
    pub const ALL: [Part; 4] = [Part::Subject, Part::Body, Part::Comments, Part::Internal];

    /// How many words of a document it has at most, and bytes of them: PostgreSQL tells apart 16,383 places in a
    /// document, and takes 1 MiB.
    const fn room(self) -> (u16, usize) {
        match self {
            Part::Subject => (500, 16 << 10),
            Part::Body => (6_000, 192 << 10),
            // And the gap before them.
            Part::Comments | Part::Internal => (COMMENT_WORDS + 1, 192 << 10),
        }
    }

    /// The place of its first word.
    const fn start(self) -> u16 {
        match self {
            Part::Subject | Part::Comments | Part::Internal => 1,
            Part::Body => 501,
        }
    }
}

/// What is searched of a ticket without its comments, or of one comment: the folded words of each part, separated by
/// single spaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document([String; 4]);

impl Document {
    /// The document of a ticket without its comments.
    pub fn of_ticket(subject: &str, tags: &[String], description: &str) -> Self {
        let mut writer = DocumentWriter::default();
        writer.add(Part::Subject, subject);
        tags.iter().for_each(|tag| writer.add(Part::Body, tag));
        writer.add(Part::Body, description);
        writer.written()
    }

    /// The same of a ticket that is also found by what it goes by.
    #[must_use]
    pub fn labelled(self, labels: &TicketLabels<'_>) -> Self {
        let mut writer = DocumentWriter::from(self);
        writer.add(Part::Subject, &labels.number.to_string());
        if let Some((name, email)) = &labels.requester {
            writer.add(Part::Subject, name);
            writer.add(Part::Subject, email.as_deref().unwrap_or_default());
        }
        writer.add(Part::Subject, labels.external_id.unwrap_or_default());
        writer.written()
    }

    /// The document of a comment, which is internal or not.
    pub fn of_comment(internal: bool, body: &str) -> Self {
        let mut writer = DocumentWriter::default();
        writer.add(if internal { Part::Internal } else { Part::Comments }, body);
        writer.written()
    }

    /// The words of a part.
    pub fn part(&self, part: Part) -> &str {
        &self.0[part as usize]
    }

    /// Every word with its places, each with its part, in ascending order.
    pub fn places(&self) -> BTreeMap<&str, Vec<(Part, u16)>> {
        let mut all: BTreeMap<&str, Vec<(Part, u16)>> = BTreeMap::new();
        for part in Part::ALL {
            for (place, word) in (part.start()..).zip(self.part(part).split_ascii_whitespace()) {
                if word != GAP {
                    all.entry(word).or_default().push((part, place));
                }
            }
        }
        all
    }
}

/// What a ticket goes by besides its subject.
#[derive(Debug, Clone)]
pub struct TicketLabels<'a> {
    /// Its number.
    pub number: i64,
    /// The name that its creator's system has for it.
    pub external_id: Option<&'a str>,
    /// Who has the problem: a name, and an address if there is one.
    pub requester: Option<(String, Option<String>)>,
}

impl From<Document> for DocumentWriter {
    fn from(Document(text): Document) -> Self {
        let count = |column: &String| u16::try_from(column.split_ascii_whitespace().count()).unwrap_or(u16::MAX);
        Self { count: text.each_ref().map(count), text }
    }
}

#[derive(Default)]
struct DocumentWriter {
    text: [String; 4],
    count: [u16; 4],
}

impl DocumentWriter {
    fn written(self) -> Document {
        if self.count.iter().sum::<u16>() <= MOST_PLACES { Document(self.text) } else { Document(thinned(&self.text)) }
    }

    fn add(&mut self, part: Part, text: &str) {
        let (words, bytes) = part.room();
        let (column, count) = (&mut self.text[part as usize], &mut self.count[part as usize]);
        let mut push = |word: &str| {
            if *count == words || column.len() + word.len() >= bytes {
                return ControlFlow::Break(());
            }
            if !column.is_empty() {
                column.push(' ');
            }
            column.push_str(word);
            *count += 1;
            ControlFlow::Continue(())
        };
        let mut begun = false;
        let _: ControlFlow<()> = each_word(text, |word| {
            if !begun {
                begun = true;
                push(GAP)?;
            }
            push(word)
        });
    }
}

/// The same without the words that come too often, from where they do.
fn thinned(text: &[String; 4]) -> [String; 4] {
    let mut seen: HashMap<&str, u16> = HashMap::new();
    text.each_ref().map(|column| {
        let kept = column.split_ascii_whitespace().map(|word| {
            let times = seen.entry(word).or_default();
            *times = times.saturating_add(1);
            if *times > MOST_PLACES { GAP } else { word }
        });
        kept.collect::<Vec<_>>().join(" ")
    })
}

/// Words that must follow each other; of the last one perhaps only the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// The folded words: at least one.
    pub words: Vec<String>,
    /// Whether the last one may go on.
    pub prefix: bool,
}

/// What somebody searches for: tickets with all of some terms and none of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// What must be there.
    pub with: Vec<Term>,
    /// What must not be there.
    pub without: Vec<Term>,
    /// Which of the terms in `with` the text ends in the middle of.
    typed: Option<usize>,
}

impl Query {
    /// Tells searches for different things apart, within one version of the service.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.with, &self.without).hash(&mut hasher);
        hasher.finish()
    }
}

impl std::str::FromStr for Query {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > LONGEST_QUERY {
            let fault = FieldError::of_value("too_long", format!("must have at most {LONGEST_QUERY} characters"));
            return Err(fault.with("max", LONGEST_QUERY).with("unit", "characters"));
        }
        Ok(Self::read(text))
    }
}

impl Query {
    /// Reads `text`: words, `"phrases"`, beginnings with a `*` behind them, and what must not be there: a phrase with a
    /// `-` right before its quotes. All else is noise, so that a line that was pasted finds what has it. Any text is a
    /// query; words that are written together are a phrase.
    fn read(text: &str) -> Self {
        const QUOTES: [char; 6] = ['"', '“', '”', '„', '«', '»'];
        let mut query = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            // What is not closed yet is text, too.
            let excluded = rest.strip_prefix("-\"").filter(|inner| inner.contains('"'));
            let inner = excluded.or_else(|| rest.strip_prefix(QUOTES));
            let (said, behind) = match inner {
                Some(inner) if excluded.is_some() => inner.split_once('"').unwrap_or((inner, "")),
                Some(inner) => inner.split_once(QUOTES).unwrap_or((inner, "")),
                None => {
                    let end = rest.find(|c: char| c.is_whitespace() || QUOTES.contains(&c)).unwrap_or(rest.len());
                    rest.split_at(end)
                }
            };
            let prefix = if inner.is_some() { behind.starts_with('*') } else { said.ends_with('*') };
            let words = words(said);
            // A single letter begins too many words to be worth looking for.
            let prefix = prefix && words.last().is_some_and(|last| last.chars().nth(1).is_some());
            let term = Term { words, prefix };
            let terms = if excluded.is_some() { &mut query.without } else { &mut query.with };
            query.typed = None;
            if !term.words.is_empty() {
                let known = terms.iter().position(|known| *known == term);
                let nth = known.unwrap_or_else(|| {
                    terms.push(term);
                    terms.len() - 1
                });
                query.typed = (inner.is_none() && behind.is_empty()).then_some(nth);
            }
            rest = behind.trim_start();
        }
        query
    }

    /// The same while it is typed: the last word may go on, unless a space or a quote ends it. While that is a single
    /// letter it is left out, unless there is nothing else: too many words begin with it.
    #[must_use]
    pub fn while_typed(mut self) -> Self {
        let Some(nth) = self.typed.take() else { return self };
        let Some(term) = self.with.get_mut(nth) else { return self };
        let Some(last) = term.words.last() else { return self };
        let is_short = last.chars().nth(1).is_none();
        if !is_short {
            term.prefix = true;
        } else if !last.chars().all(is_alone) && term.words.len() > 1 {
            term.words.pop();
        } else if !last.chars().all(is_alone) && self.with.len() > 1 {
            self.with.remove(nth);
        }
        self
    }

    /// Whether it asks for nothing: every ticket passes.
    pub fn is_empty(&self) -> bool {
        self.with.is_empty() && self.without.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How a query was understood, in one line.
    fn read(text: &str) -> String {
        shown(&text.parse().expect("a query"))
    }

    fn shown(query: &Query) -> String {
        let show =
            |sign: &str, term: &Term| format!("{sign}{}{}", term.words.join("+"), if term.prefix { "*" } else { "" });
        let with = query.with.iter().map(|term| show("", term));
        with.chain(query.without.iter().map(|term| show("-", term))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_query_is_read_as_people_mean_it() {
        for (text, meant) in [
            ("Printer fire", "printer fire"),
            ("\"on fire\" printer", "on+fire printer"),
            ("print* -paper -\"out of\"", "print* paper -out+of"),
            ("foo-bar user@example.org", "foo+bar user+example+org"),
            ("foo-ba* \"foo ba\"*", "foo+ba*"),
            ("a* b", "a b"),
            ("printer - fire", "printer fire"),
            ("--paper --\"x\" a-\"b c\"", "paper x a b+c"),
            ("-paper-jam*", "paper+jam*"),
            ("\"not closed", "not+closed"),
            ("say\"hello world\"now", "say hello+world now"),
            ("“smart quotes” «guillemets here»", "smart+quotes guillemets+here"),
            ("東京 -\"大阪\"", "東+京 -大+阪"),
            ("VPN exit code -1", "vpn exit code 1"),
            ("-\"not closed", "not+closed"),
            ("-“smart quotes” x", "smart+quotes x"),
            ("git push --force", "git push force"),
            ("fire FIRE Fïre", "fire"),
            ("OR AND NOT NEAR(a b) col:x ^y", "or and not near+a b col+x y"),
            ("", ""),
            (" \"\" - * -* \"-\" ! & | : <-> ' \\ \0 🔥", ""),
        ] {
            assert_eq!(read(text), meant, "{text}");
        }
        assert!("x".repeat(LONGEST_QUERY).parse::<Query>().is_ok());
        assert!("ø".repeat(LONGEST_QUERY + 1).parse::<Query>().is_err());
    }

    #[test]
    fn what_is_typed_may_go_on() {
        for (text, meant) in [
            ("print", "print*"),
            ("print ", "print"),
            ("printer f", "printer"),
            ("p", "p"),
            ("\"on fire\"", "on+fire"),
            ("say \"on f", "say on+f"),
            ("ada@exam", "ada+exam*"),
            ("ada@e", "ada"),
            ("東", "東"),
            ("fire 東", "fire 東"),
            ("pa pa", "pa*"),
            ("pa* -\"x\"", "pa* -x"),
        ] {
            let query: Query = text.parse().expect("a query");
            assert_eq!(shown(&query.while_typed()), meant, "{text}");
        }
    }

    #[test]
    fn a_ticket_goes_by_more_than_its_subject() {
        let requester = Some(("Ada Lovelace".into(), Some("ada@example.org".into())));
        let labels = TicketLabels { number: 350, external_id: Some("alert-7"), requester };
        let document = Document::of_ticket("Printer fire", &[], "Smoke").labelled(&labels);
        let subject = "_ printer fire _ 350 _ ada lovelace _ ada example org _ alert 7";
        assert_eq!(document.0, [subject, "_ smoke", "", ""]);
        let often = Document::of_ticket("s", &[], &"350 ".repeat(1_000)).labelled(&labels);
        assert!(often.places()["350"].len() <= usize::from(MOST_PLACES));
    }

    #[test]
    fn no_phrase_reaches_from_one_text_into_the_next() {
        let document = Document::of_ticket("Printer fire", &["A".into(), "b".into()], "Smoke!");
        assert_eq!(document.0, ["_ printer fire", "_ a _ b _ smoke", "", ""]);
        assert_eq!(document.places()["fire"], [(Part::Subject, 3)]);
        assert_eq!(document.places()["smoke"], [(Part::Body, 506)]);
        assert!(!document.places().contains_key(GAP));
        assert_eq!(Document::of_comment(false, "One, two").0, ["", "", "_ one two", ""]);
        assert_eq!(Document::of_comment(true, "Three").0, ["", "", "", "_ three"]);
        assert_eq!(Document::of_comment(true, "").0, ["", "", "", ""]);
    }

    #[test]
    fn there_is_an_end_to_what_is_searched() {
        let long: String = (0..50_000).map(|i| format!("w{i} ")).collect();
        let document = Document::of_ticket("s", &[], &long);
        let places = document.places();
        assert!(places.contains_key("w5998") && !places.contains_key("w5999"));
        let comment = Document::of_comment(false, &long);
        assert_eq!(comment.part(Part::Comments).split(' ').count(), 2_001);
        let often = Document::of_ticket("again", &[], &"again ".repeat(1_000));
        assert_eq!(often.places()["again"].len(), usize::from(MOST_PLACES));
    }

    proptest! {
        #[test]
        fn any_text_is_a_query(text in any::<String>()) {
            let query = Query::read(&text);
            for term in query.with.iter().chain(&query.without) {
                prop_assert!(!term.words.is_empty() && term.words.iter().all(|word| !word.is_empty() && word != GAP));
            }
        }

        #[test]
        fn a_document_fits_where_it_must(subject in any::<String>(), body in "(\\PC{0,300}|(ab ){0,900}){0,9}") {
            for document in [Document::of_ticket(&subject, &[], &body), Document::of_comment(false, &body)] {
                let places = document.places();
                prop_assert!(places.values().all(|places| places.len() <= 255 && places.is_sorted()));
                prop_assert!(places.values().flatten().all(|(_, place)| (1..16_383).contains(place)));
                prop_assert!(places.keys().map(|word| word.len() + 3).sum::<usize>() + 2 * 16_383 < 1 << 20);
            }
        }
    }
}
