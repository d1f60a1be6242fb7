//! MCP servers whose every byte the test chooses: one over HTTP, one as a shell script on standard input and output.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::raw_upstream::{RawUpstream, Received, SILENCE, whole};

/// A server of 2025-11-25 over HTTP, without sessions.
pub(crate) struct FakeMcp {
    pub(crate) upstream: RawUpstream,
    /// The raw JSON array of its tools. Locked to read and to replace, never across a wait.
    tools: Arc<Mutex<String>>,
}

impl FakeMcp {
    /// A server with these tools, given as a raw JSON array. `call` gives the raw member `"result":…` or `"error":…` for the raw parameters of a call; nothing where there is to be no answer.
    pub(crate) async fn start(tools: &str, call: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        let tools = Arc::new(Mutex::new(tools.to_owned()));
        let listed = tools.clone();
        let upstream = RawUpstream::start(move |request| {
            let listed = listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            vec![reply(request, &listed, &call)]
        });
        Self { upstream: upstream.await, tools }
    }

    /// From now on these are its tools.
    pub(crate) fn declare(&self, tools: &str) {
        tools.clone_into(&mut self.tools.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn reply(request: &Received, tools: &str, call: &impl Fn(&Value) -> String) -> Vec<u8> {
    let message = request.json();
    let Some(id) = message.get("id") else { return whole(202, "", "") };
    let outcome = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}"#.to_owned()
        }
        "tools/list" => format!(r#""result":{{"tools":{tools}}}"#),
        "tools/call" => call(&message["params"]),
        _ => r#""error":{"code":-32601,"message":"Method not found"}"#.to_owned(),
    };
    if outcome.is_empty() {
        return SILENCE.to_vec();
    }
    whole(200, "", &format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#))
}

/// A tool without arguments.
pub(crate) fn tool(name: &str) -> String {
    taking(name, "{}")
}

/// A tool with these properties.
fn taking(name: &str, properties: &str) -> String {
    format!(
        r#"{{"name":"{name}","description":"Does {name}.","inputSchema":{{"type":"object","properties":{properties}}}}}"#
    )
}

/// A server on standard input and output, as a shell script in a folder. In the folder it reads `tools.json` for each list and
/// writes `pid` at its start; it has these tools:
///
/// - `say` answers `said`, and may be told whom to say it `to`;
/// - `grow` makes `grown.json` its list and tells the client so;
/// - `fork` starts a process that outlives any call and writes its id to `child`;
/// - `nap` makes the file `napping` and answers half a second later;
/// - `hang` never answers;
/// - `die` ends it at once.
pub(crate) fn stdio(folder: &Path) -> PathBuf {
    let script = folder.join("server.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    let say = taking("say", r#"{"to":{"type":"string"}}"#);
    let list = |names: &[&str]| {
        let tools: Vec<String> = [say.clone()].into_iter().chain(names.iter().map(|name| tool(name))).collect();
        format!("[{}]", tools.join(","))
    };
    let names = ["grow", "fork", "nap", "hang", "die"];
    std::fs::write(folder.join("tools.json"), list(&names)).unwrap();
    std::fs::write(folder.join("grown.json"), list(&[&names[..], &["more"]].concat())).unwrap();
    script
}

const SCRIPT: &str = r#"
cd "$(dirname "$0")" || exit 1
echo $$ > pid.new && mv pid.new pid
echo 'Programs print all sorts of things.'
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
text() { answer "{\"content\":[{\"type\":\"text\",\"text\":\"$1\"}]}"; }
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"initialize"'*)
      answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"tools/list"'*) answer "{\"tools\":$(cat tools.json)}" ;;
    *'"method":"tools/call"'*'"name":"say"'*) text said ;;
    *'"method":"tools/call"'*'"name":"more"'*) text "said more" ;;
    *'"method":"tools/call"'*'"name":"grow"'*)
      cp grown.json tools.json
      echo '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
      text grown ;;
    *'"method":"tools/call"'*'"name":"fork"'*)
      sleep 1000 > /dev/null &
      echo $! > child.new && mv child.new child
      text forked ;;
    *'"method":"tools/call"'*'"name":"nap"'*)
      : > napping
      sleep 0.5
      text rested ;;
    *'"method":"tools/call"'*'"name":"hang"'*) ;;
    *'"method":"tools/call"'*'"name":"die"'*) exit 3 ;;
    *'"method":"notifications/'*) ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}\n' "$id" ;;
  esac
done
"#;
