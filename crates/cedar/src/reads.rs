//! Which parts of the context a rule reads, so that no others are built for it.

use std::collections::BTreeSet;

use portcullis_domain::policy::Moment;
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

/// What rules read of `context`, and of the records in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) context: Part,
    pub(crate) arguments: Part,
    pub(crate) session: Part,
    pub(crate) time: Part,
    pub(crate) origins: Part,
    pub(crate) stated: Part,
}

impl Reads {
    /// Nothing at all.
    pub(crate) const fn nothing() -> Self {
        let nothing = Part::nothing;
        Self {
            context: nothing(),
            arguments: nothing(),
            session: nothing(),
            time: nothing(),
            origins: nothing(),
            stated: nothing(),
        }
    }

    const fn everything() -> Self {
        Self {
            context: Part::All,
            arguments: Part::All,
            session: Part::All,
            time: Part::All,
            origins: Part::All,
            stated: Part::All,
        }
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
        self.session.join(&other.session);
        self.time.join(&other.time);
        self.origins.join(&other.origins);
        self.stated.join(&other.stated);
    }

    fn visit(&mut self, json: &Json) {
        if is_context(json) {
            *self = Self::everything();
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
            if let Some(part) = self.part(name) {
                *part = Part::All;
            }
        } else if let Some(outer) = access(record).filter(|(record, _)| is_context(record)).map(|(_, outer)| outer) {
            self.context.add(outer);
            if let Some(part) = self.part(outer) {
                part.add(name);
            }
        } else {
            self.visit(record);
        }
    }

    /// What is read of a record in the context.
    fn part(&mut self, name: &str) -> Option<&mut Part> {
        match name {
            "arguments" => Some(&mut self.arguments),
            "session" => Some(&mut self.session),
            "time" => Some(&mut self.time),
            "origins" => Some(&mut self.origins),
            "stated" => Some(&mut self.stated),
            _ => None,
        }
    }

    /// Whether who asked first is read, whom no class of principals can stand for.
    pub(crate) fn has_subject(&self) -> bool {
        self.context.has("subject")
    }

    /// Whether it is read where arguments come from.
    pub(crate) fn has_origins(&self) -> bool {
        self.origins != Part::nothing()
    }

    /// Whether anything is read that depends on what was said in the session.
    pub(crate) fn has_said(&self) -> bool {
        self.has_origins() || self.stated != Part::nothing()
    }

    /// What a decision rests on, of that moment; none when something is read that is not known.
    pub(crate) fn of_moment(&self, moment: &Moment) -> Option<Moment> {
        let session = |name: &str| self.session.has(name);
        let has_time = self.time != Part::nothing();
        let rests_on = Moment {
            at: moment.at.filter(|_| has_time),
            age_s: moment.age_s.filter(|_| session("age_s")),
            spent: moment.spent.filter(|_| session("spent")),
            calls: moment.calls.filter(|_| session("calls")),
            refused: moment.refused.filter(|_| session("refused")),
            labels: moment.labels.clone().filter(|_| session("labels")),
        };
        let is_known = rests_on.at.is_some() == has_time
            && rests_on.age_s.is_some() == session("age_s")
            && rests_on.spent.is_some() == session("spent")
            && rests_on.calls.is_some() == session("calls")
            && rests_on.refused.is_some() == session("refused")
            && rests_on.labels.is_some() == session("labels");
        is_known.then_some(rests_on)
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
    use portcullis_domain::time::Timestamp;

    fn part(names: &[&str]) -> Part {
        if names == ["*"] { Part::All } else { Part::Some(names.iter().map(|name| (*name).to_owned()).collect()) }
    }

    fn check(condition: &str, context: &[&str], arguments: &[&str]) {
        let policy =
            Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
        let json = policy.to_json().unwrap();
        let found = Reads::of(&json["conditions"]);
        assert_eq!((found.context, found.arguments), (part(context), part(arguments)), "{condition}");
    }

    fn check_records(condition: &str, session: &[&str], time: &[&str]) {
        let policy =
            Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
        let found = Reads::of(&policy.to_json().unwrap()["conditions"]);
        assert_eq!((found.session, found.time), (part(session), part(time)), "{condition}");
    }

    #[test]
    fn what_is_read_of_session_and_time_is_told_apart() {
        check_records("context.session.owner == \"ann\"", &["owner"], &[]);
        check_records("context.session.calls < 5 && context.time.hour > 8", &["calls"], &["hour"]);
        check_records("context has session && context.time == context.time", &["*"], &["*"]);
        check_records("context == {}", &["*"], &["*"]);
    }

    #[test]
    fn a_decision_rests_on_what_is_read_and_needs_to_know_it() {
        let moment = Moment { calls: Some(3), at: Some(Timestamp(1)), ..Moment::default() };
        let check = |condition: &str, expected: Option<Moment>| {
            let policy =
                Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
            let found = Reads::of(&policy.to_json().unwrap()["conditions"]).of_moment(&moment);
            assert_eq!(found, expected, "{condition}");
        };
        check("context.session.owner == \"ann\" && context.depth == 0", Some(Moment::default()));
        check("context.session.calls < 5", Some(Moment { at: None, ..moment.clone() }));
        check("context.time.hour < 5", Some(Moment { calls: None, ..moment.clone() }));
        check("context.session.calls < 5 && context.session.age_s > 1", None);
        check("context == {}", None);
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
