//! What entries say of guardrails.

use portcullis_domain::event::{CallAdmitted, CallRefused, CallSettled};
use portcullis_domain::policy::{Deed, Guarded, Point};
use portcullis_domain::refusal::Code;

use super::Laws;

impl Laws {
    /// What was let out was not blocked, and a session is marked only by a guardrail that says so.
    pub(super) fn guarded_out(&mut self, event: &CallAdmitted) {
        self.guarded(&event.guarded, Point::is_in);
        let call = event.call;
        let is_blocked = event.guarded.iter().any(|guarded| guarded.deed == Deed::Blocked);
        self.must(!is_blocked, || format!("call {call} was admitted, and a guardrail had blocked it"));
        let is_marked = event.guarded.iter().any(|guarded| guarded.deed == Deed::Labelled);
        self.must(is_marked != event.labels.is_empty(), || {
            format!("call {call} has labels without a guardrail, or the other way")
        });
    }

    /// What guardrails have refused, one of them has blocked, and nothing of it is kept.
    pub(super) fn guarded_off(&mut self, event: &CallRefused, bodies: usize) {
        self.guarded(&event.guarded, Point::is_in);
        let is_blocked = event.guarded.iter().any(|guarded| guarded.deed == Deed::Blocked);
        let is_lawful = event.code != Code::Blocked || (is_blocked && bodies == 0);
        self.must(is_lawful, || format!("call {} was blocked by no guardrail, or is kept", event.call));
    }

    /// Calls inside an answer are looked at as they would be at their own door.
    pub(super) fn guarded_back(&mut self, event: &CallSettled) {
        self.guarded(&event.guarded, |at| matches!(at, Point::ModelOut | Point::ToolOut | Point::ToolIn));
        let is_marked = event.guarded.iter().any(|guarded| guarded.deed == Deed::Labelled);
        self.must(!is_marked || !event.labels.is_empty(), || {
            format!("call {} lacks the label of a guardrail", event.call)
        });
    }

    fn guarded(&mut self, guarded: &[Guarded], may: fn(Point) -> bool) {
        for one in guarded {
            self.must(may(one.at), || format!("guardrail `{}` looked at {}", one.rule, one.at.as_str()));
            if let Some(problem) = one.problem() {
                self.problems.push(problem);
            }
        }
    }
}
