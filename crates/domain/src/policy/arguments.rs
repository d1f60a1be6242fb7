//! A call's raw JSON, read by the tool's types. What can't be read exactly is refused, so that nothing is judged by a guess.
//!
//! Refused are: a member twice (RFC 8259 section 4 leaves open which one an upstream takes), a required member missing or null,
//! text where a number belongs, a number with more digits than can be compared exactly, an object where a value belongs, and a
//! member that the schema does not declare (an upstream might read it after all).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{items, members};
use crate::policy::schema::{RecordType, Type};
use crate::refusal::{Code, Refusal};

/// The largest arguments of one call, in bytes.
pub const ARGUMENTS_LIMIT_BYTES: usize = 1 << 20;

/// How deep an argument that nothing is judged of may nest. It is read level by level, so that without a limit a caller could exhaust the stack.
pub const NESTING_LIMIT: usize = 64;

/// How many ten-thousandths there are in one: a decimal has four digits after the point.
const DECIMAL_DIGITS: i64 = 4;

/// A typed argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Long(i64),
    /// A decimal, in ten-thousandths.
    Decimal(i64),
    /// Values of one type.
    Set(Vec<Value>),
    /// Named values; members that are opaque, absent or null are left out.
    Record(Arguments),
}

/// The typed arguments of a call, by name.
pub type Arguments = BTreeMap<String, Value>;

/// Reads the JSON object `raw` by `schema`.
///
/// # Errors
///
/// [`Code::InvalidArguments`] with the path of the argument at fault.
pub fn read(raw: &str, schema: &RecordType) -> Result<Arguments, Refusal> {
    if raw.len() > ARGUMENTS_LIMIT_BYTES {
        return Err(Refusal::new(Code::TooLarge, format!("arguments are larger than {ARGUMENTS_LIMIT_BYTES} bytes")));
    }
    read_record(raw, schema, &mut Vec::new())
}

/// The decimal that a JSON number stands for.
///
/// # Errors
///
/// A sentence when it is no number, or has more digits than can be compared exactly.
pub fn decimal(raw: &str) -> Result<Value, &'static str> {
    read_scaled(raw, DECIMAL_DIGITS).map(Value::Decimal)
}

type Path<'a> = Vec<&'a str>;

fn read_record<'a>(raw: &'a str, schema: &'a RecordType, path: &mut Path<'a>) -> Result<Arguments, Refusal> {
    let members = members(raw).map_err(|problem| wrong(path, &problem))?;
    for (name, field) in &schema.fields {
        if field.required && !members.iter().any(|(member, _)| member == name) {
            return Err(wrong(path, &format!("`{name}` is missing")));
        }
    }
    let mut read = Arguments::new();
    for (name, value) in members {
        let Some((name, field)) = schema.fields.get_key_value(name.as_ref()) else {
            if schema.open {
                check_opaque(value.get(), path, NESTING_LIMIT)?;
                continue;
            }
            return Err(wrong(path, &format!("`{name}` is not declared by the tool's schema")));
        };
        path.push(name);
        let is_null = value.get() == "null";
        if is_null && !field.nullable {
            return Err(wrong(path, "null is not allowed"));
        }
        if !is_null && let Some(value) = read_value(value.get(), &field.ty, path)? {
            read.insert(name.clone(), value);
        }
        path.pop();
    }
    Ok(read)
}

/// The value, or none where the type is opaque.
fn read_value<'a>(raw: &'a str, ty: &'a Type, path: &mut Path<'a>) -> Result<Option<Value>, Refusal> {
    let value = match ty {
        Type::Opaque => return check_opaque(raw, path, NESTING_LIMIT).map(|()| None),
        Type::Text => serde_json::from_str(raw).map(Value::Text).map_err(|_| wrong(path, "text is expected"))?,
        Type::Bool => {
            serde_json::from_str(raw).map(Value::Bool).map_err(|_| wrong(path, "true or false is expected"))?
        }
        Type::Long => Value::Long(read_scaled(raw, 0).map_err(|problem| wrong(path, problem))?),
        Type::Decimal => Value::Decimal(read_scaled(raw, DECIMAL_DIGITS).map_err(|problem| wrong(path, problem))?),
        Type::Set(ty) => {
            let mut values = Vec::new();
            for item in items(raw).map_err(|problem| wrong(path, &problem))? {
                path.push("[]");
                values.extend(read_value(item.get(), ty, path)?);
                path.pop();
            }
            Value::Set(values)
        }
        Type::Record(schema) => Value::Record(read_record(raw, schema, path)?),
    };
    Ok(Some(value))
}

/// Nothing of an opaque argument is judged, but a member that stands twice in it is refused all the same.
fn check_opaque(raw: &str, path: &Path<'_>, levels_left: usize) -> Result<(), Refusal> {
    let is_nested = matches!(raw.as_bytes().first(), Some(b'{' | b'['));
    let Some(levels_left) = levels_left.checked_sub(usize::from(is_nested)) else {
        return Err(wrong(path, &format!("it is nested deeper than {NESTING_LIMIT} levels")));
    };
    match raw.as_bytes().first() {
        Some(b'{') => {
            for (_, value) in members(raw).map_err(|problem| wrong(path, &problem))? {
                check_opaque(value.get(), path, levels_left)?;
            }
        }
        Some(b'[') => {
            for item in items(raw).map_err(|problem| wrong(path, &problem))? {
                check_opaque(item.get(), path, levels_left)?;
            }
        }
        Some(_) | None => {}
    }
    Ok(())
}

/// The exact integer `raw · 10^digits`, read from the digits as they stand; a float never holds it.
fn read_scaled(raw: &str, digits: i64) -> Result<i64, &'static str> {
    const OUT_OF_RANGE: &str = "the number is out of range";
    if !raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err("a number is expected");
    }
    let (negative, unsigned) = raw.strip_prefix('-').map_or((false, raw), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let significant = all.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let exponent: i32 = exponent.parse().map_err(|_| OUT_OF_RANGE)?;
    let zeros = i64::try_from(whole.len()).ok().zip(i64::try_from(significant.len()).ok());
    let Some((before_point, kept)) = zeros else { return Err(OUT_OF_RANGE) };
    let shift = i64::from(exponent) + before_point - kept + digits;
    if shift < 0 {
        return Err(if digits == 0 {
            "a whole number is expected"
        } else {
            "more than four digits after the point can't be judged"
        });
    }
    let magnitude: i64 = significant.parse().map_err(|_| OUT_OF_RANGE)?;
    let power = u32::try_from(shift).ok().and_then(|shift| 10_i64.checked_pow(shift));
    let scaled = power.and_then(|power| magnitude.checked_mul(power)).ok_or(OUT_OF_RANGE)?;
    Ok(if negative { -scaled } else { scaled })
}

fn wrong(path: &Path<'_>, problem: &str) -> Refusal {
    let at = path.join(".");
    let message = if at.is_empty() { format!("arguments: {problem}") } else { format!("argument `{at}`: {problem}") };
    let refusal = Refusal::new(Code::InvalidArguments, message);
    if at.is_empty() { refusal } else { refusal.about(at) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::schema::Field;

    fn check(ty: Type, raw: &str, expected: Result<Value, &str>) {
        let field = Field { ty, required: true, nullable: false };
        let schema = RecordType { fields: [("x".to_owned(), field)].into(), open: false };
        let read = read(raw, &schema);
        match expected {
            Ok(value) => {
                assert_eq!(read.unwrap_or_else(|refusal| panic!("{raw}: {refusal}")).get("x"), Some(&value), "{raw}")
            }
            Err(part) => {
                let refusal = read.expect_err(raw);
                assert_eq!(refusal.code, Code::InvalidArguments);
                assert!(refusal.message.contains(part), "{raw}: {refusal}");
            }
        }
    }

    #[test]
    fn amounts_are_read_exactly() {
        for (raw, value) in [
            ("10000", 100_000_000),
            ("10000.00", 100_000_000),
            ("10000.01", 100_000_100),
            ("-0", 0),
            ("0.0000e9999999", 0),
            ("1e4", 100_000_000),
            ("1.5E+1", 150_000),
            ("100000e-1", 100_000_000),
            ("-2.5", -25_000),
            ("0.0001", 1),
            ("922337203685477.5807", i64::MAX),
        ] {
            check(Type::Decimal, &format!("{{\"x\":{raw}}}"), Ok(Value::Decimal(value)));
        }
    }

    #[test]
    fn amounts_that_could_be_misread_are_refused() {
        for (raw, part) in [
            ("{}", "`x` is missing"),
            (r#"{"x":null}"#, "null"),
            (r#"{"x":"10000"}"#, "a number is expected"),
            (r#"{"x":10000.00001}"#, "four digits"),
            (r#"{"x":1e-5}"#, "four digits"),
            (r#"{"x":{"x":1}}"#, "a number is expected"),
            (r#"{"x":[1]}"#, "a number is expected"),
            (r#"{"x":true}"#, "a number is expected"),
            (r#"{"x":922337203685477.5808}"#, "out of range"),
            (r#"{"x":1e400}"#, "out of range"),
            (r#"{"x":1e99999999999}"#, "out of range"),
            (r#"{"x":1,"x":50000}"#, "twice"),
            (r#"{"x":1,"\u0078":50000}"#, "twice"),
            (r#"{"x":1,"X":50000}"#, "not declared"),
            (r#"{"x":01}"#, "arguments"),
            (r#"{"x":1} {}"#, "arguments"),
            (r#"{"x":1"#, "arguments"),
            ("[]", "arguments"),
            ("", "arguments"),
        ] {
            check(Type::Decimal, raw, Err(part));
        }
    }

    #[test]
    fn other_types_are_read_or_refused() {
        check(Type::Long, r#"{"x":3.0}"#, Ok(Value::Long(3)));
        check(Type::Long, r#"{"x":3.5}"#, Err("a whole number"));
        check(Type::Long, r#"{"x":9223372036854775808}"#, Err("out of range"));
        check(Type::Text, r#"{"x":"\u00e4"}"#, Ok(Value::Text("ä".to_owned())));
        check(Type::Text, r#"{"x":5}"#, Err("text is expected"));
        check(Type::Bool, r#"{"x":"true"}"#, Err("true or false"));
        let set = Type::Set(Box::new(Type::Long));
        check(set.clone(), r#"{"x":[1,2]}"#, Ok(Value::Set(vec![Value::Long(1), Value::Long(2)])));
        check(set, r#"{"x":[1,null]}"#, Err("`x.[]`"));
        check(Type::Opaque, r#"{"x":[{"a":1,"a":2}]}"#, Err("twice"));
    }

    #[test]
    fn what_is_opaque_or_null_is_not_seen() {
        let fields = [
            ("seen".to_owned(), Field { ty: Type::Text, required: false, nullable: true }),
            ("unseen".to_owned(), Field { ty: Type::Opaque, required: false, nullable: true }),
        ];
        let schema = RecordType { fields: fields.into(), open: true };
        assert_eq!(read(r#"{"seen":null,"unseen":{"a":1},"more":2}"#, &schema).unwrap(), Arguments::new());
        assert_eq!(read(r#"{"more":{"a":1,"a":2}}"#, &schema).unwrap_err().code, Code::InvalidArguments);
    }

    #[test]
    fn nesting_ends_in_a_refusal_and_not_in_the_stack() {
        let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let field = Field { ty: Type::Opaque, required: true, nullable: false };
        let schema = RecordType { fields: [("x".to_owned(), field)].into(), open: false };
        assert!(read(&nested(NESTING_LIMIT), &schema).is_ok());
        for levels in [NESTING_LIMIT + 1, 200_000] {
            assert!(read(&nested(levels), &schema).unwrap_err().message.contains("nested deeper"));
        }
    }
}
