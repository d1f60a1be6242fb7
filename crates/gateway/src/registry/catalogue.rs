//! All models, tools and toolsets under the names that callers use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::ids::{PrincipalName, ServerName};

use crate::registry::agent::Agent;
use crate::registry::credential::UpstreamCredential;
use crate::registry::deployment;
use crate::registry::model::Model;
use crate::registry::own;
use crate::registry::table::{AgentProtocol, RegistryTable, fixed};
use crate::registry::tool::{SEPARATOR, Tool};

/// A selection of tools, by the names that its callers use.
pub type Toolset = BTreeMap<String, Arc<Tool>>;

/// Somebody who acts for others.
#[derive(Debug, Clone)]
pub struct Acting {
    /// What it is: an agent, or a server of tools.
    what: String,
    /// Whether it may call for nobody but itself.
    pub is_alone_allowed: bool,
    /// Whether its task tokens count only together with a key of its own.
    pub is_bound: bool,
}

/// What there is to call. It never changes: when something changes there is another one.
#[derive(Debug, Default)]
pub struct Catalogue {
    models: BTreeMap<String, Arc<Model>>,
    agents: BTreeMap<String, Arc<Agent>>,
    acting: BTreeMap<PrincipalName, Acting>,
    servers: BTreeMap<ServerName, PrincipalName>,
    /// What servers are shown.
    credentials: BTreeMap<ServerName, UpstreamCredential>,
    /// All tools as `server__tool`.
    all: Toolset,
    /// By the name that the server gave, for models that leave the server out.
    by_plain_name: BTreeMap<String, Vec<Arc<Tool>>>,
    toolsets: BTreeMap<String, Toolset>,
}

impl Catalogue {
    /// The catalogue of this configuration and of what each server declared.
    ///
    /// # Errors
    ///
    /// One sentence for each thing that is wrong, behind the key that it stands at.
    pub fn new(
        table: &RegistryTable,
        base: &Path,
        tools: impl IntoIterator<Item = Arc<Tool>>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut catalogue = Self::default();
        for (name, model) in &table.models {
            match deployment::model(name, model, base) {
                Ok(model) => drop(catalogue.models.insert(name.clone(), Arc::new(model))),
                Err(problem) => problems.push(format!("registry.models.{name}: {problem}")),
            }
        }
        for (name, agent) in &table.agents {
            if agent.protocol == AgentProtocol::Openai && table.models.contains_key(name.as_str()) {
                problems.push(format!("registry.agents.{name}: there is a model of that name"));
            }
            match Agent::of_table(name, agent, base) {
                Ok(agent) => {
                    let acting = Acting {
                        what: agent.capability.to_string(),
                        is_alone_allowed: agent.is_alone_allowed,
                        is_bound: agent.is_bound,
                    };
                    if let Some(other) = catalogue.acting.insert(agent.principal.clone(), acting) {
                        problems.push(format!("registry.agents.{name}: its principal is that of {}", other.what));
                    }
                    catalogue.agents.insert(name.to_string(), Arc::new(agent));
                }
                Err(problem) => problems.push(format!("registry.agents.{name}: {problem}")),
            }
        }
        for (name, server) in &table.servers {
            let Some(principal) = &server.principal else { continue };
            let acting = Acting { what: format!("server/{name}"), is_alone_allowed: false, is_bound: false };
            if let Some(other) = catalogue.acting.insert(principal.clone(), acting) {
                problems.push(format!("registry.servers.{name}: its principal is that of {}", other.what));
            }
            catalogue.servers.insert(name.clone(), principal.clone());
        }
        for (name, server) in &table.servers {
            let fixed = fixed(&server.token, &server.token_file, base);
            let credential =
                fixed.and_then(|fixed| UpstreamCredential::of_table(fixed.as_ref(), server.credential.as_ref(), base));
            // What is wrong with it, whoever makes the connection has said: there is none then.
            if let Ok(credential) = credential {
                catalogue.credentials.insert(name.clone(), credential);
            }
        }
        for tool in tools {
            catalogue.by_plain_name.entry(tool.name.clone()).or_default().push(tool.clone());
            let own = catalogue.toolsets.entry(tool.server.to_string()).or_default();
            own.insert(tool.name.clone(), tool.clone());
            catalogue.all.insert(tool.capability.name.to_string(), tool);
        }
        if table.session_tools && table.servers.keys().any(|server| server.as_str() == own::SERVER) {
            problems
                .push(format!("registry.servers.{0}: with `session_tools`, `{0}` is the gateway itself", own::SERVER));
        }
        for server in table.servers.keys() {
            catalogue.toolsets.entry(server.to_string()).or_default();
        }
        for (name, items) in &table.toolsets {
            match catalogue.select(table, name, items) {
                Ok(toolset) => drop(catalogue.toolsets.insert(name.clone(), toolset)),
                Err(problem) => problems.push(format!("registry.toolsets.{name}: {problem}")),
            }
        }
        if problems.is_empty() { Ok(catalogue) } else { Err(problems) }
    }

    /// The tools that `items` name: whole servers, or single tools as `server__tool`.
    fn select(&self, table: &RegistryTable, name: &str, items: &[String]) -> Result<Toolset, String> {
        let is_own = table.session_tools && name == own::SERVER;
        if is_own || table.servers.contains_key(&name.parse::<ServerName>()?) {
            return Err("has the name of a server".to_owned());
        }
        let mut toolset = Toolset::new();
        for item in items {
            let selected: Vec<Arc<Tool>> = match (self.toolsets.get(item), self.all.get(item)) {
                (Some(server), _) => server.values().cloned().collect(),
                (None, Some(tool)) => vec![tool.clone()],
                // A tool of a server that was not reached yet: it joins when the server is.
                (None, None)
                    if item.split_once(SEPARATOR).is_some_and(|(server, _)| {
                        server.parse().is_ok_and(|server: ServerName| table.servers.contains_key(&server))
                    }) =>
                {
                    Vec::new()
                }
                (None, None) => return Err(format!("`{item}` is neither a server nor a tool `server{SEPARATOR}tool`")),
            };
            for tool in selected {
                if let Some(other) = toolset.insert(tool.name.clone(), tool.clone())
                    && other.capability != tool.capability
                {
                    return Err(format!(
                        "`{}` and `{}` would both be called `{}`",
                        other.capability.name, tool.capability.name, tool.name
                    ));
                }
            }
        }
        Ok(toolset)
    }

    /// The models by name.
    pub fn models(&self) -> impl Iterator<Item = (&String, &Arc<Model>)> {
        self.models.iter()
    }

    /// The model of that name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// What is known of this principal as one that acts for others, if it is one.
    #[must_use]
    pub fn acting(&self, principal: &PrincipalName) -> Option<&Acting> {
        self.acting.get(principal)
    }

    /// Who a server of tools is when it calls, if it does.
    #[must_use]
    pub fn server_principal(&self, server: &ServerName) -> Option<&PrincipalName> {
        self.servers.get(server)
    }

    /// What the server is shown.
    #[must_use]
    pub fn server_credential(&self, server: &ServerName) -> &UpstreamCredential {
        self.credentials.get(server).unwrap_or(&UpstreamCredential::Nothing)
    }

    /// The agents by name.
    pub fn agents(&self) -> impl Iterator<Item = (&String, &Arc<Agent>)> {
        self.agents.iter()
    }

    /// The agent of that name.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.get(name)
    }

    /// All tools, as `server__tool`.
    #[must_use]
    pub fn all_tools(&self) -> &Toolset {
        &self.all
    }

    /// The toolset of that name.
    #[must_use]
    pub fn toolset(&self, name: &str) -> Option<&Toolset> {
        self.toolsets.get(name)
    }

    /// All tools that a model may mean by that name: exactly `server__tool`, or else every tool that its server calls so.
    #[must_use]
    pub fn meant(&self, name: &str) -> &[Arc<Tool>] {
        match self.all.get(name) {
            Some(tool) => std::slice::from_ref(tool),
            None => self.by_plain_name.get(name).map_or(&[], Vec::as_slice),
        }
    }

    /// A function that the registry does not know.
    #[must_use]
    pub fn function(name: &str) -> Capability {
        Capability::new(Kind::Function, name)
    }
}
