//! The gateway's own tools: the session's scratchpad, for agents that know tools and nothing else. They are judged and recorded as all tools are.

use std::sync::{Arc, LazyLock};

use portcullis_domain::ids::ServerName;

use crate::registry::tool::{Tool, read_list};

/// The server that these tools belong to.
pub const SERVER: &str = "portcullis";

/// All of them, as a server would list them. Writing twice does no more than writing once: the value is the same, and a condition that was met
/// once is not met again.
const TOOLS: &str = r#"[
{"name":"state_list","description":"Lists the keys of what you have noted down in this session, in order, each with its version and size.",
 "inputSchema":{"type":"object","properties":{
  "prefix":{"type":"string","description":"Only keys that begin so."},
  "after":{"type":"string","description":"The `next` of the page before."},
  "limit":{"type":"integer","minimum":1,"maximum":1000}}},
 "annotations":{"readOnlyHint":true,"openWorldHint":false}},
{"name":"state_get","description":"Reads what you have noted down under a key in this session, with its version.",
 "inputSchema":{"type":"object","properties":{"key":{"type":"string"}},"required":["key"]},
 "annotations":{"readOnlyHint":true,"openWorldHint":false}},
{"name":"state_put","description":"Notes down any JSON value under a key in this session, where it outlives restarts. Give `if_version` to write only over the version that you have read, or `if_absent` to write only where there is nothing.",
 "inputSchema":{"type":"object","properties":{
  "key":{"type":"string","description":"1 to 128 of A-Z a-z 0-9 . _ - @ +, beginning with a letter or a digit."},
  "value":{"description":"Any JSON value of less than 1 MiB."},
  "if_version":{"type":"integer","minimum":1},
  "if_absent":{"type":"boolean"},
  "ttl_s":{"type":"integer","minimum":1,"description":"Keep it for so many seconds only."}},"required":["key","value"]},
 "annotations":{"readOnlyHint":false,"idempotentHint":true,"openWorldHint":false}},
{"name":"state_delete","description":"Deletes what is noted down under a key in this session. Give `if_version` to delete only the version that you have read.",
 "inputSchema":{"type":"object","properties":{"key":{"type":"string"},"if_version":{"type":"integer","minimum":1}},"required":["key"]},
 "annotations":{"readOnlyHint":false,"idempotentHint":true,"openWorldHint":false}}
]"#;

/// All of them, read once.
static READ: LazyLock<Vec<Arc<Tool>>> = LazyLock::new(|| {
    let server = SERVER.parse::<ServerName>();
    server.and_then(|server| read_list(&server, TOOLS)).map(|(tools, _)| tools).unwrap_or_default()
});

/// The tools themselves.
#[must_use]
pub fn tools() -> &'static [Arc<Tool>] {
    &READ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_can_be_read_and_repeated() {
        let names: Vec<&str> = tools().iter().map(|tool| &*tool.capability.name).collect();
        let expected = ["state_list", "state_get", "state_put", "state_delete"].map(|name| format!("{SERVER}__{name}"));
        assert_eq!(names, expected);
        assert!(tools().iter().all(|tool| tool.hints.is_harmless()));
    }
}
