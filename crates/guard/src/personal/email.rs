//! E-mail addresses as they are used: a dot-atom, `@` and a host name (RFC 5321, section 4.1.2), without quoted names and addresses in brackets.

use std::ops::Range;

use crate::look::{Look, Read};
use crate::reader::Reader;

/// RFC 5321, section 4.5.3.1, in characters; they may have four bytes.
const LOCAL_LIMIT: usize = 64;
const DOMAIN_LIMIT: usize = 255;

pub(super) const LOOK: Look = Look {
    kind: "email",
    replacement: "[EMAIL]",
    window: (LOCAL_LIMIT + 1 + DOMAIN_LIMIT + 1) * 4,
    not_after: is_local,
    read: Read::Code(is_local, email),
};

fn is_local(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'')
}

fn is_domain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-')
}

fn email(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let begin = reader.at();
    reader.run(LOCAL_LIMIT, is_local);
    let local = reader.since(begin);
    // Punctuation before an address, as in a list, is none of it.
    let name = local.trim_start_matches(['.', '-', '\'', '%', '+']);
    let start = begin + local.len() - name.len();
    if name.is_empty() || name.ends_with('.') || name.contains("..") || !reader.literal("@") {
        return None;
    }
    let begin = reader.at();
    reader.run(DOMAIN_LIMIT, is_domain);
    let domain = reader.since(begin).trim_end_matches(['.', '-']);
    is_host(domain).then(|| start..begin + domain.len())
}

fn is_host(domain: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let Some((_, top)) = domain.rsplit_once('.') else { return false };
    let is_top = top.starts_with("xn--") || (top.chars().count() >= 2 && top.chars().all(char::is_alphabetic));
    is_top && domain.split('.').all(is_label)
}
