//! Taking away what was found.

use serde_json::{Map, Value};

use crate::Finding;

/// The text with every finding replaced. Findings are of this text, in any order; where two overlap, both are covered.
///
/// What lies outside of the text or does not begin and end between characters is taken as far as it fits, outwards: rather too much is masked than too little.
#[must_use]
pub fn mask(text: &str, findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| (finding.range.start, std::cmp::Reverse(finding.range.end)));
    let mut masked = String::with_capacity(text.len());
    let mut done = 0;
    for finding in sorted {
        let start = text.floor_char_boundary(finding.range.start).max(done);
        let end = text.ceil_char_boundary(finding.range.end);
        if end <= start {
            continue;
        }
        masked.push_str(text.get(done..start).unwrap_or_default());
        masked.push_str(&finding.replacement);
        done = end;
    }
    masked.push_str(text.get(done..).unwrap_or_default());
    masked
}

/// Replaces every finding of [`find_json`](crate::Detector::find_json) in the value it was made for. A number in which something was found becomes a string.
///
/// A finding that means a whole array or object, or something that is missing, changes nothing: there is nothing that could stand there instead.
pub fn mask_json(value: &mut Value, findings: &[Finding]) {
    let mut places: Vec<(&str, bool)> =
        findings.iter().map(|finding| (finding.place.as_str(), finding.in_name)).collect();
    places.sort_unstable();
    places.dedup();
    // Values before names, and the names of what is deeper first: a new name would make the pointers through it wrong.
    places.sort_by_key(|(place, in_name)| (*in_name, std::cmp::Reverse(place.matches('/').count())));
    for (place, in_name) in places {
        let here: Vec<Finding> = findings
            .iter()
            .filter(|finding| finding.place == place && finding.in_name == in_name && !finding.range.is_empty())
            .cloned()
            .collect();
        if in_name {
            rename(value, place, &here);
        } else if let Some(found) = value.pointer_mut(place) {
            match found {
                Value::String(text) => *text = mask(text, &here),
                Value::Number(number) if !here.is_empty() => *found = Value::String(mask(&number.to_string(), &here)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {}
            }
        }
    }
}

/// Gives a member another name, in its place. Where there is one of that name already, a number is added.
fn rename(value: &mut Value, place: &str, findings: &[Finding]) {
    let Some((parent, token)) = place.rsplit_once('/') else { return };
    let name = token.replace("~1", "/").replace("~0", "~");
    let Some(Value::Object(members)) = value.pointer_mut(parent) else { return };
    let masked = mask(&name, findings);
    let mut fresh = masked.clone();
    let mut number = 2_u64;
    while fresh != name && members.contains_key(&fresh) {
        fresh = format!("{masked} {number}");
        number += 1;
    }
    *members = std::mem::take(members)
        .into_iter()
        .map(|(member, value)| if member == name { (fresh.clone(), value) } else { (member, value) })
        .collect::<Map<_, _>>();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(range: std::ops::Range<usize>) -> Finding {
        Finding::new("x", range, "[X]")
    }

    fn check(text: &str, ranges: &[(usize, usize)], expected: &str) {
        let findings: Vec<Finding> = ranges.iter().map(|&(start, end)| found(start..end)).collect();
        assert_eq!(mask(text, &findings), expected);
    }

    #[test]
    fn everything_that_was_found_is_replaced() {
        check("abcdef", &[], "abcdef");
        check("abcdef", &[(1, 3)], "a[X]def");
        check("abcdef", &[(4, 6), (0, 1)], "[X]bcd[X]");
        check("abcdef", &[(1, 4), (2, 5)], "a[X][X]f");
        check("abcdef", &[(1, 5), (2, 3)], "a[X]f");
        check("abcdef", &[(2, 2)], "abcdef");
        check("aßc", &[(2, 9)], "a[X]");
    }

    #[test]
    fn numbers_become_strings_and_names_keep_their_place() {
        let mut value = json!({"a": {"secret": 1, "[X]": 2, "n": 4111}, "s": ["hello"]});
        let findings = [
            found(0..6).at("/a/secret", true),
            found(0..4).at("/a/n", false),
            found(1..3).at("/s/0", false),
            found(0..0).at("/a", false),
        ];
        mask_json(&mut value, &findings);
        assert_eq!(value, json!({"a": {"[X] 2": 1, "[X]": 2, "n": "[X]"}, "s": ["h[X]lo"]}));
    }
}
