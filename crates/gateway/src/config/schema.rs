//! The JSON Schema of the configuration, made from the types and their comments.

use crate::config::Config;

/// The schema as it lies in the repository, so that editors can complete and check.
#[must_use]
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Config);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a flag of the test run, not of the gateway")]
    fn the_schema_in_the_repository_is_the_one_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.schema.json");
        let made = super::json_schema();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(made == kept, "run the tests once with UPDATE_GOLDEN=1 to write docs/config.schema.json anew");
    }
}
