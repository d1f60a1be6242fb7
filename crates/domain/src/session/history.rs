//! Messages that repeat. A client sends the whole conversation with every call; the history has every message once.

use crate::digest::Digest;

/// How many of `incoming` are already at the end of `known`, so that only the rest is new.
///
/// The longest beginning of `incoming` is sought that the known history ends with. A client that sends only what is new repeats nothing; one that
/// sends everything repeats all of it; one that starts anew in the same session repeats nothing.
#[must_use]
pub fn repeated(known: &[Digest], incoming: &[Digest]) -> usize {
    let longest = known.len().min(incoming.len());
    let ends_with = |length: &usize| known.ends_with(incoming.get(..*length).unwrap_or_default());
    (1..=longest).rev().find(ends_with).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_added() {
        let digests = |text: &str| text.bytes().map(|byte| Digest::of(&[byte])).collect::<Vec<_>>();
        for (known, incoming, expected) in [
            ("", "ab", 0),
            ("ab", "abc", 2),
            ("abc", "c", 1),
            ("abc", "d", 0),
            ("abab", "abc", 2),
            ("abc", "abc", 3),
            ("abc", "", 0),
        ] {
            assert_eq!(repeated(&digests(known), &digests(incoming)), expected, "{known} {incoming}");
        }
    }
}
