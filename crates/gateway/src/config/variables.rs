//! `${NAME}` in values, with and without quotes.
//!
//! The reader knows two ways: one leaves quoted values alone, so that `"${KEY}"` would be sent as it stands, the other takes a
//! variable that is not set for nothing. Neither fails closed. So the second is used, on a text in which every `${NAME}` says that
//! the variable is required.

use std::borrow::Cow;

/// The text with every plain `${NAME}` as `${NAME?}`, which is an error where the variable is not set; `$` elsewhere stands for
/// itself. Forms with an operator, as `${NAME:-value}`, and the escape `$${` stay.
pub(super) fn required(text: &str) -> Cow<'_, str> {
    if !text.contains('$') {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        written.push_str(before);
        rest = after;
        if let Some(inside) = rest.strip_prefix('{') {
            let name = inside.len() - inside.trim_start_matches(is_of_name).len();
            let (name, after) = inside.split_at(name);
            written.push_str("${");
            written.push_str(name);
            if after.starts_with('}') {
                written.push('?');
            }
            rest = after;
        } else if rest.starts_with("${") {
            // `$${NAME}` is the text `${NAME}`.
            written.push_str("$${");
            rest = rest.get(2..).unwrap_or_default();
        } else {
            written.push_str("$$");
        }
    }
    written.push_str(rest);
    Cow::Owned(written)
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_a_default_is_required_and_all_else_stays() {
        for (text, expected) in [
            ("a: b", "a: b"),
            ("a: ${KEY}", "a: ${KEY?}"),
            ("a: \"x${KEY}${OTHER}y\"", "a: \"x${KEY?}${OTHER?}y\""),
            ("a: ${KEY:-b}", "a: ${KEY:-b}"),
            ("a: $${KEY}", "a: $${KEY}"),
            ("a: $KEY 5$", "a: $$KEY 5$$"),
            ("a: ${", "a: ${"),
        ] {
            assert_eq!(required(text), expected, "{text}");
        }
    }
}
