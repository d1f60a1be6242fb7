//! JSON in the one form that everybody writes alike (RFC 8785), so that a signature holds whoever wrote it down.

use portcullis_domain::json;
use serde_json::value::RawValue;

use crate::a2a::walk::{DEPTH_LIMIT, is_too_deep};
use crate::frame::object::quoted;

/// What becomes of texts, arrays and objects that are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// They stay, as the RFC has it.
    Stays,
    /// They are left out, as in the payload of a card's signature (A2A 1.0, section 8.4.1).
    LeftOut,
}

/// The canonical form of raw JSON.
///
/// # Errors
///
/// A sentence on what has none: no JSON, a member that stands twice, half a surrogate pair, a number beyond the range, or
/// nesting that is too deep.
pub fn canonical(raw: &str, empty: Empty) -> Result<String, String> {
    if is_too_deep(raw.as_bytes()) {
        return Err(format!("it is nested deeper than {DEPTH_LIMIT} levels"));
    }
    let raw = serde_json::from_str::<&RawValue>(raw).map_err(|error| error.to_string())?.get();
    Ok(written(raw, empty)?.unwrap_or_else(|| match raw.chars().next() {
        Some('[') => "[]".to_owned(),
        Some('{') => "{}".to_owned(),
        Some(_) | None => "\"\"".to_owned(),
    }))
}

fn written(raw: &str, empty: Empty) -> Result<Option<String>, String> {
    let kept = |text: String, is_empty: bool| (empty == Empty::Stays || !is_empty).then_some(text);
    match raw.as_bytes().first() {
        Some(b'{') => {
            let mut members: Vec<(Vec<u16>, String)> = Vec::new();
            for (name, value) in json::members(raw)? {
                if let Some(value) = written(value.get(), empty)? {
                    members.push((name.encode_utf16().collect(), format!("{}:{value}", quoted(&name))));
                }
            }
            // Names are ordered by their units of UTF-16, as in ECMAScript.
            members.sort();
            let texts: Vec<String> = members.into_iter().map(|(_, text)| text).collect();
            Ok(kept(format!("{{{}}}", texts.join(",")), texts.is_empty()))
        }
        Some(b'[') => {
            let mut items = Vec::new();
            for item in json::items(raw)? {
                items.extend(written(item.get(), empty)?);
            }
            Ok(kept(format!("[{}]", items.join(",")), items.is_empty()))
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
            Ok(kept(quoted(&text), text.is_empty()))
        }
        Some(b't' | b'f' | b'n') => Ok(Some(raw.to_owned())),
        Some(_) => number(raw).map(Some),
        None => Err("there is no JSON".to_owned()),
    }
}

/// A number as ECMAScript writes it (ECMA-262, `Number::toString`).
fn number(raw: &str) -> Result<String, String> {
    // The standard library reads the nearest number; a JSON library may be one off for the sake of speed.
    let value: f64 = raw.parse().map_err(|_| format!("`{raw}` is no number"))?;
    if !value.is_finite() {
        return Err(format!("`{raw}` is beyond the range of numbers"));
    }
    if value == 0.0 {
        return Ok("0".to_owned());
    }
    // The shortest digits that mean this number, and the place of its point, come from here; only their layout differs.
    let shortest = evened(format!("{:e}", value.abs()), value.abs());
    let (mantissa, exponent) = shortest.split_once('e').ok_or("a number can't be written")?;
    let digits = mantissa.replace('.', "");
    let point = exponent.parse::<i32>().map_err(|error| error.to_string())? + 1;
    let count = i32::try_from(digits.len()).map_err(|error| error.to_string())?;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let text = match point {
        _ if count <= point && point <= 21 => format!("{digits}{}", zeros(point - count)),
        1..=21 => {
            let (whole, rest) = digits.split_at(usize::try_from(point).unwrap_or_default());
            format!("{whole}.{rest}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => format!("{mantissa}e{:+}", point - 1),
    };
    Ok(if value < 0.0 { format!("-{text}") } else { text })
}

/// Of two shortest texts that are equally near, ECMAScript takes the one with the even digit, and the standard library the larger one.
fn evened(shortest: String, value: f64) -> String {
    /// No number has more digits than this.
    const DIGITS_LIMIT: usize = 770;
    let Some((mantissa, exponent)) = shortest.split_once('e') else { return shortest };
    let exact = format!("{value:.DIGITS_LIMIT$e}");
    let exact = exact.split('e').next().unwrap_or_default().trim_end_matches('0');
    let is_between = exact.len() == mantissa.len() + 1 && exact.ends_with('5');
    let Some(lower) = exact.strip_suffix('5').filter(|_| is_between) else { return shortest };
    let lower = format!("{lower}e{exponent}");
    let is_even = lower.split('e').next().is_some_and(|digits| digits.ends_with(['0', '2', '4', '6', '8']));
    if is_even && lower.parse() == Ok(value) { lower } else { shortest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_come_out_as_they_should() {
        let raw = "{ \"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],\n \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\", \"literals\": [null, true, false] }";
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(raw, Empty::Stays).as_deref(), Ok(expected));
        let raw = "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew\",\"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji\",\"\\u0080\":\"Control\",\"\\u00f6\":\"Latin\"}";
        let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin\",\"€\":\"Euro Sign\",\"😀\":\"Emoji\",\"\u{fb33}\":\"Hebrew\"}";
        assert_eq!(canonical(raw, Empty::Stays).as_deref(), Ok(expected));
    }

    #[test]
    fn numbers_are_those_of_ecmascript() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            assert_eq!(number(&format!("{:e}", f64::from_bits(bits))).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_empty_is_left_out_all_the_way_up() {
        let raw = r#"{"a":"","b":[],"c":{"d":[{"e":""}]},"f":false,"g":0,"h":null,"i":["",1]}"#;
        assert_eq!(canonical(raw, Empty::LeftOut).as_deref(), Ok(r#"{"f":false,"g":0,"h":null,"i":[1]}"#));
        assert_eq!(canonical(r#"{"c":{"d":[]},"a":""}"#, Empty::Stays).as_deref(), Ok(r#"{"a":"","c":{"d":[]}}"#));
    }

    #[test]
    fn what_has_no_canonical_form_is_an_error() {
        for raw in ["", "{", r#"{"a":1,"a":1}"#, r#""\ud800""#, "1e999", "nul", "[1,]", &"[".repeat(200)] {
            assert!(canonical(raw, Empty::Stays).is_err(), "{raw}");
        }
    }
}
