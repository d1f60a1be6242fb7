//! Somebody for whom another one vouches, in a question that nobody has sent: by the claims of a token, or the name in a certificate, as the configuration reads them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::identity::event::PrincipalSeen;
use portcullis_domain::ids::{IssuerName, PrincipalName};
use portcullis_domain::profile::Profile;

use crate::identity::certificate::Subject;
use crate::identity::jwt::Jwt;
use crate::identity::mapping;
use crate::identity::spiffe::SpiffeId;
use crate::identity::table::{IdentityTable, Standing};

/// Who it is, and what is said of them where the configuration says nothing.
pub(super) type Who = (PrincipalName, Option<Profile>);

/// Whoever has a token of this issuer with these claims, as JSON. When it ends and whom it is meant for is not looked at.
pub(super) fn by_claims(identity: &IdentityTable, issuer: &IssuerName, claims: &str) -> Result<Who, String> {
    let table = identity.issuers.get(issuer).ok_or_else(|| format!("there is no `identity.issuers.{issuer}`"))?;
    let [header, claims] = [r#"{"alg":"ES256"}"#, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let token = format!("{header}.{claims}.");
    Ok(who(identity, mapping::seen(table, issuer, &Jwt::read(&token)?)?))
}

/// Whoever has a certificate of this authority for a SPIFFE id or a DNS name.
pub(super) fn by_certificate(identity: &IdentityTable, issuer: &IssuerName, name: &str) -> Result<Who, String> {
    let table = identity.certificates.get(issuer);
    let table = table.ok_or_else(|| format!("there is no `identity.certificates.{issuer}`"))?;
    let subject = match &table.trust_domain {
        None => Subject::Dns(name.to_owned()),
        Some(domain) => match SpiffeId::read(name)? {
            id if id.trust_domain == *domain => Subject::Spiffe(id),
            id => return Err(format!("`{issuer}` vouches for nobody of `{}`", id.trust_domain)),
        },
    };
    let seen = table.seen(issuer, &subject)?;
    seen.map(|seen| who(identity, seen)).ok_or_else(|| format!("a certificate for `{name}` is nobody's"))
}

fn who(identity: &IdentityTable, seen: PrincipalSeen) -> Who {
    let is_configured = identity.standing(&seen.issuer, &seen.principal) == Some(Standing::Configured);
    (seen.principal, (!is_configured).then_some(seen.profile))
}
