//! Everybody who may ask and everything that may be asked for, as rules see them.
//!
//! Two principals that no rule names, with the same roles and the same attributes as far as any rule reads them, can't be told
//! apart by any rule: they are one *class* and one of them stands for all. In the same way one function stands for all that no
//! rule names, so that names which a model invents need no room.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cedar_policy::{Entity, EntityUid};
use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::ids::{PrincipalName, RoleName};
use portcullis_domain::policy::{Arguments, RecordType};
use portcullis_domain::profile::Profile;

use crate::entity::{Types, entity, uid};
use crate::facts::{Facts, Principal};
use crate::rule::Rule;
use crate::schema::{CALL_AGENT, CALL_FUNCTION, CALL_MODEL, CALL_TOOL};
use crate::scope::Member;

/// A class of principals.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) number: u32,
    pub(crate) principal: Member,
    /// What rules see of it.
    pub(crate) entity: Entity,
}

/// A capability, or all functions that no rule names.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) number: u32,
    pub(crate) action: Member,
    pub(crate) resource: Member,
    /// The types of a tool's arguments; models, agents and functions have none.
    pub(crate) arguments: Option<RecordType>,
    /// The positions of the rules that are for it, whoever asks; found when it is first asked for.
    pub(crate) rules: OnceLock<Vec<usize>>,
}

/// Who and what there is.
#[derive(Debug, Default)]
pub(crate) struct Population {
    actors: HashMap<PrincipalName, Arc<Actor>>,
    classes: HashMap<Class, Arc<Actor>>,
    guests: Guests,
    /// The principals that rules name, and the attributes that rules read.
    named: HashSet<EntityUid>,
    /// Whether rules can tell everybody from everybody else.
    are_all_named: bool,
    read: BTreeSet<String>,
    types: Option<Types>,
    models: HashMap<String, Arc<Target>>,
    agents: HashMap<String, Arc<Target>>,
    tools: HashMap<String, Arc<Target>>,
    functions: HashMap<String, Arc<Target>>,
    other_function: Option<Arc<Target>>,
    /// What rules may look into: principals (one of each class), tools and their actions.
    entities: HashMap<EntityUid, Entity>,
    /// What sources may state, and in which fields.
    pub(crate) stated: BTreeMap<String, Vec<String>>,
    /// How many targets there are.
    targets: u32,
}

impl Population {
    /// # Errors
    ///
    /// Cedar's sentence; none in practice, since the facts were turned into a schema before.
    pub(crate) fn of(facts: &Facts, rules: &[Rule], types: &Types) -> Result<Self, String> {
        let mut population = Self::default();
        population.add_principals(facts, rules, types)?;
        population.add_models(facts, types)?;
        population.add_agents(facts, types)?;
        population.add_tools(facts, types)?;
        population.add_functions(rules, types)?;
        population.types = Some(types.clone());
        population.stated.clone_from(&facts.stated);
        Ok(population)
    }

    /// The class that the principal belongs to.
    pub(crate) fn actor(&self, name: &PrincipalName) -> Option<&Arc<Actor>> {
        self.actors.get(name)
    }

    /// The class of somebody: by the facts where they know them, otherwise by what an issuer says of them.
    ///
    /// # Errors
    ///
    /// When nobody knows them.
    pub(crate) fn somebody(&self, name: &PrincipalName, profile: Option<&Profile>) -> Result<Arc<Actor>, String> {
        match (self.actor(name), profile) {
            (Some(actor), _) => Ok(Arc::clone(actor)),
            (None, Some(profile)) => self.guest(name, profile),
            (None, None) => Err(format!("there is no principal `{name}`")),
        }
    }

    /// The class of somebody who is not in the facts, by what an issuer says of them. It may be one of the facts' own, whom no rule can tell from them.
    ///
    /// # Errors
    ///
    /// Cedar's sentence; none in practice.
    pub(crate) fn guest(&self, name: &PrincipalName, profile: &Profile) -> Result<Arc<Actor>, String> {
        let types = self.types.as_ref().ok_or("nobody is known")?;
        let uid = uid(&types.principal, name.as_str());
        let class = self.class(name, &uid, profile.roles.iter(), &profile.attributes);
        match self.classes.get(&class) {
            Some(actor) => Ok(Arc::clone(actor)),
            None => self.guests.get(class, |number, class| actor(number, uid, class, types)),
        }
    }

    /// What the rules can see of whoever this is.
    fn class<'a>(
        &self,
        name: &PrincipalName,
        uid: &EntityUid,
        roles: impl Iterator<Item = &'a RoleName>,
        attributes: &Arguments,
    ) -> Class {
        let is_named = self.are_all_named || self.named.contains(uid);
        Class::of(name, roles, attributes, |attribute| self.read.contains(attribute), is_named)
    }

    /// What rules see of the capability.
    pub(crate) fn target(&self, capability: &Capability) -> Option<&Arc<Target>> {
        let name: &str = &capability.name;
        match capability.kind {
            Kind::Model => self.models.get(name),
            Kind::Agent => self.agents.get(name),
            Kind::Tool => self.tools.get(name),
            Kind::Function => self.functions.get(name).or(self.other_function.as_ref()),
        }
    }

    /// All capabilities, and last one function for all that no rule names.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        let all = [&self.models, &self.agents, &self.tools, &self.functions];
        all.into_iter().flat_map(HashMap::values).chain(&self.other_function)
    }

    /// Whether the principal has the role.
    pub(crate) fn is_in(&self, principal: &EntityUid, role: &EntityUid) -> bool {
        let name = principal.id().unescaped().parse().ok();
        let actor = name.and_then(|name: PrincipalName| self.actor(&name));
        actor.is_some_and(|actor| actor.principal.parents.contains(role))
    }

    /// The entity, where it has attributes or belongs to something.
    pub(crate) fn entity(&self, uid: &EntityUid) -> Option<&Entity> {
        self.entities.get(uid)
    }

    fn add_principals(&mut self, facts: &Facts, rules: &[Rule], types: &Types) -> Result<(), String> {
        self.named = rules.iter().flat_map(|rule| &rule.literals).cloned().collect();
        // Who asked first is compared by name.
        self.are_all_named = rules.iter().any(|rule| rule.reads.has_subject());
        self.read = rules.iter().flat_map(|rule| &rule.attributes).cloned().collect();
        let mut principals: Vec<&Principal> = facts.principals.iter().collect();
        principals.sort_by(|one, other| one.name.cmp(&other.name));
        for principal in principals {
            let Principal { name, roles, attributes } = principal;
            let uid = uid(&types.principal, name.as_str());
            let class = self.class(name, &uid, roles.iter(), attributes);
            let number = u32::try_from(self.classes.len()).ok().filter(|number| *number < FIRST_GUEST);
            let number = number.ok_or("there are too many principals")?;
            let actor = match self.classes.get(&class) {
                Some(actor) => Arc::clone(actor),
                None => {
                    let actor = actor(number, uid.clone(), &class, types)?;
                    self.entities.insert(uid, actor.entity.clone());
                    let actor = Arc::new(actor);
                    self.classes.insert(class, Arc::clone(&actor));
                    actor
                }
            };
            self.actors.insert(name.clone(), actor);
        }
        Ok(())
    }

    fn add_models(&mut self, facts: &Facts, types: &Types) -> Result<(), String> {
        for name in &facts.models {
            let action = Member { uid: uid(&types.action, CALL_MODEL), parents: Vec::new() };
            let resource = Member { uid: uid(&types.model, name), parents: Vec::new() };
            let target = self.new_target(action, resource, None)?;
            self.models.insert(name.clone(), target);
        }
        Ok(())
    }

    fn add_agents(&mut self, facts: &Facts, types: &Types) -> Result<(), String> {
        for name in &facts.agents {
            let action = Member { uid: uid(&types.action, CALL_AGENT), parents: Vec::new() };
            let resource = Member { uid: uid(&types.agent, name), parents: Vec::new() };
            let target = self.new_target(action, resource, None)?;
            self.agents.insert(name.clone(), target);
        }
        Ok(())
    }

    fn add_tools(&mut self, facts: &Facts, types: &Types) -> Result<(), String> {
        for tool in &facts.tools {
            let name = tool.capability_name();
            let action = Member { uid: uid(&types.action, &name), parents: vec![uid(&types.action, CALL_TOOL)] };
            let server = uid(&types.server, tool.server.as_str());
            let resource = Member { uid: uid(&types.tool, &name), parents: vec![server] };
            let action_entity = entity(action.uid.clone(), &Arguments::new(), &action.parents)?;
            self.entities.insert(action.uid.clone(), action_entity);
            let tool_entity = entity(resource.uid.clone(), &tool.attributes(), &resource.parents)?;
            self.entities.insert(resource.uid.clone(), tool_entity);
            let target = self.new_target(action, resource, Some(tool.arguments.clone()))?;
            self.tools.insert(name, target);
        }
        Ok(())
    }

    fn add_functions(&mut self, rules: &[Rule], types: &Types) -> Result<(), String> {
        let literals = rules.iter().flat_map(|rule| &rule.literals);
        let named: BTreeSet<&str> =
            literals.filter(|uid| *uid.type_name() == types.function).map(|uid| uid.id().unescaped()).collect();
        let mut other = "any other".to_owned();
        while named.contains(other.as_str()) {
            other.push('*');
        }
        for name in named.iter().copied().chain([other.as_str()]) {
            let action = Member { uid: uid(&types.action, CALL_FUNCTION), parents: Vec::new() };
            let resource = Member { uid: uid(&types.function, name), parents: Vec::new() };
            let target = self.new_target(action, resource, None)?;
            self.functions.insert(name.to_owned(), target);
        }
        self.other_function = self.functions.remove(&other);
        Ok(())
    }

    fn new_target(
        &mut self,
        action: Member,
        resource: Member,
        arguments: Option<RecordType>,
    ) -> Result<Arc<Target>, String> {
        let number = self.targets;
        self.targets = number.checked_add(1).ok_or("there are too many capabilities")?;
        Ok(Arc::new(Target { number, action, resource, arguments, rules: OnceLock::new() }))
    }
}

/// What rules can see of a principal.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Class {
    roles: BTreeSet<RoleName>,
    attributes: Arguments,
    /// Set where a rule names the principal.
    name: Option<PrincipalName>,
}

impl Class {
    fn of<'a>(
        name: &PrincipalName,
        roles: impl Iterator<Item = &'a RoleName>,
        attributes: &Arguments,
        is_read: impl Fn(&str) -> bool,
        is_named: bool,
    ) -> Self {
        let attributes = attributes.iter().filter(|(name, _)| is_read(name));
        Self {
            roles: roles.cloned().collect(),
            attributes: attributes.map(|(name, value)| (name.clone(), value.clone())).collect(),
            name: is_named.then(|| name.clone()),
        }
    }
}

fn actor(number: u32, uid: EntityUid, class: &Class, types: &Types) -> Result<Actor, String> {
    let parents: Vec<_> = class.roles.iter().map(|role| self::uid(&types.role, role.as_str())).collect();
    let entity = entity(uid.clone(), &class.attributes, &parents)?;
    Ok(Actor { number, principal: Member { uid, parents }, entity })
}

/// The number of the first class that is not one of the facts'.
const FIRST_GUEST: u32 = 1 << 24;
/// How many classes are kept that are not the facts'.
const GUESTS_LIMIT: usize = 8 << 10;

/// The classes of those who are not in the facts, as they come. When there are too many, all are forgotten: they are made again when they come again, under new numbers, so
/// that no slice is ever taken for one of another class.
#[derive(Debug)]
struct Guests {
    /// Locked for a look-up or an insertion.
    classes: RwLock<HashMap<Class, Arc<Actor>>>,
    next: AtomicU32,
}

impl Default for Guests {
    fn default() -> Self {
        Self { classes: RwLock::default(), next: AtomicU32::new(FIRST_GUEST) }
    }
}

impl Guests {
    fn get(&self, class: Class, make: impl FnOnce(u32, &Class) -> Result<Actor, String>) -> Result<Arc<Actor>, String> {
        if let Some(actor) = self.classes.read().unwrap_or_else(PoisonError::into_inner).get(&class) {
            return Ok(Arc::clone(actor));
        }
        let mut classes = self.classes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(actor) = classes.get(&class) {
            return Ok(Arc::clone(actor));
        }
        // Numbers that are used up are not used again: nothing is decided any more until the rules are compiled anew.
        let next = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| number.checked_add(1));
        let actor = Arc::new(make(next.map_err(|_| "there were too many classes of principals".to_owned())?, &class)?);
        if classes.len() >= GUESTS_LIMIT {
            classes.clear();
        }
        classes.insert(class, Arc::clone(&actor));
        Ok(actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn classes_of_guests_are_bounded_and_never_share_a_number() {
        let engine = fixture::engine("permit(principal in Role::\"junior\", action, resource);", &fixture::claims());
        let guest = |role: &str| {
            let profile = Profile { roles: [role.parse().unwrap()].into(), ..Profile::default() };
            engine.population.guest(&"corp.x".parse().unwrap(), &profile).unwrap().number
        };
        let first = guest("r0");
        assert_eq!(guest("r0"), first);
        let numbers: HashSet<u32> = (0..=GUESTS_LIMIT).map(|number| guest(&format!("r{number}"))).collect();
        assert_eq!(numbers.len(), GUESTS_LIMIT + 1);
        assert!(engine.population.guests.classes.read().unwrap().len() <= GUESTS_LIMIT);
        assert!(!numbers.contains(&guest("r0")) || guest("r0") == first);
    }
}
