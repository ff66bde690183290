//! The words of a text, folded so that they are found however they were typed. The same for every engine.

use std::ops::{ControlFlow, Range};

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// How many characters of a word count; what is behind them is cut off.
pub const LONGEST: usize = 64;

/// Gives the words of `text` in their order, until `take` breaks off. A word is a run of letters, digits and their
/// marks, in lower case, without diacritics. Where a script does not put spaces between words, each character is a
/// word.
pub fn each_word(text: &str, mut take: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut word = String::new();
    // Folding never works across an ASCII character that belongs to no word.
    for chunk in text.split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric()) {
        if chunk.is_ascii() {
            if !chunk.is_empty() {
                word.push_str(&chunk[..chunk.len().min(LONGEST)]);
                word.make_ascii_lowercase();
                take(&word)?;
                word.clear();
            }
        } else {
            split(&folded(chunk), &mut word, &mut take)?;
        }
    }
    ControlFlow::Continue(())
}

/// The words of `text` in their order.
pub fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let _: ControlFlow<()> = each_word(text, |word| {
        all.push(word.to_owned());
        ControlFlow::Continue(())
    });
    all
}

/// The words of `text` in their order, each with the bytes of `text` that it stands for.
pub fn placed_words(text: &str) -> Vec<(String, Range<usize>)> {
    let mut all = Vec::new();
    let mut take =
        |run: Range<usize>| all.extend(words(&text[run.clone()]).into_iter().map(|word| (word, run.clone())));
    let mut begun: Option<usize> = None;
    let mut was_alone = false;
    for (at, c) in text.char_indices() {
        let goes_on = is_combining_mark(c) || is_left_out(c);
        let belongs = if goes_on { begun.is_some() } else { c.is_alphanumeric() };
        let alone = if goes_on { was_alone } else { c.nfkd().any(is_alone) };
        if let Some(start) = begun.filter(|_| !belongs || (!goes_on && (alone || was_alone))) {
            take(start..at);
            begun = None;
        }
        if belongs {
            begun.get_or_insert(at);
            was_alone = alone;
        }
    }
    if let Some(start) = begun {
        take(start..text.len());
    }
    all
}

/// Splits what is folded; `word` is empty before and after.
fn split(folded: &str, word: &mut String, take: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    let (mut length, mut was_alone) = (0, false);
    for c in folded.chars() {
        let goes_on = is_combining_mark(c);
        let belongs = if goes_on { !word.is_empty() } else { is_letter(c) };
        let alone = if goes_on { was_alone } else { is_alone(c) };
        if !word.is_empty() && (!belongs || (!goes_on && (alone || was_alone))) {
            take(word)?;
            word.clear();
            length = 0;
        }
        if belongs && length < LONGEST {
            word.push(c);
            length += 1;
            was_alone = alone;
        }
    }
    if !word.is_empty() {
        take(word)?;
        word.clear();
    }
    ControlFlow::Continue(())
}

/// The text without differences that do not matter: compatibility forms are their plain ones, letters are small, and
/// diacritics are gone.
fn folded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_left_out(*c)) {
        for small in c.to_lowercase().filter(|c| !is_left_out(*c)) {
            match spelled(small) {
                Some(letters) => plain.push_str(letters),
                None => plain.push(small),
            }
        }
    }
    // Syllables of Hangul and voiced kana are one character again, so that prefixes end where people end them.
    plain.nfc().collect()
}

/// Letters that fold to others although Unicode does not take them apart.
fn spelled(c: char) -> Option<&'static str> {
    Some(match c {
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'ħ' => "h",
        'ŧ' => "t",
        'ı' => "i",
        'ȷ' => "j",
        'ŋ' => "n",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        'ς' => "σ",
        _ => return None,
    })
}

/// Diacritics, and characters that only shape or join others.
fn is_left_out(c: char) -> bool {
    let shapes = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{640}' | '\u{180b}'..='\u{180e}' | '\u{200c}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    // By their class: overlays, points of Hebrew, Arabic and Syriac, and what is above, below and beside a letter.
    // Signs of vowels, tones that have a class of their own, and the voicing of kana make other words.
    shapes || matches!(canonical_combining_class(c), 1 | 10..=36 | 200..=240)
}

fn is_letter(c: char) -> bool {
    // Some write their apostrophe with a letter that looks like one.
    c.is_alphanumeric() && !matches!(c, '\u{2b9}'..='\u{2bf}')
}

/// Whether `c` is of a script that does not put spaces between words: Thai, Lao, Myanmar, Khmer and their kin, kana,
/// Bopomofo, Han, and Yi.
pub fn is_alone(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{1950}'..='\u{19df}'
        | '\u{1a20}'..='\u{1aaf}' | '\u{2e80}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{a4cf}' | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}' | '\u{f900}'..='\u{faff}'
        | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_found_however_they_are_typed() {
        for (one, other) in [
            ("Blåbærsyltetøy", "BLABAERSYLTETOY"),
            ("Straße", "STRASSE"),
            ("GROẞE", "grosse"),
            ("Điện thoại di động", "dien thoai di dong"),
            ("İstanbul ışık", "istanbul isik"),
            ("Łódź", "lodz"),
            ("Ὀδυσσεύς", "οδυσσευσ"),
            ("ΟΔΥΣΣΕΎΣ", "οδυσσεύς"),
            ("Ёлка", "елка"),
            ("مُحَمَّد", "محمد"),
            ("אָלֶף", "אלף"),
            ("ﬁle ① ²", "file 1 2"),
            ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
            ("ﾊﾟｿｺﾝ", "パソコン"),
            ("co\u{ad}operate", "cooperate"),
            ("e\u{301}te\u{301}", "été"),
            ("Þórr", "thorr"),
            ("한국어", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165}"),
        ] {
            assert_eq!(words(one), words(other), "{one} and {other}");
            assert!(!words(one).is_empty(), "{one}");
        }
        // Signs of vowels make other words.
        assert_ne!(words("किताब"), words("कताब"));
        assert_eq!(words("हिन्दी"), ["हिन्दी"]);
    }

    #[test]
    fn words_end_where_they_should() {
        assert_eq!(
            words("don't panic: user@example.org, 3.5mm_x"),
            ["don", "t", "panic", "user", "example", "org", "3", "5mm", "x"]
        );
        assert_eq!(
            words("プリンターA4 東京abc"),
            ["フ\u{309a}", "リ", "ン", "タ", "ー", "a4", "東", "京", "abc"].map(|w| w.nfc().collect::<String>())
        );
        assert_eq!(words("ที่นี่").len(), 2);
        assert_eq!(words(" \u{301}-?!🔥 "), Vec::<String>::new());
        assert_eq!(words(&"x".repeat(100)), ["x".repeat(LONGEST)]);
        assert_eq!(words(&"é".repeat(100)), ["e".repeat(LONGEST)]);
    }

    proptest! {
        #[test]
        fn a_word_is_a_word_of_its_own(text in any::<String>()) {
            for word in words(&text) {
                prop_assert!(!word.is_empty() && word.chars().count() <= LONGEST);
                prop_assert!(word.chars().all(|c| c.is_alphanumeric() || is_combining_mark(c)), "{word:?}");
                prop_assert!(!word.chars().any(|c| c.is_ascii_uppercase()));
                if word.chars().count() < LONGEST {
                    prop_assert_eq!(words(&word), vec![word]);
                }
            }
        }

        #[test]
        fn a_text_has_the_words_of_its_parts(a in any::<String>(), b in any::<String>()) {
            prop_assert_eq!(words(&format!("{a} {b}")), [words(&a), words(&b)].concat());
        }

        #[test]
        fn a_word_has_its_place(text in "[a-zA-Z0-9 .,:/_'\"-]{0,40}|[\\PC]{0,12}|[ä東京ภาไทยпря한글 a-c-]{0,20}") {
            for (word, place) in placed_words(&text) {
                prop_assert!(words(&text[place]).contains(&word));
            }
            if text.is_ascii() {
                let placed: Vec<_> = placed_words(&text).into_iter().map(|(word, _)| word).collect();
                prop_assert_eq!(placed, words(&text));
            }
        }

        #[test]
        fn case_and_composition_make_no_difference(text in "[a-zA-ZæøåÆØÅüÜßéÉñÑđĐłŁ ]{0,40}") {
            prop_assert_eq!(words(&text.to_uppercase()), words(&text));
            prop_assert_eq!(words(&text.nfd().collect::<String>()), words(&text));
        }
    }
}
