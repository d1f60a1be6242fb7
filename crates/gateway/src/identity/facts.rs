//! Principals as policy sees them.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_cedar::{Issuer, Principal};
use portcullis_domain::ids::{PrincipalName, RoleName};
use portcullis_domain::policy::{Value, arguments};

use crate::identity::table::{Attribute, IdentityTable};
use crate::identity::{ADMINISTRATOR, ADMINISTRATOR_ROLE};

/// All principals of the configuration, the agents among them that are listed in the registry alone, and the administrator that every gateway has.
///
/// # Errors
///
/// The attribute that policy can't see exactly.
pub fn principals(table: &IdentityTable, agents: &BTreeSet<PrincipalName>) -> Result<Vec<Principal>, String> {
    let mut principals = Vec::new();
    for (name, principal) in &table.principals {
        let mut attributes = BTreeMap::new();
        for (key, attribute) in &principal.attributes {
            let value = value(attribute)
                .map_err(|problem| format!("identity.principals.{name}.attributes.{key}: {problem}"))?;
            attributes.insert(key.clone(), value);
        }
        principals.push(Principal { name: name.clone(), roles: principal.roles.clone(), attributes });
    }
    for name in agents.iter().filter(|name| !table.principals.contains_key(*name)) {
        principals.push(Principal { name: name.clone(), roles: Vec::new(), attributes: BTreeMap::new() });
    }
    let administrator: PrincipalName = ADMINISTRATOR.parse()?;
    if principals.iter().all(|principal| principal.name != administrator) {
        let role: RoleName = ADMINISTRATOR_ROLE.parse()?;
        principals.push(Principal { name: administrator, roles: vec![role], attributes: BTreeMap::new() });
    }
    Ok(principals)
}

/// What issuers can say, so that rules are checked by it.
///
/// # Errors
///
/// The principal that could be taken for one of an issuer's.
pub fn issuers(table: &IdentityTable, principals: &[Principal]) -> Result<Vec<Issuer>, String> {
    let mut issuers = Vec::new();
    let is_taken = |name: &str, prefix: &str| match principals
        .iter()
        .find(|principal| principal.name.as_str().starts_with(prefix))
    {
        None => Ok(()),
        Some(taken) => Err(format!(
            "{name}: the principal `{}` could be one of its own, whose names begin with `{prefix}`",
            taken.name
        )),
    };
    for (name, issuer) in &table.issuers {
        let prefix = issuer.prefix(name);
        is_taken(&format!("identity.issuers.{name}"), &prefix)?;
        let attributes = issuer.attributes.iter().map(|(name, mapping)| (name.clone(), mapping.field()));
        issuers.push(Issuer { prefix, roles: issuer.roles().cloned().collect(), attributes: attributes.collect() });
    }
    for (name, table) in &table.certificates {
        let prefix = table.prefix(name);
        is_taken(&format!("identity.certificates.{name}"), &prefix)?;
        let (roles, attributes) = (table.roles().cloned().collect(), [table.attribute()].into());
        issuers.push(Issuer { prefix, roles, attributes });
    }
    Ok(issuers)
}

fn value(attribute: &Attribute) -> Result<Value, String> {
    Ok(match attribute {
        Attribute::Bool(value) => Value::Bool(*value),
        Attribute::Long(value) => Value::Long(*value),
        // The shortest text that stands for the same number: what was written, for every number of up to 15 digits.
        Attribute::Decimal(value) => arguments::decimal(&value.to_string())?,
        Attribute::Text(value) => Value::Text(value.clone()),
        Attribute::Set(values) => Value::Set(values.iter().map(value).collect::<Result<_, _>>()?),
    })
}
