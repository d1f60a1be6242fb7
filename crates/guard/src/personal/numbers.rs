//! Numbers that states give to persons.

use std::ops::Range;

use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

pub(super) const US_SSN: Look = Look {
    kind: "us_ssn",
    replacement: "[SSN]",
    window: 16,
    not_after: |c| is_word(c) || matches!(c, '-' | '.' | '+'),
    read: Read::Code(|c| c.is_ascii_digit(), us_ssn),
};

pub(super) const DE_TAX_ID: Look = Look {
    kind: "de_tax_id",
    replacement: "[TAX ID]",
    window: 24,
    not_after: |c| is_word(c) || matches!(c, '-' | '.' | '+' | '/'),
    read: Read::Code(|c| c.is_ascii_digit(), de_tax_id),
};

/// There are no check digits; without hyphens any nine digits could be one. Areas 000, 666 and 900 to 999, group 00 and serial 0000 are never given, and two numbers stand in advertisements.
fn us_ssn(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let digits = |reader: &mut Reader<'_>, count| reader.run(count, |c| c.is_ascii_digit()) == count;
    let is_written_so = digits(reader, 3)
        && reader.literal("-")
        && digits(reader, 2)
        && reader.literal("-")
        && digits(reader, 4)
        && reader.ends(|c| is_word(c) || c == '-');
    let written = reader.since(start);
    let is_given = !written.starts_with("000")
        && !written.starts_with("666")
        && !written.starts_with('9')
        && !written.contains("-00-")
        && !written.ends_with("-0000")
        && !matches!(written, "078-05-1120" | "219-09-9999");
    (is_written_so && is_given).then(|| start..reader.at())
}

/// Eleven digits (section 139b of the Abgabenordnung), together or as 2, 3, 3 and 3.
fn de_tax_id(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let mut is_grouped = None;
    for (group, count) in [2, 3, 3, 3].into_iter().enumerate() {
        if group > 0 {
            let is_blank = reader.one(|c| c == ' ');
            if *is_grouped.get_or_insert(is_blank) != is_blank {
                return None;
            }
        }
        if reader.run(count, |c| c.is_ascii_digit()) != count {
            return None;
        }
    }
    let digits: Vec<u32> = reader.since(start).chars().filter_map(|c| c.to_digit(10)).collect();
    (reader.ends(is_word) && is_tax_id(&digits)).then(|| start..reader.at())
}

/// Of the first ten digits one comes twice or three times and the others at most once; the last checks the others (ISO 7064, MOD 11,10).
fn is_tax_id(digits: &[u32]) -> bool {
    let Some((&check, digits)) = digits.split_last() else { return false };
    let times = |digit: u32| digits.iter().filter(|&&other| other == digit).count();
    let repeated: Vec<usize> = (0..10).map(times).filter(|&times| times > 1).collect();
    let product = digits.iter().fold(10, |product, digit| match (product + digit) % 10 {
        0 => 20 % 11,
        sum => sum * 2 % 11,
    });
    digits.first() != Some(&0) && matches!(repeated.as_slice(), [2 | 3]) && (11 - product) % 10 == check
}
