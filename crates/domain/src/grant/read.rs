//! What is a grant and what is none.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    ARGUMENTS_LIMIT, Constraint, ENTRIES_LIMIT, Entry, GRANT_LIMIT_BYTES, Grant, Literal, NAME_LIMIT_BYTES, Numeral,
    TEXT_LIMIT_BYTES, VALUES_LIMIT,
};

/// A grant as it is written, before it is known to be one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    capabilities: Vec<Entry>,
}

impl TryFrom<Written> for Grant {
    type Error = String;

    fn try_from(Written { capabilities }: Written) -> Result<Self, String> {
        if capabilities.is_empty() || capabilities.len() > ENTRIES_LIMIT {
            return Err(format!("a grant has 1 to {ENTRIES_LIMIT} entries"));
        }
        let mut names = BTreeSet::new();
        for entry in &capabilities {
            check(entry).map_err(|problem| format!("`{}`: {problem}", entry.capability))?;
            let name = entry.counted_as();
            if !names.insert(name.clone()) {
                return Err(format!("two entries are counted as `{name}`: give one of them another `name`"));
            }
        }
        let grant = Self { capabilities };
        if grant.written().len() > GRANT_LIMIT_BYTES {
            return Err(format!("a grant has at most {GRANT_LIMIT_BYTES} bytes"));
        }
        Ok(grant)
    }
}

fn check(entry: &Entry) -> Result<(), String> {
    if entry.arguments.len() > ARGUMENTS_LIMIT || entry.in_all.len() > ARGUMENTS_LIMIT {
        return Err(format!("at most {ARGUMENTS_LIMIT} arguments may be named"));
    }
    let names = entry.arguments.keys().chain(entry.in_all.keys()).chain(&entry.name);
    if let Some(name) = names.into_iter().find(|name| name.is_empty() || name.len() > NAME_LIMIT_BYTES) {
        return Err(format!("a name has 1 to {NAME_LIMIT_BYTES} bytes, and `{name}` has {}", name.len()));
    }
    if let Some((name, _)) = entry.in_all.iter().find(|(_, limit)| **limit < Numeral::default()) {
        return Err(format!("`{name}` in all is never less than 0"));
    }
    entry.arguments.iter().try_for_each(|(name, constraint)| {
        check_constraint(constraint).map_err(|problem| format!("argument `{name}`: {problem}"))
    })
}

fn check_constraint(constraint: &Constraint) -> Result<(), String> {
    match constraint {
        Constraint::Exactly(literal) => check_literal(literal),
        Constraint::OneOf(literals) if literals.is_empty() || literals.len() > VALUES_LIMIT => {
            Err(format!("it is one of 1 to {VALUES_LIMIT} values"))
        }
        Constraint::OneOf(literals) => literals.iter().try_for_each(check_literal),
        Constraint::Between(low, high) if low > high => Err(format!("nothing is between {low} and {high}")),
        Constraint::Any | Constraint::Between(..) | Constraint::From(_) | Constraint::State(_) => Ok(()),
    }
}

fn check_literal(literal: &Literal) -> Result<(), String> {
    match literal {
        Literal::Text(text) if text.len() > TEXT_LIMIT_BYTES => {
            Err(format!("a text has at most {TEXT_LIMIT_BYTES} bytes"))
        }
        Literal::Text(_) | Literal::Number(_) | Literal::Bool(_) => Ok(()),
    }
}
