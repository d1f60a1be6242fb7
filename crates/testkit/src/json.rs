//! Building JSON objects member by member.

use serde_json::Value;

/// The object `object` with one more member; any other value stays as it is.
pub(crate) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}
