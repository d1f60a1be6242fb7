//! The type of `principal`: the attributes of all principals together.

use std::collections::BTreeMap;

use portcullis_domain::policy::{Field, RecordType, Type, Value};

use crate::facts::Facts;
use crate::problem::Problem;

/// What is known of one attribute.
struct Attribute<'a> {
    ty: Type,
    /// The first who has it: a principal, or all of an issuer.
    first: &'a str,
    /// How many have it.
    count: usize,
}

/// The attributes that rules may read; what not all principals have is optional.
pub(crate) fn types(facts: &Facts, problems: &mut Vec<Problem>) -> RecordType {
    let mut attributes: BTreeMap<&str, Attribute<'_>> = BTreeMap::new();
    for principal in &facts.principals {
        for (name, value) in &principal.attributes {
            let Some(ty) = type_of(value) else {
                let message = format!("the attribute `{name}` of `{}` is a list of several types", principal.name);
                problems.push(Problem::in_table("principals", message));
                continue;
            };
            let unknown = Attribute { ty: Type::Opaque, first: principal.name.as_str(), count: 0 };
            attributes.entry(name).or_insert(unknown).add(name, principal.name.as_str(), &ty, true, problems);
        }
    }
    for issuer in &facts.issuers {
        for (name, Field { ty, required, .. }) in &issuer.attributes {
            let unknown = Attribute { ty: Type::Opaque, first: &issuer.prefix, count: 0 };
            attributes.entry(name).or_insert(unknown).add(name, &issuer.prefix, ty, *required, problems);
        }
    }
    let all = facts.principals.len() + facts.issuers.len();
    let field = |(name, attribute): (&str, Attribute<'_>)| {
        let required = attribute.count == all;
        (name.to_owned(), Field { ty: settled(attribute.ty), required, nullable: false })
    };
    RecordType { fields: attributes.into_iter().map(field).collect(), open: false }
}

impl Attribute<'_> {
    fn add(&mut self, name: &str, whose: &str, ty: &Type, is_always_there: bool, problems: &mut Vec<Problem>) {
        self.count += usize::from(is_always_there);
        match unify(&self.ty, ty) {
            Some(unified) => self.ty = unified,
            None => problems.push(conflict(name, self, whose, ty)),
        }
    }
}

fn conflict(name: &str, attribute: &Attribute<'_>, other: &str, ty: &Type) -> Problem {
    let (known, found, first) = (noun(&attribute.ty), noun(ty), attribute.first);
    let mut message = format!("the attribute `{name}` is {known} for `{first}` and {found} for `{other}`");
    if matches!((&attribute.ty, ty), (Type::Long, Type::Decimal) | (Type::Decimal, Type::Long)) {
        message.push_str(": write the whole number with a point, as in `10000.0`");
    }
    Problem::in_table("principals", message)
}

fn noun(ty: &Type) -> &'static str {
    match ty {
        Type::Text => "text",
        Type::Bool => "true or false",
        Type::Long => "a whole number",
        Type::Decimal => "a decimal",
        Type::Set(_) => "a list",
        Type::Record(_) => "a table",
        Type::Opaque => "nothing",
    }
}

/// The type of a value; the elements of an empty list are [`Type::Opaque`] until another list says more. None where a list
/// has several types.
fn type_of(value: &Value) -> Option<Type> {
    Some(match value {
        Value::Text(_) => Type::Text,
        Value::Bool(_) => Type::Bool,
        Value::Long(_) => Type::Long,
        Value::Decimal(_) => Type::Decimal,
        Value::Set(values) => {
            let unified = values.iter().try_fold(Type::Opaque, |ty, value| unify(&ty, &type_of(value)?))?;
            Type::Set(Box::new(unified))
        }
        Value::Record(members) => {
            let member = |(name, value): (&String, &Value)| {
                Some((name.clone(), Field { ty: type_of(value)?, required: true, nullable: false }))
            };
            Type::Record(RecordType { fields: members.iter().map(member).collect::<Option<_>>()?, open: false })
        }
    })
}

/// The type that has the values of both; none where there is no such type.
fn unify(one: &Type, other: &Type) -> Option<Type> {
    match (one, other) {
        (Type::Opaque, known) | (known, Type::Opaque) => Some(known.clone()),
        (Type::Set(one), Type::Set(other)) => Some(Type::Set(Box::new(unify(one, other)?))),
        (Type::Record(one), Type::Record(other)) => unify_records(one, other).map(Type::Record),
        (one, other) => (one == other).then(|| one.clone()),
    }
}

fn unify_records(one: &RecordType, other: &RecordType) -> Option<RecordType> {
    let mut fields = BTreeMap::new();
    for (name, field) in one.fields.iter().chain(&other.fields) {
        let (ty, required) = match (one.fields.get(name), other.fields.get(name)) {
            (Some(one), Some(other)) => (unify(&one.ty, &other.ty)?, one.required && other.required),
            (Some(_) | None, Some(_) | None) => (field.ty.clone(), false),
        };
        fields.insert(name.clone(), Field { ty, required, nullable: false });
    }
    Some(RecordType { fields, open: false })
}

/// Lists that are empty everywhere are lists of text.
fn settled(ty: Type) -> Type {
    match ty {
        Type::Opaque => Type::Text,
        Type::Set(element) => Type::Set(Box::new(settled(*element))),
        Type::Record(record) => {
            let fields =
                record.fields.into_iter().map(|(name, field)| (name, Field { ty: settled(field.ty), ..field }));
            Type::Record(RecordType { fields: fields.collect(), open: record.open })
        }
        Type::Text | Type::Bool | Type::Long | Type::Decimal => ty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::principal;

    fn text() -> Value {
        Value::Text("x".to_owned())
    }

    /// What the attribute `x` becomes when one principal has `one` and another has `other`.
    fn check(one: Option<Value>, other: Option<Value>, expected: Result<(Type, bool), &str>) {
        let attribute = |value: Option<Value>| value.map(|value| ("x".to_owned(), value)).into_iter().collect();
        let mut ann = principal("ann", &[]);
        ann.attributes = attribute(one);
        let mut bob = principal("bob", &[]);
        bob.attributes = attribute(other);
        let mut problems = Vec::new();
        let types = types(&Facts { principals: vec![ann, bob], ..Facts::default() }, &mut problems);
        match expected {
            Ok((ty, required)) => {
                assert_eq!(problems, []);
                assert_eq!(types.fields.get("x"), Some(&Field { ty, required, nullable: false }));
            }
            Err(message) => assert_eq!(problems[0].to_string(), message),
        }
    }

    #[test]
    fn what_not_all_principals_have_is_optional() {
        check(Some(text()), Some(text()), Ok((Type::Text, true)));
        check(Some(text()), None, Ok((Type::Text, false)));
        let record = |name: &str| Value::Record([("a".to_owned(), text()), (name.to_owned(), text())].into());
        let field = |required| Field { ty: Type::Text, required, nullable: false };
        let fields =
            [("a", true), ("b", false), ("c", false)].map(|(name, required)| (name.to_owned(), field(required)));
        let expected = Type::Record(RecordType { fields: fields.into(), open: false });
        check(Some(record("b")), Some(record("c")), Ok((expected, true)));
    }

    #[test]
    fn an_empty_list_takes_the_type_of_another() {
        let set = |values: &[Value]| Some(Value::Set(values.to_vec()));
        let set_of = |ty| Type::Set(Box::new(ty));
        check(set(&[]), set(&[Value::Long(1)]), Ok((set_of(Type::Long), true)));
        check(set(&[]), set(&[]), Ok((set_of(Type::Text), true)));
        check(
            set(&[]),
            set(&[text(), Value::Long(1)]),
            Err("principals: the attribute `x` of `bob` is a list of several types"),
        );
    }

    #[test]
    fn an_attribute_has_one_type() {
        check(
            Some(text()),
            Some(Value::Long(1)),
            Err("principals: the attribute `x` is text for `ann` and a whole number for `bob`"),
        );
        let hint = "principals: the attribute `x` is a whole number for `ann` and a decimal for `bob`: \
                    write the whole number with a point, as in `10000.0`";
        check(Some(Value::Long(1)), Some(Value::Decimal(10_000)), Err(hint));
    }
}
