//! Rules on trial, as `@mode("audit")` marks them: evaluated beside the others, told, and not applied.

use cedar_policy::{Effect, PolicyId, PolicySet, Response};
use portcullis_domain::policy::{Decision, Effect as Answer, Question};

use crate::rule::Rule;

/// The rules on trial in a slice. Cedar names rules that permit only where none forbids, so that both kinds are asked apart.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    permits: PolicySet,
    forbids: PolicySet,
}

/// Which of them hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    permits: Vec<PolicyId>,
    forbids: Vec<PolicyId>,
    errors: Vec<String>,
}

impl Trial {
    pub(crate) fn add(&mut self, rule: &Rule) -> Result<(), String> {
        let set = match rule.effect {
            Effect::Permit => &mut self.permits,
            Effect::Forbid => &mut self.forbids,
        };
        set.add(rule.conditions.clone()).map_err(|error| error.to_string())
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.permits.is_empty() && self.forbids.is_empty()
    }

    /// Which of them hold.
    pub(crate) fn held(&self, ask: impl Fn(&PolicySet) -> Result<Response, String>) -> Result<Held, String> {
        let mut held = Held::default();
        for (set, ids) in [(&self.forbids, &mut held.forbids), (&self.permits, &mut held.permits)] {
            if !set.is_empty() {
                let response = ask(set)?;
                ids.extend(response.diagnostics().reason().cloned());
                held.errors.extend(response.diagnostics().errors().map(ToString::to_string));
            }
        }
        held.errors.sort_unstable();
        Ok(held)
    }
}

/// What the rules on trial would have made of the decision. `find` knows a rule with its place among all.
pub(crate) fn sentences<'a>(
    held: Held,
    decision: &Decision,
    find: impl Fn(&PolicyId) -> Option<(usize, &'a Rule)>,
) -> Vec<String> {
    let would = |ids: &[PolicyId], what: &str| {
        let mut rules: Vec<(usize, &Rule)> = ids.iter().filter_map(&find).collect();
        rules.sort_unstable_by_key(|(place, _)| *place);
        let sentence = |(_, rule): (usize, &Rule)| match &rule.message {
            Some(message) => format!("`{}` would have {what}: {message}", rule.name()),
            None => format!("`{}` would have {what}", rule.name()),
        };
        rules.into_iter().map(sentence).collect::<Vec<_>>()
    };
    let mut sentences = would(&held.forbids, "denied");
    // Where a rule forbids, or one could not be evaluated, no other permission helps.
    if decision.effect == Answer::Deny && decision.policies.is_empty() && decision.errors.is_empty() {
        sentences.extend(would(&held.permits, "permitted"));
    }
    sentences.extend(held.errors);
    sentences
}

/// The decision where all rules together are on trial: everything is allowed, and what would have been said is told.
pub(crate) fn of_all(question: &Question<'_>, decision: Decision) -> Decision {
    if decision.effect == Answer::Allow || decision.lacks_moment {
        return decision;
    }
    let who = if question.chain.depth() > 0 { format!(" for `{}`", question.principal) } else { String::new() };
    let rules = match decision.policies.join("`, `") {
        rules if !rules.is_empty() => format!(" by `{rules}`"),
        _ if decision.errors.is_empty() => ", because no rule permits it".to_owned(),
        _ => format!(": {}", decision.errors.join("; ")),
    };
    let message = decision.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let verb = if decision.effect == Answer::Ask { "a person would have been asked" } else { "would have been denied" };
    let mut audit = vec![format!("{verb}{who}{rules}{message}")];
    audit.extend(decision.audit);
    Decision { audit, moment: decision.moment, ..Decision::of(Answer::Allow, decision.version) }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::call::Kind;

    use super::*;
    use crate::fixture::{self, Asked, payment};
    use crate::{Facts, Mode};

    const TRIAL: &str = r#"
        @id("any") permit(principal, action in Action::"call_tool", resource);
        @id("limit") @mode("audit") @message("Too much.") forbid(principal, action == Action::"claims__approve_payment", resource)
        when { context.arguments.amount.greaterThan(decimal("10000.0")) };
        @id("small") @mode("audit") permit(principal, action, resource == Model::"small");
        @id("big") @mode("audit") forbid(principal, action == Action::"claims__list", resource)
        when { context.arguments.count + 1 > 9 };
    "#;

    fn check(facts: &Facts, rules: &str, asked: &Asked, expected: (Answer, &[&str])) {
        let engine = fixture::engine(rules, facts);
        for _ in 0..2 {
            let decision = asked.decide(&engine);
            let audit: Vec<&str> = decision.audit.iter().map(String::as_str).collect();
            assert_eq!((decision.effect, audit.as_slice()), expected, "{asked:?}: {decision:?}");
        }
    }

    #[test]
    fn a_rule_on_trial_is_told_and_not_applied() {
        let facts = fixture::claims();
        check(&facts, TRIAL, &payment("ann", 1), (Answer::Allow, &[]));
        check(&facts, TRIAL, &payment("ann", 500_000_000), (Answer::Allow, &["`limit` would have denied: Too much."]));
        let model = |name| Asked::new("ann", Kind::Model, name);
        check(&facts, TRIAL, &model("small"), (Answer::Deny, &["`small` would have permitted"]));
        check(&facts, TRIAL, &model("gpt-4o"), (Answer::Deny, &[]));
        let list = Asked::new("ann", Kind::Tool, "claims__list")
            .with(&[("count", portcullis_domain::policy::Value::Long(i64::MAX))]);
        let engine = fixture::engine(TRIAL, &facts);
        let decision = list.decide(&engine);
        assert_eq!((decision.effect, decision.errors.len()), (Answer::Allow, 0));
        assert!(decision.audit[0].contains("integer overflow"), "{decision:?}");
    }

    #[test]
    fn where_all_are_on_trial_nothing_is_denied_and_everything_told() {
        let facts = Facts { mode: Mode::Audit, ..fixture::claims() };
        check(&facts, fixture::CLAIMS, &payment("ann", 1), (Answer::Allow, &[]));
        let limit = "would have been denied by `limit`: Limit Exceeded. Escalate to Manager.";
        check(&facts, fixture::CLAIMS, &payment("ann", 500_000_000), (Answer::Allow, &[limit]));
        let model = Asked::new("ann", Kind::Model, "small");
        check(
            &facts,
            fixture::CLAIMS,
            &model,
            (Answer::Allow, &["would have been denied, because no rule permits it"]),
        );
        let engine = fixture::engine(fixture::CLAIMS, &facts);
        assert!(engine.may_allow(&model.principal, None, &model.capability));
        assert_ne!(engine.version(), fixture::engine(fixture::CLAIMS, &fixture::claims()).version());
        let nobody = Asked::new("eve", Kind::Model, "small");
        assert!(!engine.may_allow(&nobody.principal, None, &nobody.capability));
        assert_eq!(nobody.decide(&engine).effect, Answer::Deny);
    }
}
