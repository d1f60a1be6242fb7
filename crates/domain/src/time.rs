//! Points in time, handed in by the shell. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    /// In the form of RFC 3339 with milliseconds, in UTC.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calendar { year, month, day, hour, minute, second, .. } = self.calendar();
        write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            self.0 % 1_000_000 / 1_000
        )
    }
}

/// A point in time as people write it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// The year, as 2026.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// The day of the week as in ISO 8601: 1 is Monday, 7 is Sunday.
    pub weekday: u64,
    /// The hour, from 0.
    pub hour: u64,
    /// The minute, from 0.
    pub minute: u64,
    /// The second, from 0.
    pub second: u64,
}

impl Timestamp {
    /// The same as people write it, in UTC.
    #[must_use]
    pub fn calendar(self) -> Calendar {
        let seconds = self.0 / 1_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        // 1970-01-01 was a Thursday.
        let weekday = (days + 3) % 7 + 1;
        Calendar { year, month, day, weekday, hour: second / 3_600, minute: second / 60 % 60, second: second % 60 }
    }
}

impl FromStr for Timestamp {
    type Err = String;

    /// Reads RFC 3339 in UTC and to the second, as in `2026-11-22T09:30:00Z`; a fraction of a second is left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time as in `2026-11-22T09:30:00Z`");
        let part = |range: std::ops::Range<usize>| -> Result<u64, String> {
            let digits = text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)
        };
        let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
        let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
        let fraction = text.get(19..).and_then(|rest| rest.strip_suffix('Z')).ok_or_else(wrong)?;
        let digits = fraction.strip_prefix('.').unwrap_or("0");
        let is_number =
            (fraction.is_empty() || fraction.starts_with('.')) && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Counted from March, so that the leap day is last; the day is found by writing it back.
        let (shifted_year, shifted) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
        let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
        let days = (days + (153 * shifted + 2) / 5 + day).checked_sub(719_469).ok_or_else(wrong)?;
        let time = Self((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000);
        let written = time.to_string();
        let is_same = written.get(..19).zip(text.get(..19)).is_some_and(|(written, given)| written == given);
        if is_number && is_same { Ok(time) } else { Err(wrong()) }
    }
}

/// The Gregorian date of a day counted from 1970-01-01, by counting years that begin in March so that the leap day is last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_795_305_599_999_999, "2026-11-21T23:59:59.999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.000Z", Some(951_782_400_000_000)),
            ("2026-11-21T23:59:59.999Z", Some(1_795_305_599_000_000)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-00T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00+01:00", None),
            ("2026-01-01", None),
            ("1969-12-31T23:59:59Z", None),
        ] {
            assert_eq!(text.parse().ok(), micros.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn days_of_the_week_begin_with_monday() {
        for (micros, weekday) in
            [(0, 4), (951_782_400_000_000, 2), (1_795_305_599_999_999, 6), (1_795_305_600_000_000, 7)]
        {
            assert_eq!(Timestamp(micros).calendar().weekday, weekday);
        }
    }
}
