//! What an issuer's claims mean here: who it is, and what is known of them.

use std::collections::BTreeSet;

use portcullis_domain::identity::event::PrincipalSeen;
use portcullis_domain::ids::{IssuerName, PrincipalName};
use portcullis_domain::json::{self, items};
use portcullis_domain::policy::{Arguments, RecordType, Value, arguments};
use portcullis_domain::profile::Profile;
use portcullis_domain::time::Timestamp;

use crate::identity::issuer::{AttributeMapping, IssuerTable};
use crate::identity::jwt::{Jwt, claim};

/// The most attributes and roles of a profile together, and its largest text, in bytes: it is journaled.
const PROFILE_LIMIT_BYTES: usize = 8 << 10;
/// Claims whose text is a list with spaces between (RFC 9068, section 2.2.3; some issuers say `scp`).
const SCOPES: [&str; 2] = ["scope", "scp"];

/// What a token says of its times and whom it is for, apart from its signature. When it ends, with the leeway.
///
/// # Errors
///
/// A sentence for the operator when it is not good now, or not here.
pub fn check(table: &IssuerTable, jwt: &Jwt<'_>, now: Timestamp) -> Result<Timestamp, String> {
    let leeway = table.leeway_s.saturating_mul(1_000_000);
    let later = Timestamp(now.0.saturating_add(leeway));
    let expires_at = jwt.time("exp")?.ok_or("the token never expires")?;
    let ends_at = Timestamp(expires_at.0.saturating_add(leeway));
    if now >= ends_at {
        return Err("the token has expired".to_owned());
    }
    for name in ["nbf", "iat"] {
        if jwt.time(name)?.is_some_and(|time| time > later) {
            return Err(format!("the token is not valid yet: its `{name}` is still to come"));
        }
    }
    if !jwt.is_for(&table.audiences) {
        return Err("the token is for somebody else: its `aud` is none of the `audiences`".to_owned());
    }
    Ok(ends_at)
}

/// The certificate that a token is bound to (RFC 8705, section 3.1), by its digest.
///
/// # Errors
///
/// A sentence when it is bound to something else, as a key of DPoP (RFC 9449): whoever shows it can't be asked for that.
pub fn bound_to(jwt: &Jwt<'_>) -> Result<Option<String>, String> {
    let Some(confirmation) = jwt.claim("cnf") else { return Ok(None) };
    let other = || "the token is bound to something that can't be checked here".to_owned();
    let members = json::members(confirmation.get()).map_err(|_| other())?;
    let thumbprint = json::member(&members, "x5t#S256").and_then(json::text).filter(|_| members.len() == 1);
    thumbprint.map(|text| Some(text.into_owned())).ok_or_else(other)
}

/// Who it is that a token speaks of, and what it says of them.
///
/// # Errors
///
/// A sentence for the operator when a claim is missing, or can't be said here exactly.
pub fn seen(table: &IssuerTable, issuer: &IssuerName, jwt: &Jwt<'_>) -> Result<PrincipalSeen, String> {
    let name = &table.principal.claim;
    let subject = claim(&jwt.claims, name).and_then(json::text).filter(|text| !text.is_empty());
    let subject = subject.ok_or_else(|| format!("the token has no `{name}` that is text"))?;
    let principal: PrincipalName = format!("{}{subject}", table.prefix(issuer)).parse()?;
    let mut profile = Profile { roles: table.roles.always.iter().cloned().collect(), attributes: Arguments::new() };
    for given in given_roles(table, jwt) {
        profile.roles.extend(table.roles.map.get(&given).into_iter().flatten().cloned());
    }
    for (name, mapping) in &table.attributes {
        match claim(&jwt.claims, &mapping.claim).filter(|raw| raw.get() != "null") {
            Some(raw) => drop(profile.attributes.insert(name.clone(), value(mapping, raw.get())?)),
            None if mapping.required => return Err(format!("the token has no `{}`", mapping.claim)),
            None => {}
        }
    }
    let size = serde_json::to_vec(&profile).map_or(usize::MAX, |written| written.len());
    if size > PROFILE_LIMIT_BYTES {
        return Err(format!("what the token says of its principal is larger than {PROFILE_LIMIT_BYTES} bytes"));
    }
    Ok(PrincipalSeen { issuer: issuer.clone(), principal, profile })
}

/// The issuer's own words for roles; what is no text says nothing.
fn given_roles(table: &IssuerTable, jwt: &Jwt<'_>) -> BTreeSet<String> {
    let Some(name) = &table.roles.claim else { return BTreeSet::new() };
    let Some(raw) = claim(&jwt.claims, name) else { return BTreeSet::new() };
    match json::text(raw) {
        Some(text) if SCOPES.contains(&name.as_str()) => text.split(' ').map(str::to_owned).collect(),
        Some(text) => [text.into_owned()].into(),
        None => {
            let all = items(raw.get()).unwrap_or_default();
            all.into_iter().filter_map(json::text).map(std::borrow::Cow::into_owned).collect()
        }
    }
}

fn value(mapping: &AttributeMapping, raw: &str) -> Result<Value, String> {
    const NAME: &str = "value";
    let types = RecordType { fields: [(NAME.to_owned(), mapping.field())].into(), open: false };
    let read = arguments::read(&format!("{{\"{NAME}\":{raw}}}"), &types);
    let value = read.ok().and_then(|mut read| read.remove(NAME));
    let value = value.ok_or_else(|| format!("the token's `{}` is of another type", mapping.claim))?;
    let Value::Set(mut values) = value else { return Ok(value) };
    // Neither order nor repetition means anything, and tokens that mean the same are to say the same.
    values.sort();
    values.dedup();
    Ok(Value::Set(values))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const TABLE: &str = r#"{
        "issuer": "https://login.example", "audiences": ["gate"], "leeway_s": 60,
        "roles": {"claim": "realm_access.roles", "always": ["staff"], "map": {"adjusters": ["junior"], "root": ["administrator"]}},
        "attributes": {
            "limit": {"claim": "limits.approval", "type": "decimal", "required": true},
            "team": {"claim": "department"}, "regions": {"claim": "regions", "type": "list"}
        }
    }"#;

    fn table() -> IssuerTable {
        serde_json::from_str(TABLE).unwrap()
    }

    fn of(claims: &str) -> Result<PrincipalSeen, String> {
        let token = format!("{}.{}.eA", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#), URL_SAFE_NO_PAD.encode(claims));
        seen(&table(), &"corp".parse().unwrap(), &Jwt::read(&token).unwrap())
    }

    #[test]
    fn only_what_the_mapping_names_becomes_a_role() {
        let check = |roles: &str, expected: &[&str]| {
            let claims = format!(r#"{{"sub":"ann","limits":{{"approval":1}},"realm_access":{{"roles":{roles}}}}}"#);
            let seen = of(&claims).unwrap();
            let found: Vec<&str> = seen.profile.roles.iter().map(|role| role.as_str()).collect();
            assert_eq!((seen.principal.as_str(), found.as_slice()), ("corp.ann", expected), "{roles}");
        };
        check("[]", &["staff"]);
        check(r#"["adjusters"]"#, &["junior", "staff"]);
        check(r#""adjusters""#, &["junior", "staff"]);
        check(r#"["administrator", "junior", "Adjusters", "adjusters ", 7, null, ["adjusters"]]"#, &["staff"]);
        check(r#""root adjusters""#, &["staff"]);
        check(r#"["root"]"#, &["administrator", "staff"]);
        check(r#"{"root": true}"#, &["staff"]);
    }

    #[test]
    fn attributes_are_of_their_types_or_the_token_is_not_good() {
        let check = |more: &str, expected: Result<&str, &str>| {
            let seen = of(&format!(r#"{{"sub":"ann"{more}}}"#));
            let found = seen.map(|seen| serde_json::to_string(&seen.profile.attributes).unwrap());
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{more}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{more}: {found}"),
                (found, _) => panic!("{more}: {found:?}"),
            }
        };
        let limit = |limit: &str| format!(r#","limits":{{"approval":{limit}}}"#);
        check(&limit("10000.5"), Ok(r#"{"limit":{"decimal":100005000}}"#));
        check(&limit("9007199254740993.1"), Err("another type"));
        check(&limit("900719925474099.3"), Ok(r#"{"limit":{"decimal":9007199254740993000}}"#));
        check(&limit(r#""10000""#), Err("another type"));
        check(&limit("1.00001"), Err("another type"));
        check(&limit("null"), Err("no `limits.approval`"));
        check("", Err("no `limits.approval`"));
        check(
            &(limit("1") + r#","department":"claims","regions":["b","a","b"]"#),
            Ok(r#"{"limit":{"decimal":10000},"regions":{"set":[{"text":"a"},{"text":"b"}]},"team":{"text":"claims"}}"#),
        );
        check(&(limit("1") + r#","department":["claims"]"#), Err("`department` is of another type"));
        check(&(limit("1") + r#","regions":"a""#), Err("`regions` is of another type"));
        let long = format!(r#"{},"department":"{}""#, limit("1"), "x".repeat(PROFILE_LIMIT_BYTES));
        check(&long, Err("larger than"));
    }

    #[test]
    fn a_subject_that_is_no_name_is_nobody() {
        for subject in [r#""auth0|7""#, r#""a b""#, r#""""#, "7", "null", r#""a/b""#, r#""ä""#, r#""a\u0000""#] {
            assert!(of(&format!(r#"{{"sub":{subject},"limits":{{"approval":1}}}}"#)).is_err(), "{subject}");
        }
        assert!(of(r#"{"limits":{"approval":1}}"#).is_err());
        assert_eq!(of(r#"{"sub":"-x","limits":{"approval":1}}"#).unwrap().principal.as_str(), "corp.-x");
    }

    #[test]
    fn a_token_counts_in_its_time_and_for_whom_it_is_meant() {
        let check = |claims: &str, expected: Result<u64, &str>| {
            let token =
                format!("{}.{}.eA", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#), URL_SAFE_NO_PAD.encode(claims));
            let found = check(&table(), &Jwt::read(&token).unwrap(), Timestamp(1_000_000_000));
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.0, expected * 1_000_000, "{claims}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{claims}: {found}"),
                (found, _) => panic!("{claims}: {found:?}"),
            }
        };
        check(r#"{"aud":"gate","exp":1000}"#, Ok(1060));
        check(r#"{"aud":["x","gate"],"exp":941}"#, Ok(1001));
        check(r#"{"aud":"gate","exp":940}"#, Err("expired"));
        check(r#"{"aud":"gate"}"#, Err("never expires"));
        check(r#"{"aud":"gate","exp":"1000"}"#, Err("`exp` is no time"));
        check(r#"{"aud":"gate","exp":2000,"nbf":1060,"iat":1060}"#, Ok(2060));
        check(r#"{"aud":"gate","exp":2000,"nbf":1061}"#, Err("`nbf`"));
        check(r#"{"aud":"gate","exp":2000,"iat":1061}"#, Err("`iat`"));
        check(r#"{"exp":2000}"#, Err("somebody else"));
        for audience in
            [r#""gate2""#, "[]", r#"["gate2"]"#, r#"[["gate"]]"#, r#"{"gate":"gate"}"#, "null", r#""gate other""#]
        {
            check(&format!(r#"{{"exp":2000,"aud":{audience}}}"#), Err("somebody else"));
        }
    }
}
