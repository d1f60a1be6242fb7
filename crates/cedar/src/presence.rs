//! `has` of something that is never there.
//!
//! Cedar takes `context.arguments has amuont` for a plain *no*, so that a misspelt guard switches its rule off; where the rule
//! forbids, that opens a door. Here it is an error, like any other misspelt name.

use portcullis_domain::policy::{RecordType, Type};
use serde_json::Value as Json;

use crate::facts::Facts;
use crate::problem::{Problem, nearest};
use crate::schema::{always, session, stated, time, tool_attributes};
use crate::scope::Scope;
use crate::source::Statement;

/// What rules may look into.
pub(crate) struct Shapes {
    principal: RecordType,
    resource: RecordType,
    /// The context of each tool's action, and last that of models and functions.
    contexts: Vec<(Option<String>, RecordType)>,
    /// Whether there may be tools that were never seen.
    is_partial: bool,
}

impl Shapes {
    pub(crate) fn of(facts: &Facts, principal: &RecordType) -> Self {
        let stated = stated(facts);
        let tools = facts
            .tools
            .iter()
            .map(|tool| (Some(tool.capability_name()), context(Some((&tool.arguments, &stated)), principal)));
        Self {
            principal: principal.clone(),
            resource: tool_attributes(),
            contexts: tools.chain([(None, context(None, principal))]).collect(),
            is_partial: !facts.unreachable_servers.is_empty(),
        }
    }

    /// Says where the statement asks for what is never there.
    pub(crate) fn check(&self, statement: &Statement<'_>, problems: &mut Vec<Problem>) {
        let named: Vec<String> =
            Scope::of(&statement.policy).named_actions().iter().map(|uid| uid.id().unescaped().to_owned()).collect();
        let contexts = self.contexts.iter().filter(|(tool, _)| tool.as_ref().is_some_and(|tool| named.contains(tool)));
        let mut contexts: Vec<&RecordType> = contexts.map(|(_, context)| context).collect();
        let is_about_named_tools = !contexts.is_empty() && contexts.len() == named.len();
        if !is_about_named_tools {
            contexts = self.contexts.iter().map(|(_, context)| context).collect();
        }
        let looked_into = LookedInto { shapes: self, contexts };
        let mut found = Vec::new();
        looked_into.find_absent(&statement.conditions, &mut found);
        problems.extend(found.into_iter().map(|(name, known)| {
            let message = format!("`has {name}` never holds, because nothing of that name can be seen");
            let problem = statement.problem(name, message).suggesting(nearest(name, known));
            if self.is_partial && !is_about_named_tools { problem.into_warning() } else { problem }
        }));
    }
}

fn context(tool: Option<(&RecordType, &RecordType)>, principal: &RecordType) -> RecordType {
    let text = ["door", "protocol", "place"].map(|name| (name, Type::Text));
    let records = [("session", session()), ("time", time()), ("subject", principal.clone())];
    let records = records.map(|(name, record)| (name, Type::Record(record)));
    let chain = [("depth", Type::Long), ("through", Type::Set(Box::new(Type::Text)))];
    let arguments = tool.map(|(arguments, _)| ("arguments", Type::Record(arguments.clone())));
    let stated = tool.map(|(_, stated)| ("stated", Type::Record(stated.clone())));
    always(text.into_iter().chain(records).chain(chain).chain(arguments).chain(stated))
}

/// A name that is never there, and those that might have been meant.
type Absent<'a> = (&'a str, Vec<&'a str>);

struct LookedInto<'a> {
    shapes: &'a Shapes,
    contexts: Vec<&'a RecordType>,
}

impl<'a> LookedInto<'a> {
    fn find_absent(&self, json: &'a Json, absent: &mut Vec<Absent<'a>>) {
        match json {
            Json::Array(items) => items.iter().for_each(|item| self.find_absent(item, absent)),
            Json::Object(members) => {
                members.values().for_each(|member| self.find_absent(member, absent));
                absent.extend(members.get("has").and_then(|has| self.absent_here(has)));
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    /// The first name of `left has a.b.c` that is never there.
    fn absent_here(&self, has: &'a Json) -> Option<Absent<'a>> {
        let mut records = self.records(has.get("left")?)?;
        let path = has.get("attr")?;
        let names = path.as_array().map_or_else(|| vec![path], |names| names.iter().collect());
        for name in names.into_iter().filter_map(Json::as_str) {
            let is_there = |record: &&RecordType| record.fields.get(name).is_some_and(|field| field.ty != Type::Opaque);
            if !records.is_empty() && !records.iter().any(is_there) {
                let fields = records.iter().flat_map(|record| &record.fields);
                let seen = fields.filter(|(_, field)| field.ty != Type::Opaque).map(|(name, _)| name.as_str());
                return Some((name, seen.collect()));
            }
            records = members(&records, name);
        }
        None
    }

    /// The types that an expression may have, as far as it is a path of names.
    fn records(&self, json: &Json) -> Option<Vec<&'a RecordType>> {
        if let Some(var) = json.get("Var").and_then(Json::as_str) {
            return match var {
                "principal" => Some(vec![&self.shapes.principal]),
                "resource" => Some(vec![&self.shapes.resource]),
                "context" => Some(self.contexts.clone()),
                _ => None,
            };
        }
        let access = json.get(".")?;
        Some(members(&self.records(access.get("left")?)?, access.get("attr")?.as_str()?))
    }
}

/// The records that stand under a name in any of these.
fn members<'a>(records: &[&'a RecordType], name: &str) -> Vec<&'a RecordType> {
    let fields = records.iter().filter_map(|record| record.fields.get(name));
    fields.filter_map(|field| if let Type::Record(record) = &field.ty { Some(record) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    fn check(scope: &str, condition: &str, expected: &[&str]) {
        let mut facts = fixture::claims();
        let policy =
            format!("forbid(principal, {scope}, resource) when {{\n{condition} && principal == resource.x }};");
        let ours = |problems: Vec<String>| {
            problems.into_iter().filter(|problem| problem.contains("never holds")).collect::<Vec<_>>()
        };
        let expected: Vec<String> = expected.iter().map(|problem| format!("claims.cedar:2:{problem}")).collect();
        assert_eq!(ours(fixture::problems(&policy, &facts)), expected, "{policy}");
        facts.unreachable_servers.push("hr".parse().unwrap());
        let is_warning = ours(fixture::problems(&policy, &facts)).iter().all(|problem| problem.contains("warning"));
        assert_eq!(is_warning, expected.is_empty() || !scope.contains("claims__"), "{policy}");
    }

    #[test]
    fn a_misspelt_guard_is_an_error() {
        let payment = "action == Action::\"claims__approve_payment\"";
        let never = "never holds, because nothing of that name can be seen";
        check(payment, "context.arguments has amuont", &[&format!("23: `has amuont` {never}; did you mean `amount`?")]);
        check(payment, "context.arguments has count", &[&format!("23: `has count` {never}")]);
        check(payment, "context.arguments has raw", &[&format!("23: `has raw` {never}")]);
        check(
            payment,
            "context has argumnets.note",
            &[&format!("13: `has argumnets` {never}; did you mean `arguments`?")],
        );
        check(payment, "context has arguments.note && context.session has owner && resource has read_only", &[]);
        check("action", "principal has regoin", &[&format!("15: `has regoin` {never}; did you mean `region`?")]);
        check("action in Action::\"call_tool\"", "context.arguments has count", &[]);
        check(
            "action in Action::\"call_tool\"",
            "context.arguments has cuont",
            &[&format!("23: `has cuont` {never}; did you mean `count`?")],
        );
    }
}
