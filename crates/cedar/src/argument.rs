//! The arguments of a call: whether they fit the tool's types.

use portcullis_domain::policy::{Arguments, RecordType, Type, Value};

use crate::schema::is_always_there;

/// Says which argument does not fit. Rules are validated by these types, so what does not fit is never shown to them.
///
/// # Errors
///
/// A sentence with the argument's name.
pub(crate) fn check(arguments: &Arguments, types: &RecordType) -> Result<(), String> {
    for (name, value) in arguments {
        let Some(field) = types.fields.get(name) else { return Err(format!("argument `{name}` is not declared")) };
        if !fits(value, &field.ty) {
            return Err(format!("argument `{name}` is of another type than its tool declares"));
        }
    }
    let missing = |(name, field): &(&String, &portcullis_domain::policy::Field)| {
        is_always_there(field) && field.ty != Type::Opaque && !arguments.contains_key(*name)
    };
    match types.fields.iter().find(missing) {
        Some((name, _)) => Err(format!("argument `{name}` is missing")),
        None => Ok(()),
    }
}

fn fits(value: &Value, ty: &Type) -> bool {
    match (value, ty) {
        (Value::Text(_), Type::Text)
        | (Value::Bool(_), Type::Bool)
        | (Value::Long(_), Type::Long)
        | (Value::Decimal(_), Type::Decimal) => true,
        (Value::Set(values), Type::Set(element)) => values.iter().all(|value| fits(value, element)),
        (Value::Record(members), Type::Record(types)) => check(members, types).is_ok(),
        (
            Value::Text(_) | Value::Bool(_) | Value::Long(_) | Value::Decimal(_) | Value::Set(_) | Value::Record(_),
            Type::Text | Type::Bool | Type::Long | Type::Decimal | Type::Set(_) | Type::Record(_) | Type::Opaque,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn check_fit(arguments: &[(&str, Value)], expected: Result<(), &str>) {
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let facts = fixture::claims();
        let tool = facts.tools.iter().find(|tool| tool.name == "approve_payment").unwrap();
        assert_eq!(
            check(&arguments, &tool.arguments).map_err(|message| message.as_str().to_owned()),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn arguments_fit_or_say_why_not() {
        let claim = ("claim", Value::Text("claim-99".to_owned()));
        let amount = ("amount", Value::Decimal(1));
        check_fit(&[amount.clone(), claim.clone()], Ok(()));
        check_fit(&[amount.clone(), claim.clone(), ("note", Value::Text(String::new()))], Ok(()));
        check_fit(std::slice::from_ref(&amount), Err("argument `claim` is missing"));
        check_fit(&[amount, claim.clone(), ("more", Value::Bool(true))], Err("argument `more` is not declared"));
        check_fit(
            &[("amount", Value::Long(1)), claim],
            Err("argument `amount` is of another type than its tool declares"),
        );
    }
}
