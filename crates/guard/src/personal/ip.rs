//! IP addresses.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

pub(super) const V4: Look = Look {
    kind: "ip",
    replacement: "[IP]",
    window: 24,
    not_after: |c| is_word(c) || matches!(c, '.' | '-'),
    read: Read::Code(|c| c.is_ascii_digit(), v4),
};

pub(super) const V6: Look = Look {
    kind: "ip",
    replacement: "[IP]",
    window: 64,
    not_after: |c| is_word(c) || matches!(c, '.' | ':'),
    read: Read::Code(|c| c.is_ascii_hexdigit() || c == ':', v6),
};

fn v4(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    reader.run(15, |c| c.is_ascii_digit() || c == '.');
    let written = reader.since(start);
    // A sentence may end with an address.
    let address = written.strip_suffix('.').unwrap_or(written);
    if !reader.ends(|c| is_word(c) || c == '-') || address.len() == 15 && !reader.ends(|c| c == '.') {
        return None;
    }
    let known: Ipv4Addr = address.parse().ok()?;
    let is_somebodys = !known.is_loopback() && !known.is_unspecified() && !known.is_broadcast();
    is_somebodys.then(|| start..start + address.len())
}

fn v6(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    reader.run(46, |c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
    let written = reader.since(start);
    let address = written.trim_end_matches('.');
    let address = match address.strip_suffix(':') {
        Some(shorter) if !shorter.ends_with(':') => shorter,
        Some(_) | None => address,
    };
    if !reader.ends(is_word) {
        return None;
    }
    let known: Ipv6Addr = address.parse().ok()?;
    // `a::b` is a path in several programming languages; what is routed or local begins with four digits or is mapped.
    let is_written_so = address.split(':').next().is_some_and(|first| first.len() == 4)
        || address.split(':').filter(|group| !group.is_empty()).count() == 8
        || known.to_ipv4_mapped().is_some();
    (is_written_so && !known.is_loopback() && !known.is_unspecified()).then(|| start..start + address.len())
}
