//! Credentials whose form takes more than a prefix and a run to say.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::tokens::base64_url;
use crate::look::{Look, Read, is_word};
use crate::reader::Reader;

/// How long a JSON Web Token may be, in bytes.
const JWT_LIMIT: usize = 8 << 10;
/// How long a private key may be, in bytes. RSA of 8192 bits takes 6.4 KiB.
const PEM_LIMIT: usize = 12 << 10;

pub(super) const PORTCULLIS_KEY: Look = Look {
    kind: "portcullis_key",
    replacement: "[SECRET]",
    window: 64,
    not_after: is_word,
    read: Read::Code(|c| c == 'p', portcullis_key),
};

pub(super) const PORTCULLIS_TASK: Look = Look {
    kind: "portcullis_task_token",
    replacement: "[SECRET]",
    window: JWT_LIMIT,
    not_after: is_in_jwt,
    read: Read::Code(|c| c == 'e', task_token),
};

pub(super) const JWT: Look = Look {
    kind: "jwt",
    replacement: "[SECRET]",
    window: JWT_LIMIT,
    not_after: is_in_jwt,
    read: Read::Code(|c| c == 'e', jwt),
};

pub(super) const AWS_ACCESS_KEY: Look = Look {
    kind: "aws_access_key",
    replacement: "[SECRET]",
    window: 24,
    not_after: is_word,
    read: Read::Code(|c| c == 'A', aws_access_key),
};

pub(super) const AZURE_CLIENT_SECRET: Look = Look {
    kind: "azure_client_secret",
    replacement: "[SECRET]",
    window: 48,
    not_after: is_in_azure_secret,
    read: Read::Code(is_in_azure_secret, azure_client_secret),
};

pub(super) const PRIVATE_KEY: Look = Look {
    kind: "private_key",
    replacement: "[PRIVATE KEY]",
    window: PEM_LIMIT,
    not_after: |c| c == '-',
    read: Read::Code(|c| c == '-', private_key),
};

pub(super) const URL_PASSWORD: Look = Look {
    kind: "url_password",
    replacement: "[SECRET]",
    window: 512,
    not_after: |c| is_word(c) || matches!(c, '+' | '-' | '.'),
    read: Read::Code(|c| c.is_ascii_alphabetic(), url_password),
};

fn portcullis_key(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let is_key = reader.literal("pcs_")
        && reader.run(12, |c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()) == 12
        && reader.literal("_")
        && reader.run(43, base64_url) == 43
        && reader.ends(|c| is_word(c) || c == '-');
    is_key.then(|| start..reader.at())
}

/// Access keys of persons and roles, temporary ones and those of services.
fn aws_access_key(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    if reader.run(4, |c| c.is_ascii_uppercase() || c.is_ascii_digit()) != 4 {
        return None;
    }
    let beginning = reader.since(start);
    let is_known = matches!(beginning, "AKIA" | "ASIA" | "ABIA" | "ACCA") || beginning.starts_with("A3T");
    let is_key = is_known
        && reader.run(16, |c| c.is_ascii_uppercase() || matches!(c, '2'..='7')) == 16
        && reader.ends(is_word)
        // The key that all documentation of AWS uses, and its likes.
        && !reader.since(start).ends_with("EXAMPLE");
    is_key.then(|| start..reader.at())
}

fn is_in_azure_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '~' | '.' | '-')
}

/// Client secrets of Entra ID: three characters, a digit, `Q~` and some thirty more.
fn azure_client_secret(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let is_secret = reader.run(3, is_in_azure_secret) == 3
        && reader.one(|c| c.is_ascii_digit())
        && reader.literal("Q~")
        && reader.run(34, is_in_azure_secret) >= 31
        && reader.ends(|c| is_word(c) || matches!(c, '~' | '-'));
    is_secret.then(|| start..reader.at())
}

fn is_in_jwt(c: char) -> bool {
    base64_url(c) || c == '.'
}

/// A header and claims that begin as JSON objects do, and a signature (RFC 7515, section 3.1). What is not signed is no credential.
fn jwt(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    let is_signed = reader.literal("eyJ")
        && reader.run(JWT_LIMIT, base64_url) >= 10
        && reader.literal(".eyJ")
        && reader.run(JWT_LIMIT, base64_url) >= 4
        && reader.literal(".")
        && reader.run(JWT_LIMIT, base64_url) >= 20;
    is_signed.then(|| start..reader.at())
}

/// A JSON Web Token whose header says that it is a task token.
fn task_token(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let range = jwt(reader)?;
    let (header, _) = reader.since(range.start).split_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    (header.get("typ")?.as_str()? == "task+jwt").then_some(range)
}

/// A private key in PEM (RFC 7468), also with its lines joined by `\n` as in JSON, and also where its end is cut off.
fn private_key(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let start = reader.at();
    if !reader.literal("-----BEGIN ") {
        return None;
    }
    let label = reader.at();
    reader.run(40, is_in_label);
    let label = reader.since(label);
    if !label.ends_with("PRIVATE KEY") && !label.ends_with("PRIVATE KEY BLOCK") || !reader.literal("-----") {
        return None;
    }
    let body = reader.at();
    // Headers as `Proc-Type: 4,ENCRYPTED` may stand before the Base64.
    let is_in_body = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "+/=\\:,.()".contains(c);
    loop {
        reader.run(PEM_LIMIT, is_in_body);
        let end = reader.at();
        let hyphens = reader.run(5, |c| c == '-');
        if hyphens == 0 || hyphens == 5 {
            if hyphens != 5 || !is_end(reader) {
                reader.back(end);
            }
            break;
        }
    }
    let written = reader.since(body).bytes().filter(u8::is_ascii_alphanumeric).count();
    (written >= 32).then(|| start..reader.at())
}

/// What comes after the hyphens of the last line.
fn is_end(reader: &mut Reader<'_>) -> bool {
    reader.literal("END ") && reader.run(40, is_in_label) > 0 && reader.literal("-----")
}

fn is_in_label(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' '
}

/// The password of `scheme://user:password@host` (RFC 3986, section 3.2.1).
fn url_password(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_in_user = |c: char| !c.is_whitespace() && !c.is_control() && !"/:@\"'`<>?#\\".contains(c);
    let is_in_password = |c: char| is_in_user(c) || c == ':' || c == '#' || c == '?';
    reader.run(20, is_scheme);
    if !reader.literal("://") {
        return None;
    }
    reader.run(128, is_in_user);
    if !reader.literal(":") {
        return None;
    }
    let start = reader.at();
    reader.run(256, is_in_password);
    let range = start..reader.at();
    let password = reader.since(start);
    let is_url = reader.literal("@") && reader.one(|c| c.is_alphanumeric() || c == '[' || c == '_');
    (is_url && !password.is_empty() && !super::generic::stands_for_another(password)).then_some(range)
}
