//! What a source tells of one alert, whatever the form in which it came; and what a ticket says of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use super::alert::{Alert, AlertState};
use crate::kernel::Instant;
use crate::kernel::text::Line;
use crate::tickets::domain::REDACTED;

/// How many labels, and annotations, an alert has.
pub const MOST_LABELS: usize = 64;

/// How long the value of one is, in characters.
pub const LONGEST_VALUE: usize = 1_024;

/// How long the name of one is, in characters.
pub const LONGEST_NAME: usize = 256;

/// How long the word of a severity is, in characters.
pub const LONGEST_SEVERITY: usize = 100;

/// How many links an alert has.
pub const MOST_LINKS: usize = 20;

/// How long one is, in characters.
pub const LONGEST_LINK: usize = 2_048;

/// How long a key is, in characters. A longer one is its beginning and a hash of all of it.
const LONGEST_KEY: usize = 512;

/// How much of a long key is kept, in characters.
const KEPT_OF_KEY: usize = 400;

/// How long a subject is, in characters.
const LONGEST_SUBJECT: usize = 255;

/// How long a description is, in bytes.
const LONGEST_DESCRIPTION_B: usize = 60 << 10;

/// One alert as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSignal {
    /// By what the source knows it.
    pub dedupe_key: String,
    /// Whether it goes on.
    pub state: AlertState,
    /// When it began, this time; of a group, the last of those that fire.
    pub starts_at: Option<Instant>,
    /// When what the ticket is about began; of a group, the first of those that fire.
    pub began_at: Option<Instant>,
    /// When it ended.
    pub ends_at: Option<Instant>,
    /// How bad it is.
    pub severity: Option<String>,
    /// One line that says what it is.
    pub summary: String,
    /// All there is to say.
    pub description: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What else it says.
    pub annotations: BTreeMap<String, String>,
    /// Where to look.
    pub links: Vec<String>,
    /// How many alerts of a group fire; of one alert 1 while it does.
    pub firing_count: i64,
    /// Whether it is about a group.
    pub is_group: bool,
    /// Whether something was too long, and cut.
    pub truncated: bool,
    /// How many alerts the sender has left out.
    pub truncated_alerts: i64,
}

/// Texts of others, cut where they are too long.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Whether anything was.
    pub has_cut: bool,
}

impl Cutter {
    /// `text` with at most so many characters.
    pub fn text(&mut self, text: String, most: usize) -> String {
        match text.char_indices().nth(most) {
            None => text,
            Some((end, _)) => {
                self.has_cut = true;
                text[..end].to_owned()
            }
        }
    }

    /// The first of these labels, in the order of their names, each as long as it may be.
    pub fn labels(&mut self, all: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = all.into_iter().collect();
        if let Some(beyond) = all.keys().nth(MOST_LABELS).cloned() {
            self.has_cut = true;
            drop(all.split_off(&beyond));
        }
        all.into_iter().map(|(name, value)| (self.text(name, LONGEST_NAME), self.text(value, LONGEST_VALUE))).collect()
    }

    /// The first of these links.
    pub fn links(&mut self, all: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut links: Vec<String> = Vec::new();
        for link in all.into_iter().filter(|link| !link.trim().is_empty()) {
            if links.len() == MOST_LINKS {
                self.has_cut = true;
                break;
            }
            // Half an address leads nowhere.
            if link.chars().count() > LONGEST_LINK {
                self.has_cut = true;
            } else if !links.contains(&link) {
                links.push(link);
            }
        }
        links
    }
}

/// The key, as it is kept: short enough to be one, and never that of another one.
pub fn kept_key(key: &str) -> String {
    if key.chars().count() <= LONGEST_KEY {
        return key.to_owned();
    }
    let beginning: String = key.chars().take(KEPT_OF_KEY).collect();
    format!("{beginning}…{}", hex(key.as_bytes()))
}

/// A hash of labels, in the order of their names, which stands for whatever has them.
pub fn key_of_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut all: Vec<_> = labels.into_iter().collect();
    all.sort();
    let mut text = String::new();
    for (name, value) in all {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}:{name}{}:{value}", name.len(), value.len());
    }
    hex(text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl AlertSignal {
    /// Whether it says something else than was known of the alert.
    pub fn is_news(&self, known: &Alert) -> bool {
        self.severity != known.severity
            || self.summary != known.summary
            || self.annotations != known.annotations
            || self.firing_count != known.firing_count
    }

    /// The same without what it says: where and since when it stands alone.
    pub fn redacted(&self) -> Self {
        Self {
            severity: None,
            summary: REDACTED.to_owned(),
            description: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            links: Vec::new(),
            ..self.clone()
        }
    }

    /// As it can be at `now`: an instant that lies further ahead than clocks differ is taken for none, since nothing
    /// could come behind it.
    pub fn timely(mut self, now: Instant) -> Self {
        let is_possible = |at: &Instant| at.by_senders_clock(now).is_ok();
        self.starts_at = self.starts_at.filter(is_possible);
        self.began_at = self.began_at.filter(is_possible);
        self
    }

    /// The subject of a ticket about it: by the template, or what it says in one line.
    pub fn subject(&self, template: Option<&str>) -> Line<255> {
        let made = template.map(|template| self.filled(template)).filter(|made| !made.trim().is_empty());
        let words = made.as_deref().unwrap_or(&self.summary);
        let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line: String = line.trim().chars().take(LONGEST_SUBJECT).collect();
        let plain = || Line::parse("Alert".to_owned());
        // A line that is short and not blank is one.
        match Line::parse(line).or_else(|_| plain()) {
            Ok(line) => line,
            Err(_) => unreachable!("a plain word is a line"),
        }
    }

    /// `template` with what stands in braces in place of its names.
    fn filled(&self, template: &str) -> String {
        let (mut text, mut rest) = (String::new(), template);
        while let Some((before, behind)) = rest.split_once('{') {
            text.push_str(before);
            let Some((name, after)) = behind.split_once('}') else {
                text.push('{');
                rest = behind;
                continue;
            };
            text.push_str(self.part(name.trim()).unwrap_or_default());
            rest = after;
        }
        text.push_str(rest);
        text
    }

    fn part(&self, name: &str) -> Option<&str> {
        match name {
            "summary" => Some(&self.summary),
            "severity" => self.severity.as_deref(),
            "dedupe_key" => Some(&self.dedupe_key),
            _ => {
                let (kind, name) = name.split_once('.')?;
                let among = match kind {
                    "labels" => &self.labels,
                    "annotations" => &self.annotations,
                    _ => return None,
                };
                among.get(name).map(String::as_str)
            }
        }
    }

    /// The description of a ticket about it, in CommonMark.
    pub fn ticket_description(&self) -> String {
        let mut text = self.description.trim().to_owned();
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let gap = if text.is_empty() { "" } else { "\n\n" };
                let _ = write!(text, "{gap}{title}\n\n- {}", lines.join("\n- "));
            }
        };
        section("Labels:", self.labels.iter().map(|(name, value)| format!("{name}: {value}")).collect());
        section("Links:", self.links.clone());
        if self.truncated_alerts > 0 {
            let _ = write!(text, "\n\nThe sender has left out {} alerts of this group.", self.truncated_alerts);
        }
        if text.len() > LONGEST_DESCRIPTION_B {
            let end = (0..=LONGEST_DESCRIPTION_B).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
            text.truncate(end);
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn signal(state: AlertState, starts_at: Option<i64>) -> AlertSignal {
        let starts_at = starts_at.map(|s| Instant::EPOCH.plus_s(s));
        AlertSignal {
            dedupe_key: "k".into(),
            state,
            starts_at,
            began_at: starts_at,
            ends_at: None,
            severity: Some("warning".into()),
            summary: "Disk full".into(),
            description: String::new(),
            labels: [("host".to_owned(), "db-3".to_owned())].into(),
            annotations: BTreeMap::new(),
            links: Vec::new(),
            firing_count: i64::from(state == AlertState::Firing),
            is_group: false,
            truncated: false,
            truncated_alerts: 0,
        }
    }

    #[test]
    fn a_subject_is_what_the_template_makes_of_it() {
        let signal = signal(AlertState::Firing, Some(1));
        let subject = |template: &str| signal.subject(Some(template)).into_inner();
        assert_eq!(subject("[{severity}] {summary} on { labels.host }{labels.none}"), "[warning] Disk full on db-3");
        assert_eq!((subject("{nothing}"), subject("a { b")), ("Disk full".to_owned(), "a { b".to_owned()));
        assert_eq!(signal.subject(None).as_str(), "Disk full");
        let odd = AlertSignal { summary: "\n".into(), ..signal };
        assert_eq!(odd.subject(None).as_str(), "Alert");
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let mut cutter = Cutter::default();
        assert_eq!((cutter.text("ab".into(), 2), cutter.has_cut), ("ab".to_owned(), false));
        assert_eq!((cutter.text("äöü".into(), 2), cutter.has_cut), ("äö".to_owned(), true));
        let labels = |count: usize| {
            let mut cutter = Cutter::default();
            let kept = cutter.labels((0..count).map(|n| (format!("{n:03}"), "v".repeat(count))));
            (kept.len(), cutter.has_cut)
        };
        assert_eq!((labels(64), labels(65), labels(2_000)), ((64, false), (64, true), (64, true)));
        let mut cutter = Cutter::default();
        let links = cutter.links(["a".to_owned(), "a".to_owned(), " ".to_owned(), "b".repeat(3_000)]);
        assert_eq!((links, cutter.has_cut), (vec!["a".to_owned()], true));
    }

    proptest! {
        #[test]
        fn keys_stay_apart(one in "\\PC{500,530}", other in "\\PC{500,530}") {
            let (short, long) = (kept_key(&one), kept_key(&other));
            prop_assert!(short.chars().count() <= LONGEST_KEY && long.chars().count() <= LONGEST_KEY);
            prop_assert_eq!(short == long, one == other);
        }

        #[test]
        fn any_signal_makes_a_ticket(summary in "\\PC{0,400}|[\n\t a]{0,300}", template in prop::option::of("\\PC{0,40}|[{}a.]{0,20}")) {
            let signal = AlertSignal { summary, description: "ä".repeat(40_000), ..signal(AlertState::Firing, None) };
            let subject = signal.subject(template.as_deref());
            prop_assert!(subject.as_str().chars().count() <= 255);
            prop_assert!(signal.ticket_description().len() <= 64 << 10);
        }
    }
}
