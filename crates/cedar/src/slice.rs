//! The rules that matter to one class of principals and one capability, and what is known of them before anybody asks.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{Authorizer, Context, Effect, Entities, EntityUid, PolicyId, PolicySet, Request, Response};
use portcullis_domain::policy::{Ask, Decision, Effect as Answer, Question, Version};

use crate::context;
use crate::facts::Mode;
use crate::population::{Actor, Population, Target};
use crate::reads::Reads;
use crate::rule::Rule;
use crate::trial::{self, Trial};

/// Why the answer is no where a rule reads what was not told.
const UNTOLD: &str =
    "a rule reads the time, what the session has done or where arguments come from, which was not told";

/// All rules in the order of their sources.
#[derive(Debug)]
pub(crate) struct Rules {
    all: Vec<Rule>,
    positions: HashMap<PolicyId, usize>,
    version: Version,
    mode: Mode,
}

impl Rules {
    pub(crate) fn new(all: Vec<Rule>, version: Version, mode: Mode) -> Self {
        let positions = all.iter().enumerate().map(|(position, rule)| (rule.id.clone(), position)).collect();
        Self { all, positions, version, mode }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The rule of that id, with its position.
    fn find(&self, id: &PolicyId) -> Option<(usize, &Rule)> {
        let position = *self.positions.get(id)?;
        Some((position, self.all.get(position)?))
    }

    /// The rules whose scope holds for them.
    fn for_both<'a>(&'a self, actor: &'a Actor, target: &'a Target) -> impl Iterator<Item = (usize, &'a Rule)> {
        let positions = target.rules.get_or_init(|| {
            let rules = self.all.iter().enumerate();
            let rules = rules.filter(|(_, rule)| rule.scope.has_capability(&target.action, &target.resource));
            rules.map(|(position, _)| position).collect()
        });
        let rules = positions.iter().filter_map(|position| Some((*position, self.all.get(*position)?)));
        rules.filter(|(_, rule)| rule.scope.has_principal(&actor.principal))
    }

    /// A denial that no rule made.
    pub(crate) fn denial(&self, error: String) -> Decision {
        Verdict { errors: vec![error], ..Verdict::default() }.decision(self)
    }
}

/// Which rules hold, by position.
#[derive(Debug, Default, Clone)]
struct Verdict {
    permits: Vec<usize>,
    forbids: Vec<usize>,
    errors: Vec<String>,
}

impl Verdict {
    fn add(&mut self, position: usize, effect: Effect) {
        match effect {
            Effect::Permit => self.permits.push(position),
            Effect::Forbid => self.forbids.push(position),
        }
    }

    /// Takes in what Cedar says. It names rules that permit only where none forbids, and that is all that matters.
    fn add_response(&mut self, response: &Response, rules: &Rules) {
        for id in response.diagnostics().reason() {
            let position = rules.positions.get(id).copied();
            if let Some((position, rule)) = position.and_then(|position| Some((position, rules.all.get(position)?))) {
                self.add(position, rule.effect);
            } else {
                let id: &str = id.as_ref();
                self.errors.push(format!("there is no rule `{id}`"));
            }
        }
        self.errors.extend(response.diagnostics().errors().map(ToString::to_string));
    }

    /// Forbid beats all, and an `@ask` beats a plain permit: it is a condition that somebody has put there, and a wider rule elsewhere must not take it away.
    fn decision(mut self, rules: &Rules) -> Decision {
        let is_allowed = self.forbids.is_empty() && self.errors.is_empty() && !self.permits.is_empty();
        let asking = |position: &usize| rules.all.get(*position).is_some_and(|rule| rule.ask.is_some());
        let mut positions = if is_allowed { self.permits } else { self.forbids };
        let effect = match (is_allowed, positions.iter().any(asking)) {
            (true, true) => Answer::Ask,
            (true, false) => Answer::Allow,
            (false, _) => Answer::Deny,
        };
        if effect == Answer::Ask {
            positions.retain(asking);
        }
        positions.sort_unstable();
        self.errors.sort_unstable();
        let deciding = positions.iter().filter_map(|position| rules.all.get(*position));
        let message = deciding.clone().filter(|_| effect != Answer::Allow).find_map(|rule| rule.message.clone());
        Decision {
            effect,
            message,
            asks: Ask::all(deciding.clone().filter(|_| is_allowed).filter_map(|rule| rule.ask.clone())),
            policies: deciding.map(|rule| rule.name().to_owned()).collect(),
            errors: self.errors,
            ..Decision::of(Answer::Deny, rules.version)
        }
    }
}

/// What is known before anybody asks.
#[derive(Debug)]
pub(crate) enum Slice {
    /// Everything: no rule reads the context.
    Settled(Box<Decision>),
    /// All but the rules that read the context.
    Open(Box<Open>),
}

/// What is needed at the moment of the call.
#[derive(Debug)]
pub(crate) struct Open {
    settled: Verdict,
    policies: PolicySet,
    trial: Trial,
    reads: Reads,
    subject: Subject,
}

/// Who asks for what, in Cedar's words.
#[derive(Debug)]
struct Subject {
    actor: Arc<Actor>,
    target: Arc<Target>,
    entities: Entities,
}

impl Slice {
    /// Settles what can be settled.
    ///
    /// # Errors
    ///
    /// Cedar's sentence; none in practice.
    pub(crate) fn of(
        actor: &Arc<Actor>,
        target: &Arc<Target>,
        rules: &Rules,
        population: &Population,
    ) -> Result<Self, String> {
        let subject = Subject::of(actor, target, rules, population)?;
        let (mut settled, mut trial) = (Verdict::default(), Trial::default());
        let (mut now, mut later, mut reads) = (PolicySet::new(), PolicySet::new(), Reads::nothing());
        for (position, rule) in rules.for_both(actor, target) {
            if rule.is_audit {
                trial.add(rule)?;
                reads.join(&rule.reads);
                continue;
            }
            if !rule.conditions.has_non_scope_constraint() {
                settled.add(position, rule.effect);
                continue;
            }
            let set = if rule.reads.is_nothing() { &mut now } else { &mut later };
            set.add(rule.conditions.clone()).map_err(|error| error.to_string())?;
            reads.join(&rule.reads);
        }
        if !now.is_empty() {
            settled.add_response(&subject.ask(Context::empty(), &now, &subject.entities)?, rules);
        }
        if later.is_empty() && trial.is_nothing() {
            return Ok(Self::Settled(Box::new(settled.decision(rules))));
        }
        Ok(Self::Open(Box::new(Open { settled, policies: later, trial, reads, subject })))
    }

    /// Whether there may be a question that is answered with yes, if need be by a person. It may say so where there is none; it never denies one that there is.
    pub(crate) fn may_allow(&self) -> bool {
        match self {
            Self::Settled(decision) => decision.effect != Answer::Deny,
            Self::Open(open) => {
                let permits = open.policies.policies().any(|rule| rule.effect() == Effect::Permit);
                let settled = &open.settled;
                settled.forbids.is_empty() && settled.errors.is_empty() && (permits || !settled.permits.is_empty())
            }
        }
    }

    /// Answers a question that belongs to this slice and whose arguments fit.
    ///
    /// # Errors
    ///
    /// Cedar's sentence; none in practice.
    pub(crate) fn decide(
        &self,
        question: &Question<'_>,
        rules: &Rules,
        population: &Population,
    ) -> Result<Decision, String> {
        match self {
            Self::Settled(decision) => Ok(decision.as_ref().clone()),
            Self::Open(open) => open.decide(question, rules, population),
        }
    }
}

impl Open {
    fn decide(&self, question: &Question<'_>, rules: &Rules, population: &Population) -> Result<Decision, String> {
        let mut verdict = self.settled.clone();
        let known = self.reads.of_moment(question.moment);
        let (lacks_moment, lacks_said) = (known.is_none(), self.reads.has_said() && question.said.is_none());
        let Some(moment) = known.filter(|_| !lacks_said) else {
            verdict.errors.push(UNTOLD.to_owned());
            return Ok(Decision { lacks_moment, lacks_said, ..verdict.decision(rules) });
        };
        let first = self.first(question, population)?;
        let (uid, entities) = first.as_ref().map_or((None, &self.subject.entities), |(uid, all)| (Some(uid), all));
        let context = context::of(question, &moment, uid, &self.reads, &population.stated)?;
        let held = self.trial.held(|set| self.subject.ask(context.clone(), set, entities))?;
        verdict.add_response(&self.subject.ask(context, &self.policies, entities)?, rules);
        let mut decision = Decision { moment, ..verdict.decision(rules) };
        decision.audit = trial::sentences(held, &decision, |id| rules.find(id));
        Ok(decision)
    }

    /// Who asked first, with all entities that can be looked into then; none where that is not read.
    fn first(&self, question: &Question<'_>, population: &Population) -> Result<Option<(EntityUid, Entities)>, String> {
        if !self.reads.has_subject() {
            return Ok(None);
        }
        // Rules that read who asked first tell everybody from everybody else: the class has no other member.
        let actor = population.somebody(question.chain.subject, question.profile)?;
        let uid = actor.principal.uid.clone();
        let known = &self.subject.entities;
        if known.get(&uid).is_some() {
            return Ok(Some((uid, known.clone())));
        }
        let all = known.iter().chain([&actor.entity]).cloned();
        let all = Entities::from_entities(all, None).map_err(|error| error.to_string())?;
        Ok(Some((uid, all)))
    }
}

impl Subject {
    fn of(actor: &Arc<Actor>, target: &Arc<Target>, rules: &Rules, population: &Population) -> Result<Self, String> {
        let literals = rules.for_both(actor, target).flat_map(|(_, rule)| &rule.literals);
        let all = [&actor.principal.uid, &target.action.uid, &target.resource.uid].into_iter().chain(literals);
        let mut known: HashMap<_, _> = all.filter_map(|uid| Some((uid, population.entity(uid)?))).collect();
        known.insert(&actor.principal.uid, &actor.entity);
        let entities =
            Entities::from_entities(known.into_values().cloned(), None).map_err(|error| error.to_string())?;
        Ok(Self { actor: Arc::clone(actor), target: Arc::clone(target), entities })
    }

    fn ask(&self, context: Context, policies: &PolicySet, entities: &Entities) -> Result<Response, String> {
        let (principal, action, resource) =
            (&self.actor.principal.uid, &self.target.action.uid, &self.target.resource.uid);
        let request = Request::new(principal.clone(), action.clone(), resource.clone(), context, None);
        let request = request.map_err(|error| error.to_string())?;
        Ok(Authorizer::new().is_authorized(&request, policies, entities))
    }
}

/// The most slices that are kept.
const SLICES_LIMIT: usize = 16 << 10;
/// Into how many parts they are divided, so that few wait for one another.
const SHARDS: usize = 16;

type Key = (u32, u32);

/// The slices that were asked for, by the numbers of actor and target.
///
/// A shard is locked for a look-up or an insertion, never while rules are evaluated. A full shard is emptied: what is needed
/// is made again in some microseconds.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    shards: [RwLock<HashMap<Key, Arc<Slice>>>; SHARDS],
}

impl Slices {
    /// The slice of that key, made by `make` when it is not there.
    pub(crate) fn get(&self, key: Key, make: impl FnOnce() -> Result<Slice, String>) -> Result<Arc<Slice>, String> {
        let (actor, target) = key;
        let Some(shard) = self.shards.get(actor.wrapping_mul(31).wrapping_add(target) as usize % SHARDS) else {
            return make().map(Arc::new);
        };
        if let Some(slice) = shard.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(slice));
        }
        let slice = Arc::new(make()?);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= SLICES_LIMIT / SHARDS {
            shard.clear();
        }
        shard.insert(key, Arc::clone(&slice));
        Ok(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::digest::Digest;

    #[test]
    fn slices_are_kept_and_bounded() {
        let rules = Rules::new(Vec::new(), Digest::ZERO, Mode::Enforce);
        let slices = Slices::default();
        let settled = || Ok(Slice::Settled(Box::new(rules.denial(String::new()))));
        let first = slices.get((0, 0), settled).unwrap();
        let again = slices.get((0, 0), || Err("it is made again".to_owned())).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for number in 0..40_000 {
            slices.get((number / 200, number % 200), settled).unwrap();
        }
        let kept: usize = slices.shards.iter().map(|shard| shard.read().unwrap().len()).sum();
        assert!((1..=SLICES_LIMIT).contains(&kept), "{kept}");
        assert_eq!(slices.get((7, 7_000_000), || Err("no".to_owned())).unwrap_err(), "no");
    }
}
