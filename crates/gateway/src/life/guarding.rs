//! What guardrails made of a call, from where they look to where it is admitted and settled.

use portcullis_domain::admission::Settle;
use portcullis_domain::ids::LabelName;
use portcullis_domain::policy::{Effect, Guarded, Point};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::ChatRequest;

use crate::guardrails::{Guardrails, Rule};
use crate::snapshot::Known;

/// What guardrails did, for the record.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Each rule, where it did something.
    pub guarded: Vec<Guarded>,
    /// What the session is marked with for it.
    pub labels: Vec<LabelName>,
}

impl Notes {
    /// Adds what a rule did. What it did at several texts of one call is told together.
    pub fn add(&mut self, rule: &Rule, guarded: Guarded) {
        let is_same = |known: &&mut Guarded| {
            known.fault.is_none()
                && guarded.fault.is_none()
                && (&known.rule, known.at, known.deed) == (&guarded.rule, guarded.at, guarded.deed)
        };
        if let Some(label) = rule.label().filter(|label| !self.labels.contains(label) && guarded.fault.is_none()) {
            self.labels.push(label.clone());
        }
        if guarded.fault.is_some() && self.guarded.contains(&guarded) {
            return;
        }
        match self.guarded.iter_mut().find(is_same) {
            Some(known) => {
                for (kind, count) in guarded.found {
                    let sum = known.found.entry(kind).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
            None => self.guarded.push(guarded),
        }
    }
}

impl Notes {
    /// Puts them into the end of the call.
    pub fn add_to(self, settle: &mut Settle) {
        let new = self.labels.into_iter().filter(|label| !settle.labels.contains(label));
        let new: Vec<LabelName> = new.collect();
        settle.labels.extend(new);
        settle.guarded.extend(self.guarded);
    }
}

/// What guardrails made of what goes out, as admission takes it.
#[derive(Debug, Clone, Default)]
pub struct Guarding {
    /// What they did.
    pub notes: Notes,
    /// That it goes no further.
    pub refusal: Option<Refusal>,
    /// Where nobody has looked at it, because it would not have gone out as things stood then.
    pub unseen: Option<Point>,
}

impl Guarding {
    /// What they did, and whether it goes on.
    #[must_use]
    pub fn seen(notes: Notes, refusal: Option<Refusal>) -> Self {
        Self { notes, refusal, unseen: None }
    }

    /// That nobody looked.
    #[must_use]
    pub fn unseen(at: Point) -> Self {
        Self { unseen: Some(at), ..Self::default() }
    }

    /// Why a call does not go out that would go out now, and that nobody has looked at. Policy may say yes after it has said no: time passes, the session goes on, grants come, rules change.
    #[must_use]
    pub fn obstacle(&self, guardrails: &Guardrails, known: &Known) -> Option<Refusal> {
        let at = self.unseen.filter(|_| known.obstacle.is_none() && known.decision.effect != Effect::Deny)?;
        (!guardrails.at(at, &known.capability).is_empty()).then(|| {
            let message = "this is allowed only now, and was not looked at while it was not: send it again";
            Refusal::new(Code::StaleDecision, message)
        })
    }
}

/// A request to a model as guardrails have made it.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The request.
    pub request: ChatRequest,
    /// What guardrails made of it.
    pub guarding: Guarding,
}

#[cfg(test)]
mod tests {
    use portcullis_domain::call::{Capability, Kind};
    use portcullis_domain::digest::Digest;
    use portcullis_domain::policy::Decision;

    use super::*;
    use crate::guardrails::table::GuardrailTable;

    #[test]
    fn what_nobody_looked_at_goes_out_only_where_no_rule_looks() {
        let rule =
            "name: word, at: [tool_in], capabilities: ['tool/x__*'], detect: { pattern: { name: word, regex: word } }";
        let table: GuardrailTable = serde_saphyr::from_str(&format!("{{ {rule} }}")).unwrap();
        let guardrails = Guardrails::new(&[table]).unwrap();
        let check = |guarding: &Guarding, name: &str, effect: Effect, expected: Option<Code>| {
            let known = Known {
                capability: Capability::new(Kind::Tool, name),
                obstacle: None,
                decision: Decision::of(effect, Digest([0; 32])),
                estimate: None,
            };
            let obstacle = guarding.obstacle(&guardrails, &known);
            assert_eq!(obstacle.map(|refusal| refusal.code), expected, "{guarding:?} {name} {effect:?}");
        };
        let unseen = Guarding::unseen(Point::ToolIn);
        check(&unseen, "x__a", Effect::Allow, Some(Code::StaleDecision));
        check(&unseen, "x__a", Effect::Ask, Some(Code::StaleDecision));
        check(&unseen, "x__a", Effect::Deny, None);
        check(&unseen, "y__a", Effect::Allow, None);
        check(&Guarding::unseen(Point::ModelIn), "x__a", Effect::Allow, None);
        check(&Guarding::seen(Notes::default(), None), "x__a", Effect::Allow, None);
        check(&Guarding::default(), "x__a", Effect::Allow, None);
    }
}
