//! What guardrails made of a call, from where they look to where it is admitted and settled.

use portcullis_domain::admission::Settle;
use portcullis_domain::ids::LabelName;
use portcullis_domain::policy::Guarded;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::llm::chat::ChatRequest;

use crate::guardrails::Rule;

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
}

/// A request to a model as guardrails have made it.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The request.
    pub request: ChatRequest,
    /// What guardrails made of it.
    pub guarding: Guarding,
}
