//! What is made of one statement: a scope that is settled beforehand, and conditions that are evaluated.

use std::collections::BTreeSet;

use cedar_policy::{Effect, EntityUid, Policy, PolicyId};
use portcullis_domain::policy::Ask;
use serde_json::{Value as Json, json};

use crate::annotation;
use crate::lower;
use crate::reads::{Reads, attribute_names};
use crate::scope::Scope;
use crate::source::Statement;

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its id, as decisions name it.
    pub(crate) id: PolicyId,
    /// Permit or forbid.
    pub(crate) effect: Effect,
    /// What the model will read when it forbids, and whoever is asked when it asks.
    pub(crate) message: Option<String>,
    /// Whether it is on trial: evaluated and told, not applied.
    pub(crate) is_audit: bool,
    /// Who must say yes before it permits.
    pub(crate) ask: Option<Ask>,
    /// For whom and what it is.
    pub(crate) scope: Scope,
    /// Its conditions, for any principal, action and resource: it is only evaluated where its scope holds.
    pub(crate) conditions: Policy,
    /// What it reads of the context.
    pub(crate) reads: Reads,
    /// All entities that it names.
    pub(crate) literals: Vec<EntityUid>,
    /// The names of all attributes that it reads of anything.
    pub(crate) attributes: BTreeSet<String>,
}

impl Rule {
    /// Makes a rule of a statement that has been validated.
    ///
    /// # Errors
    ///
    /// A sentence: a decimal that is none, in a place that can't be reached (validation looks at all others).
    pub(crate) fn of(statement: &Statement<'_>) -> Result<Self, String> {
        let policy = &statement.policy;
        let mut attributes = BTreeSet::new();
        attribute_names(&statement.conditions, &mut attributes);
        Ok(Self {
            id: policy.id().clone(),
            effect: policy.effect(),
            message: policy.annotation("message").map(str::to_owned),
            is_audit: policy.annotation("mode") == Some("audit"),
            ask: annotation::ask(policy)?,
            scope: Scope::of(policy),
            reads: Reads::of(&statement.conditions),
            conditions: without_scope(policy, statement.conditions.clone())?,
            literals: policy.entity_literals(),
            attributes,
        })
    }

    /// The id as text.
    pub(crate) fn name(&self) -> &str {
        self.id.as_ref()
    }
}

fn without_scope(policy: &Policy, mut conditions: Json) -> Result<Policy, String> {
    lower::expression(&mut conditions).map_err(|text| format!("`{text}` is no decimal"))?;
    let effect = policy.effect().to_string();
    let any = json!({"op": "All"});
    let json = json!({"effect": effect, "principal": any, "action": any, "resource": any, "conditions": conditions});
    Policy::from_json(Some(policy.id().clone()), json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_rule_keeps_its_conditions_and_loses_its_scope() {
        let source = fixture::source(
            r#"@id("limit") @message("no") forbid(principal in Role::"junior", action, resource)
               when { context.arguments.amount.greaterThan(decimal("10.0")) } unless { Principal::"ann" == principal };"#,
        );
        let statements = crate::source::read(&[&source], &mut Vec::new());
        let rule = Rule::of(&statements[0]).unwrap();
        assert_eq!((rule.name(), rule.effect, rule.message.as_deref()), ("limit", Effect::Forbid, Some("no")));
        let expected = r#"forbid(principal, action, resource)
               when { context.arguments.amount > 100000 } unless { Principal::"ann" == principal };"#;
        assert_eq!(rule.conditions.to_json().unwrap(), Policy::parse(None, expected).unwrap().to_json().unwrap());
        assert_eq!(rule.literals.len(), 2);
        assert!(!rule.reads.is_nothing());
    }
}
