//! Which parts of the context a rule reads, so that no others are built for it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

/// The members of a record that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Only these.
    Some(BTreeSet<String>),
    /// All, because the record is read as a whole.
    All,
}

impl Part {
    const fn nothing() -> Self {
        Self::Some(BTreeSet::new())
    }

    /// Whether the member `name` is read.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Some(names) => names.contains(name),
            Self::All => true,
        }
    }

    fn add(&mut self, name: &str) {
        if let Self::Some(names) = self {
            names.insert(name.to_owned());
        }
    }

    fn join(&mut self, other: &Self) {
        match other {
            Self::Some(names) => names.iter().for_each(|name| self.add(name)),
            Self::All => *self = Self::All,
        }
    }
}

/// What rules read of `context` and of `context.arguments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) context: Part,
    pub(crate) arguments: Part,
}

impl Reads {
    /// Nothing at all.
    pub(crate) const fn nothing() -> Self {
        Self { context: Part::nothing(), arguments: Part::nothing() }
    }

    /// What the conditions of a rule read, by Cedar's JSON form of them.
    pub(crate) fn of(conditions: &Json) -> Self {
        let mut reads = Self::nothing();
        reads.visit(conditions);
        reads
    }

    /// Whether a decision by the rule depends on more than who asks for what.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::nothing()
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.context.join(&other.context);
        self.arguments.join(&other.arguments);
    }

    fn visit(&mut self, json: &Json) {
        if is_context(json) {
            *self = Self { context: Part::All, arguments: Part::All };
        } else if let Some((record, name)) = access(json) {
            self.visit_access(record, name);
        } else {
            match json {
                Json::Array(items) => items.iter().for_each(|item| self.visit(item)),
                Json::Object(members) => members.values().for_each(|member| self.visit(member)),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
            }
        }
    }

    fn visit_access(&mut self, record: &Json, name: &str) {
        if is_context(record) {
            self.context.add(name);
            if name == "arguments" {
                self.arguments = Part::All;
            }
        } else if access(record).is_some_and(|(record, name)| is_context(record) && name == "arguments") {
            self.context.add("arguments");
            self.arguments.add(name);
        } else {
            self.visit(record);
        }
    }
}

/// Collects the names of all attributes that are read of anything.
pub(crate) fn attribute_names(json: &Json, names: &mut BTreeSet<String>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| attribute_names(item, names)),
        Json::Object(members) => {
            for key in [".", "has"] {
                match members.get(key).and_then(|access| access.get("attr")) {
                    Some(Json::String(name)) => {
                        names.insert(name.clone());
                    }
                    Some(Json::Array(path)) => names.extend(path.iter().filter_map(Json::as_str).map(str::to_owned)),
                    Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | None => {}
                }
            }
            members.values().for_each(|member| attribute_names(member, names));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// `{"Var": "context"}`.
fn is_context(json: &Json) -> bool {
    only_member(json, "Var").is_some_and(|var| var == "context")
}

/// The record and the name of `record.name` and of `record has name`.
fn access(json: &Json) -> Option<(&Json, &str)> {
    let access = only_member(json, ".").or_else(|| only_member(json, "has"))?;
    Some((access.get("left")?, access.get("attr")?.as_str()?))
}

fn only_member<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    json.as_object().filter(|members: &&Map<String, Json>| members.len() == 1)?.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn part(names: &[&str]) -> Part {
        if names == ["*"] { Part::All } else { Part::Some(names.iter().map(|name| (*name).to_owned()).collect()) }
    }

    fn check(condition: &str, context: &[&str], arguments: &[&str]) {
        let policy =
            Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
        let json = policy.to_json().unwrap();
        let expected = Reads { context: part(context), arguments: part(arguments) };
        assert_eq!(Reads::of(&json["conditions"]), expected, "{condition}");
    }

    #[test]
    fn what_is_named_is_read_and_nothing_else() {
        check("principal.context == \"context\"", &[], &[]);
        check("context.door == \"mcp\"", &["door"], &[]);
        check("context.session.owner == context[\"place\"]", &["place", "session"], &[]);
        check("context.arguments.amount < 5 && context.arguments has note", &["arguments"], &["amount", "note"]);
        check("[1, context.arguments.payee.iban].contains({Var: \"context\"}.Var)", &["arguments"], &["payee"]);
    }

    #[test]
    fn what_is_read_as_a_whole_is_read_wholly() {
        check("context.arguments == {a: 1}", &["arguments"], &["*"]);
        check("context has arguments", &["arguments"], &["*"]);
        check("context == {}", &["*"], &["*"]);
        check("(if true then context else context).door == \"\"", &["*"], &["*"]);
        check("context.arguments has payee.iban", &["arguments"], &["*"]);
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let policy = Policy::parse(
            None,
            "permit(principal, action, resource) when { principal has a.b || [resource.c].contains(principal[\"d\"]) };",
        );
        let mut names = BTreeSet::new();
        attribute_names(&policy.unwrap().to_json().unwrap(), &mut names);
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
