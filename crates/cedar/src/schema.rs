//! The Cedar schema, generated from the facts.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Schema, SchemaFragment};
use portcullis_domain::policy::{Field, RecordType, Type};
use serde_json::{Map, Value as Json, json};

use crate::facts::{Facts, Tool};
use crate::problem::Problem;

/// The group of all tools' actions.
pub(crate) const CALL_TOOL: &str = "call_tool";
/// The action on a model.
pub(crate) const CALL_MODEL: &str = "call_model";
/// The action on an agent.
pub(crate) const CALL_AGENT: &str = "call_agent";
/// The action on a function that the registry does not know.
pub(crate) const CALL_FUNCTION: &str = "call_function";
/// All types of entities that a rule may name.
pub(crate) const ENTITY_TYPES: [&str; 7] = ["Action", "Function", "Model", "Principal", "Role", "Server", "Tool"];

/// The schema in the two forms that are needed.
pub(crate) struct Generated {
    /// What Cedar validates by.
    pub(crate) schema: Schema,
    /// What people read.
    pub(crate) text: String,
}

/// What schemas are generated from.
pub(crate) struct Declared<'a> {
    /// All tools by the names of their actions.
    pub(crate) tools: BTreeMap<String, &'a Tool>,
    /// The attributes of principals.
    pub(crate) principal: &'a RecordType,
    /// What sources may state.
    pub(crate) stated: RecordType,
    /// Actions of servers that can't be reached: they can be named and apply to nothing.
    pub(crate) unseen: &'a BTreeSet<String>,
}

impl<'a> Declared<'a> {
    pub(crate) fn of(facts: &'a Facts, principal: &'a RecordType, unseen: &'a BTreeSet<String>) -> Self {
        let tools = facts.tools.iter().map(|tool| (tool.capability_name(), tool)).collect();
        Self { tools, principal, stated: stated(facts), unseen }
    }

    /// Whether the action is in every schema, whatever tools there are.
    pub(crate) fn is_no_tool(&self, action: &str) -> bool {
        [CALL_TOOL, CALL_MODEL, CALL_AGENT, CALL_FUNCTION].contains(&action) || self.unseen.contains(action)
    }

    /// All actions that a rule may name.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &str> {
        let tools = self.tools.keys().chain(self.unseen).map(String::as_str);
        tools.chain([CALL_TOOL, CALL_MODEL, CALL_AGENT, CALL_FUNCTION])
    }

    /// The schema of everything.
    pub(crate) fn generate(&self) -> Result<Generated, Problem> {
        self.generate_of(self.tools.keys())
    }

    /// The schema of only these tools, and all else.
    pub(crate) fn generate_of<'n>(&self, tools: impl Iterator<Item = &'n String>) -> Result<Generated, Problem> {
        let session = shape(&session());
        let schema = json!({"": {
            "commonTypes": {"Session": session, "Time": shape(&time())},
            "entityTypes": {
                "Role": {}, "Server": {}, "Model": {}, "Agent": {}, "Function": {},
                "Principal": {"memberOfTypes": ["Role"], "shape": shape(self.principal)},
                "Tool": {"memberOfTypes": ["Server"], "shape": shape(&tool_attributes())},
            },
            "actions": self.schema_of_actions(tools),
        }});
        let fragment = SchemaFragment::from_json_value(schema).map_err(|error| unusable(&error))?;
        let text = fragment.to_cedarschema().map_err(|error| unusable(&error))?;
        let schema = Schema::from_schema_fragments([fragment]).map_err(|error| unusable(&error))?;
        Ok(Generated { schema, text })
    }

    fn schema_of_actions<'n>(&self, tools: impl Iterator<Item = &'n String>) -> Json {
        let mut actions = Map::new();
        actions.insert(CALL_MODEL.to_owned(), json!({"appliesTo": applies_to("Model", None)}));
        actions.insert(CALL_AGENT.to_owned(), json!({"appliesTo": applies_to("Agent", None)}));
        actions.insert(CALL_FUNCTION.to_owned(), json!({"appliesTo": applies_to("Function", None)}));
        actions.insert(CALL_TOOL.to_owned(), json!({}));
        let group = json!([{"id": CALL_TOOL}]);
        for name in self.unseen {
            actions.insert(name.clone(), json!({"memberOf": group}));
        }
        for (name, tool) in tools.filter_map(|name| self.tools.get_key_value(name)) {
            let applies_to = applies_to("Tool", Some((&tool.arguments, &self.stated)));
            actions.insert(name.clone(), json!({"memberOf": group, "appliesTo": applies_to}));
        }
        Json::Object(actions)
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Problem {
    Problem::in_table("registry", format!("no schema can be made of it: {error}"))
}

fn applies_to(resource: &str, tool: Option<(&RecordType, &RecordType)>) -> Json {
    let mut context = json!({
        "subject": named("Principal"), "depth": named("Long"), "through": {"type": "Set", "element": named("String")},
        "session": named("Session"), "time": named("Time"),
        "door": named("String"), "protocol": named("String"), "place": named("String"),
    });
    if let (Some((arguments, stated)), Some(context)) = (tool, context.as_object_mut()) {
        context.insert("arguments".to_owned(), shape(arguments));
        context.insert("origins".to_owned(), shape(&origins(arguments)));
        if !stated.fields.is_empty() {
            context.insert("stated".to_owned(), shape(stated));
        }
    }
    json!({
        "principalTypes": ["Principal"],
        "resourceTypes": [resource],
        "context": {"type": "Record", "attributes": context},
    })
}

/// What rules may read of the session.
pub(crate) fn session() -> RecordType {
    let long = ["calls", "refused", "age_s"].map(|name| (name, Type::Long));
    let text = ["owner", "name"].map(|name| (name, Type::Text));
    let more = [("spent", Type::Decimal), ("labels", Type::Set(Box::new(Type::Text)))];
    always(long.into_iter().chain(text).chain(more))
}

/// What rules may read of where arguments come from: as `user`, `trusted`, `untrusted` or `model`, for each argument that is there and can be judged.
pub(crate) fn origins(arguments: &RecordType) -> RecordType {
    let judged = arguments.fields.iter().filter(|(_, field)| field.ty != Type::Opaque);
    let fields = judged.map(|(name, field)| (name.clone(), Field { ty: Type::Text, ..field.clone() }));
    RecordType { fields: fields.collect(), open: false }
}

/// What rules may read of what sources have stated: for each statement the set of its records, whose members are text; where they have only one, the set of these texts.
pub(crate) fn stated(facts: &Facts) -> RecordType {
    let required = |ty: Type| Field { ty, required: true, nullable: false };
    let record = |fields: &Vec<String>| {
        if fields.len() == 1 {
            return Type::Set(Box::new(Type::Text));
        }
        let fields = fields.iter().map(|field| (field.clone(), required(Type::Text))).collect();
        Type::Set(Box::new(Type::Record(RecordType { fields, open: false })))
    };
    let statements = facts.stated.iter().map(|(name, fields)| (name.clone(), required(record(fields))));
    RecordType { fields: statements.collect(), open: false }
}

/// What rules may read of the time, in UTC.
pub(crate) fn time() -> RecordType {
    always(["date", "weekday", "hour", "minute", "unix_s"].map(|name| (name, Type::Long)))
}

/// A record whose members are always there.
pub(crate) fn always(members: impl IntoIterator<Item = (&'static str, Type)>) -> RecordType {
    let field = |(name, ty): (&str, Type)| (name.to_owned(), Field { ty, required: true, nullable: false });
    RecordType { fields: members.into_iter().map(field).collect(), open: false }
}

/// What rules may read of a tool.
pub(crate) fn tool_attributes() -> RecordType {
    let field = Field { ty: Type::Bool, required: false, nullable: false };
    let fields = ["read_only", "destructive", "idempotent"].map(|name| (name.to_owned(), field.clone()));
    RecordType { fields: fields.into(), open: false }
}

fn shape(record: &RecordType) -> Json {
    let attribute = |(name, field): (&String, &Field)| {
        let mut attribute = written(&field.ty)?;
        if !is_always_there(field) {
            attribute.insert("required".to_owned(), Json::Bool(false));
        }
        Some((name.clone(), Json::Object(attribute)))
    };
    let attributes: Map<String, Json> = record.fields.iter().filter_map(attribute).collect();
    json!({"type": "Record", "attributes": attributes})
}

/// A type by its name, which keeps the written schema free of `__cedar::`.
fn named(name: &str) -> Json {
    json!({"type": "EntityOrCommon", "name": name})
}

/// Whether rules may read the member without asking for it with `has`.
pub(crate) fn is_always_there(field: &Field) -> bool {
    field.required && !field.nullable
}

/// A type as a Cedar schema writes it; none for what policy does not see.
fn written(ty: &Type) -> Option<Map<String, Json>> {
    let written = match ty {
        Type::Text => named("String"),
        Type::Bool => named("Bool"),
        Type::Long => named("Long"),
        Type::Decimal => named("decimal"),
        Type::Set(element) => json!({"type": "Set", "element": written(element)?}),
        Type::Record(record) => shape(record),
        Type::Opaque => return None,
    };
    written.as_object().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_tool_becomes_an_action_with_typed_arguments() {
        let (facts, principal, unseen) = (fixture::claims(), RecordType::default(), ["hr__fire".to_owned()].into());
        let generated = Declared::of(&facts, &principal, &unseen).generate().unwrap();
        let expected = [
            "action \"claims__approve_payment\" in [Action::\"call_tool\"] appliesTo {",
            "    arguments: {\n      amount: decimal,\n      claim: String,\n      note?: String\n    },",
            "    session: Session,\n    subject: Principal,\n    through: Set<String>,\n    time: Time\n",
            "action \"hr__fire\" in [Action::\"call_tool\"];",
        ];
        for part in expected {
            assert!(generated.text.contains(part), "{part} is not in\n{}", generated.text);
        }
        assert!(Schema::from_cedarschema_str(&generated.text).is_ok());
    }
}
