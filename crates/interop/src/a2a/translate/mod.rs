//! What one version says, in the words of the other.
//!
//! Both directions meet in the same raw JSON: a member that neither version knows stays where it is, as it was written. What
//! one version has no place for is left out: several schemes of a webhook become the first one (1.0), and nothing else is lost.
//! An unknown member whose name would mean something in the other version is left out too, lest what was judged as meaningless
//! gets a meaning behind the gateway.
//!
//! [`params`] is for what is asked, [`result`] for what is answered and for each event of a stream; `legacy` is the older form of 1.0's JSON
//! that 0.3 writes over HTTP+JSON. The rules are those of the official libraries, and golden pairs made by them hold us to it.

pub mod params;
pub mod result;

pub(super) mod legacy;

mod message;
mod part;
mod push;
mod task;

use crate::frame::object::Object;
use portcullis_domain::json;

/// Each item of an array by `one`.
fn each(raw: &str, one: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let items: Vec<String> = json::items(raw)?.into_iter().map(|item| one(item.get())).collect::<Result<_, _>>()?;
    Ok(format!("[{}]", items.join(",")))
}

/// A member by `one`, where there is one; a `null` is left out.
fn change(
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
fn change_each(
    object: &mut Object<'_>,
    name: &'static str,
    one: impl Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    change(object, name, |raw| each(raw, &one))
}

/// Gives a member another name, and takes away what stood under that name.
fn rename(object: &mut Object<'_>, from: &str, to: &'static str) {
    object.remove(to);
    if let Some(raw) = object.take(from) {
        object.set(to, raw.into_owned());
    }
}

fn within(name: &str, problem: &str) -> String {
    format!("{problem} (in `{name}`)")
}
