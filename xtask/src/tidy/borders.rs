//! Which top module of a crate may speak of which, after [`rules::BORDERS`](super::rules::BORDERS).

use super::finding::Finding;
use super::modules::{Modules, Place};
use super::paths::Edge;
use super::rules::{Border, Exception, Group};

pub(crate) fn check(border: &Border, modules: &Modules, edges: &[Edge]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = edges.iter().filter_map(|edge| forbidden(border, edge)).collect();
    findings.dedup();
    findings.extend(unknown(border, modules));
    findings.extend(unused(border, modules, edges));
    findings
}

fn forbidden(border: &Border, edge: &Edge) -> Option<Finding> {
    // The root may speak of everything, and to speak of the root is to speak of what it shows.
    let (from, to) = (edge.from.first()?, edge.to.first()?);
    if from == to || border.exceptions.iter().any(|exception| exception.from == from && exception.to == to) {
        return None;
    }
    let (one, other) = (group(border, from)?, group(border, to)?);
    if one.may.contains(&other.name) {
        return None;
    }
    let text = format!("`{from}` ({}) may not import `{to}` ({}): {}", one.name, other.name, one.instead);
    Some(Finding::error(&edge.file, edge.line, text))
}

/// A module that no group knows could import anything, so it has to be named first.
fn unknown(border: &Border, modules: &Modules) -> Vec<Finding> {
    let tops = modules.iter().filter(|(place, _)| matches!(place.as_slice(), [top] if group(border, top).is_none()));
    tops.map(|(place, module)| {
        let text =
            format!("module `{}` is in no group of the borders: add it in xtask/src/tidy/rules.rs", place.join("::"));
        Finding::error(&module.file, 0, text)
    })
    .collect()
}

/// An exception that nobody needs any more would quietly allow the next one.
fn unused(border: &Border, modules: &Modules, edges: &[Edge]) -> Vec<Finding> {
    let top = |place: &Place, name: &str| place.first().is_some_and(|top| top == name);
    let file = |name: &str| modules.iter().find(|(place, _)| top(place, name)).map(|(_, module)| &module.file);
    let idle = border
        .exceptions
        .iter()
        .filter(|exception| !edges.iter().any(|edge| top(&edge.from, exception.from) && top(&edge.to, exception.to)));
    idle.filter_map(|exception| {
        let Exception { from, to, reason } = exception;
        let text =
            format!("nobody uses the exception that `{from}` may import `{to}` ({reason}): take it out of the borders");
        file(to).and(file(from)).map(|file| Finding::note(file, 0, text))
    })
    .collect()
}

fn group<'a>(border: &'a Border, name: &str) -> Option<&'a Group> {
    border.groups.iter().find(|group| group.members.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::super::modules::read;
    use super::super::paths::edges;
    use super::super::rules::BORDERS;
    use super::*;

    fn check_border(folder: &str, files: &[(&str, &str)], expected: &[&str]) {
        let border = BORDERS.iter().find(|border| border.folder == folder).unwrap();
        let modules = read(&Files::of(files), "lib.rs");
        let found = check(border, &modules, &edges(&modules));
        let found: Vec<String> =
            found.iter().map(|finding| format!("{}:{} {}", finding.path, finding.line, finding.text)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pillar_that_imports_a_pillar_is_found() {
        let root = ("lib.rs", "mod ledger; mod policy; mod money; mod admission;");
        let quiet = [("policy.rs", ""), ("money.rs", ""), ("admission.rs", "use crate::{ledger::L, policy::P};")];
        let with = |ledger| [&[root, ("ledger.rs", ledger)], quiet.as_slice()].concat();
        check_border("crates/domain", &with("use crate::money::Money;"), &[]);
        check_border(
            "crates/domain",
            &with("\nuse crate::policy::Permit;"),
            &["ledger.rs:2 `ledger` (a pillar) may not import `policy` (a pillar): the caller passes the fact"],
        );
        check_border(
            "crates/domain",
            &with("fn f() -> super::admission::Admitted { x }"),
            &[
                "ledger.rs:1 `ledger` (a pillar) may not import `admission` (a meeting place): the caller passes the fact",
            ],
        );
        check_border("crates/domain", &with("#[cfg(test)] mod tests { use crate::policy::Permit; }"), &[]);
    }

    #[test]
    fn folders_of_the_shell_meet_only_where_they_may() {
        let root = ("lib.rs", "mod doors; mod upstreams; mod life;");
        let life = ("life.rs", "use crate::upstreams::Connector;");
        let upstreams = ("upstreams.rs", "");
        check_border("crates/gateway", &[root, life, upstreams, ("doors.rs", "use crate::life::walk;")], &[]);
        check_border(
            "crates/gateway",
            &[root, life, upstreams, ("doors.rs", "use crate::{upstreams::Connector, life::walk};")],
            &["doors.rs:1 `doors` (a folder of the shell) may not import `upstreams` (a folder of the shell): \
               folders of the shell meet in `life`, `timers` and `assemble`"],
        );
    }

    #[test]
    fn an_exception_that_nobody_needs_is_noted() {
        check_border(
            "crates/gateway",
            &[("lib.rs", "mod doors; mod life;"), ("life.rs", ""), ("doors.rs", "")],
            &["doors.rs:0 nobody uses the exception that `doors` may import `life` \
               (every door hands its call to the one line it walks): take it out of the borders"],
        );
    }

    #[test]
    fn a_module_that_no_group_knows_is_found() {
        check_border(
            "crates/domain",
            &[("lib.rs", "mod novel;"), ("novel.rs", "")],
            &["novel.rs:0 module `novel` is in no group of the borders: add it in xtask/src/tidy/rules.rs"],
        );
    }
}
