//! Making a snapshot of a configuration: everything is checked, and all that is wrong is said at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use portcullis_cedar::{Engine, Facts, Mode, Principal, Source, version_of};
use portcullis_domain::ids::{PrincipalName, ServerName};
use portcullis_domain::policy::{Deed, Guarded};
use portcullis_interop::mcp::Era;

use crate::assemble::{connect, protect};
use crate::config::{Config, Problem, read};
use crate::guardrails::Guardrails;
use crate::guardrails::rule::LISTED_LIMIT_BYTES;
use crate::identity::{self, certificates, issuers};
use crate::journal::Journal;
use crate::policy::load;
use crate::policy::made_of::MadeOf;
use crate::policy::rulebook::{self, Choice, Rulebook};
use crate::policy::table::Mode as PolicyMode;
use crate::registry::{Catalogue, Tool, own, statement};
use crate::snapshot::Snapshot;
use crate::upstreams::guard::Guard;

/// Everything that a snapshot is made of.
pub struct Parts<'a> {
    /// The configuration.
    pub config: Config,
    /// Its file.
    pub path: &'a Path,
    /// All tools that are known.
    pub tools: Vec<Arc<Tool>>,
    /// Servers whose tools are not known.
    pub unreachable: Vec<ServerName>,
    /// What knows the principals that issuers vouch for; none where nobody calls.
    pub journal: Option<Journal>,
    /// Which rules.
    pub choice: Choice,
}

impl Parts<'_> {
    /// Everybody whom policies can know.
    fn principals(&self) -> Result<Vec<Principal>, String> {
        let registry = &self.config.registry;
        let agents = registry.agents.iter().map(|(name, agent)| agent.principal(name));
        let servers = registry.servers.values().filter_map(|server| server.principal.clone()).map(Ok);
        identity::facts::principals(&self.config.identity, &agents.chain(servers).collect::<Result<_, _>>()?)
    }

    /// Checks all of it and makes the snapshot.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn build(mut self) -> Result<Snapshot, Vec<Problem>> {
        if self.config.registry.session_tools {
            self.tools.extend(own::tools().iter().cloned());
        }
        let file = self.path.display().to_string();
        let mut wrong = self.tables();
        let facts = self.facts(&mut wrong);
        let guardrails = taken(Guardrails::new(&self.config.guardrails), &mut wrong);
        let listed = self.withdraw(&guardrails);
        let tools = std::mem::take(&mut self.tools);
        let catalogue = taken(Catalogue::new(&self.config.registry, read::directory(self.path), tools), &mut wrong);
        let mut problems: Vec<Problem> = wrong.into_iter().map(|problem| Problem::of_file(&file, problem)).collect();
        let rules = self.rules(&file, facts).map_err(|found| problems.extend(found)).ok();
        match rules {
            Some(Rules { policy, policy_text, made_of, rulebook }) if problems.is_empty() => Ok(Snapshot {
                config: self.config,
                catalogue,
                policy,
                guardrails,
                listed,
                policy_text,
                made_of,
                rulebook,
                journal: self.journal,
            }),
            Some(_) | None => Err(problems),
        }
    }

    /// What is wrong with the tables by themselves.
    fn tables(&self) -> Vec<String> {
        let (config, base) = (&self.config, read::directory(self.path));
        let mut wrong: Vec<String> = self.open_to_others().into_iter().collect();
        wrong.extend(config.identity.check().err());
        match Guard::new(&config.server.push_allowed) {
            Ok(guard) => wrong.extend(self.notified(&guard).err()),
            Err(problem) => wrong.push(format!("server.push_allowed: {problem}")),
        }
        let allowed = Guard::new(&config.identity.issuers_allowed);
        wrong.extend(allowed.err().map(|problem| format!("identity.issuers_allowed: {problem}")));
        wrong.extend(issuers::check(&config.identity.issuers, base));
        wrong.extend(config.policy.approvals.problem());
        wrong.extend(config.ledger.rates.problem());
        wrong.extend(config.registry.tools_wait_problem());
        wrong.extend(self.services().err());
        wrong.extend(connect::strangers(config));
        wrong.extend(connect::silent(config));
        wrong.extend(protect::problem(config));
        wrong
    }

    /// What rules are compiled against.
    fn facts(&self, wrong: &mut Vec<String>) -> Facts {
        let config = &self.config;
        let (principals, issuers) = match self.principals() {
            Ok(principals) => {
                let issuers = identity::facts::issuers(&config.identity, &principals).map_err(|problem| vec![problem]);
                (principals, taken(issuers, wrong))
            }
            Err(problem) => {
                wrong.push(problem);
                (Vec::new(), Vec::new())
            }
        };
        wrong.extend(self.credentials(&principals));
        let tools = self.tools.iter().map(|tool| portcullis_cedar::Tool {
            server: tool.server.clone(),
            name: tool.name.clone(),
            arguments: tool.arguments.clone(),
            read_only: tool.hints.read_only,
            destructive: tool.hints.destructive,
            idempotent: tool.hints.idempotent,
        });
        Facts {
            issuers,
            principals,
            tools: tools.collect(),
            models: config.registry.models.keys().cloned().collect(),
            agents: config.registry.agents.keys().map(ToString::to_string).collect(),
            unreachable_servers: self.unreachable.clone(),
            stated: taken(statement::statements(&config.registry.servers), wrong),
            mode: match config.policy.mode {
                PolicyMode::Enforce => Mode::Enforce,
                PolicyMode::Audit => Mode::Audit,
            },
        }
    }

    /// Takes out the tools that guardrails block, and says what they did. Rules may go on speaking of a tool that is withdrawn: else a server could make all rules fail.
    fn withdraw(&mut self, guardrails: &Guardrails) -> Vec<(String, Guarded)> {
        let mut listed = Vec::new();
        let mut left_bytes: BTreeMap<ServerName, usize> = BTreeMap::new();
        self.tools.retain(|tool| {
            let left_bytes = left_bytes.entry(tool.server.clone()).or_insert(LISTED_LIMIT_BYTES);
            let did = guardrails.listed(&tool.capability, tool.entry(Era::Legacy, false), left_bytes);
            let is_blocked = did.iter().any(|guarded| guarded.deed == Deed::Blocked);
            listed.extend(did.into_iter().map(|guarded| (tool.capability.name.to_string(), guarded)));
            !is_blocked
        });
        listed
    }

    /// The rules, with what they are made of.
    fn rules(&self, file: &str, facts: Facts) -> Result<Rules, Vec<Problem>> {
        let (sources, rulebook) = self.chosen(file, &facts)?;
        let policy_text = sources.iter().map(|source| format!("// {}\n{}\n", source.file, source.text)).collect();
        let parts = MadeOf { sources, facts };
        let told = |problem: &portcullis_cedar::Problem| {
            let mut problem = of_rule(problem);
            if rulebook.rules != rulebook.written {
                problem.file.push_str(" (as it was put back)");
            }
            problem
        };
        let policy = parts.compile().map_err(|found| found.iter().map(told).collect::<Vec<_>>())?;
        Ok(Rules { policy, policy_text, made_of: parts.to_bytes(), rulebook })
    }

    /// The rules that count. Those of the files need not fit anything for as long as others count.
    fn chosen(&self, file: &str, facts: &Facts) -> Result<(Vec<Source>, Rulebook), Vec<Problem>> {
        let put_back = match &self.choice {
            Choice::These { sources, before } => {
                return Ok((sources.clone(), Rulebook { rules: rulebook::digest(sources), ..*before }));
            }
            Choice::Written(put_back) => put_back,
        };
        let sources = load::sources(&self.config.policy, read::directory(self.path), file);
        let sources = sources.map_err(|(name, problem)| vec![Problem::of_file(&name, problem)])?;
        let (written, declared) = (rulebook::digest(&sources), version_of(&sources, facts));
        let put_back = put_back.as_ref().filter(|put_back| put_back.instead_of == written);
        let sources = put_back.map_or(sources, |put_back| put_back.sources.clone());
        let rules = rulebook::digest(&sources);
        Ok((sources, Rulebook { rules, written, declared }))
    }

    /// What is wrong with those who vouch by certificates, and with keys that stand there.
    fn credentials(&self, principals: &[Principal]) -> Vec<String> {
        let identity = &self.config.identity;
        let issuers = identity.issuers.iter().map(|(name, table)| (name.clone(), table.prefix(name))).collect();
        let is_there = |name: &PrincipalName| principals.iter().any(|principal| principal.name == *name);
        let mut problems = certificates::check(&identity.certificates, &issuers, is_there);
        for (name, table) in identity.keys.iter().filter(|(_, table)| !is_there(&table.principal)) {
            problems.push(format!("identity.keys.{name}: there is no principal or agent `{}`", table.principal));
        }
        problems
    }

    /// Who is told of approvals must be somebody whom the gateway may call.
    fn notified(&self, guard: &Guard) -> Result<(), String> {
        let Some(url) = &self.config.policy.approvals.notify else { return Ok(()) };
        guard.check(url).map(drop).map_err(|problem| format!("`policy.approvals.notify`: {problem}"))
    }

    /// Services that guardrails ask must be such as the gateway may call.
    fn services(&self) -> Result<(), String> {
        for rule in &self.config.guardrails {
            let of_rule = |problem: String| format!("guardrails.{}: {problem}", rule.name);
            let guard = Guard::new(&rule.allowed).map_err(of_rule)?;
            let Some(url) = &rule.ask else { continue };
            guard.check(url).map_err(|problem| of_rule(format!("`ask`: {problem}")))?;
        }
        Ok(())
    }

    /// A gateway that others can reach must know its own names, or a page could make a browser call it by another.
    fn open_to_others(&self) -> Option<String> {
        let server = &self.config.server;
        let is_open = !server.listen.ip().is_loopback() && server.allowed_hosts.is_empty();
        is_open.then(|| format!("`server.listen` is {}, so that others can reach it: set `server.allowed_hosts` to the names that they use", server.listen))
    }
}

/// Rules that can be asked.
struct Rules {
    policy: Engine,
    policy_text: String,
    made_of: Vec<u8>,
    rulebook: Rulebook,
}

/// What was made, or nothing of it and what is wrong.
fn taken<T: Default>(made: Result<T, Vec<String>>, wrong: &mut Vec<String>) -> T {
    made.unwrap_or_else(|found| {
        wrong.extend(found);
        T::default()
    })
}

/// A problem of a rule in the form of all others.
#[must_use]
pub fn of_rule(problem: &portcullis_cedar::Problem) -> Problem {
    let place = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Problem {
        file: problem.file.clone(),
        line: place(problem.line),
        column: place(problem.column),
        message: problem.message.clone(),
        suggestion: problem.suggestion.as_ref().map(|name| format!("did you mean `{name}`?")),
        is_warning: !problem.is_error(),
    }
}

/// What a guardrail did with what a server says of a tool, for people.
#[must_use]
pub fn listed(tool: &str, guarded: &Guarded) -> String {
    let found: Vec<&str> = guarded.found.keys().map(String::as_str).collect();
    let what = guarded.fault.clone().unwrap_or_else(|| format!("found {}", found.join(", ")));
    let deed = if guarded.deed == Deed::Blocked { "and has withdrawn it" } else { "and only says so" };
    format!("guardrail `{}` {what} in what is said of the tool `{tool}`, {deed}", guarded.rule)
}
