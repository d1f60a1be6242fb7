//! Exact decimal amounts. They stay the digits they were written with: a float would round away the cent that matters.

use std::fmt;

/// More digits than any sum of money has; an exponent must not make us write a million zeros.
const MAX_DIGITS: usize = 60;

/// A decimal number without exponent, such as `10000.01`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amount(String);

impl Amount {
    /// Reads a JSON number (RFC 8259, section 6); an exponent is worked into the digits.
    pub(crate) fn from_json(raw: &str) -> Result<Self, String> {
        let wrong = || format!("`{raw}` is not an amount of money");
        let (digits, exponent) = match raw.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse().map_err(|_| wrong())?),
            None => (raw, 0),
        };
        shifted(digits, exponent).map(Self).ok_or_else(wrong)
    }

    /// Reads an amount as a person writes it: `$1M`, `10,000.01`, `$50k`, followed perhaps by a mark or by ` million`.
    ///
    /// `word` is what stands between two spaces, and `next` is the word after it.
    pub(crate) fn from_words(word: &str, next: &str) -> Option<Self> {
        let word = word.trim_end_matches(|mark: char| ",.;:!?)\"'".contains(mark));
        let (sign, word) = word.strip_prefix('-').map_or(("", word), |rest| ("-", rest));
        let word = word.strip_prefix('$').unwrap_or(word);
        let digits_end =
            word.find(|mark: char| !mark.is_ascii_digit() && mark != ',' && mark != '.').unwrap_or(word.len());
        let (digits, unit) = word.split_at(digits_end);
        let unit = if unit.is_empty() { next } else { unit };
        let next_is_unit = unit.len() == next.len();
        let unit = unit.trim_end_matches(|mark: char| !mark.is_alphanumeric());
        let exponent = match unit.to_ascii_lowercase().as_str() {
            "k" | "thousand" => 3,
            "m" | "million" => 6,
            "b" | "billion" => 9,
            _ if next_is_unit => 0,
            _ => return None,
        };
        shifted(&format!("{sign}{}", digits.replace(',', "")), exponent).map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// `digits` times ten to the power of `exponent`, with the point moved and nothing computed.
fn shifted(digits: &str, exponent: i32) -> Option<String> {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || digits.ends_with('.') || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let before = usize::try_from(point.max(0)).ok()?;
    let zeros_before = usize::try_from(point.min(0).unsigned_abs()).ok()?;
    if before.max(zeros_before).max(digits.len()) > MAX_DIGITS {
        return None;
    }
    let all = format!("{:0<before$}", format!("{}{whole}{fraction}", "0".repeat(zeros_before)));
    let (whole, fraction) = all.split_at_checked(before)?;
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_numbers_keep_every_digit() {
        let check = |raw: &str, expected: Option<&str>| {
            assert_eq!(Amount::from_json(raw).ok().map(|amount| amount.0).as_deref(), expected, "{raw}");
        };
        check("10000.01", Some("10000.01"));
        check("10000.00", Some("10000.00"));
        check("-0.5", Some("-0.5"));
        check("1e4", Some("10000"));
        check("1.2345E2", Some("123.45"));
        check("125e-2", Some("1.25"));
        check("5e-3", Some("0.005"));
        check("0.10000000000000000000001", Some("0.10000000000000000000001"));
        for raw in ["", "-", "1.", ".5", "abc", "\"5\"", "null", "1e", "1e999999999", "1e99999999999", "1e-62", "+1"] {
            check(raw, None);
        }
    }

    #[test]
    fn words_of_a_person_are_read_exactly() {
        let check = |text: &str, expected: Option<&str>| {
            let (word, next) = text.split_once(' ').unwrap_or((text, ""));
            assert_eq!(Amount::from_words(word, next).map(|amount| amount.0).as_deref(), expected, "{text}");
        };
        check("$1M", Some("1000000"));
        check("$1.5m!", Some("1500000"));
        check("50,000", Some("50000"));
        check("$10,000.01.", Some("10000.01"));
        check("$2 million,", Some("2000000"));
        check("50k", Some("50000"));
        check("$50000 now", Some("50000"));
        check("-$5", Some("-5"));
        check("$007", Some("7"));
        for text in ["claim-99", "$", "", "2nd", "$1.2.3", "99-claim"] {
            check(text, None);
        }
    }
}
