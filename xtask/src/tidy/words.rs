//! Names that only some modules may say: the environment, concrete stores and connectors, and in the pure crates whatever
//! waits, plus the marks of unfinished work, which nobody may say.

use super::files::Files;
use super::finding::Finding;
use super::lexer::{Spot, tokens};
use super::modules::{Module, Modules, Place};
use super::paths::inline_paths;
use super::rules::{
    CONCRETE, CONCRETE_FOLDER, CONCRETE_USER, Concrete, ENVIRONMENT_FREE, ENVIRONMENT_READER, PURE, UNFINISHED,
    UNFINISHED_MARK,
};

/// The rules about production code, for the crate in `folder`.
pub(crate) fn check_crate(folder: &str, modules: &Modules) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, module) in modules {
        findings.extend(environment(folder, place, module));
        findings.extend(impure(folder, module));
        if folder == CONCRETE_FOLDER {
            findings.extend(concrete(CONCRETE, place, module));
        }
    }
    findings
}

fn environment(folder: &str, place: &Place, module: &Module) -> Vec<Finding> {
    let reader = (folder, top(place)) == ENVIRONMENT_READER;
    if reader || ENVIRONMENT_FREE.contains(&folder) {
        return Vec::new();
    }
    let reads = |path: &[String]| {
        path.windows(2).any(|pair| matches!(pair, [env, call] if env == "env" && call.starts_with("var")))
    };
    let lines = paths(module).into_iter().filter(|(path, _)| reads(path)).map(|(_, line)| line);
    lines
        .map(|line| Finding::error(&module.file, line, "only `config` reads the environment: take a field of it"))
        .collect()
}

fn impure(folder: &str, module: &Module) -> Vec<Finding> {
    let Some(pure) = PURE.iter().find(|pure| pure.folder == folder) else {
        return Vec::new();
    };
    let starts = |path: &[String], never: &str| {
        let never: Vec<&str> = never.split("::").collect();
        path.len() >= never.len() && path.iter().zip(&never).all(|(one, other)| one == other)
    };
    let named = paths(module).into_iter().filter_map(|(path, line)| {
        let never = pure.never.iter().find(|never| starts(&path, never))?;
        Some(Finding::error(&module.file, line, format!("`{never}`: {}", pure.because)))
    });
    let waits = module.spots.iter().filter(|spot| spot.word() == Some("async"));
    let waits = waits.map(|spot| Finding::error(&module.file, spot.line, format!("`async`: {}", pure.because)));
    named.chain(waits).collect()
}

fn concrete(table: &[Concrete], place: &Place, module: &Module) -> Vec<Finding> {
    let spoken = module.spots.iter().filter_map(|spot| Some((spot.word()?, spot.line)));
    let imported = module.uses.iter().filter_map(|used| Some((used.import.path.last()?.as_str(), used.line)));
    spoken
        .chain(imported)
        .filter_map(|(word, line)| {
            let known = table.iter().find(|known| known.name == word)?;
            let allowed = [CONCRETE_USER, known.home].contains(&top(place));
            (!allowed).then(|| {
                let text = format!("only `{CONCRETE_USER}` names `{word}`: take the trait that it implements");
                Finding::error(&module.file, line, text)
            })
        })
        .collect()
}

/// Every path a module says, in `use` lines and elsewhere.
fn paths(module: &Module) -> Vec<(Vec<String>, usize)> {
    let imported = module.uses.iter().map(|used| (used.import.path.clone(), used.line));
    imported.chain(inline_paths(&module.spots)).collect()
}

fn top(place: &Place) -> &str {
    place.first().map_or("", String::as_str)
}

/// The marks of unfinished work, in tests and scripts too.
pub(crate) fn check_unfinished(files: &Files) -> Vec<Finding> {
    const SCRIPTS: &[&str] = &[".rs", ".toml", ".py", ".ts", ".js", ".mjs", ".sh", ".yaml", ".yml", ".cedar"];
    let mut findings = Vec::new();
    for (path, text) in files.ending(".rs") {
        let spots = tokens(text);
        let macros = spots.windows(2).filter_map(|pair| match pair {
            [name, mark] if mark.is('!') => Some(name).filter(|name| name.word().is_some_and(unfinished)),
            _ => None,
        });
        findings.extend(macros.map(|name: &Spot| {
            Finding::error(path, name.line, format!("`{}!` is not for keeping", name.word().unwrap_or_default()))
        }));
    }
    for (path, text) in SCRIPTS.iter().flat_map(|end| files.ending(end)) {
        let marked = text.lines().zip(1..).filter(|(line, _)| line.contains(UNFINISHED_MARK));
        findings.extend(marked.map(|(_, line)| {
            Finding::error(
                path,
                line,
                format!("{UNFINISHED_MARK}: finish it, or write down why it is so and file an issue"),
            )
        }));
    }
    findings
}

fn unfinished(word: &str) -> bool {
    UNFINISHED.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::super::modules::read;
    use super::*;

    fn check_words(folder: &str, files: &[(&str, &str)], expected: &[&str]) {
        let found = check_crate(folder, &read(&Files::of(files), "lib.rs"));
        let found: Vec<String> = found.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect();
        assert_eq!(found, expected, "in {files:?}");
    }

    #[test]
    fn only_config_reads_the_environment() {
        let reads = "fn f() { std::env::var(\"X\"); }";
        let root = ("lib.rs", "mod config; mod doors;");
        check_words("crates/gateway", &[root, ("config.rs", reads), ("doors.rs", "")], &[]);
        check_words("crates/gateway", &[root, ("config.rs", ""), ("doors.rs", reads)], &["doors.rs:1"]);
        check_words("crates/gateway", &[("lib.rs", "\nuse std::env::{self, vars_os};")], &["lib.rs:2"]);
        check_words("crates/gateway", &[("lib.rs", "#[test]\nfn f() { std::env::var(\"X\"); }")], &[]);
        check_words("xtask", &[("lib.rs", reads)], &[]);
    }

    #[test]
    fn pure_crates_name_nothing_that_waits() {
        check_words("crates/domain", &[("lib.rs", "use std::time::{Duration, Instant};")], &["lib.rs:1"]);
        check_words("crates/domain", &[("lib.rs", "\nasync fn f() {}")], &["lib.rs:2"]);
        check_words("crates/domain", &[("lib.rs", "use std::collections::BTreeMap; // std::fs")], &[]);
        check_words("crates/gateway", &[("lib.rs", "use std::time::Instant; async fn f() {}")], &[]);
    }

    #[test]
    fn only_assemble_and_its_home_name_a_concrete_store() {
        let table = [Concrete { name: "SqliteStore", home: "journal" }];
        let files = [
            ("lib.rs", "mod assemble; mod journal; mod doors;"),
            ("assemble.rs", "use crate::journal::SqliteStore;"),
            ("journal.rs", "pub struct SqliteStore;"),
            ("doors.rs", "use crate::journal::SqliteStore;\nstruct D(SqliteStore);"),
        ];
        let modules = read(&Files::of(&files), "lib.rs");
        let found: Vec<Finding> = modules.iter().flat_map(|(place, module)| concrete(&table, place, module)).collect();
        let mut found: Vec<String> = found.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect();
        found.sort();
        assert_eq!(found, ["doors.rs:1", "doors.rs:2"]);
    }

    #[test]
    fn unfinished_work_is_found_in_tests_too_but_not_in_comments() {
        let text = "// todo!()\n#[test] fn f() { dbg!(1); }";
        let found = check_unfinished(&Files::of(&[("a.rs", text), ("b.py", concat!("# FIX", "ME"))]));
        let found: Vec<String> = found.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect();
        assert_eq!(found, ["a.rs:2", "b.py:1"]);
    }
}
