//! How a client learns whose tokens are good here: the metadata of the MCP doors as protected resources (RFC 9728), and the challenge that leads to it.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use serde_json::json;

use crate::doors::answer::{self, Answer};
use crate::doors::caller::text_header;
use crate::snapshot::Snapshot;

/// Where the metadata of a path is: here, with the path behind it.
const PATH: &str = "/.well-known/oauth-protected-resource";

/// Answers a request for metadata; none where the path is another one, or no issuer can be asked for a token.
#[must_use]
pub fn serve(snapshot: &Snapshot, headers: &HeaderMap, path: &str) -> Option<Answer> {
    let resource = path.strip_prefix(PATH).filter(|resource| resource.is_empty() || is_tools(resource))?;
    let servers = servers(snapshot);
    if servers.is_empty() {
        return None;
    }
    let metadata = json!({
        "resource": format!("{}{resource}", base(snapshot, headers)),
        "authorization_servers": servers,
        "bearer_methods_supported": ["header"],
        "resource_name": "Portcullis",
    });
    Some(answer::json(200, metadata.to_string()))
}

/// The challenge to whoever is not recognised at this path (RFC 6750, section 3; RFC 9728, section 5.1). What is wrong with a credential is not told.
#[must_use]
pub fn challenge(snapshot: &Snapshot, headers: &HeaderMap, path: &str) -> String {
    let mut challenge = "Bearer realm=\"portcullis\"".to_owned();
    if headers.contains_key(AUTHORIZATION) {
        challenge.push_str(", error=\"invalid_token\"");
    }
    if is_tools(path) && !servers(snapshot).is_empty() {
        challenge.push_str(&format!(", resource_metadata=\"{}{PATH}{path}\"", base(snapshot, headers)));
    }
    challenge
}

/// Whether it is a door of MCP, with or without a session before it. Only what can stand in a header and in a URL as it is.
fn is_tools(path: &str) -> bool {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-@+%~".contains(&byte));
    let door = path.strip_prefix("/s/").and_then(|rest| rest.find('/').and_then(|slash| rest.get(slash..)));
    let door = door.unwrap_or(path);
    is_plain && (door == "/mcp" || door.starts_with("/mcp/"))
}

/// The issuers that a client can reach by their names.
fn servers(snapshot: &Snapshot) -> Vec<&str> {
    let all = snapshot.config.identity.issuers.values().map(|table| table.issuer.as_str());
    all.filter(|issuer| issuer.starts_with("https://") || issuer.starts_with("http://")).collect()
}

/// Where the client reaches the gateway. The host was checked.
fn base(snapshot: &Snapshot, headers: &HeaderMap) -> String {
    snapshot.config.server.base(text_header(headers, &HOST).unwrap_or("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_doors_of_mcp_lead_to_metadata() {
        for (path, expected) in [
            ("/mcp", true),
            ("/mcp/tools", true),
            ("/s/claim-99/mcp", true),
            ("/mcpx", false),
            ("/v1/models", false),
            ("/s/mcp", false),
            ("/s//mcp", true),
            ("/mcp/a\"b", false),
            ("", false),
        ] {
            assert_eq!(is_tools(path), expected, "{path}");
        }
    }
}
