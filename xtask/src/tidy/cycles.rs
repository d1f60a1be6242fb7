//! No cycle of modules anywhere: not between files, and not between folders whose files point both ways.
//!
//! Every module is looked at with its children folded: an edge between anything below `a` and anything below `b` is one
//! between `a` and `b`. A cycle deeper down shows at the module that holds all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::Finding;
use super::modules::{Modules, Place};
use super::paths::Edge;

/// From each node to its neighbours, with the first line that made the edge.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Edge>>;

/// What the module itself says, next to its children.
const FRONT_PAGE: &str = "its front page";

pub(crate) fn check(modules: &Modules, edges: &[Edge]) -> Vec<Finding> {
    modules.keys().flat_map(|place| tangles(place, folded(place, edges))).collect()
}

/// The shortest cycle through the front page, then one through each child: enough to start untangling.
fn tangles(place: &Place, mut graph: Graph<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(shortest_cycle(&graph, FRONT_PAGE).and_then(|cycle| describe(place, &cycle)));
    // A front page that speaks of all its children would tie them all into its own cycle.
    graph.remove(FRONT_PAGE);
    let mut told = BTreeSet::new();
    for start in graph.keys() {
        if told.contains(start) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(&graph, start) {
            findings.extend(describe(place, &cycle));
            told.extend(cycle.iter().map(|(node, _)| *node));
        }
    }
    findings
}

/// The graph of a module's children.
fn folded<'a>(place: &Place, edges: &'a [Edge]) -> Graph<'a> {
    let mut graph = Graph::new();
    let inside = edges.iter().filter(|edge| edge.from.starts_with(place) && edge.to.starts_with(place));
    for edge in inside {
        let child = |end: &'a Place| end.get(place.len()).map_or(FRONT_PAGE, String::as_str);
        let (from, to) = (child(&edge.from), child(&edge.to));
        if from != to {
            graph.entry(from).or_default().entry(to).or_insert(edge);
        }
    }
    graph
}

/// Breadth first from `start` back to it: each node of the cycle with the edge that leaves it.
fn shortest_cycle<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<(&'a str, &'a Edge)>> {
    let mut reached: BTreeMap<&str, (&str, &Edge)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for (&next, &edge) in graph.get(node).into_iter().flatten() {
            if let std::collections::btree_map::Entry::Vacant(first) = reached.entry(next) {
                first.insert((node, edge));
                queue.push_back(next);
            }
        }
    }
    let mut cycle = Vec::new();
    let mut at = start;
    loop {
        let &(before, edge) = reached.get(at)?;
        cycle.push((before, edge));
        at = before;
        if at == start {
            break;
        }
    }
    cycle.reverse();
    Some(cycle)
}

fn describe(place: &Place, cycle: &[(&str, &Edge)]) -> Option<Finding> {
    let (first, edge) = cycle.first()?;
    let names: Vec<&str> = cycle.iter().map(|(node, _)| *node).chain([*first]).collect();
    let lines: Vec<String> = cycle.iter().map(|(_, edge)| format!("{}:{}", edge.file, edge.line)).collect();
    let within = if place.is_empty() { "crate".to_owned() } else { place.join("::") };
    let text = format!("cycle of modules in `{within}`: {} ({})", names.join(" -> "), lines.join(", "));
    Some(Finding::error(&edge.file, edge.line, text))
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::super::modules::read;
    use super::super::paths::edges;
    use super::*;

    fn check_cycles(files: &[(&str, &str)], expected: &[&str]) {
        let modules = read(&Files::of(files), "lib.rs");
        let found = check(&modules, &edges(&modules));
        let found: Vec<&str> = found.iter().filter_map(|finding| finding.text.split(" (").next()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_cycle_of_files_is_found() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "fn f() { crate::c::g() }"),
            ("c.rs", "use super::a;"),
        ];
        check_cycles(&files, &["cycle of modules in `crate`: a -> b -> c -> a"]);
    }

    #[test]
    fn folders_that_point_both_ways_are_a_cycle_without_one_between_files() {
        let files = [
            ("lib.rs", "mod a { mod x; mod y; } mod b { mod x; mod y; }"),
            ("a/x.rs", "use crate::b::x::T;"),
            ("a/y.rs", ""),
            ("b/x.rs", ""),
            ("b/y.rs", "use crate::a::y::T;"),
        ];
        check_cycles(&files, &["cycle of modules in `crate`: a -> b -> a"]);
    }

    #[test]
    fn a_front_page_and_its_child_can_be_a_cycle() {
        let child = ("a/x.rs", "use super::Limit;");
        let root = ("lib.rs", "mod a;");
        check_cycles(&[root, child, ("a/mod.rs", "mod x; pub use x::X; pub struct Limit;")], &[]);
        check_cycles(
            &[root, child, ("a/mod.rs", "mod x; pub struct Limit; fn f() { x::g() }")],
            &["cycle of modules in `a`: its front page -> x -> its front page"],
        );
    }

    #[test]
    fn a_cycle_through_a_test_module_is_none() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b;"),
            ("b.rs", "#[cfg(test)] mod tests { use crate::a; }"),
        ];
        check_cycles(&files, &[]);
    }
}
