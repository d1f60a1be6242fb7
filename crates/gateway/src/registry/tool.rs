//! A tool, as its server declared it.

use std::sync::Arc;

use portcullis_domain::call::{CAPABILITY_LIMIT_BYTES, Capability, Kind};
use portcullis_domain::ids::ServerName;
use portcullis_domain::json;
use portcullis_domain::policy::RecordType;
use portcullis_interop::mcp::{self, Era};

/// What stands between the server's name and the tool's.
pub const SEPARATOR: &str = "__";

/// A tool of the registry.
#[derive(Debug)]
pub struct Tool {
    /// Its name for callers and policies: `server__tool`.
    pub capability: Capability,
    /// The server that it belongs to.
    pub server: ServerName,
    /// Its name for that server.
    pub name: String,
    /// The raw JSON Schema of its arguments.
    pub input_schema: String,
    /// The types of its arguments.
    pub arguments: RecordType,
    /// What it says of itself (MCP `ToolAnnotations`); a server may lie, so policies should only narrow by them.
    pub hints: Hints,
    /// Its entry in lists, written once.
    entries: Entries,
}

/// The entry of a tool in a list, for each era and for both of its names.
#[derive(Debug)]
struct Entries {
    legacy: [String; 2],
    modern: [String; 2],
}

/// The annotations of a tool that policies can read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy something.
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments has no further effect.
    pub idempotent: Option<bool>,
}

impl Hints {
    /// Whether calling it twice does no more than calling it once.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        self.read_only == Some(true) || self.idempotent == Some(true)
    }
}

impl Tool {
    /// Reads one item of a server's list of tools.
    ///
    /// # Errors
    ///
    /// A sentence when it has no name or schema, or a name that can't be told from another.
    pub fn read(server: &ServerName, raw: &str) -> Result<Self, String> {
        let declared = mcp::Tool::read(raw)?;
        let full = format!("{server}{SEPARATOR}{}", declared.name);
        if full.len() > CAPABILITY_LIMIT_BYTES || !declared.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "`{}` is no name for a tool",
                declared.name.escape_debug().take(80).collect::<String>()
            ));
        }
        let schema = serde_json::from_str(&declared.input_schema)
            .map_err(|error| format!("the schema of `{}` can't be read: {error}", declared.name))?;
        let both = |era| Ok::<_, String>([declared.entry(&full, era)?, declared.entry(&declared.name, era)?]);
        Ok(Self {
            entries: Entries { legacy: both(Era::Legacy)?, modern: both(Era::Modern)? },
            capability: Capability::new(Kind::Tool, &full),
            server: server.clone(),
            arguments: RecordType::of_schema(&schema),
            hints: declared.annotations.as_deref().map(read_hints).unwrap_or_default(),
            input_schema: declared.input_schema,
            name: declared.name,
        })
    }

    /// Its entry in a list, under its full name or under the server's own.
    #[must_use]
    pub fn entry(&self, era: Era, is_full: bool) -> &str {
        let [full, plain] = match era {
            Era::Legacy => &self.entries.legacy,
            Era::Modern => &self.entries.modern,
        };
        if is_full { full } else { plain }
    }
}

/// Reads a list of tools. What can't be used is left out and said.
///
/// # Errors
///
/// When it is no list.
pub fn read_list(server: &ServerName, list: &str) -> Result<(Vec<Arc<Tool>>, Vec<String>), String> {
    let (mut tools, mut problems): (Vec<Arc<Tool>>, Vec<String>) = (Vec::new(), Vec::new());
    for item in json::items(list)? {
        match Tool::read(server, item.get()) {
            Ok(tool) if tools.iter().any(|other| other.name == tool.name) => {
                problems.push(format!("tool `{}` stands twice", tool.name))
            }
            Ok(tool) => tools.push(Arc::new(tool)),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((tools, problems))
}

fn read_hints(raw: &str) -> Hints {
    let Ok(members) = json::members(raw) else { return Hints::default() };
    let hint = |name| json::member(&members, name).and_then(|raw| serde_json::from_str::<bool>(raw.get()).ok());
    Hints { read_only: hint("readOnlyHint"), destructive: hint("destructiveHint"), idempotent: hint("idempotentHint") }
}
