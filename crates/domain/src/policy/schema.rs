//! What a tool's JSON Schema (draft 2020-12, and the subset that tools use) says about the types of its arguments.
//!
//! Only what can be judged exactly becomes a typed argument: text, booleans, integers, numbers as decimals, arrays of one
//! type, and objects. Everything else stays *opaque*: it is passed on, and a policy can't name it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// How deep a schema may nest or refer before the rest is opaque.
const DEPTH_LIMIT: usize = 16;

/// How many schemas are read before the rest is opaque: members that refer to the same schema multiply at every level.
const SCHEMAS_LIMIT: usize = 4_096;

/// The type of an argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Type {
    /// JSON `string`.
    Text,
    /// JSON `boolean`.
    Bool,
    /// JSON `integer`, within 64 bits.
    Long,
    /// JSON `number`, with at most four digits after the point.
    Decimal,
    /// JSON `array` of one type; order and repetition are not seen by policy.
    Set(Box<Type>),
    /// JSON `object`.
    Record(RecordType),
    /// Anything else: passed on unseen.
    Opaque,
}

/// The members of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordType {
    /// The members that the schema declares.
    pub fields: BTreeMap<String, Field>,
    /// Whether members that the schema does not declare are passed on: only where it says so in so many words.
    pub open: bool,
}

/// One member of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its type.
    pub ty: Type,
    /// Whether a call without it is refused.
    pub required: bool,
    /// Whether JSON `null` is allowed; policy then sees the member as absent.
    pub nullable: bool,
}

impl RecordType {
    /// The type of a tool's arguments, from its `inputSchema`.
    #[must_use]
    pub fn of_schema(schema: &Json) -> Self {
        let reader = Reader { root: schema, left: Cell::new(SCHEMAS_LIMIT), following: RefCell::default() };
        match reader.read(schema, 0) {
            (Type::Record(record), _) => record,
            // A schema without properties: any object. Nothing of it can be judged, all of it is passed on.
            (Type::Text | Type::Bool | Type::Long | Type::Decimal | Type::Set(_) | Type::Opaque, _) => {
                Self { fields: BTreeMap::new(), open: true }
            }
        }
    }
}

struct Reader<'a> {
    root: &'a Json,
    /// How many schemas may still be read.
    left: Cell<usize>,
    /// The references that led here. One that stands in its own target is opaque.
    following: RefCell<Vec<String>>,
}

impl Reader<'_> {
    /// The type that `schema` stands for, and whether it allows `null`.
    fn read(&self, schema: &Json, depth: usize) -> (Type, bool) {
        let (Some(object), Some(left)) =
            (schema.as_object().filter(|_| depth < DEPTH_LIMIT), self.left.get().checked_sub(1))
        else {
            return (Type::Opaque, true);
        };
        self.left.set(left);
        if let Some(target) = object.get("$ref").and_then(Json::as_str) {
            return self.follow(target, depth);
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(choices) = object.get(word).and_then(Json::as_array) {
                return self.read_choice(choices, depth);
            }
        }
        if object.contains_key("allOf") || object.contains_key("not") || object.contains_key("if") {
            return (Type::Opaque, true);
        }
        match object.get("type") {
            Some(Json::String(name)) => (self.read_type(name, object, depth), name == "null"),
            Some(Json::Array(names)) => self.read_types(names, object, depth),
            Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) => (Type::Opaque, true),
            None => self.read_untyped(object, depth),
        }
    }

    fn follow(&self, target: &str, depth: usize) -> (Type, bool) {
        let is_open = self.following.borrow().iter().any(|open| open == target);
        let Some(schema) = self.resolve(target).filter(|_| !is_open) else { return (Type::Opaque, true) };
        self.following.borrow_mut().push(target.to_owned());
        let read = self.read(schema, depth + 1);
        self.following.borrow_mut().pop();
        read
    }

    fn read_type(&self, name: &str, schema: &Map<String, Json>, depth: usize) -> Type {
        match name {
            "string" => Type::Text,
            "boolean" => Type::Bool,
            "integer" => Type::Long,
            "number" => Type::Decimal,
            "array" => self.read_array(schema, depth),
            "object" => self.read_object(schema, depth),
            _ => Type::Opaque,
        }
    }

    /// `"type": ["string", "null"]`: one type that may be null; several others are opaque.
    fn read_types(&self, names: &[Json], schema: &Map<String, Json>, depth: usize) -> (Type, bool) {
        let nullable = names.iter().any(|name| name == "null");
        let others: Vec<&str> = names.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect();
        match others.as_slice() {
            [name] => (self.read_type(name, schema, depth), nullable),
            _ => (Type::Opaque, true),
        }
    }

    /// `anyOf: [X, null]`, as typed languages write an optional value; any other choice is opaque.
    fn read_choice(&self, choices: &[Json], depth: usize) -> (Type, bool) {
        let is_null = |choice: &&Json| choice.get("type").is_some_and(|name| name == "null");
        let others: Vec<&Json> = choices.iter().filter(|choice| !is_null(choice)).collect();
        match others.as_slice() {
            [one] => {
                let (ty, nullable) = self.read(one, depth + 1);
                (ty, nullable || others.len() < choices.len())
            }
            _ => (Type::Opaque, true),
        }
    }

    fn read_array(&self, schema: &Map<String, Json>, depth: usize) -> Type {
        let Some(items) = schema.get("items").filter(|_| !schema.contains_key("prefixItems")) else {
            return Type::Opaque;
        };
        match self.read(items, depth + 1) {
            (Type::Opaque, _) | (_, true) => Type::Opaque,
            (ty, false) => Type::Set(Box::new(ty)),
        }
    }

    fn read_object(&self, schema: &Map<String, Json>, depth: usize) -> Type {
        let open = match schema.get("additionalProperties") {
            Some(Json::Bool(open)) => *open,
            Some(Json::Object(_)) => true,
            Some(Json::Null | Json::Number(_) | Json::String(_) | Json::Array(_)) | None => false,
        } || schema.contains_key("patternProperties");
        let no_properties = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&no_properties);
        if properties.is_empty() && !schema.contains_key("additionalProperties") && depth > 0 {
            return Type::Opaque;
        }
        let required = |name: &str| {
            let names = schema.get("required").and_then(Json::as_array);
            names.is_some_and(|names| names.iter().any(|entry| entry == name))
        };
        let field = |(name, schema): (&String, &Json)| {
            let (ty, nullable) = self.read(schema, depth + 1);
            (name.clone(), Field { ty, required: required(name), nullable })
        };
        Type::Record(RecordType { fields: properties.iter().map(field).collect(), open })
    }

    /// No `type`: text when all of `enum` or the `const` is text, an object when there are `properties`.
    fn read_untyped(&self, schema: &Map<String, Json>, depth: usize) -> (Type, bool) {
        let all_text = |values: &Vec<Json>| !values.is_empty() && values.iter().all(Json::is_string);
        if schema.get("enum").and_then(Json::as_array).is_some_and(all_text)
            || schema.get("const").is_some_and(Json::is_string)
        {
            return (Type::Text, false);
        }
        if schema.contains_key("properties") {
            return (self.read_object(schema, depth), false);
        }
        (Type::Opaque, true)
    }

    /// A reference within the same document, as in `#/$defs/Address` (RFC 6901).
    fn resolve(&self, target: &str) -> Option<&Json> {
        self.root.pointer(target.strip_prefix('#')?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(ty: Type, required: bool, nullable: bool) -> Field {
        Field { ty, required, nullable }
    }

    #[test]
    fn plain_types_become_typed_arguments() {
        let record = RecordType::of_schema(&json!({
            "type": "object",
            "properties": {
                "amount": {"type": "number"}, "count": {"type": "integer"}, "sure": {"type": "boolean"},
                "claim": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
                "payee": {"$ref": "#/$defs/Payee"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "due": {"type": ["string", "null"]},
                "odd": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "required": ["amount", "claim"],
            "$defs": {"Payee": {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]}},
        }));
        let expected = [
            ("amount", field(Type::Decimal, true, false)),
            ("claim", field(Type::Text, true, false)),
            ("count", field(Type::Long, false, false)),
            ("due", field(Type::Text, false, true)),
            ("note", field(Type::Text, false, true)),
            ("odd", field(Type::Opaque, false, true)),
            (
                "payee",
                field(
                    Type::Record(RecordType {
                        fields: [("iban".to_owned(), field(Type::Text, true, false))].into(),
                        open: false,
                    }),
                    false,
                    false,
                ),
            ),
            ("sure", field(Type::Bool, false, false)),
            ("tags", field(Type::Set(Box::new(Type::Text)), false, false)),
        ];
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
        assert_eq!(record, RecordType { fields: expected, open: false });
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert_eq!(RecordType::of_schema(&schema).fields.len(), 1);
    }

    #[test]
    fn a_schema_that_multiplies_itself_ends() {
        let members = |target: &str| -> Map<String, Json> {
            (0..20).map(|number| (number.to_string(), json!({"$ref": target}))).collect()
        };
        let mut around = members("#");
        around.insert("amount".to_owned(), json!({"type": "number"}));
        let record = RecordType::of_schema(&json!({"type": "object", "properties": around}));
        assert_eq!(record.fields.get("amount").map(|field| &field.ty), Some(&Type::Decimal));

        let below = |level: usize| json!({"type": "object", "properties": members(&format!("#/$defs/{}", level + 1))});
        let levels: Map<String, Json> = (0..8).map(|level| (level.to_string(), below(level))).collect();
        let record =
            RecordType::of_schema(&json!({"type": "object", "properties": members("#/$defs/0"), "$defs": levels}));
        assert_eq!(record.fields.get("9").map(|field| &field.ty), Some(&Type::Opaque));
    }

    #[test]
    fn a_schema_that_says_nothing_leaves_everything_unseen() {
        for schema in [json!({}), json!(true), json!({"type": "string"})] {
            assert_eq!(RecordType::of_schema(&schema), RecordType { fields: BTreeMap::new(), open: true });
        }
        let closed = RecordType::of_schema(&json!({"type": "object"}));
        assert_eq!(closed, RecordType::default());
    }
}
