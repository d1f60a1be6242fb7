//! Files become statements: one policy each, with a stable id and the place where it stands.

use std::collections::HashMap;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::Value as Json;

use crate::facts::Source;
use crate::nesting;
use crate::problem::{Problem, position};

/// One policy as it was written.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// The policy, under its final id.
    pub(crate) policy: Policy,
    /// Its conditions in Cedar's JSON form.
    pub(crate) conditions: Json,
    /// The file that it stands in.
    pub(crate) source: &'a Source,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    /// Its text.
    pub(crate) text: String,
}

impl Statement<'_> {
    /// An error at the first place where `part` stands in the statement, or else at its beginning.
    pub(crate) fn problem(&self, part: &str, message: impl Into<String>) -> Problem {
        Problem::at(self.source, self.start + self.text.find(part).unwrap_or(0), message)
    }
}

/// Reads all statements, in the order of the sources.
///
/// A statement is known by its `@id`; one that has none by its place, as in `claims.cedar:7`.
pub(crate) fn read<'a>(sources: &[&'a Source], problems: &mut Vec<Problem>) -> Vec<Statement<'a>> {
    let mut statements = Vec::new();
    for source in sources {
        if !nesting::check(source, problems) {
            continue;
        }
        match source.text.parse::<PolicySet>() {
            Ok(set) => statements.extend(split(source, &set, problems)),
            Err(errors) => {
                let errors = errors.iter().map(|error| Problem::of_cedar(source, 0, &DetailedError::from(error)));
                problems.extend(errors);
            }
        }
    }
    give_ids(&mut statements, problems);
    statements
}

fn split<'a>(source: &'a Source, set: &PolicySet, problems: &mut Vec<Problem>) -> Vec<Statement<'a>> {
    let policies = set.policies().map(|policy| (policy.id(), policy.to_cedar().unwrap_or_default(), Some(policy)));
    let templates = set.templates().map(|template| (template.id(), template.to_cedar(), None));
    let mut parts: Vec<_> = policies.chain(templates).collect();
    // Cedar numbers what it reads: `policy0`, `policy1`, …
    parts.sort_by_key(|(id, ..)| number(id));
    let mut end = 0;
    let mut statements = Vec::new();
    for (_, text, policy) in parts {
        let start = beginning(&source.text, end);
        end = start + text.len();
        let Some(policy) = policy else {
            let message = "templates are not supported: name the principal or role, and the resource";
            problems.push(Problem::at(source, start, message));
            continue;
        };
        match policy.to_json() {
            Ok(mut json) => {
                let conditions = json.get_mut("conditions").map_or(Json::Null, Json::take);
                statements.push(Statement { policy: policy.clone(), conditions, source, start, text });
            }
            Err(error) => problems.push(Problem::at(source, start, error.to_string())),
        }
    }
    statements
}

fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.strip_prefix("policy").and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

/// Where the next statement begins: past white space and comments, which are all that may stand between two.
fn beginning(text: &str, mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with("//") {
            return at;
        }
        at += trimmed.find('\n').unwrap_or(trimmed.len());
    }
}

fn give_ids(statements: &mut [Statement<'_>], problems: &mut Vec<Problem>) {
    let mut taken: HashMap<String, String> = HashMap::new();
    for statement in statements.iter_mut() {
        let Some(id) = statement.policy.annotation("id").filter(|id| !id.is_empty()).map(str::to_owned) else {
            continue;
        };
        let place = place(statement);
        if let Some(first) = taken.get(&id) {
            problems.push(statement.problem("@id", format!("the id `{id}` is taken by the policy at {first}")));
        }
        statement.policy = statement.policy.new_id(PolicyId::new(&id));
        taken.entry(id).or_insert(place);
    }
    for statement in
        statements.iter_mut().filter(|statement| statement.policy.annotation("id").is_none_or(str::is_empty))
    {
        let (_, column) = position(&statement.source.text, statement.start);
        let mut id = place(statement);
        if taken.contains_key(&id) {
            id = format!("{id}:{column}");
        }
        statement.policy = statement.policy.new_id(PolicyId::new(&id));
        taken.insert(id.clone(), id);
    }
}

fn place(statement: &Statement<'_>) -> String {
    let (line, _) = position(&statement.source.text, statement.start);
    format!("{}:{line}", statement.source.file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str], problems: &[&str]) {
        let source = Source { file: "a.cedar".to_owned(), text: text.to_owned() };
        let mut found = Vec::new();
        let statements = read(&[&source], &mut found);
        let ids: Vec<&str> = statements.iter().map(|statement| statement.policy.id().as_ref()).collect();
        assert_eq!(ids, expected, "{text}");
        let found: Vec<String> = found.iter().map(Problem::to_string).collect();
        assert_eq!(found, problems, "{text}");
        for statement in statements {
            assert!(text[statement.start..].starts_with(&statement.text), "{text}");
        }
    }

    #[test]
    fn a_policy_is_known_by_its_id_or_its_place() {
        let any = "permit(principal, action, resource);";
        check(
            &format!("// {any}\n\n@id(\"x\") {any}\n// ä {any}\r\n {any} {any}"),
            &["x", "a.cedar:5", "a.cedar:5:39"],
            &[],
        );
        check("", &[], &[]);
        check("// nothing", &[], &[]);
    }

    #[test]
    fn an_id_is_given_once() {
        check(
            "@id(\"x\")\npermit(principal, action, resource);\n\n@id(\"x\")\nforbid(principal, action, resource);",
            &["x", "x"],
            &["a.cedar:4:1: the id `x` is taken by the policy at a.cedar:1"],
        );
    }

    #[test]
    fn what_can_not_be_read_says_where() {
        check(
            "permit(principal, action, resource);\nforbid(principal, actoin, resource);",
            &[],
            &["a.cedar:2:19: found an invalid variable in the policy scope: actoin: \
               policy scopes must contain a `principal`, `action`, and `resource` element in that order"],
        );
        check(
            "permit(principal, action, resource) when { };",
            &[],
            &["a.cedar:1:37: `when` condition clause cannot be empty"],
        );
        check(
            "permit(principal == ?principal, action, resource);",
            &[],
            &["a.cedar:1:1: templates are not supported: name the principal or role, and the resource"],
        );
    }
}
