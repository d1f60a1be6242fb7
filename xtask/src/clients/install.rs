//! Installs what is wanted and not there yet.

use std::path::PathBuf;

use super::library::{Library, wanted};
use crate::environment::Environment;
use crate::verdict::Verdict;

/// Tells the client tests where the libraries are.
pub(crate) const VARIABLE: &str = "PORTCULLIS_CLIENTS";

pub(crate) fn install(environment: &Environment) -> Verdict {
    let libraries = match wanted(environment) {
        Ok(libraries) => libraries,
        Err(message) => return Verdict::Failed(message),
    };
    let folder = environment.clients();
    for library in &libraries {
        if library.current() {
            println!("{} is there", library.name);
        } else if let Err(message) = library.install() {
            return Verdict::Failed(message);
        }
    }
    match libraries.is_empty() {
        true => Verdict::Skipped("no client tests in tests/clients".to_owned()),
        false => Verdict::Passed(format!("{VARIABLE}={}", folder.display())),
    }
}

/// The folder, if everything that is wanted is in it.
pub(crate) fn ready(environment: &Environment) -> Option<PathBuf> {
    let libraries = wanted(environment).ok()?;
    (!libraries.is_empty() && libraries.iter().all(Library::current)).then(|| environment.clients())
}
