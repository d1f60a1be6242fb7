//! What an issuer says of a principal: the facts that rules judge somebody by who is not in the configuration.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::authority::Credential;
use crate::digest::{Digest, hex};
use crate::ids::{IssuerName, KeyId, PrincipalName, RoleName};
use crate::value::Arguments;

/// Roles and attributes, as the issuer's mapping gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The roles.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<RoleName>,
    /// What rules may read as `principal.…`.
    #[serde(default, skip_serializing_if = "Arguments::is_empty")]
    pub attributes: Arguments,
}

impl Profile {
    /// What somebody of this profile is recognised by. It is the same for every token that says the same, and another one for a token that says more or less: whoever
    /// acts on a credential later is judged by what it said, never by what another token of the same principal says.
    ///
    /// Its first two digits are the principal's, so that all of one principal lie together.
    ///
    /// # Errors
    ///
    /// Never with an id of this alphabet; the parser's sentence is passed on rather than ignored.
    pub fn credential(&self, issuer: &IssuerName, principal: &PrincipalName) -> Result<Credential, String> {
        let written = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        let whose = Digest::of(principal.as_str().as_bytes());
        let what =
            Digest::of_parts(&[issuer.as_str().as_bytes(), b"\n", principal.as_str().as_bytes(), b"\n", &written]);
        let (mut whose_digits, mut what_digits) = ([0; 64], [0; 64]);
        let whose = hex(&whose.0, &mut whose_digits).get(..2).unwrap_or_default();
        let what = hex(&what.0, &mut what_digits).get(..38).unwrap_or_default();
        let id: KeyId = format!("{whose}{what}").parse()?;
        Ok(Credential::Vouched { issuer: issuer.clone(), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn every_difference_makes_another_credential() {
        let plain = Profile::default();
        let with_role = Profile { roles: ["junior".parse().unwrap()].into(), ..Profile::default() };
        let with_limit = |limit| Profile { attributes: [("limit".to_owned(), limit)].into(), ..Profile::default() };
        let id = |profile: &Profile, issuer: &str, principal: &str| {
            profile.credential(&issuer.parse().unwrap(), &principal.parse().unwrap()).unwrap().to_string()
        };
        let all = [
            id(&plain, "corp", "corp.ann"),
            id(&plain, "corp", "corp.bob"),
            id(&plain, "other", "corp.ann"),
            id(&with_role, "corp", "corp.ann"),
            id(&with_limit(Value::Long(1)), "corp", "corp.ann"),
            id(&with_limit(Value::Decimal(1)), "corp", "corp.ann"),
            id(&with_limit(Value::Text("1".to_owned())), "corp", "corp.ann"),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
        assert_eq!(id(&plain, "corp", "corp.ann"), all[0]);
        assert_eq!(all[0][..7], all[3][..7], "the same principal's lie together");
    }
}
