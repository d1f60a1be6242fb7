//! One sweep over the tree with every rule.

use std::path::Path;

use crate::verdict::Verdict;

use super::files::Files;
use super::finding::{Finding, Level};
use super::rules::{BORDERS, CRATES};
use super::{borders, cycles, manifests, modules, pages, paths, sizes, words};

/// Prints what it finds; fails if a rule is broken.
pub(crate) fn run(root: &Path) -> Verdict {
    let files = match Files::tracked(root) {
        Ok(files) => files,
        Err(message) => return Verdict::Failed(message),
    };
    let mut findings = findings(&files);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let summary = format!("{errors} errors, {} notes", findings.len() - errors);
    if errors > 0 { Verdict::Failed(summary) } else { Verdict::Passed(summary) }
}

fn findings(files: &Files) -> Vec<Finding> {
    let mut findings = manifests::check(files);
    for known in CRATES {
        for root in ["lib.rs", "main.rs"] {
            findings.extend(check_crate(files, known.folder, root));
        }
    }
    findings.extend(words::check_unfinished(files));
    findings.extend(sizes::check(files));
    findings.extend(pages::check(files));
    findings
}

/// A binary beside its library is a crate of its own with nothing but a start in it, so the borders are the library's.
fn check_crate(files: &Files, folder: &str, root: &str) -> Vec<Finding> {
    let modules = modules::read(files, &format!("{folder}/src/{root}"));
    let edges = paths::edges(&modules);
    let mut findings = cycles::check(&modules, &edges);
    findings.extend(words::check_crate(folder, &modules));
    let borders = BORDERS.iter().filter(|border| border.folder == folder && root == "lib.rs");
    findings.extend(borders.flat_map(|border| borders::check(border, &modules, &edges)));
    findings
}
