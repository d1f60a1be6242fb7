//! Telephone numbers: international ones (E.164), and those of North America as they are written there. National numbers of other countries have no form that tells them from other numbers.

use std::ops::Range;

use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

pub(super) const INTERNATIONAL: Look = Look {
    kind: "phone",
    replacement: "[PHONE]",
    window: 64,
    not_after: |c| is_word(c) || matches!(c, '+' | '.' | ',' | '-' | '/' | '='),
    read: Read::Code(|c| c == '0', international),
};

/// A plus sign begins one even where a word or another number stands before it.
pub(super) const WITH_PLUS: Look =
    Look { not_after: |c| c == '+', read: Read::Code(|c| c == '+', international), ..INTERNATIONAL };

pub(super) const AMERICAN: Look = Look {
    kind: "phone",
    replacement: "[PHONE]",
    window: 32,
    not_after: |c| is_word(c) || matches!(c, '+' | '.' | ',' | '-' | '/' | '=' | '('),
    read: Read::Code(|c| c.is_ascii_digit(), american),
};

/// So does a bracket.
pub(super) const WITH_BRACKET: Look =
    Look { not_after: |c| c == '(', read: Read::Code(|c| c == '(', american), ..AMERICAN };

/// The fewest and the most digits of a number with its country code.
const DIGITS: (usize, usize) = (8, 15);

fn international(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let is_begun = reader.literal("+") || (reader.literal("00") && reader.ends(|c| c == '0'));
    if !is_begun {
        return None;
    }
    let mut digits = String::new();
    let mut end = None;
    loop {
        let begin = reader.at();
        reader.run(DIGITS.1 + 1, |c| c.is_ascii_digit());
        digits.push_str(reader.since(begin));
        if digits.len() > DIGITS.1 || begin == reader.at() {
            break;
        }
        if digits.len() >= DIGITS.0 && reader.ends(is_word) {
            end = Some(reader.at());
        }
        if !separator(reader) {
            break;
        }
    }
    let end = end?;
    is_country(&digits).then_some(start..end)
}

/// A blank, a hyphen, a full stop or a slash, and brackets as in `+44 (0)20`.
fn separator(reader: &mut Reader<'_>) -> bool {
    let before = reader.at();
    reader.one(|c| c == ')');
    reader.one(|c| matches!(c, ' ' | '-' | '.' | '/' | '\u{a0}'));
    reader.one(|c| c == '(');
    reader.at() > before
}

/// Whether a country's or a network's code begins the digits (list of assigned codes of the ITU, by what is not in it).
fn is_country(digits: &str) -> bool {
    let unassigned = ["0", "28", "83", "89", "210", "214", "215", "217", "219", "259"];
    !unassigned.iter().any(|code| digits.starts_with(code))
}

/// `(202) 555-0123`, `202-555-0123`, `202.555.0123`, with or without `1` before: area and exchange begin with 2 to 9.
fn american(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    if reader.literal("1") && !reader.one(is_separator) {
        return None;
    }
    let is_bracketed = reader.literal("(");
    let area = part(reader, 3);
    let is_separated = if is_bracketed {
        reader.literal(")") && (reader.one(is_separator) || reader.ends(|c| !c.is_ascii_digit()))
    } else {
        reader.one(is_separator)
    };
    let is_number = area && is_separated && part(reader, 3) && reader.one(is_separator);
    let is_number = is_number && reader.run(4, |c| c.is_ascii_digit()) == 4 && reader.ends(|c| is_word(c) || c == '-');
    is_number.then(|| start..reader.at())
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '\u{a0}')
}

fn part(reader: &mut Reader<'_>, digits: usize) -> bool {
    reader.one(|c| matches!(c, '2'..='9')) && reader.run(digits - 1, |c| c.is_ascii_digit()) == digits - 1
}
