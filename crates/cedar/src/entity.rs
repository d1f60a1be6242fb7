//! The facts as Cedar's entities.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid};
use portcullis_domain::policy::Arguments;

use crate::lower;

/// The types of entities, parsed once.
#[derive(Debug, Clone)]
pub(crate) struct Types {
    pub(crate) principal: EntityTypeName,
    pub(crate) role: EntityTypeName,
    pub(crate) model: EntityTypeName,
    pub(crate) agent: EntityTypeName,
    pub(crate) tool: EntityTypeName,
    pub(crate) server: EntityTypeName,
    pub(crate) function: EntityTypeName,
    pub(crate) action: EntityTypeName,
}

impl Types {
    /// # Errors
    ///
    /// None in practice: the names are constants that Cedar can read.
    pub(crate) fn new() -> Result<Self, String> {
        let parse = |name: &str| name.parse::<EntityTypeName>().map_err(|errors| errors.to_string());
        Ok(Self {
            principal: parse("Principal")?,
            role: parse("Role")?,
            model: parse("Model")?,
            agent: parse("Agent")?,
            tool: parse("Tool")?,
            server: parse("Server")?,
            function: parse("Function")?,
            action: parse("Action")?,
        })
    }
}

/// The entity of that type and name.
pub(crate) fn uid(ty: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(name))
}

/// An entity with its attributes, lowered as in [`crate::lower`].
///
/// # Errors
///
/// Cedar's sentence; none in practice.
pub(crate) fn entity(uid: EntityUid, attributes: &Arguments, parents: &[EntityUid]) -> Result<Entity, String> {
    let attributes = attributes.iter().map(|(name, value)| Ok((name.clone(), lower::value(value)?)));
    let attributes = attributes.collect::<Result<HashMap<_, _>, String>>()?;
    let parents: HashSet<EntityUid> = parents.iter().cloned().collect();
    Entity::new(uid, attributes, parents).map_err(|error| error.to_string())
}
