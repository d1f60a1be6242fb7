//! Everything that a call needs to know and that changes only with the configuration or the catalogue, in one immutable value.
//!
//! A call takes one snapshot and keeps it to its end, so that a reload never changes the rules in the middle of a decision.

use std::sync::Arc;
use std::time::Duration;

use portcullis_cedar::Engine;
use portcullis_domain::authority::{Chain, Credential};
use portcullis_domain::call::{Capability, Door, Kind, Place, Shown};
use portcullis_domain::identity::{Entrance, Seen};
use portcullis_domain::ids::{PrincipalName, RoleName};
use portcullis_domain::ledger::estimate;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{
    Approval, Arguments, Ask, Decision, Effect, Guarded, Moment, Question, Said, arguments,
};
use portcullis_domain::profile::Profile;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::ChatRequest;

use crate::asking::Asking;
use crate::config::Config;
use crate::granted::Granted;
use crate::guardrails::Guardrails;
use crate::identity::signing::SigningKeys;
use crate::identity::table::Standing;
use crate::journal::Journal;
use crate::policy::rulebook::Rulebook;
use crate::registry::table::{AgentProtocol, SourceTable};
use crate::registry::{Agent, Catalogue, Model, Tool};

/// The most tokens that one call may be asked to produce, over all choices.
const OUTPUT_LIMIT_TOKENS: u64 = 4_000_000;

/// What an agent reads that comes with its own key alone.
pub const ASTRAY: &str = "An agent acts for somebody: send the task token that came with the task as the key. This agent may do nothing by itself.";

/// What an agent reads that uses a task for something else.
pub const OUTSIDE: &str = "What you call is outside of what this task, or the key behind it, is for. Do not try it again; continue without it or say what you would need.";

/// What is in force.
pub struct Snapshot {
    /// The configuration that it was made of.
    pub config: Config,
    /// What there is to call.
    pub catalogue: Catalogue,
    /// The rules.
    pub policy: Engine,
    /// What looks at what is in calls.
    pub guardrails: Guardrails,
    /// What guardrails did with what servers say of their tools, by the tools' names.
    pub listed: Vec<(String, Guarded)>,
    /// The rules as text, with the names of their files.
    pub policy_text: String,
    /// All that the rules were made of: [`crate::policy::made_of::MadeOf`] as JSON.
    pub made_of: Vec<u8>,
    /// Which rules these are, and which stand in the files.
    pub rulebook: Rulebook,
    /// What knows the principals that issuers vouch for; none where nobody calls.
    pub journal: Option<Journal>,
}

/// What changes from call to call and that rules may read, as far as it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The time, and what the session has done by then.
    pub moment: Moment,
    /// What was said in the session.
    pub said: Option<Arc<Said>>,
    /// What the task is granted; none where that was not looked at, or there is nothing.
    pub grants: Option<Arc<Granted>>,
}

/// What is known of a call before it is admitted.
#[derive(Debug)]
pub struct Known {
    /// What it is aimed at.
    pub capability: Capability,
    /// Why it can't be forwarded, whatever policy says.
    pub obstacle: Option<Refusal>,
    /// What policy says.
    pub decision: Decision,
    /// What it may cost; none when its price is not known.
    pub estimate: Option<Nanodollars>,
}

impl Snapshot {
    /// What may be spent in a session that is opened now.
    #[must_use]
    pub fn session_budget(&self) -> Option<Nanodollars> {
        self.config.ledger.session.map(|budget| budget.usd.0)
    }

    /// Whether the configuration knows the principal.
    #[must_use]
    pub fn has_principal(&self, name: &PrincipalName) -> bool {
        self.config.identity.principals.contains_key(name)
            || self.catalogue.acting(name).is_some()
            || name.as_str() == crate::identity::ADMINISTRATOR
    }

    /// Whether it is known who is behind the chain: somebody of the configuration, or of one of its issuers who has vouched for them.
    #[must_use]
    pub fn has_caller(&self, chain: Chain<'_>) -> bool {
        match chain.credential {
            Credential::Key(_) => self.has_principal(chain.subject),
            Credential::Vouched { .. } => match self.standing(chain) {
                Some((Standing::Configured, _)) => self.has_principal(chain.subject),
                Some((Standing::OfIssuer(_) | Standing::OfAuthority(_), _)) => true,
                None => false,
            },
        }
    }

    /// Who it is that somebody vouches for behind the chain, and what was said of them.
    fn standing(&self, chain: Chain<'_>) -> Option<(Standing<'_>, Arc<Seen>)> {
        let Credential::Vouched { issuer, .. } = chain.credential else { return None };
        let standing = self.config.identity.standing(issuer, chain.subject)?;
        let seen = self.journal.as_ref()?.keys().vouched(chain.credential).cloned()?;
        (seen.principal == *chain.subject).then_some((standing, seen))
    }

    /// What an issuer says of whoever is behind the chain. Roles that it may not give any more by now do not count.
    fn profile(&self, chain: Chain<'_>) -> Option<Arc<Seen>> {
        let (standing, seen) = self.standing(chain)?;
        if standing == Standing::Configured {
            return None;
        }
        let is_given = |role: &RoleName| standing.gives(role);
        if seen.profile.roles.iter().all(is_given) {
            return Some(seen);
        }
        let mut narrowed = (*seen).clone();
        narrowed.profile.roles.retain(is_given);
        Some(Arc::new(narrowed))
    }

    /// What the gateway is called by those who check its tokens: its public address, or else the name of its journal.
    #[must_use]
    pub fn issuer(&self, signing: &SigningKeys) -> String {
        let public = self.config.server.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        public.unwrap_or_else(|| signing.name())
    }

    /// The kind of credential that the upstream of a capability is shown.
    #[must_use]
    pub fn shown(&self, capability: &Capability) -> Option<Shown> {
        match capability.kind {
            Kind::Model => self.catalogue.model(&capability.name)?.shown(),
            Kind::Agent => self.catalogue.agent(&capability.name)?.credential.shown(),
            Kind::Tool => {
                let server = &self.catalogue.all_tools().get(&*capability.name)?.server;
                self.catalogue.server_credential(server).shown()
            }
            Kind::Function => None,
        }
    }

    /// The principal that is called as a capability, where one is.
    #[must_use]
    pub fn callee(&self, capability: &Capability) -> Option<&PrincipalName> {
        match capability.kind {
            Kind::Agent => self.catalogue.agent(&capability.name).map(|agent| &agent.principal),
            Kind::Tool => {
                let tool = self.catalogue.all_tools().get(&*capability.name)?;
                self.catalogue.server_principal(&tool.server)
            }
            Kind::Model | Kind::Function => None,
        }
    }

    /// Whether the chain may manage the gateway: everybody on it may, it was not handed on for something else, and the key that it comes from is for that.
    #[must_use]
    pub fn is_administrator(&self, chain: Chain<'_>) -> bool {
        // The limits of one's own key are no task: what it is for besides calls, its doors say.
        let is_task_for_less = chain.depth() > 0 && chain.scope.is_some();
        let profile = self.profile(chain);
        let may = |name| self.may_administrate(name, of(name, profile.as_ref()));
        !is_task_for_less && !self.is_astray(chain) && self.opens_api(chain.credential) && chain.principals().all(may)
    }

    /// Whether what the chain comes from opens the gateway's own API.
    fn opens_api(&self, credential: &Credential) -> bool {
        let (Credential::Key(key), Some(journal)) = (credential, &self.journal) else { return true };
        journal.keys().find(key).is_none_or(|key| key.scope.has_door(Entrance::Api))
    }

    /// The roles that somebody of the configuration has.
    #[must_use]
    pub fn roles(&self, name: &PrincipalName) -> Vec<RoleName> {
        let own = || {
            crate::identity::ADMINISTRATOR_ROLE.parse().ok().filter(|_| name.as_str() == crate::identity::ADMINISTRATOR)
        };
        let listed = self.config.identity.principals.get(name);
        listed.map_or_else(|| own().into_iter().collect(), |table| table.roles.clone())
    }

    /// The roles that somebody has by what they came with.
    #[must_use]
    pub fn roles_by(&self, chain: Chain<'_>) -> Vec<RoleName> {
        match chain.credential {
            Credential::Key(_) => self.roles(chain.subject),
            Credential::Vouched { .. } => match self.standing(chain) {
                Some((Standing::Configured, _)) => self.roles(chain.subject),
                Some((Standing::OfIssuer(_) | Standing::OfAuthority(_), _)) => {
                    self.profile(chain).map(|seen| seen.profile.roles.iter().cloned().collect()).unwrap_or_default()
                }
                None => Vec::new(),
            },
        }
    }

    /// Whether somebody of the configuration may answer an approval: who has one of the roles, has no part in the call, and is no agent.
    #[must_use]
    pub fn may_answer(&self, name: &PrincipalName, approval: &Approval) -> bool {
        self.is_asked(name, &self.roles(name), approval)
    }

    /// The same of somebody by what they came with. Through an agent nobody answers.
    #[must_use]
    pub fn may_answer_by(&self, chain: Chain<'_>, approval: &Approval) -> bool {
        chain.depth() == 0 && self.is_asked(chain.subject, &self.roles_by(chain), approval)
    }

    /// Whether the one whose call it is may answer in the client that makes it: by themself, and where a rule says so.
    #[must_use]
    pub fn may_confirm(&self, chain: Chain<'_>, approval: &Approval) -> bool {
        let is_person = chain.depth() == 0 && self.catalogue.acting(chain.subject).is_none();
        is_person && !approval.asked_of_client(chain.subject, &self.roles_by(chain)).is_empty()
    }

    fn is_asked(&self, name: &PrincipalName, roles: &[RoleName], approval: &Approval) -> bool {
        !approval.is_on_chain(name) && self.catalogue.acting(name).is_none() && !approval.asked_of(roles).is_empty()
    }

    fn may_administrate(&self, name: &PrincipalName, profile: Option<&Profile>) -> bool {
        let is_role = |role: &RoleName| role.as_str() == crate::identity::ADMINISTRATOR_ROLE;
        if let Some(profile) = profile {
            return profile.roles.iter().any(is_role);
        }
        let listed = self.config.identity.principals.get(name);
        listed.map_or(name.as_str() == crate::identity::ADMINISTRATOR, |table| table.roles.iter().any(is_role))
    }

    /// Whether there is such a toolset; without a name all tools are meant.
    #[must_use]
    pub fn has_toolset(&self, toolset: Option<&str>) -> bool {
        toolset.is_none_or(|name| self.catalogue.toolset(name).is_some())
    }

    /// The tools of a toolset that the principal may be allowed; without a name, of all tools. Others stay hidden.
    pub fn tools(&self, chain: Chain<'_>, toolset: Option<&str>) -> impl Iterator<Item = &Arc<Tool>> {
        let selected = toolset.map_or(Some(self.catalogue.all_tools()), |name| self.catalogue.toolset(name));
        let all = selected.into_iter().flat_map(|tools| tools.values());
        all.filter(move |tool| self.shows_tool(chain, tool))
    }

    /// Whether there is a model of that name that the principal may be allowed.
    #[must_use]
    pub fn has_model(&self, chain: Chain<'_>, name: &str) -> bool {
        self.catalogue.model(name).is_some_and(|model| self.may_allow(chain, &model.capability))
    }

    /// Whether the principal may learn that there is such a tool: it may be allowed in some call.
    #[must_use]
    pub fn shows_tool(&self, chain: Chain<'_>, tool: &Tool) -> bool {
        self.may_allow(chain, &tool.capability)
    }

    /// The tool that a toolset calls by that name; without a toolset, the one of that full name.
    #[must_use]
    pub fn tool(&self, toolset: Option<&str>, name: &str) -> Option<Arc<Tool>> {
        let selected = toolset.map_or(Some(self.catalogue.all_tools()), |name| self.catalogue.toolset(name));
        selected?.get(name).cloned()
    }

    /// How far what a tool says is to be believed, by its full name.
    #[must_use]
    pub fn source(&self, tool: &str) -> SourceTable {
        let found = self.catalogue.all_tools().get(tool).and_then(|tool| {
            let sources = &self.config.registry.servers.get(&tool.server)?.sources;
            sources.get(&tool.name).or_else(|| sources.get("*"))
        });
        found.cloned().unwrap_or_default()
    }

    /// How long new connections are still taken after the gateway is asked to stop.
    #[must_use]
    pub fn unready(&self) -> Duration {
        Duration::from_secs(self.config.server.unready_s)
    }

    /// How long calls may go on then.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.config.server.drain_s)
    }

    /// What is known of a call of a tool with these arguments.
    #[must_use]
    pub fn know_tool(&self, asking: &Asking, setting: &Setting, place: Place, tool: &Tool, raw: &str) -> Known {
        // Some models write nothing where a tool has no arguments.
        let raw = if raw.is_empty() { "{}" } else { raw };
        let read = arguments::read(raw, &tool.arguments);
        // Arguments that can't be judged are refused for that reason; policy is not asked about what it can't see.
        let decision = match &read {
            Ok(read) => self.decide(asking, setting, place, &tool.capability, (Some(raw), Some(read))),
            Err(refusal) => self.unjudged(refusal),
        };
        let next = self.catalogue.server_principal(&tool.server);
        let obstacle = read.err().or_else(|| next.and_then(|next| too_deep(asking, next)));
        Known { capability: tool.capability.clone(), obstacle, decision, estimate: Some(Nanodollars::ZERO) }
    }

    /// What is known of a call of a tool that there is not, or that is `hidden` from the caller, by the name and with the arguments that the caller gives.
    #[must_use]
    pub fn know_no_tool(&self, asking: &Asking, setting: &Setting, name: &str, hidden: Option<(&Tool, &str)>) -> Known {
        let mut refusal = no_tool(name);
        if let Some((tool, raw)) = hidden {
            let known = self.know_tool(asking, setting, Place::Request, tool, raw);
            refusal = refusal.because(hidden_from(asking, &known.capability, &known.decision));
        }
        self.unknown(Capability::new(Kind::Tool, name), refusal)
    }

    /// The agent of that name that is called at this door, if the principal may be allowed to call it.
    ///
    /// # Errors
    ///
    /// [`Code::CapabilityNotFound`], whether there is none or it is hidden.
    pub fn agent_for(&self, chain: Chain<'_>, name: &str, door: Door) -> Result<Arc<Agent>, Refusal> {
        let is_spoken = |agent: &&Arc<Agent>| match agent.protocol {
            AgentProtocol::Http => door == Door::Http,
            AgentProtocol::A2a => door == Door::A2a,
            AgentProtocol::Openai => door == Door::Openai,
        };
        let spoken = self.catalogue.agent(name).filter(is_spoken);
        let shown = spoken.filter(|agent| self.may_allow(chain, &agent.capability));
        let none = || Refusal::new(Code::CapabilityNotFound, format!("there is no agent `{name}`"));
        shown.cloned().ok_or_else(none)
    }

    /// The agent of that name, whatever it speaks, if the chain may be allowed to call it.
    #[must_use]
    pub fn agent_shown(&self, chain: Chain<'_>, name: &str) -> Option<&Arc<Agent>> {
        self.catalogue.agent(name).filter(|agent| self.may_allow(chain, &agent.capability))
    }

    /// What is known of a call of an agent.
    #[must_use]
    pub fn know_agent(&self, asking: &Asking, setting: &Setting, place: Place, agent: &Agent) -> Known {
        let decision = self.ask(asking, setting, place, &agent.capability);
        let obstacle = too_deep(asking, &agent.principal);
        Known { capability: agent.capability.clone(), obstacle, decision, estimate: Some(Nanodollars::ZERO) }
    }

    /// What is known of a function that the registry does not have, which policy does not see the arguments of.
    #[must_use]
    pub fn know_function(&self, asking: &Asking, setting: &Setting, place: Place, name: &str, raw: &str) -> Known {
        let capability = Catalogue::function(name);
        let raw = if raw.is_empty() { "{}" } else { raw };
        let decision = self.decide(asking, setting, place, &capability, (Some(raw), None));
        Known { capability, obstacle: None, decision, estimate: Some(Nanodollars::ZERO) }
    }

    /// What is known of a chat completion. What the provider would run by itself never passes another door, so it is asked about here.
    #[must_use]
    pub fn know_chat(&self, asking: &Asking, setting: &Setting, model: Option<&Model>, request: &ChatRequest) -> Known {
        let place = Place::Request;
        let Some(model) = model else {
            return self.unknown(Capability::new(Kind::Model, request.model()), no_model(request.model()));
        };
        let own = self.ask(asking, setting, place, &model.capability);
        if !self.may_allow(asking.chain(), &model.capability) {
            let refusal = no_model(request.model()).because(hidden_from(asking, &model.capability, &own));
            return self.unknown(model.capability.clone(), refusal);
        }
        let inner =
            request.provider_tools().iter().map(|name| self.ask(asking, setting, place, &Catalogue::function(name)));
        let decision = std::iter::once(own).chain(inner).reduce(both).unwrap_or_else(|| self.unjudged(&no_question()));
        let shape = estimate::Shape {
            text_bytes: count(request.text_bytes()),
            messages: count(request.message_count()),
            images: count(request.image_count()),
            output_limit: request
                .output_limit()
                .unwrap_or(model.max_output_tokens)
                .saturating_mul(request.choice_count()),
        };
        let estimate = model.price.map(|price| price.cost(estimate::request(shape)));
        // Such a hold would shut out every other call of the principal, and be charged in full if nobody saw the end.
        let obstacle = (shape.output_limit > OUTPUT_LIMIT_TOKENS).then(|| {
            let message =
                format!("at most {OUTPUT_LIMIT_TOKENS} tokens may be asked for in one call, over all choices");
            Refusal::new(Code::InvalidRequest, message).about("max_completion_tokens")
        });
        Known { capability: model.capability.clone(), obstacle, decision, estimate }
    }

    /// What is known of a call that is refused because, as far as the caller may know, there is nothing of that name.
    fn unknown(&self, capability: Capability, refusal: Refusal) -> Known {
        let decision = self.unjudged(&refusal);
        Known { capability, obstacle: Some(refusal), decision, estimate: None }
    }

    fn ask(&self, asking: &Asking, setting: &Setting, place: Place, capability: &Capability) -> Decision {
        self.decide(asking, setting, place, capability, (None, None))
    }

    /// What policy says of everybody on the chain: all of them must be allowed.
    fn decide(
        &self,
        asking: &Asking,
        setting: &Setting,
        place: Place,
        capability: &Capability,
        (raw, arguments): (Option<&str>, Option<&Arguments>),
    ) -> Decision {
        let chain = asking.chain();
        if self.is_astray(chain) {
            return Decision { message: Some(ASTRAY.to_owned()), ..self.nothing() };
        }
        if !chain.covers(capability) {
            return Decision { message: Some(OUTSIDE.to_owned()), ..self.nothing() };
        }
        if let Some(outside) = self.outside(setting, place, capability, raw) {
            return outside;
        }
        let seen = self.profile(chain);
        let question = Question {
            principal: chain.subject,
            profile: seen.as_ref().map(|seen| &seen.profile),
            chain,
            capability,
            arguments,
            session: &asking.session,
            door: asking.door,
            place,
            moment: &setting.moment,
            said: setting.said.as_deref(),
        };
        of_everybody(&self.policy, &question)
    }

    /// No, where the grants of the task say so.
    fn outside(&self, setting: &Setting, place: Place, capability: &Capability, raw: Option<&str>) -> Option<Decision> {
        let grants = setting.grants.as_ref()?;
        let message = grants.judge(capability, raw, setting.said.as_deref(), place).err()?;
        let lacks_said = setting.said.is_none() && grants.reads_words(capability);
        Some(Decision { message: Some(message), outside: Some(grants.version), lacks_said, ..self.nothing() })
    }

    /// Whether everybody on the chain may be allowed this with some arguments, in some session.
    fn may_allow(&self, chain: Chain<'_>, capability: &Capability) -> bool {
        if self.is_astray(chain) || !chain.covers(capability) {
            return false;
        }
        let seen = self.profile(chain);
        let may = |principal| self.policy.may_allow(principal, of(principal, seen.as_ref()), capability);
        chain.principals().all(may)
    }

    /// Whether an agent asks for nobody, which its entry does not allow.
    fn is_astray(&self, chain: Chain<'_>) -> bool {
        chain.depth() == 0 && self.catalogue.acting(chain.subject).is_some_and(|agent| !agent.is_alone_allowed)
    }

    /// The decision about something that policy was not asked about, because it can't be forwarded anyway.
    fn unjudged(&self, refusal: &Refusal) -> Decision {
        Decision { message: Some(refusal.message.clone()), ..self.nothing() }
    }

    /// No, for no reason of policy's.
    fn nothing(&self) -> Decision {
        Decision::of(Effect::Deny, self.policy.version())
    }
}

/// Why the task can't be handed on to one more.
fn too_deep(asking: &Asking, next: &PrincipalName) -> Option<Refusal> {
    asking.authority.through(next.clone()).err()
}

/// The refusal of a model that there is not, as far as the caller may know.
#[must_use]
pub fn no_model(name: &str) -> Refusal {
    Refusal::new(Code::CapabilityNotFound, format!("there is no model `{name}`")).about("model")
}

/// The refusal of a tool that there is not, as far as the caller may know.
#[must_use]
pub fn no_tool(name: &str) -> Refusal {
    Refusal::new(Code::CapabilityNotFound, format!("Unknown tool: {name}")).about("name")
}

/// What the operator reads of a call of something hidden.
fn hidden_from(asking: &Asking, capability: &Capability, decision: &Decision) -> String {
    let rules = match decision.policies.join("`, `") {
        rules if rules.is_empty() => "no rule permits it".to_owned(),
        rules => format!("forbidden by `{rules}`"),
    };
    format!("`{capability}` is hidden from `{}`: {rules}", asking.authority.actor(&asking.session.owner))
}

/// What an issuer says of this one on the chain: nothing of anybody but who asked first.
fn of<'a>(principal: &PrincipalName, seen: Option<&'a Arc<Seen>>) -> Option<&'a Profile> {
    seen.filter(|seen| seen.principal == *principal).map(|seen| &seen.profile)
}

/// What the rules say of everybody on the chain: all must be allowed.
pub fn of_everybody(policy: &Engine, question: &Question<'_>) -> Decision {
    let through = question.chain.through.iter();
    through
        .map(|principal| policy.decide(&Question { principal, ..*question }))
        .fold(policy.decide(&Question { principal: question.chain.subject, ..*question }), both)
}

/// What two decisions come to together: the first "no"; otherwise everybody who is to be asked; otherwise what allowed both. It rests on what both rest on.
#[must_use]
pub fn both(mut first: Decision, mut second: Decision) -> Decision {
    let moment = first.moment.or(second.moment);
    (first.moment, second.moment) = (moment.clone(), moment);
    let mut audit = std::mem::take(&mut first.audit);
    audit
        .extend(std::mem::take(&mut second.audit).into_iter().filter(|said| !audit.contains(said)).collect::<Vec<_>>());
    Decision { audit, ..decided(first, second) }
}

fn decided(mut first: Decision, second: Decision) -> Decision {
    match (first.effect, second.effect) {
        (Effect::Deny, _) | (Effect::Ask, Effect::Allow) => first,
        (_, Effect::Deny) | (Effect::Allow, Effect::Ask) => second,
        (Effect::Allow, Effect::Allow) | (Effect::Ask, Effect::Ask) => {
            let policies = second.policies;
            first
                .policies
                .extend(policies.into_iter().filter(|policy| !first.policies.contains(policy)).collect::<Vec<_>>());
            first.asks = Ask::all(first.asks.into_iter().chain(second.asks));
            first.message = first.message.or(second.message);
            first
        }
    }
}

fn no_question() -> Refusal {
    Refusal::new(Code::Denied, "nothing was asked")
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
