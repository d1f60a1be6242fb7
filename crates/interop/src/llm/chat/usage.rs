//! How many tokens a completion took, by the provider's own count.

use portcullis_domain::money::Tokens;
use serde::Deserialize;

use crate::frame::object::Object;

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    total_tokens: Option<u64>,
}

/// The counts in a raw `usage` member; none when it has none.
///
/// Some providers count the tokens of a model's reasoning in `total_tokens` only; they are output all the same.
pub(super) fn read(raw: &str) -> Option<Tokens> {
    let usage: Usage = serde_json::from_str(raw).ok()?;
    let uncounted = usage.total_tokens.unwrap_or_default().saturating_sub(usage.prompt_tokens);
    Some(Tokens { input: usage.prompt_tokens, output: usage.completion_tokens.max(uncounted) })
}

/// The raw `usage` with other counts; its further members stay.
pub(super) fn replaced(raw: Option<&str>, total: Tokens) -> Result<String, String> {
    let mut usage = raw.filter(|raw| *raw != "null").map(Object::read).transpose()?.unwrap_or_default();
    usage.set("prompt_tokens", total.input.to_string());
    usage.set("completion_tokens", total.output.to_string());
    usage.set("total_tokens", total.input.saturating_add(total.output).to_string());
    Ok(usage.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_in_favour_of_the_larger_output() {
        for (raw, expected) in [
            (r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}"#, Some((3, 5))),
            (r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":20}"#, Some((3, 17))),
            (r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":null,"cost":0.1}"#, Some((3, 5))),
            (r#"{"prompt_tokens":3}"#, Some((3, 0))),
            (r#"{"completion_tokens":3}"#, None),
            (r#"{"prompt_tokens":-3}"#, None),
            (r#"{"prompt_tokens":3,"prompt_tokens":4}"#, None),
            ("null", None),
        ] {
            assert_eq!(read(raw), expected.map(|(input, output)| Tokens { input, output }), "{raw}");
        }
    }

    #[test]
    fn other_members_of_the_usage_stay() {
        let raw = r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,"cost":0.10}"#;
        let replaced = replaced(Some(raw), Tokens { input: 10, output: 20 }).unwrap();
        assert_eq!(replaced, r#"{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"cost":0.10}"#);
    }
}
