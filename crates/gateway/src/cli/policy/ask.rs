//! One question, put for everybody on the chain as the gateway puts it.

use std::collections::HashMap;

use portcullis_cedar::{Engine, Facts, Tool};
use portcullis_domain::authority::{Chain, Credential};
use portcullis_domain::call::{Capability, Door, Kind, Place};
use portcullis_domain::ids::{PrincipalName, SessionId};
use portcullis_domain::policy::{Decision, Effect, Moment, Question, Said, arguments};
use portcullis_domain::profile::Profile;
use portcullis_domain::scope::Scope;
use serde_json::{Value, json};

use crate::snapshot::{OUTSIDE, both, of_everybody};

/// A call that rules are asked about.
pub(super) struct Case {
    /// Who asked first.
    pub(super) subject: PrincipalName,
    /// What they have come with.
    pub(super) credential: Credential,
    /// What an issuer has said of them, where one has vouched for them.
    pub(super) profile: Option<Profile>,
    /// The agents through whom.
    pub(super) through: Vec<PrincipalName>,
    /// What the task or the key is for; everything where nothing is said.
    pub(super) scope: Option<Scope>,
    /// What is called.
    pub(super) capability: Capability,
    /// A tool's arguments as JSON.
    pub(super) arguments: Option<String>,
    /// What a model's provider would run by itself.
    pub(super) functions: Vec<Capability>,
    /// In which session.
    pub(super) session: SessionId,
    /// By which language.
    pub(super) door: Door,
    /// Where.
    pub(super) place: Place,
    /// When, and what the session had done.
    pub(super) moment: Moment,
    /// What was said in it, where that is known.
    pub(super) said: Option<Said>,
}

/// Rules with who and what there is.
pub(super) struct Judge<'a> {
    engine: &'a Engine,
    facts: &'a Facts,
    tools: HashMap<String, &'a Tool>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(engine: &'a Engine, facts: &'a Facts) -> Self {
        let tools = facts.tools.iter().map(|tool| (tool.capability_name(), tool)).collect();
        Self { engine, facts, tools }
    }

    /// What the rules say. Arguments that can't be read exactly are refused before any rule is asked, as the gateway does.
    pub(super) fn decide(&self, case: &Case) -> Decision {
        let denied =
            |error: String| Decision { errors: vec![error], ..Decision::of(Effect::Deny, self.engine.version()) };
        let read = match (case.capability.kind, self.tools.get(&*case.capability.name)) {
            (Kind::Tool, Some(tool)) => {
                let raw = case.arguments.as_deref().filter(|raw| !raw.is_empty()).unwrap_or("{}");
                match arguments::read(raw, &tool.arguments) {
                    Ok(read) => Some(read),
                    Err(refusal) => return denied(refusal.message),
                }
            }
            (Kind::Tool | Kind::Model | Kind::Agent | Kind::Function, _) => None,
        };
        let (subject, through, credential) = (&case.subject, case.through.as_slice(), &case.credential);
        let chain = Chain { subject, through, credential, scope: case.scope.as_ref() };
        let profile = self.profile(case);
        let question = Question {
            principal: subject,
            profile: profile.as_ref(),
            chain,
            capability: &case.capability,
            arguments: read.as_ref(),
            session: &case.session,
            door: case.door,
            place: case.place,
            moment: &case.moment,
            said: case.said.as_ref(),
        };
        let nothing = || Decision::of(Effect::Deny, self.engine.version());
        let ask = |question: Question<'_>| match chain.covers(question.capability) {
            true => of_everybody(self.engine, &question),
            false => Decision { message: Some(OUTSIDE.to_owned()), ..nothing() },
        };
        let functions = case.functions.iter();
        functions.map(|capability| ask(Question { capability, arguments: None, ..question })).fold(ask(question), both)
    }

    /// What an issuer has said of who asked first, as far as it may say so here. Of who may be none of an issuer's principals nobody says anything.
    fn profile(&self, case: &Case) -> Option<Profile> {
        let mut profile = case.profile.clone()?;
        let issuer = self.facts.issuers.iter().find(|issuer| case.subject.as_str().starts_with(&issuer.prefix))?;
        profile.roles.retain(|role| issuer.roles.contains(role));
        Some(profile)
    }
}

/// What stands for the key of a question that nobody has sent.
pub(super) fn no_key() -> Result<Credential, String> {
    "none".parse()
}

/// An effect as people read it.
pub(super) fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Ask => "ask",
        Effect::Deny => "deny",
    }
}

/// A decision in one line.
pub(super) fn line(decision: &Decision) -> String {
    let mut line = word(decision.effect).to_owned();
    if !decision.policies.is_empty() {
        line.push_str(&format!(" by `{}`", decision.policies.join("`, `")));
    } else if decision.errors.is_empty() && decision.effect == Effect::Deny {
        line.push_str(", because no rule permits it");
    }
    for ask in &decision.asks {
        line.push_str(&format!(", {} of role `{}`", ask.approvals, ask.role));
    }
    if let Some(message) = &decision.message {
        line.push_str(&format!(": {message}"));
    }
    for said in decision.errors.iter().chain(&decision.audit) {
        line.push_str(&format!("; {said}"));
    }
    line
}

/// A decision for programs.
pub(super) fn value(decision: &Decision) -> Value {
    json!({
        "effect": word(decision.effect),
        "policies": decision.policies,
        "message": decision.message,
        "asks": decision.asks,
        "errors": decision.errors,
        "audit": decision.audit,
        "rests_on": decision.moment,
        "version": decision.version,
    })
}

/// The chain as people read it.
pub(super) fn chain(subject: &PrincipalName, through: &[PrincipalName]) -> String {
    let names: Vec<&str> = std::iter::once(subject).chain(through).map(PrincipalName::as_str).collect();
    names.join(" > ")
}

/// The door of that name.
pub(super) fn door(name: &str) -> Result<Door, String> {
    let doors = [Door::Openai, Door::Mcp, Door::A2a, Door::Http];
    let found = doors.into_iter().find(|door| door.as_str() == name);
    found.ok_or_else(|| format!("`{name}` is no door: `openai`, `mcp`, `a2a` or `http`"))
}
