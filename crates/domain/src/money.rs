//! Money and tokens as integers. No float ever holds an amount.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount in nano-dollars (10⁻⁹ US dollars); never negative.
///
/// The largest amount is some 9.2 billion dollars. Sums are checked: what would not fit is refused by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Nanodollars(u64);

impl Nanodollars {
    /// No money at all.
    pub const ZERO: Self = Self(0);
    /// The largest amount that can be held.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// An amount of `nanos` nano-dollars, at most [`Nanodollars::MAX`].
    #[must_use]
    pub fn new(nanos: u64) -> Self {
        Self(nanos.min(Self::MAX.0))
    }

    /// The amount as a plain number of nano-dollars.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// The sum, or [`Nanodollars::MAX`] where it would be larger: as a cost or a hold, "as much as there can be".
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away; nothing is left when there was less.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl TryFrom<u64> for Nanodollars {
    type Error = String;

    /// Reads what was stored: an amount that was never written is no amount.
    fn try_from(nanos: u64) -> Result<Self, String> {
        if nanos > Self::MAX.0 { Err(format!("{nanos} is more than the largest amount")) } else { Ok(Self(nanos)) }
    }
}

impl fmt::Display for Nanodollars {
    /// As dollars with at least two digits after the point and no needless zeros, as in `$0.000135`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let digits = format!("{nanos:09}");
        let kept = digits.trim_end_matches('0');
        write!(out, "${dollars}.{kept:0<2}")
    }
}

impl FromStr for Nanodollars {
    type Err = String;

    /// Reads an exact decimal number of dollars with at most nine digits after the point.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an amount in dollars with at most 9 digits after the point");
        let (dollars, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(dollars) || !digits(fraction) || fraction.len() > 9 {
            return Err(wrong());
        }
        let whole: u64 = dollars.parse().map_err(|_| wrong())?;
        let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
        let sum = whole.checked_mul(1_000_000_000).and_then(|sum| sum.checked_add(nanos)).ok_or_else(wrong)?;
        if sum > Self::MAX.0 { Err(wrong()) } else { Ok(Self(sum)) }
    }
}

/// What a model's tokens cost, in nano-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Price {
    /// For tokens that are sent.
    pub input: Nanodollars,
    /// For tokens that are produced.
    pub output: Nanodollars,
}

impl Price {
    /// The cost of `tokens`, rounded up to the next nano-dollar so that a part of one is never given away.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> Nanodollars {
        let part = |count: u64, price: Nanodollars| u128::from(count) * u128::from(price.0);
        let micro = part(tokens.input, self.input) + part(tokens.output, self.output);
        Nanodollars::new(u64::try_from(micro.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// How many tokens a model call took or may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// Sent to the model.
    pub input: u64,
    /// Produced by the model.
    pub output: u64,
}

impl Tokens {
    /// Both counts added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { input: self.input.saturating_add(other.input), output: self.output.saturating_add(other.output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_written_exactly() {
        for (text, nanos, shown) in [
            ("0", 0, "$0.00"),
            ("2.5", 2_500_000_000, "$2.50"),
            ("0.000000001", 1, "$0.000000001"),
            ("9223372036.854775807", i64::MAX as u64, "$9223372036.854775807"),
        ] {
            let amount: Nanodollars = text.parse().unwrap();
            assert_eq!((amount.nanos(), amount.to_string().as_str()), (nanos, shown));
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000000001", "9223372036.854775808", "1 000"] {
            assert!(text.parse::<Nanodollars>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_amount_is_stored_as_a_plain_number_within_its_range() {
        let stored = serde_json::to_string(&Nanodollars::MAX).unwrap();
        assert_eq!(stored, "9223372036854775807");
        assert_eq!(serde_json::from_str::<Nanodollars>(&stored).unwrap(), Nanodollars::MAX);
        assert!(serde_json::from_str::<Nanodollars>("9223372036854775808").is_err());
    }

    #[test]
    fn a_cost_is_rounded_up() {
        let price = Price { input: Nanodollars::new(1), output: Nanodollars::new(2_000_000) };
        assert_eq!(price.cost(Tokens { input: 1, output: 0 }).nanos(), 1);
        assert_eq!(price.cost(Tokens { input: 1, output: 3 }).nanos(), 7);
        assert_eq!(price.cost(Tokens::default()).nanos(), 0);
    }
}
