//! The example in the repository as the files of one demo: every `${NAME:-value}` gets a value of its own.

/// The configuration.
pub(super) const CONFIG: &str = include_str!("../../../../../examples/claims-adjuster/portcullis.yaml");
/// The rules.
pub(super) const POLICIES: &str = include_str!("../../../../../examples/claims-adjuster/policies/claims.cedar");

/// The template with these values in the place of `${NAME:-…}`. They stand in double quotes there, and are escaped for it.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = template.to_owned();
    for (name, value) in values {
        let quoted = serde_json::Value::from(*value).to_string();
        let escaped = quoted.get(1..quoted.len() - 1).unwrap_or_default().replace("${", "$${");
        filled = replace_all(&filled, &format!("${{{name}:-"), &escaped);
    }
    filled
}

fn replace_all(text: &str, opening: &str, value: &str) -> String {
    let mut parts = text.split(opening);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |filled, part| filled + value + part.split_once('}').map_or(part, |(_, rest)| rest))
}

/// The rule with this id, from the line of its id to its end.
pub(super) fn rule(id: &str) -> &'static str {
    let start = POLICIES.find(&format!("@id(\"{id}\")")).unwrap_or_default();
    let rule = POLICIES.get(start..).unwrap_or_default();
    rule.split_once(";\n").map_or(rule, |(rule, _)| rule)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::read::read_text;

    #[test]
    fn the_example_can_be_read_as_it_is_and_filled() {
        let shipped = read_text("portcullis.yaml", CONFIG, HashMap::new()).unwrap();
        assert_eq!(shipped.server.listen.port(), 4040);
        let values = [
            ("CLAIMS_LISTEN", "127.0.0.1:1"),
            ("CLAIMS_MODEL_URL", "http://127.0.0.1:2/v1"),
            ("CLAIMS_MODEL_KEY", "secret"),
            ("CLAIMS_PROGRAM", "/a \"b\" $c/${D}\""),
        ];
        let filled = read_text("portcullis.yaml", &fill(CONFIG, &values), HashMap::new()).unwrap();
        assert_eq!(filled.server.listen.port(), 1);
        assert_eq!(filled.registry.models["scripted"].base_url, "http://127.0.0.1:2/v1");
        let claims = &filled.registry.servers[&"claims".parse().unwrap()];
        assert_eq!(claims.command.first().map(String::as_str), Some("/a \"b\" $c/${D}\""));
        assert_eq!((filled.policy, filled.ledger), (shipped.policy, shipped.ledger));
    }

    #[test]
    fn a_rule_is_found_by_its_id() {
        assert!(rule("approval-limit").starts_with("@id(\"approval-limit\")\n@message("));
        assert!(rule("approval-limit").ends_with("\n}"));
    }
}
