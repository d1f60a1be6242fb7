//! Exact numbers in grants.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many ten-thousandths there are in one.
const SCALE: i64 = 10_000;
/// How many digits there may be after the point.
const DIGITS: usize = 4;

/// A number in ten-thousandths, as arguments are read. Written as an integer, or in quotes as in `"10000.50"`: a float never holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Numeral(pub i64);

impl Numeral {
    /// The sum, if it is a number that can be told exactly.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// What is left of it; nothing where that would be less.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    pub(super) fn of_integer(number: i64) -> Result<Self, String> {
        number.checked_mul(SCALE).map(Self).ok_or_else(|| format!("`{number}` is out of range"))
    }
}

impl FromStr for Numeral {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no number such as 10000 or 10000.50, with at most {DIGITS} digits after the point");
        let (is_negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > DIGITS {
            return Err(wrong());
        }
        let scaled = format!("{}{whole}{fraction:0<DIGITS$}", if is_negative { "-" } else { "" });
        scaled.parse().map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Numeral {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (magnitude, sign) = (self.0.unsigned_abs(), if self.0 < 0 { "-" } else { "" });
        let (whole, rest) = (magnitude / SCALE.unsigned_abs(), magnitude % SCALE.unsigned_abs());
        let fraction = format!("{rest:0>DIGITS$}");
        match fraction.trim_end_matches('0') {
            "" => write!(out, "{sign}{whole}"),
            fraction => write!(out, "{sign}{whole}.{fraction}"),
        }
    }
}

impl Serialize for Numeral {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if self.0 % SCALE == 0 { out.serialize_i64(self.0 / SCALE) } else { out.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Numeral {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Exact;
        impl Visitor<'_> for Exact {
            type Value = Numeral;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an integer, or a number in quotes such as \"10000.50\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Numeral, E> {
                Numeral::of_integer(number).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Numeral, E> {
                i64::try_from(number)
                    .map_err(|_| E::custom(format!("`{number}` is out of range")))
                    .and_then(|number| self.visit_i64(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Numeral, E> {
                Err(E::custom(format!("write {number} in quotes, so that it is read exactly")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Numeral, E> {
                text.parse().map_err(E::custom)
            }
        }
        input.deserialize_any(Exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("10000", Some("10000")),
            ("\"10000.50\"", Some("10000.5")),
            ("\"-0.0001\"", Some("-0.0001")),
            ("-3", Some("-3")),
            ("10000.5", None),
            ("1e4", None),
            ("\"1e4\"", None),
            ("\"3,000\"", None),
            ("\"0.00001\"", None),
            ("\".5\"", None),
            ("\"5.\"", None),
            ("\"\"", None),
            ("\"-\"", None),
            ("\"+5\"", None),
            ("\"٣\"", None),
            ("9223372036854775807", None),
            ("true", None),
        ] {
            let read = serde_json::from_str::<Numeral>(text).ok().map(|number| number.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
