//! An agent, ready to be called.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::ids::{AgentName, PrincipalName};
use portcullis_domain::registry::Replica;

use crate::jwk::KeySet;
use crate::registry::credential::UpstreamCredential;
use crate::registry::table::{AgentHistory, AgentProtocol, AgentTable, fixed};

/// How long a replica may take, if nothing is said.
const TIMEOUT_S: u64 = 600;
/// How many calls a replica takes at a time, if nothing is said.
const CALLS_LIMIT: usize = 256;

/// An agent of the registry.
pub struct Agent {
    /// Its name for callers and policies.
    pub capability: Capability,
    /// Who it is when it calls.
    pub principal: PrincipalName,
    /// Whether it may call for nobody but itself.
    pub is_alone_allowed: bool,
    /// Whether its task tokens count only together with a key of its own.
    pub is_bound: bool,
    /// What it speaks.
    pub protocol: AgentProtocol,
    /// Its replicas, without a slash at the end of their addresses.
    pub replicas: Vec<Replica>,
    /// Those that take new turns.
    pub open: Vec<Replica>,
    /// What it is shown.
    pub credential: UpstreamCredential,
    /// What its card must be signed with.
    pub card_keys: Option<Arc<KeySet>>,
    /// The port that is called by gRPC, if it is another one.
    pub grpc_port: Option<u16>,
    /// The path of its health.
    pub health: Option<String>,
    /// The path that a session's state is posted to.
    pub hydrate: Option<String>,
    /// Who tells a replica what was said before.
    pub history: AgentHistory,
    /// How long it may take.
    pub timeout: Duration,
    /// How many calls a replica takes at a time.
    pub calls_limit: usize,
}

impl fmt::Debug for Agent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {:?}", self.capability, self.replicas)
    }
}

impl Agent {
    /// The agent of that name and table.
    ///
    /// # Errors
    ///
    /// A sentence when it has no replica, an address is none, or a path does not begin with a slash.
    pub fn of_table(name: &AgentName, table: &AgentTable, base: &Path) -> Result<Self, String> {
        let replicas = table.replicas.iter().map(|url| replica(url)).collect::<Result<Vec<_>, _>>()?;
        if replicas.is_empty() {
            return Err("needs at least one URL in `replicas`".to_owned());
        }
        let draining = table.draining.iter().map(|url| replica(url)).collect::<Result<Vec<_>, _>>()?;
        if let Some(stray) = draining.iter().find(|replica| !replicas.contains(replica)) {
            return Err(format!("`{stray}` is in `draining` and not in `replicas`"));
        }
        if table.protocol == AgentProtocol::A2a && table.hydrate.is_some() {
            return Err(
                "`hydrate` is for agents over plain HTTP: one that speaks Agent2Agent is told with the message"
                    .to_owned(),
            );
        }
        if table.protocol != AgentProtocol::Openai && table.history != AgentHistory::Client {
            return Err("`history` is for agents with `protocol: openai`".to_owned());
        }
        if table.protocol != AgentProtocol::A2a && table.card_keys.is_some() {
            return Err("`card_keys` are for agents that speak Agent2Agent: others have no card".to_owned());
        }
        let fixed = fixed(&table.token, &table.token_file, base)?;
        for path in [&table.health, &table.hydrate].into_iter().flatten() {
            if !path.starts_with('/') {
                return Err(format!("`{path}` is no path: it begins with `/`"));
            }
        }
        Ok(Self {
            capability: Capability::new(Kind::Agent, name.as_str()),
            principal: table.principal(name)?,
            is_alone_allowed: table.alone,
            is_bound: table.bound,
            protocol: table.protocol,
            open: replicas.iter().filter(|replica| !draining.contains(replica)).cloned().collect(),
            replicas,
            credential: UpstreamCredential::of_table(fixed.as_ref(), table.credential.as_ref(), base)?,
            card_keys: table.card_keys.as_deref().map(|keys| key_set(keys, base)).transpose()?.map(Arc::new),
            grpc_port: table.grpc_port,
            health: table.health.clone(),
            hydrate: table.hydrate.clone(),
            history: table.history,
            timeout: Duration::from_secs(table.timeout_s.unwrap_or(TIMEOUT_S)),
            calls_limit: table.calls_limit.unwrap_or(CALLS_LIMIT).max(1),
        })
    }
}

fn key_set(keys: &str, base: &Path) -> Result<KeySet, String> {
    let of = |problem: String| format!("`card_keys`: {problem}");
    if keys.trim_start().starts_with('{') {
        return KeySet::read(keys).map_err(of);
    }
    let path = base.join(keys);
    let text =
        std::fs::read_to_string(&path).map_err(|error| of(format!("can't read `{}`: {error}", path.display())))?;
    KeySet::read(&text).map_err(of)
}

/// A replica's address is its name in the journal, so it holds no credentials and no query.
///
/// # Errors
///
/// A sentence when it does, or is no URL of HTTP.
pub fn replica(url: &str) -> Result<Replica, String> {
    let wrong = || format!("`{url}` is no URL of http or https without user, query and fragment");
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let is_plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && !authority.is_empty()
        && !authority.contains('@')
        && uri.query().is_none()
        && !url.contains('#');
    if is_plain { Ok(Replica::at(url.trim_end_matches('/'))) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: AgentTable, expected: Result<usize, &str>) {
        let agent = Agent::of_table(&"adjuster".parse().unwrap(), &table, Path::new("."));
        match (agent, expected) {
            (Ok(agent), Ok(open)) => assert_eq!(agent.open.len(), open),
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
            (agent, expected) => panic!("{agent:?} for {expected:?}"),
        }
    }

    #[test]
    fn a_table_says_what_is_wrong_with_it() {
        let of = |replicas: &[&str]| AgentTable {
            replicas: replicas.iter().map(|url| (*url).to_owned()).collect(),
            ..AgentTable::default()
        };
        check(of(&["http://10.0.0.1:9000/", "https://agents.example/a"]), Ok(2));
        check(of(&[]), Err("at least one URL"));
        for wrong in ["10.0.0.1:9000", "ftp://a/", "http://user:pass@a/", "http://a/?q=1", "http://a/#f", "http:///x"] {
            check(of(&[wrong]), Err("is no URL"));
        }
        let two = || of(&["http://a", "http://b"]);
        check(AgentTable { draining: vec!["http://b/".to_owned()], ..two() }, Ok(1));
        check(AgentTable { draining: vec!["http://c".to_owned()], ..two() }, Err("not in `replicas`"));
        check(AgentTable { protocol: AgentProtocol::A2a, hydrate: Some("/h".to_owned()), ..two() }, Err("`hydrate`"));
        check(AgentTable { history: AgentHistory::Replay, ..two() }, Err("`history`"));
        check(AgentTable { history: AgentHistory::Replay, protocol: AgentProtocol::Openai, ..two() }, Ok(2));
        check(AgentTable { card_keys: Some("{}".to_owned()), ..two() }, Err("have no card"));
        let keys = |keys: &str| AgentTable { protocol: AgentProtocol::A2a, card_keys: Some(keys.to_owned()), ..two() };
        check(keys("{}"), Err("no set of keys"));
        check(keys("no-such-file.json"), Err("can't read"));
        check(AgentTable { health: Some("healthz".to_owned()), ..two() }, Err("is no path"));
    }
}
