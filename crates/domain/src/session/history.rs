//! Messages that repeat. A client sends the whole conversation with every call; the history has every message once.

use crate::digest::Digest;

/// How many of `incoming` are already at the end of `known`, so that only the rest is new.
///
/// The longest beginning of `incoming` is sought that the known history ends with. A client that sends only what is new repeats nothing; one that
/// sends everything repeats all of it; one that starts anew in the same session repeats nothing.
#[must_use]
pub fn repeated(known: &[Digest], incoming: &[Digest]) -> usize {
    let longest = known.len().min(incoming.len());
    let (start, incoming) = (known.len() - longest, incoming.get(..longest).unwrap_or_default());
    let steps = fallbacks(incoming);
    known.iter().skip(start).fold(0, |matched, digest| continued(incoming, &steps, matched, digest))
}

/// For each length, how much of the beginning the first so many digests end with, themselves not counted (Knuth, Morris, Pratt: Fast pattern matching
/// in strings, 1977). With it every digest is looked at once, however often a conversation repeats itself.
fn fallbacks(pattern: &[Digest]) -> Vec<usize> {
    let mut steps = Vec::with_capacity(pattern.len() + 1);
    steps.extend([0, 0]);
    for digest in pattern.iter().skip(1) {
        let matched = steps.last().copied().unwrap_or(0);
        steps.push(continued(pattern, &steps, matched, digest));
    }
    steps
}

/// How much of the beginning of `pattern` is matched by one more digest, after `matched` of it were.
fn continued(pattern: &[Digest], steps: &[usize], mut matched: usize, digest: &Digest) -> usize {
    loop {
        if pattern.get(matched) == Some(digest) {
            return matched + 1;
        }
        if matched == 0 {
            return 0;
        }
        matched = steps.get(matched).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digests(letters: &[u8]) -> Vec<Digest> {
        letters.iter().map(|letter| Digest::of(&[*letter])).collect()
    }

    /// The definition, word by word: the longest beginning of `incoming` that `known` ends with.
    fn plain(known: &[Digest], incoming: &[Digest]) -> usize {
        let longest = known.len().min(incoming.len());
        (1..=longest).rev().find(|length| known.ends_with(&incoming[..*length])).unwrap_or(0)
    }

    proptest! {
        #[test]
        fn what_is_found_in_one_pass_is_what_the_definition_says(
            known in prop::collection::vec(b'a'..=b'b', 0..24),
            behind in prop::collection::vec(b'a'..=b'b', 0..24),
            shared in 0_usize..24,
        ) {
            let known = digests(&known);
            for incoming in [digests(&behind), [&known[known.len().saturating_sub(shared)..], &digests(&behind)].concat()] {
                prop_assert_eq!(repeated(&known, &incoming), plain(&known, &incoming));
            }
        }
    }

    #[test]
    fn a_long_conversation_that_repeats_itself_is_one_pass() {
        // Compared from every place anew, this would be 10^10 comparisons.
        let same = digests(&vec![b'a'; 200_000]);
        let (mut known, mut incoming) = (same.clone(), same);
        known.push(Digest::of(b"b"));
        incoming.push(Digest::of(b"c"));
        assert_eq!(repeated(&known, &incoming), 0);
        incoming.insert(100_000, Digest::of(b"b"));
        assert_eq!(repeated(&known, &incoming), 100_001);
    }

    #[test]
    fn only_what_is_new_is_added() {
        let digests = |text: &str| digests(text.as_bytes());
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
