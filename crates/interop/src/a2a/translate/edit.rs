//! Changes of single members of an object.

use portcullis_domain::json;

use crate::frame::object::Object;

/// Each item of an array by `one`.
pub(super) fn each(raw: &str, one: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let items: Vec<String> = json::items(raw)?.into_iter().map(|item| one(item.get())).collect::<Result<_, _>>()?;
    Ok(format!("[{}]", items.join(",")))
}

/// A member by `one`, where there is one; a `null` is left out.
pub(super) fn change(
    object: &mut Object<'_>,
    name: &'static str,
    one: impl Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    match object.raw(name) {
        None => {}
        Some("null") => {
            object.remove(name);
        }
        Some(raw) => {
            let changed = one(raw).map_err(|problem| within(name, &problem))?;
            object.set(name, changed);
        }
    }
    Ok(())
}

/// The same for each item of an array.
pub(super) fn change_each(
    object: &mut Object<'_>,
    name: &'static str,
    one: impl Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    change(object, name, |raw| each(raw, &one))
}

/// Gives a member another name, and takes away what stood under that name.
pub(super) fn rename(object: &mut Object<'_>, from: &str, to: &'static str) {
    object.remove(to);
    if let Some(raw) = object.take(from) {
        object.set(to, raw.into_owned());
    }
}

pub(super) fn within(name: &str, problem: &str) -> String {
    format!("{problem} (in `{name}`)")
}
