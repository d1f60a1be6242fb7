//! Everybody who may ask and everything that may be asked for, as rules see them.
//!
//! Two principals that no rule names, with the same roles and the same attributes as far as any rule reads them, can't be told
//! apart by any rule: they are one *class* and one of them stands for all. In the same way one function stands for all that no
//! rule names, so that names which a model invents need no room.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use cedar_policy::{Entity, EntityUid};
use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::ids::{PrincipalName, RoleName};
use portcullis_domain::policy::{Arguments, RecordType};

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
    models: HashMap<String, Arc<Target>>,
    agents: HashMap<String, Arc<Target>>,
    tools: HashMap<String, Arc<Target>>,
    functions: HashMap<String, Arc<Target>>,
    other_function: Option<Arc<Target>>,
    /// What rules may look into: principals (one of each class), tools and their actions.
    entities: HashMap<EntityUid, Entity>,
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
        Ok(population)
    }

    /// The class that the principal belongs to.
    pub(crate) fn actor(&self, name: &PrincipalName) -> Option<&Arc<Actor>> {
        self.actors.get(name)
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
        let named: HashSet<&EntityUid> = rules.iter().flat_map(|rule| &rule.literals).collect();
        // Who asked first is compared by name.
        let are_all_named = rules.iter().any(|rule| rule.reads.has_subject());
        let read: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.attributes).map(String::as_str).collect();
        let mut principals: Vec<&Principal> = facts.principals.iter().collect();
        principals.sort_by(|one, other| one.name.cmp(&other.name));
        let mut classes = BTreeMap::new();
        for principal in principals {
            let uid = uid(&types.principal, principal.name.as_str());
            let class = Class::of(principal, &read, are_all_named || named.contains(&uid));
            let number = u32::try_from(classes.len()).map_err(|_| "there are too many principals".to_owned())?;
            let actor = match classes.get(&class) {
                Some(actor) => Arc::clone(actor),
                None => {
                    let parents: Vec<_> =
                        class.roles.iter().map(|role| self::uid(&types.role, role.as_str())).collect();
                    self.entities.insert(uid.clone(), entity(uid.clone(), &class.attributes, &parents)?);
                    let actor = Arc::new(Actor { number, principal: Member { uid, parents } });
                    classes.insert(class, Arc::clone(&actor));
                    actor
                }
            };
            self.actors.insert(principal.name.clone(), actor);
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
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    roles: BTreeSet<RoleName>,
    attributes: Arguments,
    /// Set where a rule names the principal.
    name: Option<PrincipalName>,
}

impl Class {
    fn of(principal: &Principal, read: &BTreeSet<&str>, is_named: bool) -> Self {
        let attributes = principal.attributes.iter().filter(|(name, _)| read.contains(name.as_str()));
        Self {
            roles: principal.roles.iter().cloned().collect(),
            attributes: attributes.map(|(name, value)| (name.clone(), value.clone())).collect(),
            name: is_named.then(|| principal.name.clone()),
        }
    }
}
