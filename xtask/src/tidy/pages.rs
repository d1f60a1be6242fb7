//! Front pages, names, links and addresses: what a reader meets before the code.

use super::files::Files;
use super::finding::Finding;
use super::items::without_tests;
use super::lexer::tokens;
use super::rules::{EMPTY_NAMES, FOREIGN};

/// The page whose paths in backticks are those of the tree.
const MAP: &str = "ARCHITECTURE.md";

pub(crate) fn check(files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.ending(".rs") {
        findings.extend(front_page(path, text));
        findings.extend(empty_name(path));
    }
    for (path, text) in files.ending("").filter(|(path, _)| !path.ends_with(".lock")) {
        findings.extend(foreign(path, text));
    }
    for (path, text) in files.ending(".md") {
        findings.extend(dead_links(files, path, text));
    }
    findings.extend(files.text(MAP).into_iter().flat_map(|text| dead_paths(files, text)));
    findings
}

fn front_page(path: &str, text: &str) -> Vec<Finding> {
    let name = path.rsplit('/').next().unwrap_or_default();
    if !["mod.rs", "lib.rs", "main.rs"].contains(&name) {
        return Vec::new();
    }
    let silent = !text.trim_start().starts_with("//!");
    let says = "a front page begins with `//!`: what this part is, what it owns, what it must never do";
    let silent = silent.then(|| Finding::error(path, 1, says));
    let spots = without_tests(&tokens(text)).spots;
    let logic = spots.iter().find(|spot| name == "mod.rs" && spot.word() == Some("fn"));
    let logic =
        logic.map(|spot| Finding::note(path, spot.line, "a front page has no logic: give it a file with a name"));
    silent.into_iter().chain(logic).collect()
}

fn empty_name(path: &str) -> Option<Finding> {
    let name = path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part))?;
    Some(Finding::error(path, 0, format!("`{name}` says nothing about what is inside")))
}

fn foreign(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let hit =
            FOREIGN.iter().find(|pattern| line.match_indices(*pattern).any(|(at, _)| stands_alone(line, at, pattern)));
        findings
            .extend(hit.map(|hit| Finding::error(path, number, format!("`{hit}` means nothing on another machine"))));
    }
    findings
}

/// A path counts only from the root of a file system: `examples` `/wo` `rk/` is a folder of ours.
fn stands_alone(line: &str, at: usize, pattern: &str) -> bool {
    let before = line.get(..at).and_then(|before| before.chars().next_back());
    !pattern.starts_with('/')
        || !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '~'))
}

fn dead_links(files: &Files, path: &str, text: &str) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let local = target.split(['#', '?', ' ']).next().unwrap_or_default();
            if !local.contains(':') && !files.exists(&joined(folder, local)) {
                findings.push(Finding::error(path, number, format!("`{target}` leads nowhere")));
            }
        }
    }
    findings
}

/// A path may leave out where it begins, as in `doors/mcp`, but nothing behind that.
fn dead_paths(files: &Files, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let named = line.split('`').skip(1).step_by(2).filter(|name| is_path(name));
        let dead = named.filter(|name| !files.exists_below(name));
        findings.extend(dead.map(|name| Finding::error(MAP, number, format!("there is no `{name}`"))));
    }
    findings
}

/// Words with a slash between them, or the name of a source; an address begins with a slash.
fn is_path(name: &str) -> bool {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
    is_plain && !name.starts_with('/') && (name.contains('/') || name.ends_with(".rs") || name.ends_with(".md"))
}

/// `[text](target)` and `[name]: target`, outside of backticks.
fn targets(line: &str) -> Vec<String> {
    let spoken: String = line.split('`').step_by(2).collect();
    let inline = spoken.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let defined = spoken.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    inline.chain(defined).map(|target| target.trim().trim_matches(['<', '>']).to_owned()).collect()
}

/// A link beside the page, or from the root when it starts with `/`.
fn joined(folder: &str, target: &str) -> String {
    let (start, target) = target.strip_prefix('/').map_or((folder, target), |absolute| ("", absolute));
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_pages(files: &[(&str, &str)], expected: &[&str]) {
        let found: Vec<String> = check(&Files::of(files)).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "in {files:?}");
    }

    #[test]
    fn a_front_page_speaks_first_and_has_no_logic() {
        check_pages(&[("a/mod.rs", "//! What.\nmod b;")], &[]);
        let silent =
            "error: a/mod.rs:1: a front page begins with `//!`: what this part is, what it owns, what it must never do";
        check_pages(&[("a/mod.rs", "mod b;")], &[silent]);
        let logic = "note: a/mod.rs:2: a front page has no logic: give it a file with a name";
        check_pages(&[("a/mod.rs", "//! What.\nfn f() {}")], &[logic]);
        check_pages(&[("a/b.rs", "fn f() {}")], &[]);
    }

    #[test]
    fn empty_names_are_found_in_folders_too() {
        check_pages(&[("src/utils/a.rs", "")], &["error: src/utils/a.rs: `utils` says nothing about what is inside"]);
        check_pages(&[("src/utilities.rs", "")], &[]);
    }

    #[test]
    fn paths_of_a_machine_are_found_and_folders_of_ours_are_not() {
        let path = concat!("/wo", "rk/");
        check_pages(
            &[("a.sh", &format!("cd {path}x"))],
            &[&format!("error: a.sh:1: `{path}` means nothing on another machine")],
        );
        check_pages(&[("a.sh", &format!("cd docs{path}x"))], &[]);
    }

    #[test]
    fn the_paths_of_the_map_are_those_of_the_tree() {
        let tree = [("crates/a/src/doors/mcp/call.rs", ""), ("crates/a/tests/it/crash.rs", "")];
        let map = |text: &'static str| [&[("ARCHITECTURE.md", text)][..], &tree].concat();
        let quiet = "`doors/mcp` `it/crash.rs` `call.rs` `crates/a/` `/s/<x>/v1` `a::b` `session/<x>` and `one word`, it/gone.rs";
        check_pages(&map(quiet), &[]);
        check_pages(&map("\n[`it/gone.rs`]"), &["error: ARCHITECTURE.md:2: there is no `it/gone.rs`"]);
        check_pages(&map("`a/doors`"), &["error: ARCHITECTURE.md:1: there is no `a/doors`"]);
        check_pages(&map("`rash.rs`"), &["error: ARCHITECTURE.md:1: there is no `rash.rs`"]);
    }

    #[test]
    fn links_lead_somewhere() {
        let page = "[a](b.md#c) [d](../docs/) [e](https://x.y/z) [f](#g) `[h](i)`\n```\n[j](k)\n```\n[l]: ../README.md";
        let quiet = [("docs/a.md", page), ("docs/b.md", ""), ("README.md", "")];
        check_pages(&quiet, &[]);
        check_pages(&[("docs/a.md", "\n[a](gone.md)")], &["error: docs/a.md:2: `gone.md` leads nowhere"]);
    }
}
