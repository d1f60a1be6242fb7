//! Values that stand beside a name that says what they are.

use std::ops::Range;

use super::entropy::bits_per_character;
use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

pub(super) const GENERIC: Look = Look {
    kind: NAMED.0,
    replacement: NAMED.1,
    window: 512,
    not_after: is_word,
    read: Read::Code(|c| c.is_ascii_alphabetic(), named),
};

pub(super) const AWS_SECRET_KEY: Look = Look {
    kind: "aws_secret_key",
    replacement: "[SECRET]",
    window: 512,
    not_after: is_word,
    read: Read::Code(|c| c.is_ascii_alphabetic(), aws_secret_key),
};

/// What such a value is called and what stands in its place.
pub(crate) const NAMED: (&str, &str) = ("named_secret", "[SECRET]");

/// How long names and values are looked at, in characters.
const NAME_LIMIT: usize = 64;
const VALUE_LIMIT: usize = 256;
/// What passwords, which people choose, and keys, which machines make, have at least: characters and bits of entropy in each.
const PASSWORD: (usize, f64) = (8, 2.5);
const KEY: (usize, f64) = (16, 3.3);

/// What a name says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Password,
    Key,
}

/// Whether a value of that name, as a member of JSON, is a secret.
pub(crate) fn names_a_secret(name: &str, value: &str) -> bool {
    what(name).is_some_and(|named| is_secret(named, value, true))
}

fn named(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let (name, range, value, is_quoted) = assignment(reader)?;
    is_secret(what(name)?, value, is_quoted).then_some(range)
}

/// A secret access key has no form of its own but its length; it is known by its name.
fn aws_secret_key(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let (name, range, value, _) = assignment(reader)?;
    let is_one = ["secretaccesskey", "awssecretkey", "awssecret"].iter().any(|ending| ends_with(name, ending));
    let is_key = value.len() == 40 && value.chars().all(super::tokens::base64) && super::tokens::is_mixed(value);
    (is_one && is_key && !value.ends_with("EXAMPLEKEY")).then_some(range)
}

/// A name, `=` or `:` or `=>` or `:=`, and a value with or without quotes.
fn assignment<'t>(reader: &mut Reader<'t>) -> Option<(&'t str, Range<usize>, &'t str, bool)> {
    let start = reader.at();
    reader.run(NAME_LIMIT, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let name = reader.since(start);
    // Most words are no such name: they are not read beyond.
    what(name)?;
    quote(reader);
    reader.run(4, is_blank);
    let is_assigned = if reader.one(|c| c == ':') {
        reader.one(|c| c == '=');
        true
    } else if reader.one(|c| c == '=') {
        reader.one(|c| c == '>' || c == '=');
        true
    } else {
        false
    };
    if !is_assigned {
        return None;
    }
    reader.run(4, is_blank);
    let opening = quote(reader);
    scheme(reader);
    let start = reader.at();
    match opening {
        Some(opening) => reader.run(VALUE_LIMIT, |c| c != opening && !matches!(c, '\n' | '\r' | '\\')),
        None => reader.run(VALUE_LIMIT, |c| !c.is_whitespace() && !c.is_control() && !"\"'`,;()[]{}<>&\\".contains(c)),
    };
    Some((name, start..reader.at(), reader.since(start), opening.is_some()))
}

/// `Bearer` and `Basic` before a credential (RFC 7235) do not belong to it.
fn scheme(reader: &mut Reader<'_>) {
    let before = reader.at();
    reader.run(6, |c| c.is_ascii_alphabetic());
    let is_scheme = ["bearer", "basic", "token"].iter().any(|known| known.eq_ignore_ascii_case(reader.since(before)));
    if !is_scheme || reader.run(4, is_blank) == 0 {
        reader.back(before);
    }
}

fn quote(reader: &mut Reader<'_>) -> Option<char> {
    reader.one(|c| c == '\\');
    ['"', '\'', '`'].into_iter().find(|&quote| reader.one(|c| c == quote))
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Whether a name ends so, whatever its case and whatever separates its words.
fn ends_with(name: &str, ending: &str) -> bool {
    let mut back = name.bytes().rev().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    ending.bytes().rev().all(|expected| back.next() == Some(expected))
}

fn what(name: &str) -> Option<Named> {
    let ends = |endings: &[&str]| endings.iter().any(|ending| ends_with(name, ending));
    if ends(&["password", "passwd", "passphrase", "pwd"]) {
        Some(Named::Password)
    } else if ends(&[
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "signingkey",
        "encryptionkey",
        "authkey",
        "secret",
        "token",
        "credential",
        "credentials",
        "authorization",
    ]) {
        Some(Named::Key)
    } else {
        None
    }
}

fn is_secret(named: Named, value: &str, is_quoted: bool) -> bool {
    let (least, bits) = match named {
        Named::Password => PASSWORD,
        Named::Key => KEY,
    };
    let is_long = (least..VALUE_LIMIT).contains(&value.chars().count());
    if !is_long || stands_for_another(value) || bits_per_character(value) < bits {
        return false;
    }
    let letters = value.chars().any(char::is_alphabetic);
    let digits = value.chars().any(|c| c.is_ascii_digit());
    let others = value.chars().any(|c| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '-' | ' ' | '/'));
    match named {
        Named::Password => letters && (digits || (others && is_quoted)) && (!value.contains(' ') || is_quoted),
        Named::Key => letters && digits && !value.contains(' ') && !is_path(value),
    }
}

/// Names of files and places: words between slashes.
fn is_path(value: &str) -> bool {
    value.contains("://")
        || value.starts_with(['/', '.', '~'])
        || value.matches('/').count() >= 3 && value.contains('.')
}

/// Whether a value is not meant as it is: a mask, a variable, a hole in a template, an example.
pub(super) fn stands_for_another(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let begins = ["[", "$", "<", "{", "%", "***", "xxx", "env.", "os.environ", "process.env", "secrets."];
    let contains = [
        "${",
        "{{",
        "****",
        "xxxx",
        "example",
        "changeme",
        "change_me",
        "placeholder",
        "redacted",
        "your_",
        "your-",
        "[secret]",
    ];
    begins.iter().any(|beginning| lower.starts_with(beginning)) || contains.iter().any(|part| lower.contains(part))
}
