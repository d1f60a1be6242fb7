//! What SQL does, by a parser that knows the dialect. What it can't parse is a class of its own, and what dialects read differently is not parsed in the generic one.

mod classes;
mod effects;
mod tokens;

use std::collections::BTreeSet;

use serde_json::Value;
use sqlparser::dialect as parser;
use sqlparser::parser::Parser;

use crate::Finding;
use crate::spec::{Dialect, Sql, SqlClass};

/// How long SQL may be to be parsed, in bytes.
const LENGTH_LIMIT: usize = 128 << 10;
/// How deep the parser may go.
const DEPTH_LIMIT: usize = 40;

const ALL: &[SqlClass] = &[
    SqlClass::Read,
    SqlClass::Insert,
    SqlClass::Update,
    SqlClass::Delete,
    SqlClass::UpdateWithoutWhere,
    SqlClass::DeleteWithoutWhere,
    SqlClass::Drop,
    SqlClass::Truncate,
    SqlClass::Alter,
    SqlClass::Create,
    SqlClass::Grant,
    SqlClass::Call,
    SqlClass::Transaction,
    SqlClass::Setting,
    SqlClass::Outside,
    SqlClass::Other,
    SqlClass::Unparsable,
    SqlClass::Missing,
];

#[derive(Debug)]
pub(crate) struct Statements {
    arguments: Vec<String>,
    dialect: Dialect,
    forbidden: BTreeSet<SqlClass>,
}

impl Statements {
    pub(crate) fn new(rule: &Sql) -> Result<Self, String> {
        if rule.arguments.is_empty() {
            return Err("`arguments` names no place where SQL is".to_owned());
        }
        if let Some(bad) = rule.arguments.iter().find(|place| !place.starts_with('/')) {
            return Err(format!("`{bad}` is no JSON pointer: it must begin with `/`"));
        }
        let forbidden = match (rule.allow.as_slice(), rule.forbid.as_slice()) {
            ([], []) => all_but(&[SqlClass::Read]),
            (allowed, []) => all_but(allowed),
            ([], forbidden) => forbidden.iter().copied().chain([SqlClass::Unparsable, SqlClass::Missing]).collect(),
            _ => return Err("classes of SQL are either allowed or forbidden, not both".to_owned()),
        };
        Ok(Self { arguments: rule.arguments.clone(), dialect: rule.dialect, forbidden })
    }

    pub(crate) fn find(&self, sql: &str) -> Vec<Finding> {
        let found = classify(self.dialect, sql);
        found.into_iter().filter_map(|class| self.finding(class, sql.len())).collect()
    }

    /// At the places that are named.
    pub(crate) fn find_json(&self, value: &Value) -> Vec<Finding> {
        let there: Vec<(&String, &Value)> = self
            .arguments
            .iter()
            .filter_map(|place| Some((place, value.pointer(place).filter(|value| !value.is_null())?)))
            .collect();
        if there.is_empty() {
            return self.finding(SqlClass::Missing, 0).into_iter().collect();
        }
        there.into_iter().flat_map(|(place, value)| self.find_in(place, value)).collect()
    }

    fn find_in(&self, place: &str, value: &Value) -> Vec<Finding> {
        let Some(items) = value.as_array() else { return self.find_at(place, value) };
        items.iter().enumerate().flat_map(|(index, item)| self.find_at(&format!("{place}/{index}"), item)).collect()
    }

    fn find_at(&self, place: &str, value: &Value) -> Vec<Finding> {
        let found = match value.as_str() {
            Some(sql) => self.find(sql),
            None => self.finding(SqlClass::Unparsable, 0).into_iter().collect(),
        };
        found.into_iter().map(|finding| finding.at(place, false)).collect()
    }

    fn finding(&self, class: SqlClass, end: usize) -> Option<Finding> {
        let (kind, reason) = classes::words(class);
        self.forbidden.contains(&class).then(|| Finding::new(kind, 0..end, "[SQL]").because(reason))
    }
}

fn all_but(allowed: &[SqlClass]) -> BTreeSet<SqlClass> {
    ALL.iter().copied().filter(|class| !allowed.contains(class)).collect()
}

/// What all statements of a text do together; nothing for an empty one.
fn classify(dialect: Dialect, sql: &str) -> BTreeSet<SqlClass> {
    parse(dialect, sql).unwrap_or_else(|| BTreeSet::from([SqlClass::Unparsable]))
}

fn parse(dialect: Dialect, sql: &str) -> Option<BTreeSet<SqlClass>> {
    if sql.len() > LENGTH_LIMIT {
        return None;
    }
    let known: &dyn parser::Dialect = match dialect {
        Dialect::Generic => &parser::GenericDialect {},
        Dialect::Postgresql => &parser::PostgreSqlDialect {},
        Dialect::Mysql => &parser::MySqlDialect {},
        Dialect::Sqlite => &parser::SQLiteDialect {},
        Dialect::Mssql => &parser::MsSqlDialect {},
    };
    let (tokens, mut found) = tokens::read(dialect, known, sql)?;
    let statements = Parser::new(known)
        .with_recursion_limit(DEPTH_LIMIT)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .ok()?;
    for statement in &statements {
        effects::of(statement, &mut found);
    }
    Some(found)
}

#[cfg(test)]
mod tests;
