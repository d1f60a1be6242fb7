//! International bank account numbers (ISO 13616).

use std::ops::Range;

use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

pub(super) const LOOK: Look = Look {
    kind: "iban",
    replacement: "[IBAN]",
    window: 64,
    not_after: is_word,
    read: Read::Code(|c| c.is_ascii_uppercase(), iban),
};

/// How long they are in each country, from the register of SWIFT.
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

fn iban(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    if reader.run(2, |c| c.is_ascii_uppercase()) != 2 {
        return None;
    }
    let country = reader.since(start);
    let &(_, length) = LENGTHS.iter().find(|(known, _)| *known == country)?;
    if reader.run(2, |c| c.is_ascii_digit()) != 2 {
        return None;
    }
    for place in 4..length {
        if place % 4 == 0 {
            reader.one(|c| matches!(c, ' ' | '-' | '\u{a0}'));
        }
        if !reader.one(|c| c.is_ascii_digit() || c.is_ascii_uppercase()) {
            return None;
        }
    }
    let is_one = reader.ends(is_word) && remainder(reader.since(start)) == Some(1);
    is_one.then(|| start..reader.at())
}

/// The number modulo 97, its first four characters last and letters as 10 to 35 (ISO 7064).
fn remainder(text: &str) -> Option<u32> {
    let written: Vec<u32> = text.chars().filter_map(|c| c.to_digit(36)).collect();
    let (beginning, rest) = written.split_at_checked(4)?;
    Some(
        rest.iter()
            .chain(beginning)
            .fold(0, |sum, &digit| if digit < 10 { (sum * 10 + digit) % 97 } else { (sum * 100 + digit) % 97 }),
    )
}
