//! Cases without end: random inputs for as long as `PORTCULLIS_FUZZ_SECONDS` says, or a number of them where nobody says anything.
//!
//! It runs on the stable compiler and in every test run, a little; `cargo xtask fuzz` runs it for long. It is not guided by coverage: inputs begin as what is valid and are then broken, so
//! that they get behind the first check.

use std::time::{Duration, Instant};

/// For how long each target runs, in seconds.
pub const SECONDS_VARIABLE: &str = "PORTCULLIS_FUZZ_SECONDS";
/// Where the random numbers begin; told with every run, so that it can be repeated.
pub const SEED_VARIABLE: &str = "PORTCULLIS_FUZZ_SEED";

/// The cases of one run.
#[derive(Debug)]
pub struct Fuzz {
    name: &'static str,
    state: u64,
    seed: u64,
    /// How many cases there were.
    pub cases: u64,
    /// How many of them were accepted, so that they were held against the oracle.
    pub accepted: u64,
    end: End,
}

#[derive(Debug)]
enum End {
    Cases(u64),
    At(Instant),
}

impl Fuzz {
    /// So many cases of that name, or for as long as the environment says.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "how long it runs decides nothing, and every seed is told")]
    pub fn start(name: &'static str, cases: u64) -> Self {
        let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number(SEED_VARIABLE).unwrap_or(0x9E37_79B9);
        let end = number(SECONDS_VARIABLE)
            .map_or(End::Cases(cases), |seconds| End::At(Instant::now() + Duration::from_secs(seconds)));
        Self { name, state: seed, seed, cases: 0, accepted: 0, end }
    }

    /// Whether there is another case.
    #[expect(clippy::disallowed_methods, reason = "how long it runs decides nothing")]
    pub fn goes_on(&mut self) -> bool {
        let goes_on = match self.end {
            End::Cases(cases) => self.cases < cases,
            End::At(end) => Instant::now() < end,
        };
        self.cases += u64::from(goes_on);
        goes_on
    }

    /// What came of it, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{}: {} cases, {} accepted and held against the oracle, seed {}",
            self.name, self.cases, self.accepted, self.seed
        )
    }

    /// A random number (splitmix64).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below that; 0 below 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % limit).unwrap_or_default()
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.below(all.len());
        #[expect(clippy::indexing_slicing, reason = "it is below the length")]
        &all[index]
    }

    /// The text, broken in a few places: parts are taken out, doubled, moved, or replaced by one of these words or by any character.
    pub fn broken(&mut self, text: &str, words: &[&str]) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            let from = self.below(letters.len() + 1);
            let to = (from + self.below(9)).min(letters.len());
            let part: Vec<char> = match self.below(5) {
                0 => Vec::new(),
                1 => letters.get(from..to).unwrap_or_default().repeat(2),
                2 => self.pick(words).chars().collect(),
                3 => vec![char::from_u32(u32::try_from(self.below(0x250)).unwrap_or_default()).unwrap_or('?')],
                _ => {
                    let other = self.below(letters.len() + 1);
                    letters.get(other..(other + 12).min(letters.len())).unwrap_or_default().to_vec()
                }
            };
            letters.splice(from..to, part);
        }
        letters.into_iter().collect()
    }
}
