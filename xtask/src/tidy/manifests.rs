//! Which crate of ours depends on which, after [`rules::CRATES`](super::rules::CRATES), read from the manifests.

use super::files::Files;
use super::finding::Finding;
use super::rules::{CRATES, Crate};

pub(crate) fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.ending("Cargo.toml") {
        let folder = path.trim_end_matches("Cargo.toml").trim_end_matches('/');
        match CRATES.iter().find(|known| known.folder == folder) {
            Some(known) => findings.extend(forbidden(known, path, text)),
            // The root is the workspace; it lists everything for the others to take.
            None if folder.is_empty() => {}
            None => {
                findings.push(Finding::error(path, 0, "this crate is in no table: add it in xtask/src/tidy/rules.rs"))
            }
        }
    }
    findings
}

fn forbidden(known: &Crate, path: &str, text: &str) -> Vec<Finding> {
    let ours = |name: &str| CRATES.iter().any(|other| other.package == name);
    dependencies(text)
        .into_iter()
        .filter(|(name, _)| ours(name) && !known.may.contains(&name.as_str()))
        .map(|(name, line)| Finding::error(path, line, format!("`{}` may not depend on `{name}`", known.package)))
        .collect()
}

/// The names under every kind of dependencies table, with their lines. Manifests here are written plainly: one dependency a
/// line, or a table of its own.
fn dependencies(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            inside = header.ends_with("dependencies");
            if let Some((_, name)) = header.split_once("dependencies.") {
                found.push((name.to_owned(), number));
            }
        } else if inside && !line.starts_with('#') {
            let name: String = line.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
            found.extend((!name.is_empty()).then_some((name, number)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_manifest(path: &str, text: &str, expected: &[&str]) {
        let found = check(&Files::of(&[(path, text)]));
        let found: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(found, expected, "in {text}");
    }

    #[test]
    fn an_edge_that_the_table_lacks_is_found_in_every_spelling() {
        let domain = "crates/domain/Cargo.toml";
        let forbidden = ["`portcullis-domain` may not depend on `portcullis-interop`"];
        check_manifest(domain, "[dependencies]\nserde = \"1\"\nportcullis-interop.workspace = true", &forbidden);
        check_manifest(domain, "[dev-dependencies]\nportcullis-interop = { path = \"x\" }", &forbidden);
        check_manifest(domain, "[target.'cfg(unix)'.dependencies.portcullis-interop]\npath = \"x\"", &forbidden);
        check_manifest(domain, "[dependencies]\n# portcullis-interop\n[features]\nportcullis-interop = []", &[]);
        check_manifest("crates/cedar/Cargo.toml", "[dependencies]\nportcullis-domain.workspace = true", &[]);
    }

    #[test]
    fn a_crate_that_no_table_knows_is_found() {
        check_manifest("crates/new/Cargo.toml", "", &["this crate is in no table: add it in xtask/src/tidy/rules.rs"]);
        check_manifest("Cargo.toml", "[workspace.dependencies]\nportcullis-interop = { path = \"x\" }", &[]);
    }
}
