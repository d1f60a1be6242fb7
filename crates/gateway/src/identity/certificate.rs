//! The table `identity.certificates` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_domain::identity::event::PrincipalSeen;
use portcullis_domain::ids::{IssuerName, PrincipalName, RoleName};
use portcullis_domain::policy::{Field, Type, Value};
use portcullis_domain::profile::Profile;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::identity::spiffe::{SpiffeId, check_trust_domain};

/// The attribute with the SPIFFE id that a certificate is for, and that with the DNS name.
pub const SPIFFE_ID: &str = "spiffe_id";
/// The DNS name that a certificate without a SPIFFE id is for.
pub const DNS_NAME: &str = "dns_name";
/// What stands in a principal's name for the slashes of a path, which have no other use there.
const SLASH: &str = "+";

/// Who vouches for principals by client certificates: the authority of a SPIFFE trust domain, or any other one whose certificates have a DNS name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateTable {
    /// The trust domain, as in `prod.example.org`. Its certificates are X509-SVIDs: they have one URI, `spiffe://prod.example.org/…`, and `ca_file` vouches for nobody of another trust domain. Without it, certificates have one DNS name and no URI.
    pub trust_domain: Option<String>,
    /// A PEM file with the certificates of the authority: its trust bundle. Watched; another one counts from the next call on, on connections that are open as well.
    pub ca_file: PathBuf,
    /// A PEM file with lists of revoked certificates (CRL), if there are such lists. One that is out of date makes every certificate invalid. Watched.
    pub crl_file: Option<PathBuf>,
    /// What names of principals begin with that have no name of the configuration. The authority's name and a point unless set.
    pub prefix: Option<String>,
    /// Whose certificates are taken: by the path of the SPIFFE id, as in `/ns/prod/sa/claims`, or by the DNS name. A `*` at the end stands for whatever follows; the longest that fits counts. A certificate that none of these fits is nobody's.
    pub principals: BTreeMap<String, CertifiedTable>,
}

/// Who somebody with a certificate is here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertifiedTable {
    /// A principal or an agent of the configuration, whose roles and attributes count then. Otherwise it is the prefix with the name in the certificate, with `+` for the slashes between the parts of a path.
    #[schemars(with = "Option<String>")]
    pub principal: Option<PrincipalName>,
    /// The roles of whoever has no name of the configuration.
    #[schemars(with = "Vec<String>")]
    pub roles: Vec<RoleName>,
}

/// Whom a certificate is for, in its authority's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A workload of a trust domain.
    Spiffe(SpiffeId),
    /// A host.
    Dns(String),
}

impl Subject {
    /// What it is looked up by.
    fn key(&self) -> &str {
        match self {
            Self::Spiffe(id) => &id.path,
            Self::Dns(name) => name,
        }
    }

    /// Its name among principals, after the prefix.
    fn name(&self) -> String {
        match self {
            Self::Spiffe(id) => id.path.trim_start_matches('/').replace('/', SLASH),
            Self::Dns(name) => name.clone(),
        }
    }

    fn attribute(&self) -> (String, Value) {
        match self {
            Self::Spiffe(id) => (SPIFFE_ID.to_owned(), Value::Text(id.to_string())),
            Self::Dns(name) => (DNS_NAME.to_owned(), Value::Text(name.clone())),
        }
    }
}

impl CertificateTable {
    /// What the names of its principals begin with.
    #[must_use]
    pub fn prefix(&self, name: &IssuerName) -> String {
        self.prefix.clone().unwrap_or_else(|| format!("{name}."))
    }

    /// All roles that it can give.
    pub fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.principals.values().filter(|table| table.principal.is_none()).flat_map(|table| &table.roles)
    }

    /// What rules can read of its principals.
    #[must_use]
    pub fn attribute(&self) -> (String, Field) {
        let name = if self.trust_domain.is_some() { SPIFFE_ID } else { DNS_NAME };
        (name.to_owned(), Field { ty: Type::Text, required: true, nullable: false })
    }

    /// Whether it vouches for this one of the configuration.
    #[must_use]
    pub fn names(&self, principal: &PrincipalName) -> bool {
        self.principals.values().any(|table| table.principal.as_ref() == Some(principal))
    }

    /// Who that is here; none where it is nobody.
    ///
    /// # Errors
    ///
    /// A sentence when its name can't be one of a principal.
    pub fn seen(&self, issuer: &IssuerName, subject: &Subject) -> Result<Option<PrincipalSeen>, String> {
        let Some(table) = self.fitting(subject.key()) else { return Ok(None) };
        let (name, value) = subject.attribute();
        let mut profile = Profile { roles: std::collections::BTreeSet::new(), attributes: [(name, value)].into() };
        let principal = match &table.principal {
            Some(principal) => principal.clone(),
            None => {
                profile.roles.extend(table.roles.iter().cloned());
                format!("{}{}", self.prefix(issuer), subject.name()).parse()?
            }
        };
        Ok(Some(PrincipalSeen { issuer: issuer.clone(), principal, profile }))
    }

    /// The line for that one: exactly its own, or else the longest with a `*` that fits.
    fn fitting(&self, key: &str) -> Option<&CertifiedTable> {
        let fits = |pattern: &&String| pattern.strip_suffix('*').is_some_and(|start| key.starts_with(start));
        let longest = || {
            let pattern = self.principals.keys().filter(fits).max_by_key(|pattern| pattern.len())?;
            self.principals.get(pattern)
        };
        self.principals.get(key).or_else(longest)
    }

    /// What is wrong with it by itself.
    #[must_use]
    pub fn problem(&self, name: &IssuerName) -> Option<String> {
        let prefix = self.prefix(name);
        let domain = self.trust_domain.as_deref().map(check_trust_domain).and_then(Result::err);
        if self.ca_file.as_os_str().is_empty() {
            return Some("names no `ca_file`: whose certificates are taken".to_owned());
        }
        if let Some(problem) = domain {
            return Some(format!("`trust_domain`: {problem}"));
        }
        if format!("{prefix}x").parse::<PrincipalName>().is_err() {
            return Some(format!("`{prefix}` can't be the beginning of a name"));
        }
        self.principals.iter().find_map(|(pattern, table)| self.problem_of(pattern, table))
    }

    fn problem_of(&self, pattern: &str, table: &CertifiedTable) -> Option<String> {
        let start = pattern.strip_suffix('*').unwrap_or(pattern);
        let is_path = start.starts_with('/');
        if start.contains('*') {
            Some(format!("`principals`: `{pattern}` has a `*` before its end"))
        } else if is_path != self.trust_domain.is_some() {
            let what = if is_path {
                "is a path, and there is no `trust_domain`"
            } else {
                "is no path of a SPIFFE id, which begins with `/`"
            };
            Some(format!("`principals`: `{pattern}` {what}"))
        } else if start.is_empty() || pattern.bytes().any(|byte| byte.is_ascii_uppercase()) && !is_path {
            Some(format!("`principals`: `{pattern}` is no DNS name in small letters"))
        } else if table.principal.is_some() && !table.roles.is_empty() {
            Some(format!("`principals`: `{pattern}` is somebody of the configuration, whose `roles` stand there"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: &str, subject: &Subject, expected: Option<(&str, &[&str])>) {
        let table: CertificateTable = serde_json::from_str(table).unwrap();
        let seen = table.seen(&"prod".parse().unwrap(), subject).unwrap();
        let found = seen.as_ref().map(|seen| {
            let roles: Vec<&str> = seen.profile.roles.iter().map(|role| role.as_str()).collect();
            (seen.principal.as_str().to_owned(), roles)
        });
        assert_eq!(found, expected.map(|(name, roles)| (name.to_owned(), roles.to_vec())), "{subject:?}");
    }

    #[test]
    fn the_nearest_line_says_who_it_is() {
        let table = r#"{"trust_domain": "example.org", "principals": {
            "/ns/prod/*": {"roles": ["workload"]}, "/ns/prod/sa/*": {"roles": ["service"]}, "/ns/prod/sa/claims": {"principal": "claims-agent"}}}"#;
        let id = |path: &str| Subject::Spiffe(SpiffeId::read(&format!("spiffe://example.org{path}")).unwrap());
        check(table, &id("/ns/prod/sa/claims"), Some(("claims-agent", &[])));
        check(table, &id("/ns/prod/sa/claims-2"), Some(("prod.ns+prod+sa+claims-2", &["service"])));
        check(table, &id("/ns/prod/x"), Some(("prod.ns+prod+x", &["workload"])));
        check(table, &id("/ns/production/x"), None);
        check(table, &id("/ns/prod"), None);
        let hosts = r#"{"prefix": "h-", "principals": {"intake.example.org": {}}}"#;
        check(hosts, &Subject::Dns("intake.example.org".to_owned()), Some(("h-intake.example.org", &[])));
        check(hosts, &Subject::Dns("x.intake.example.org".to_owned()), None);
    }

    #[test]
    fn what_could_not_be_meant_is_said() {
        for (table, expected) in [
            (r#"{"trust_domain": "example.org", "ca_file": "a", "principals": {"/*": {}}}"#, None),
            (r#"{"ca_file": "a", "principals": {"a.example.org": {"principal": "ann"}}}"#, None),
            (r#"{"trust_domain": "example.org"}"#, Some("no `ca_file`")),
            (r#"{"trust_domain": "spiffe://example.org", "ca_file": "a"}"#, Some("a-z 0-9")),
            (r#"{"trust_domain": "e", "ca_file": "a", "principals": {"ns/x": {}}}"#, Some("begins with `/`")),
            (r#"{"ca_file": "a", "principals": {"/x": {}}}"#, Some("no `trust_domain`")),
            (r#"{"ca_file": "a", "principals": {"*": {}}}"#, Some("no DNS name")),
            (r#"{"ca_file": "a", "principals": {"A.example": {}}}"#, Some("small letters")),
            (r#"{"trust_domain": "e", "ca_file": "a", "principals": {"/*/x": {}}}"#, Some("before its end")),
            (r#"{"trust_domain": "e", "ca_file": "a", "prefix": "a b"}"#, Some("beginning of a name")),
            (
                r#"{"trust_domain": "e", "ca_file": "a", "principals": {"/x": {"principal": "a", "roles": ["b"]}}}"#,
                Some("`roles`"),
            ),
        ] {
            let read: CertificateTable = serde_json::from_str(table).unwrap();
            let problem = read.problem(&"prod".parse().unwrap());
            assert!(
                problem.is_some() == expected.is_some()
                    && problem.unwrap_or_default().contains(expected.unwrap_or_default()),
                "{table}"
            );
        }
    }
}
