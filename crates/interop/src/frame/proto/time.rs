//! Times of RFC 3339, as seconds and nanoseconds since 1970. Those that Protocol Buffers know are of the years 1 to 9999.

const DAY_S: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// The time in UTC, with as many digits behind the point as it needs; none when it can't be written.
pub(super) fn written(seconds: i64, nanos: u32) -> Option<String> {
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(days.checked_add(EPOCH_DAYS)?);
    if !(1..=9_999).contains(&year) || nanos > 999_999_999 {
        return None;
    }
    let fraction = match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// The time that is written so. One that names no zone is taken as UTC, since libraries write such.
pub(crate) fn read(text: &str) -> Option<(i64, u32)> {
    let part =
        |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let number = |from, to| part(from, to)?.parse::<i64>().ok();
    let sign = |place: usize, signs: &[u8]| text.as_bytes().get(place).is_some_and(|sign| signs.contains(sign));
    let is_formed = sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt ") && sign(13, b":") && sign(16, b":");
    if !is_formed {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // A leap second is the one before it.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let days = days(year, month, day) - EPOCH_DAYS;
    if !is_time || civil(days + EPOCH_DAYS) != (year, month, day) || year < 1 {
        return None;
    }
    let (nanos, zone) = fraction(text.get(19..)?)?;
    let seconds = days * DAY_S + hour * 3_600 + minute * 60 + second.min(59) - offset_s(zone)?;
    written(seconds, nanos).map(|_| (seconds, nanos))
}

/// The nanoseconds, and what follows.
fn fraction(rest: &str) -> Option<(u32, &str)> {
    let Some(rest) = rest.strip_prefix('.') else { return Some((0, rest)) };
    let end = rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, zone) = rest.split_at(end);
    let nanos: String = digits.chars().chain(std::iter::repeat('0')).take(9).collect();
    if digits.is_empty() { None } else { Some((nanos.parse().ok()?, zone)) }
}

fn offset_s(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let is_formed = hours.len() == 2
        && minutes.len() == 2
        && hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit());
    let offset = hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60;
    match zone.bytes().next() {
        Some(b'+') if is_formed => Some(offset),
        Some(b'-') if is_formed => Some(-offset),
        _ => None,
    }
}

/// The Gregorian date of a day counted from 0000-03-01: years begin in March, so that the leap day is last.
fn civil(days: i64) -> (i64, i64, i64) {
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day - (153 * shifted + 2) / 5 + 1)
}

/// The same, the other way round.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * shifted + 2) / 5 + day - 1
}
