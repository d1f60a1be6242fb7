//! What the tools of all servers may state: the records that rules read as `context.stated`.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_domain::ids::ServerName;

use crate::registry::table::ToolServerTable;

/// The most fields of a statement.
const FIELDS_LIMIT: usize = 8;

/// A field of a statement: `status`, or `status=pending`, which must have that value and stands in no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name of the field.
    pub field: String,
    /// The one value that counts.
    pub only: Option<String>,
}

/// The parts that these texts mean.
#[must_use]
pub fn parts(texts: &[String]) -> Vec<Part> {
    let part = |text: &String| match text.split_once('=') {
        Some((field, only)) => Part { field: field.to_owned(), only: Some(only.to_owned()) },
        None => Part { field: text.clone(), only: None },
    };
    texts.iter().map(part).collect()
}

/// All statements by name, with the fields of their records.
///
/// # Errors
///
/// One sentence for each that can't be, behind the key that it stands at.
pub fn statements(
    servers: &BTreeMap<ServerName, ToolServerTable>,
) -> Result<BTreeMap<String, Vec<String>>, Vec<String>> {
    let (mut statements, mut problems) = (BTreeMap::new(), Vec::new());
    for (server, table) in servers {
        for (tool, source) in &table.sources {
            for (name, texts) in &source.states {
                let parts = parts(texts);
                let fields = parts.iter().filter(|part| part.only.is_none()).map(|part| part.field.clone()).collect();
                if let Some(problem) = problem(name, &parts, &fields, &statements) {
                    problems.push(format!("registry.servers.{server}.sources.{tool}.states.{name}: {problem}"));
                }
                statements.entry(name.clone()).or_insert(fields);
            }
        }
    }
    if problems.is_empty() { Ok(statements) } else { Err(problems) }
}

fn problem(name: &str, parts: &[Part], fields: &Vec<String>, known: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let is_word = |name: &str| {
        !name.starts_with(|letter: char| letter.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_word(name) {
        return Some("a name is made of letters, digits and `_`".to_owned());
    }
    let names: BTreeSet<&str> = parts.iter().map(|part| part.field.as_str()).collect();
    if parts.len() > FIELDS_LIMIT || names.len() < parts.len() || names.contains("") {
        return Some(format!("there are at most {FIELDS_LIMIT} fields, each with a name and once"));
    }
    if parts.first().is_none_or(|key| key.only.is_some()) {
        return Some("the first field is the key, which may have any value".to_owned());
    }
    let other = known.get(name).filter(|other| *other != fields)?;
    Some(format!("elsewhere it has the fields {}", other.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(servers: &str, expected: Result<&[(&str, &[&str])], &str>) {
        let servers: BTreeMap<ServerName, ToolServerTable> = serde_saphyr::from_str(servers).unwrap();
        let found = statements(&servers).map_err(|problems| problems.join("; "));
        let expected = expected
            .map(|all| {
                let fields = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect();
                all.iter().map(|(name, all)| ((*name).to_owned(), fields(all))).collect()
            })
            .map_err(str::to_owned);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_statement_has_the_same_fields_wherever_it_is_made() {
        let of = |fields: &str| {
            format!(
                "{{ shop: {{ sources: {{ get: {{ states: {{ order: [id, status] }} }}, '*': {{ states: {{ order: {fields} }} }} }} }} }}"
            )
        };
        check("{ shop: {} }", Ok(&[]));
        check(&of("[id, status]"), Ok(&[("order", &["id", "status"])]));
        let at = "registry.servers.shop.sources.get.states.order";
        check(&of("[id]"), Err(&format!("{at}: elsewhere it has the fields id")));
        let other = of("[id, status]").replace("order: [id, status] } }, '*'", "'a b': [] } }, '*'");
        check(&other, Err("registry.servers.shop.sources.get.states.a b: a name is made of letters, digits and `_`"));
        for (fields, problem) in [
            ("[]", "the first field is the key, which may have any value"),
            ("['status=open', id]", "the first field is the key, which may have any value"),
            ("[a, 'a=b']", "there are at most 8 fields, each with a name and once"),
        ] {
            let one = format!("{{ shop: {{ sources: {{ get: {{ states: {{ order: {fields} }} }} }} }} }}");
            check(&one, Err(&format!("{at}: {problem}")));
        }
        check(&of("[id, status, 'open=true']"), Ok(&[("order", &["id", "status"])]));
    }
}
