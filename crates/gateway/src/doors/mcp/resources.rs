//! What the session remembers, as resources: `portcullis://session/state/{key}` and `portcullis://session/history`. They are read-only, and only the caller's own.
//!
//! A session that was not opened yet remembers nothing, and looking does not open it.

use portcullis_domain::ids::SessionId;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::session::StateKey;
use portcullis_interop::frame::jsonrpc::Id;
use portcullis_interop::mcp::Era;
use portcullis_interop::mcp::resource::{self, Contents, Resource};
use serde_json::Value;

use crate::conversation;
use crate::doors::mcp::server::SERVER;
use crate::doors::path::decoded;
use crate::life::Gate;
use crate::scratchpad::{self, Shown, Wanted};

/// The most keys on one page.
const PAGE_LIMIT: usize = 200;
/// The most messages in one answer.
const MESSAGES_LIMIT: usize = 200;
const STATE: &str = "portcullis://session/state/";
const HISTORY: &str = "portcullis://session/history";
const HISTORY_IS: &str =
    "The conversation of this session with models, as OpenAI chat messages. `next` in it is where it goes on.";

/// The answer to `resources/list`: the history, and the keys of the scratchpad in their order.
pub(super) async fn list(
    gate: &Gate,
    session: &SessionId,
    (id, era): (&Id<'_>, Era),
    cursor: Option<&str>,
) -> Result<String, Refusal> {
    let after = match cursor.map(str::parse::<StateKey>) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(_)) => return Ok(resource::invalid_cursor(id)),
    };
    let wanted = Wanted { prefix: String::new(), after, limit: PAGE_LIMIT };
    let page = scratchpad::page(&gate.journal, session, wanted).await?.unwrap_or_default();
    let uris: Vec<String> = page.values.iter().map(|shown| format!("{STATE}{}", shown.key)).collect();
    let values = page.values.iter().zip(&uris).map(|(shown, uri)| Resource {
        uri,
        name: shown.key.as_str(),
        size: Some(shown.bytes),
        meta: meta(shown),
        ..Resource::default()
    });
    let history = Resource { uri: HISTORY, name: "history", description: Some(HISTORY_IS), ..Resource::default() };
    let resources: Vec<Resource<'_>> = cursor.is_none().then_some(history).into_iter().chain(values).collect();
    Ok(resource::listed(id, era, &resources, page.next.as_ref().map(StateKey::as_str), &SERVER))
}

/// The answer to `resources/templates/list`.
pub(super) fn templates(id: &Id<'_>, era: Era) -> String {
    let state = Resource {
        uri: "portcullis://session/state/{key}",
        name: "state",
        description: Some("A value of this session's scratchpad. Its version is in `_meta`."),
        ..Resource::default()
    };
    let history = Resource {
        uri: "portcullis://session/history{?after,limit}",
        name: "history",
        description: Some(HISTORY_IS),
        ..Resource::default()
    };
    resource::templates(id, era, &[state, history], &SERVER)
}

/// The answer to `resources/read`.
pub(super) async fn read(
    gate: &Gate,
    session: &SessionId,
    (id, era): (&Id<'_>, Era),
    uri: &str,
) -> Result<String, Refusal> {
    let found = match Address::read(uri) {
        Some(Address::State(key)) => {
            let found = scratchpad::value(&gate.journal, session, &key).await?.flatten();
            found.map(|(shown, bytes)| (bytes.to_vec(), meta(&shown)))
        }
        Some(Address::History { after, limit }) => {
            let messages = conversation::messages(&gate.journal, session.clone()).await?;
            Some((history(messages, after, limit).into_bytes(), Vec::new()))
        }
        None => None,
    };
    Ok(match found {
        Some((bytes, meta)) => resource::read(id, era, &Contents { uri, bytes: &bytes, meta }, &SERVER),
        None => resource::not_found(id, era, uri),
    })
}

/// What a URI of ours means.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    State(StateKey),
    History { after: usize, limit: usize },
}

impl Address {
    fn read(uri: &str) -> Option<Self> {
        if let Some(key) = uri.strip_prefix(STATE) {
            return decoded(key).ok()?.parse().ok().map(Self::State);
        }
        let query = uri.strip_prefix(HISTORY)?;
        let query = if query.is_empty() { "" } else { query.strip_prefix('?')? };
        let (mut after, mut limit) = (0, MESSAGES_LIMIT);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=')? {
                ("after", number) => after = number.parse().ok()?,
                ("limit", number) => {
                    limit = number.parse().ok().filter(|limit| (1..=MESSAGES_LIMIT).contains(limit))?;
                }
                _ => return None,
            }
        }
        Some(Self::History { after, limit })
    }
}

fn history(messages: Vec<Value>, after: usize, limit: usize) -> String {
    let end = after.saturating_add(limit);
    let next = (messages.len() > end).then(|| format!("{HISTORY}?after={end}&limit={limit}"));
    let mut shown = serde_json::Map::new();
    shown.insert("messages".to_owned(), messages.into_iter().skip(after).take(limit).collect());
    shown.extend(next.map(|next| ("next".to_owned(), next.into())));
    Value::Object(shown).to_string()
}

/// The version is what `if_version` wants, and the entity tag what `If-Match` of the API wants.
fn meta(shown: &Shown) -> Vec<(&'static str, String)> {
    let mut meta = vec![
        ("portcullis/version", shown.version.to_string()),
        ("portcullis/etag", Value::from(format!("\"{}\"", shown.version)).to_string()),
    ];
    meta.extend(shown.expires_at.as_ref().map(|expiry| ("portcullis/expires-at", Value::from(&**expiry).to_string())));
    meta
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uris_of_ours_mean_something() {
        let state = |key: &str| Some(Address::State(key.parse().unwrap()));
        let history = |after, limit| Some(Address::History { after, limit });
        for (uri, expected) in [
            ("portcullis://session/state/a.b", state("a.b")),
            ("portcullis://session/state/a%40b", state("a@b")),
            ("portcullis://session/history", history(0, MESSAGES_LIMIT)),
            ("portcullis://session/history?after=3&limit=2", history(3, 2)),
            ("portcullis://session/history?limit=0", None),
            ("portcullis://session/history?limit=201", None),
            ("portcullis://session/history?from=1", None),
            ("portcullis://session/historyx", None),
            ("portcullis://session/state/", None),
            ("portcullis://session/state/../history", None),
            ("portcullis://session/state/a%2Fb", None),
            ("portcullis://session/state/bob:a", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(Address::read(uri), expected, "{uri}");
        }
    }

    #[test]
    fn a_long_history_goes_on_where_it_says() {
        let messages = |count: usize| (0..count).map(Value::from).collect::<Vec<_>>();
        assert_eq!(history(messages(2), 0, 2), r#"{"messages":[0,1]}"#);
        assert_eq!(
            history(messages(3), 0, 2),
            r#"{"messages":[0,1],"next":"portcullis://session/history?after=2&limit=2"}"#
        );
        assert_eq!(history(messages(3), 2, 2), r#"{"messages":[2]}"#);
        assert_eq!(history(messages(3), 9, 2), r#"{"messages":[]}"#);
    }
}
