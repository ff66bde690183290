//! Chance that is the same each time: numbers, distributions, words.

/// A small generator (SplitMix64): a seed gives the same numbers for ever.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The generator of the `nth` thing of a kind, so that each can be made without those before it.
    pub fn of(seed: u64, kind: u64, nth: u64) -> Self {
        let mut rng = Self(seed ^ kind.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ nth.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        rng.next();
        Self(rng.next())
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to but not 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// True in this share of all cases.
    pub fn likely(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// One of `choices`, by their weights.
    pub fn pick<T: Copy>(&mut self, choices: &[(T, f64)]) -> T {
        let mut left = self.unit() * choices.iter().map(|(_, weight)| weight).sum::<f64>();
        for (choice, weight) in choices {
            left -= weight;
            if left < 0.0 {
                return *choice;
            }
        }
        choices[choices.len() - 1].0
    }

    /// A duration in microseconds that is lognormal: half are below `median_s`.
    pub fn lognormal_us(&mut self, median_s: f64, sigma: f64) -> i64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        (median_s * (sigma * normal).exp() * 1e6).min(1e14) as i64
    }
}

/// Ranks from 0 on, of which each is about 1/rank as frequent as the first (Zipf's law).
pub struct Zipf(Vec<u16>);

impl Zipf {
    /// Ranks `0..n`.
    pub fn new(n: usize) -> Self {
        let all: f64 = (1..=n).map(|rank| 1.0 / rank as f64).sum();
        let (mut places, mut sum) = (Vec::with_capacity(1 << 16), 0.0);
        for rank in 0..n {
            sum += 1.0 / (rank + 1) as f64 / all;
            // Each has one place at least.
            let until = ((sum * 65536.0) as usize).clamp(places.len() + 1, 1 << 16);
            places.resize(until, rank as u16);
        }
        places.resize(1 << 16, 0);
        Self(places)
    }

    /// One of them.
    pub fn pick(&self, rng: &mut Rng) -> usize {
        self.0[(rng.next() >> 48) as usize].into()
    }
}

/// About five thousand words of made-up language, some with letters that are not in ASCII.
pub struct Vocabulary {
    words: Vec<String>,
    zipf: Zipf,
}

/// What searches look for. Each is in texts as said, whatever the number of tickets.
pub mod terms {
    /// In about fifty tickets.
    pub const RARE: &str = "zyxomma";
    /// In about fifty others; begins like [`RARE`].
    pub const RARE_TOO: &str = "zyxoblast";
    /// What both begin with.
    pub const PREFIX: &str = "zyxo";
    /// In every ticket.
    pub const EVERYWHERE: &str = "helpdesk";
    /// Two words that are frequent, and stand side by side in about fifty tickets.
    pub const PHRASE: (&str, &str) = ("broken", "hinge");
}

impl Vocabulary {
    /// The same words for ever.
    pub fn new() -> Self {
        const BEGINS: [&str; 24] = [
            "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "st", "br", "tr", "kl", "pr", "sk",
            "fl", "gr", "sp", "sn",
        ];
        const VOWELS: [&str; 13] = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ø", "å", "ü", "é"];
        const ENDS: [&str; 10] = ["", "n", "r", "l", "s", "t", "m", "k", "nd", "rt"];
        let mut rng = Rng::of(5_000, 0, 0);
        let mut words = vec![terms::PHRASE.0.to_owned(), terms::PHRASE.1.to_owned()];
        let mut known: std::collections::BTreeSet<String> = words.iter().cloned().collect();
        while words.len() < 5_000 {
            let word: String = (0..rng.between(1, 3))
                .map(|_| [BEGINS[rng.below(24)], VOWELS[rng.below(13)], ENDS[rng.below(10)]].concat())
                .collect();
            if word.chars().count() > 2 && known.insert(word.clone()) {
                words.push(word);
            }
        }
        // Frequent, but not the most frequent of all.
        words.swap(0, 40);
        words.swap(1, 60);
        let zipf = Zipf::new(words.len());
        Self { words, zipf }
    }

    /// Adds this many words to `text`.
    pub fn write(&self, rng: &mut Rng, count: usize, text: &mut String) {
        for _ in 0..count {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&self.words[self.zipf.pick(rng)]);
        }
    }

    /// A text of this many words.
    pub fn text(&self, rng: &mut Rng, count: usize) -> String {
        let mut text = String::with_capacity(count * 7);
        self.write(rng, count, &mut text);
        text
    }
}
