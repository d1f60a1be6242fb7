//! Numbers of payment cards (ISO/IEC 7812): the beginning and the length of a known issuer, and the check digit of Luhn.

use std::ops::{Range, RangeInclusive};

use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

pub(super) const LOOK: Look = Look {
    kind: "card",
    replacement: "[CARD]",
    window: 64,
    not_after: |c| is_word(c) || matches!(c, '.' | '-' | '+'),
    read: Read::Code(|c| c.is_ascii_digit(), card),
};

const DIGITS: RangeInclusive<usize> = 13..=19;

/// The first six digits and the lengths that issuers use.
const ISSUERS: &[(RangeInclusive<u32>, &[usize])] = &[
    (222_100..=272_099, &[16]),                         // Mastercard
    (300_000..=305_999, &[14]),                         // Diners Club
    (309_500..=309_599, &[14]),                         // Diners Club
    (340_000..=349_999, &[15]),                         // American Express
    (352_800..=358_999, &[16, 17, 18, 19]),             // JCB
    (360_000..=369_999, &[14, 15, 16, 17, 18, 19]),     // Diners Club
    (370_000..=379_999, &[15]),                         // American Express
    (380_000..=399_999, &[14, 16]),                     // Diners Club
    (400_000..=499_999, &[13, 16, 19]),                 // Visa
    (501_800..=501_899, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (502_000..=502_099, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (503_800..=503_899, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (510_000..=559_999, &[16]),                         // Mastercard
    (601_100..=601_199, &[16, 17, 18, 19]),             // Discover
    (620_000..=629_999, &[16, 17, 18, 19]),             // UnionPay
    (630_400..=630_499, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (644_000..=659_999, &[16, 17, 18, 19]),             // Discover
    (675_900..=675_999, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (676_100..=676_399, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (220_000..=220_499, &[16, 17, 18, 19]),             // Mir
];

fn card(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let mut digits: Vec<u32> = Vec::new();
    let mut end = None;
    loop {
        let begin = reader.at();
        reader.run(DIGITS.end() + 1, |c| c.is_ascii_digit());
        digits.extend(reader.since(begin).chars().filter_map(|c| c.to_digit(10)));
        if begin == reader.at() || digits.len() > *DIGITS.end() {
            break;
        }
        if DIGITS.contains(&digits.len()) && is_issued(&digits) && is_checked(&digits) && reader.ends(is_word) {
            end = Some(reader.at());
        }
        if !reader.one(|c| matches!(c, ' ' | '-' | '\u{a0}')) {
            break;
        }
    }
    end.map(|end| start..end)
}

fn is_issued(digits: &[u32]) -> bool {
    let beginning = digits.iter().take(6).fold(0, |number, digit| number * 10 + digit);
    ISSUERS.iter().any(|(range, lengths)| range.contains(&beginning) && lengths.contains(&digits.len()))
}

fn is_checked(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}
