//! An approval in words, for where there is no page to show it on.

use portcullis_domain::ids::PrincipalName;
use portcullis_domain::json;
use serde_json::value::RawValue;

use super::Shown;

/// The longest arguments that are put into words, in bytes.
const ARGUMENTS_LIMIT_BYTES: usize = 4_000;

impl Shown {
    /// Who asks what of whom, why, and at what cost; none where the arguments are too long to be shown whole, as nobody is asked about what they can't see.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let arguments = self.arguments.as_deref().map_or("{}", RawValue::get);
        // Without spaces between, so that nothing is pushed out of sight.
        let arguments = json::canonical(arguments).ok().filter(|text| text.len() <= ARGUMENTS_LIMIT_BYTES)?;
        let through: Vec<&str> = self.through.iter().map(PrincipalName::as_str).collect();
        let through = if through.is_empty() { String::new() } else { format!(" through {}", through.join(", ")) };
        let lines = [
            "May this call be made?".to_owned(),
            self.message.as_ref().map(|message| format!("Why: {message}")).unwrap_or_default(),
            format!("Call: {}", self.capability),
            format!("Arguments: {}", plain(&arguments)),
            format!("Asked by: {}{through}", self.by),
            format!("Session: {}", self.session),
            format!("Cost: {}", self.cost.as_deref().unwrap_or("not known")),
            format!("Until: {}", self.expires_at),
            format!("Approval: {}", self.id),
        ];
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        Some(lines.join("\n"))
    }
}

/// Text on one line, with nothing in it that would show another one than there is.
#[must_use]
pub fn plain(text: &str) -> String {
    let is_seen = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|letter| if is_seen(letter) { letter } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &str) -> Shown {
        Shown {
            id: "a1".to_owned(),
            status: "pending",
            session: "ann:claim-1".to_owned(),
            by: "ann".parse().unwrap(),
            through: vec!["payer".parse().unwrap()],
            capability: "tool/bank__pay".to_owned(),
            door: "mcp",
            place: "request",
            arguments: Some(RawValue::from_string(arguments.to_owned()).unwrap()),
            message: Some("It is a lot.".to_owned()),
            policies: Vec::new(),
            asks: Vec::new(),
            escalated: Vec::new(),
            said: Vec::new(),
            cost: None,
            requested_at: String::new(),
            expires_at: "tomorrow".to_owned(),
            wait: None,
            used_by: None,
            link: None,
        }
    }

    #[test]
    fn what_is_asked_is_seen_whole_or_not_at_all() {
        let words = shown("{\"to\" :\n\n \"x\\nApproval: other\u{202e}\", \"amount\": 50000.00}").in_words().unwrap();
        assert_eq!(
            words,
            "May this call be made?\nWhy: It is a lot.\nCall: tool/bank__pay\nArguments: {\"amount\":50000.00,\"to\":\"x\\nApproval: other\u{fffd}\"}\nAsked by: ann through payer\nSession: ann:claim-1\nCost: not known\nUntil: tomorrow\nApproval: a1"
        );
        assert_eq!(shown(&format!("\"{}\"", "x".repeat(ARGUMENTS_LIMIT_BYTES))).in_words(), None);
    }
}
