//! What a decision depends on, as one digest.

use std::collections::BTreeSet;

use portcullis_domain::digest::Digest;
use portcullis_domain::policy::{Arguments, Value};

use crate::facts::{Facts, Issuer, Mode, Principal, Source, Tool};

/// Changes whenever the same rules and facts may be decided in another way.
const FORM: &str = "portcullis-policy-3";

/// The version that an engine of these would have, whether they fit one another or not.
#[must_use]
pub fn version_of(sources: &[Source], facts: &Facts) -> Digest {
    version(&sources.iter().collect::<Vec<_>>(), facts)
}

/// The digest of sources, schema, tools, models, principals and issuers, whatever their order.
///
/// Servers that can't be reached are left out: they change what [`crate::compile`] complains of, and no decision.
pub(crate) fn version(sources: &[&Source], facts: &Facts) -> Digest {
    let mut canonical = Canonical::default();
    canonical.text(FORM);
    canonical.text(&cedar_policy::get_lang_version().to_string());
    canonical.set(sources, |source| {
        let mut one = Canonical::default();
        one.text(&source.file).text(&source.text);
        one
    });
    canonical.set(&facts.principals, principal);
    canonical.set(&facts.issuers, issuer);
    canonical.set(&facts.tools, tool);
    for names in [&facts.models, &facts.agents] {
        canonical.set(names, |name| {
            let mut one = Canonical::default();
            one.text(name);
            one
        });
    }
    if !facts.stated.is_empty() {
        // A map of lists has one JSON form: it is sorted by name.
        canonical.text("stated").text(&serde_json::to_string(&facts.stated).unwrap_or_default());
    }
    if facts.mode == Mode::Audit {
        canonical.text("audit");
    }
    Digest::of(&canonical.0)
}

fn principal(principal: &Principal) -> Canonical {
    let mut one = Canonical::default();
    one.text(principal.name.as_str());
    one.set(&principal.roles, |role| {
        let mut one = Canonical::default();
        one.text(role.as_str());
        one
    });
    one.record(&principal.attributes);
    one
}

fn issuer(issuer: &Issuer) -> Canonical {
    let mut one = Canonical::default();
    one.text(&issuer.prefix);
    one.set(&issuer.roles, |role| {
        let mut one = Canonical::default();
        one.text(role.as_str());
        one
    });
    // A map of types has one JSON form: it is sorted by name.
    one.text(&serde_json::to_string(&issuer.attributes).unwrap_or_default());
    one
}

fn tool(tool: &Tool) -> Canonical {
    let mut one = Canonical::default();
    one.text(tool.server.as_str()).text(&tool.name);
    // A type has one JSON form: its members are sorted by name.
    one.text(&serde_json::to_string(&tool.arguments).unwrap_or_default());
    one.record(&tool.attributes());
    one
}

/// Bytes that say the same only when the same was put in: everything has its kind or its length before it.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Canonical(Vec<u8>);

impl Canonical {
    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Things whose order has no meaning and of which the same thing twice is once.
    fn set<T>(&mut self, things: &[T], canonical: impl Fn(&T) -> Self) {
        let things: BTreeSet<Self> = things.iter().map(canonical).collect();
        self.count(things.len());
        for thing in things {
            self.count(thing.0.len());
            self.0.extend_from_slice(&thing.0);
        }
    }

    fn record(&mut self, members: &Arguments) {
        self.count(members.len());
        for (name, value) in members {
            self.text(name);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.kind(b't').text(text);
            }
            Value::Bool(yes) => {
                self.kind(b'b').kind(u8::from(*yes));
            }
            Value::Long(number) => self.kind(b'l').0.extend_from_slice(&number.to_be_bytes()),
            Value::Decimal(number) => self.kind(b'd').0.extend_from_slice(&number.to_be_bytes()),
            Value::Record(members) => self.kind(b'r').record(members),
            Value::Set(values) => self.kind(b's').set(values, |value| {
                let mut one = Self::default();
                one.value(value);
                one
            }),
        }
    }

    fn kind(&mut self, kind: u8) -> &mut Self {
        self.0.push(kind);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn sources() -> Vec<Source> {
        let other = Source { file: "other.cedar".to_owned(), text: "permit(principal, action, resource);".to_owned() };
        vec![fixture::source(fixture::CLAIMS), other]
    }

    /// Whether the version stays the same under a change.
    fn check(what: &str, change: impl FnOnce(&mut Vec<Source>, &mut Facts), is_same: bool) {
        let (mut sources, mut facts) = (sources(), fixture::claims());
        let list = |numbers: [i64; 2]| Value::Set(numbers.map(Value::Long).into());
        facts.principals[0].attributes.insert("list".to_owned(), list([1, 2]));
        let of = |sources: &[Source], facts: &Facts| version(&sources.iter().collect::<Vec<_>>(), facts);
        let before = of(&sources, &facts);
        change(&mut sources, &mut facts);
        assert_eq!(of(&sources, &facts) == before, is_same, "{what}");
    }

    #[test]
    fn any_input_changes_the_version() {
        check("a comment", |sources, _| sources[0].text.push_str("//"), false);
        check("a file's name", |sources, _| sources[0].file.push('x'), false);
        check("a file less", |sources, _| drop(sources.pop()), false);
        check("a role", |_, facts| drop(facts.principals[0].roles.pop()), false);
        check("a principal", |_, facts| facts.principals.push(fixture::principal("bob", &[])), false);
        check(
            "a limit",
            |_, facts| drop(facts.principals[0].attributes.insert("approval_limit".to_owned(), Value::Decimal(1))),
            false,
        );
        check(
            "a type",
            |_, facts| {
                drop(facts.principals[0].attributes.insert("approval_limit".to_owned(), Value::Long(100_000_000)))
            },
            false,
        );
        check("a tool", |_, facts| drop(facts.tools.pop()), false);
        check("a hint", |_, facts| facts.tools[0].read_only = Some(false), false);
        check("an argument", |_, facts| drop(facts.tools[0].arguments.fields.remove("note")), false);
        check(
            "a requirement",
            |_, facts| facts.tools[0].arguments.fields.get_mut("note").unwrap().required = true,
            false,
        );
        check("a model", |_, facts| drop(facts.models.pop()), false);
    }

    #[test]
    fn order_does_not_change_the_version() {
        let list = |numbers: [i64; 3]| Value::Set(numbers.map(Value::Long).into());
        check("files", |sources, _| sources.reverse(), true);
        check("principals", |_, facts| facts.principals.reverse(), true);
        check("roles", |_, facts| facts.principals[0].roles.reverse(), true);
        check(
            "lists",
            |_, facts| drop(facts.principals[0].attributes.insert("list".to_owned(), list([2, 1, 2]))),
            true,
        );
        check("tools", |_, facts| facts.tools.reverse(), true);
        check("models", |_, facts| facts.models.reverse(), true);
        check("reachability", |_, facts| facts.unreachable_servers.push("hr".parse().unwrap()), true);
    }

    #[test]
    fn an_engine_has_the_version_of_what_it_was_made_of() {
        let (sources, facts) = (sources(), fixture::claims());
        let engine = crate::compile(&sources, &facts).unwrap();
        assert_eq!(engine.version(), version(&sources.iter().collect::<Vec<_>>(), &facts));
    }
}
