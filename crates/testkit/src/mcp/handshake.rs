//! `initialize`, the beginning of a session in the legacy era (MCP 2025-11-25, "Lifecycle").

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The versions that the sample servers speak with a session, the preferred one first.
pub(crate) const LEGACY_VERSIONS: &[&str] = &["2025-11-25", "2025-06-18"];

/// The result of `initialize`: the version that was asked for where it is spoken, else the preferred one.
pub(crate) fn initialized(params: Option<&RawValue>, server_name: &str) -> Value {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        protocol_version: String,
    }
    let asked = params.and_then(|params| serde_json::from_str::<Params>(params.get()).ok());
    let spoken = asked.and_then(|asked| LEGACY_VERSIONS.iter().find(|&&version| version == asked.protocol_version));
    json!({
        "protocolVersion": spoken.or(LEGACY_VERSIONS.first()),
        "capabilities": {"tools": {}},
        "serverInfo": {"name": server_name, "version": env!("CARGO_PKG_VERSION")},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_agreed_on() {
        for (asked, agreed) in [
            ("2025-11-25", "2025-11-25"),
            ("2025-06-18", "2025-06-18"),
            ("2026-07-28", "2025-11-25"),
            ("1", "2025-11-25"),
        ] {
            let params = RawValue::from_string(format!("{{\"protocolVersion\":\"{asked}\"}}")).unwrap();
            assert_eq!(initialized(Some(&params), "s")["protocolVersion"], json!(agreed), "{asked}");
        }
        assert_eq!(initialized(None, "s")["protocolVersion"], json!("2025-11-25"));
    }
}
