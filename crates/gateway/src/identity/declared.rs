//! The table `identity.keys` of the configuration: keys that stand there by their digests.
//!
//! Their ids begin with [`DECLARED_PREFIX`], which no issued key's does: so it is known whose they are, and one that is not in the configuration any more opens nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_domain::admission::DeclareKeys;
use portcullis_domain::digest::Digest;
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::identity::key::{self, DECLARED_PREFIX};
use portcullis_domain::identity::{Entrance, Keys, Presented, Scope};
use portcullis_domain::ids::{KeyId, PrincipalName};
use portcullis_domain::scope::{PATTERNS_LIMIT, Pattern};
use portcullis_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

/// The fewest characters of a secret. One round of hashing is enough only for what nobody can guess.
const SECRET_LEAST: usize = 40;
/// The largest file with a key, in bytes.
const FILE_LIMIT_BYTES: u64 = 4 << 10;

/// A key that is not issued by the gateway: it counts as long as it stands here.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyTable {
    /// Whose it is.
    #[schemars(with = "String")]
    pub principal: PrincipalName,
    /// The SHA-256 digest of the whole key, as `portcullis identity key generate` prints it. The key itself never stands here.
    pub sha256: Option<String>,
    /// A file with the key, as a mounted secret is one, in the place of its digest. Watched.
    pub file: Option<PathBuf>,
    /// When it stops being valid by itself, as in `2027-01-01T00:00:00Z`.
    pub expires_at: Option<String>,
    /// The doors that it may be shown at: `openai`, `mcp`, `a2a`, `http`, `api`; all unless set.
    #[serde(default)]
    #[schemars(with = "BTreeSet<String>")]
    pub doors: BTreeSet<Entrance>,
    /// What may be called with it, as in `model/*`; everything unless set.
    #[serde(default)]
    #[schemars(with = "BTreeSet<String>")]
    pub capabilities: BTreeSet<Pattern>,
}

/// A key for the configuration that nobody has yet: its text, and the digest that stands for it.
///
/// # Errors
///
/// A sentence when it can't have that name.
pub fn generate(name: &str, secret: [u8; 32]) -> Result<(String, Digest), String> {
    let issued = Presented::issue([0; 6], secret);
    let secret = issued.splitn(3, '_').nth(2).unwrap_or_default();
    let text = format!("{}{}_{secret}", key::PREFIX, id(name)?);
    let digest = Digest::of(text.as_bytes());
    Ok((text, digest))
}

/// Reads the keys of the configuration, whose files begin at `base`.
///
/// # Errors
///
/// Everything that is wrong with them.
pub fn read(tables: &BTreeMap<String, KeyTable>, base: &Path) -> Result<Vec<KeyCreated>, Vec<String>> {
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for (name, table) in tables {
        match declared(name, table, base) {
            Ok(key) => keys.push(key),
            Err(problem) => problems.push(format!("identity.keys.{name}: {problem}")),
        }
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// The keys of the configuration, if none of them was something else before.
///
/// # Errors
///
/// Everything that is wrong with them.
pub fn wanted(tables: &BTreeMap<String, KeyTable>, base: &Path, keys: &Keys) -> Result<DeclareKeys, Vec<String>> {
    let wanted = DeclareKeys { keys: read(tables, base)? };
    let is_other = |key: &KeyId| {
        let wanted = wanted.keys.iter().find(|wanted| wanted.key == *key);
        keys.find(key).zip(wanted).filter(|(known, wanted)| !known.is_the_one_declared(wanted)).is_some()
    };
    let say = |key: &KeyId| {
        let name = name(key);
        if is_other(key) {
            return format!(
                "identity.keys.{name} was another key, or for something else, before: give what is new another name"
            );
        }
        let end = keys.find(key).and_then(|known| known.issued_until);
        let before = end.map_or_else(|| "without `expires_at`".to_owned(), |end| format!("with `expires_at: {end}`"));
        format!(
            "identity.keys.{name} stood there {before} before, and a key gets no other end: let it stand so, and declare a new key under another name"
        )
    };
    let others: Vec<String> = wanted.others(keys).map(say).collect();
    if others.is_empty() { Ok(wanted) } else { Err(others) }
}

/// The name that such a key has in the configuration.
#[must_use]
pub fn name(key: &KeyId) -> &str {
    key.as_str().strip_prefix(DECLARED_PREFIX).unwrap_or_default()
}

fn id(name: &str) -> Result<KeyId, String> {
    if name.is_empty() || name.contains('_') {
        return Err("the name of a key has no `_` in it".to_owned());
    }
    format!("{DECLARED_PREFIX}{name}").parse()
}

fn declared(name: &str, table: &KeyTable, base: &Path) -> Result<KeyCreated, String> {
    let key = id(name)?;
    let secret = match (&table.sha256, &table.file) {
        // What stands there by mistake may be the key itself, and is not said again.
        (Some(digest), None) => digest.parse().map_err(|_| "`sha256` is not a digest of 64 hexadecimal digits")?,
        (None, Some(file)) => in_file(&key, &base.join(file))?,
        (Some(_), Some(_)) | (None, None) => return Err("has one of `sha256` and `file`".to_owned()),
    };
    let expires_at: Option<Result<Timestamp, String>> = table.expires_at.as_deref().map(str::parse);
    let expires_at = expires_at.transpose().map_err(|problem| format!("`expires_at`: {problem}"))?;
    if table.capabilities.len() > PATTERNS_LIMIT {
        return Err(format!("a key is for at most {PATTERNS_LIMIT} patterns of capabilities"));
    }
    let scope = Scope { doors: table.doors.clone(), capabilities: table.capabilities.clone() };
    Ok(KeyCreated { key, principal: table.principal.clone(), secret, expires_at, scope })
}

fn in_file(key: &KeyId, file: &Path) -> Result<Digest, String> {
    let unusable = |problem: String| format!("`file`: `{}`: {problem}", file.display());
    let size = std::fs::metadata(file).map_err(|error| unusable(error.to_string()))?.len();
    if size > FILE_LIMIT_BYTES {
        return Err(unusable(format!("it is larger than {FILE_LIMIT_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let text = text.trim();
    match Presented::read(text) {
        Some(presented)
            if presented.id == *key && text.len() >= key::PREFIX.len() + key.as_str().len() + SECRET_LEAST =>
        {
            Ok(presented.secret)
        }
        Some(presented) if presented.id == *key => Err(unusable("the key is too short to be a secret".to_owned())),
        Some(_) | None => Err(unusable(format!("it has no key that begins with `pcs_{key}_`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<KeyCreated>, Vec<String>> {
        read(&serde_json::from_str(text).unwrap(), Path::new("."))
    }

    #[test]
    fn a_key_is_known_by_its_name_and_its_digest() {
        let (text, digest) = generate("ci", [0xff; 32]).unwrap();
        let keys = read_text(&format!(
            r#"{{"ci": {{"principal": "bot", "sha256": "{digest}", "expires_at": "2027-01-01T00:00:00Z", "doors": ["mcp"], "capabilities": ["model/*"]}}}}"#
        ));
        let keys = keys.unwrap();
        let presented = Presented::read(&text).unwrap();
        assert_eq!((presented.id.as_str(), presented.secret), ("file-ci", keys[0].secret), "{text}");
        assert!(keys[0].scope.has_door(Entrance::Mcp) && !keys[0].scope.has_door(Entrance::Api));
        for (wrong, expected) in [
            (r#"{"a_b": {"principal": "bot", "sha256": "x"}}"#, "no `_`"),
            (r#"{"a": {"principal": "bot", "sha256": "pcs_a_secret"}}"#, "64 hexadecimal digits"),
            (r#"{"a": {"principal": "bot"}}"#, "one of `sha256` and `file`"),
            (r#"{"a": {"principal": "bot", "file": "no-such-file"}}"#, "no-such-file"),
        ] {
            let problem = read_text(wrong).unwrap_err().join(";");
            assert!(problem.contains(expected) && !problem.contains("secret"), "{problem}");
        }
        assert!(generate("a_b", [0; 32]).is_err() && generate("", [0; 32]).is_err());
    }
}
