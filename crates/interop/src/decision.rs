//! What a person has said of a call that waits for them, as clients write it down.

use portcullis_domain::json;

/// Yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is a yes.
    pub is_yes: bool,
    /// In their words.
    pub comment: Option<String>,
}

impl Decision {
    /// Reads `{"decision": "approve" | "deny", "comment": "…"}`; none for anything that does not say which.
    #[must_use]
    pub fn read(raw: &str) -> Option<Self> {
        let members = json::members(raw).ok()?;
        let is_yes = match json::member(&members, "decision").and_then(json::text).as_deref() {
            Some("approve") => true,
            Some("deny") => false,
            _ => return None,
        };
        let comment = match json::member(&members, "comment").filter(|raw| raw.get() != "null") {
            None => None,
            Some(raw) => Some(json::text(raw)?.into_owned()).filter(|text| !text.trim().is_empty()),
        };
        Some(Self { is_yes, comment })
    }
}
