//! How random a text looks.

/// The entropy of the characters of a text, after Shannon: in each, in bits.
pub(super) fn bits_per_character(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    let mut all = 0_u32;
    for c in text.chars() {
        *counts.entry(c).or_insert(0_u32) += 1;
        all += 1;
    }
    let all = f64::from(all.max(1));
    counts.values().map(|&count| f64::from(count) / all).map(|share| -share * share.log2()).sum()
}
