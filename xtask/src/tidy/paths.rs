//! Which module speaks of which: every path in a module, followed through aliases and re-exports to the module that defines
//! what it names.

use super::lexer::{Spot, Token};
use super::modules::{Modules, Place};

/// A module that names another one.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) file: String,
    pub(crate) line: usize,
}

/// Re-exports chain; a chain longer than this is a circle.
const HOPS: usize = 16;

pub(crate) fn edges(modules: &Modules) -> Vec<Edge> {
    let mut found = Vec::new();
    for (place, module) in modules {
        let imported = module.uses.iter().map(|used| (used.import.path.clone(), used.line, used.public));
        let inline = inline_paths(&module.spots).into_iter().map(|(path, line)| (path, line, false));
        for (path, line, public) in imported.chain(inline) {
            let Some(to) = resolve(modules, place, &path, HOPS) else {
                continue;
            };
            // A front page that shows what lies below it does not depend on it.
            let shows = public && to.starts_with(place);
            if to != *place && !shows {
                found.push(Edge { from: place.clone(), to, file: module.file.clone(), line });
            }
        }
    }
    found
}

/// Every `a::b…` outside `use` lines, with its line.
pub(crate) fn inline_paths(spots: &[Spot]) -> Vec<(Vec<String>, usize)> {
    let mut found: Vec<(Vec<String>, usize)> = Vec::new();
    let mut open = false;
    let mut before: [Option<&Token>; 2] = [None, None];
    for spot in spots {
        match (&spot.token, before) {
            (Token::Word(word), [_, Some(Token::Colons)]) => {
                if let Some((path, _)) = found.last_mut().filter(|_| open) {
                    path.push(word.clone());
                }
            }
            (Token::Word(word), before) => {
                open = starts_path(before);
                if open {
                    found.push((vec![word.clone()], spot.line));
                }
            }
            (Token::Colons, [_, Some(Token::Word(_))]) => {}
            _ => open = false,
        }
        before = [before[1], Some(&spot.token)];
    }
    found.retain(|(path, _)| path.len() > 1);
    found
}

/// A field or method is no path, and `pub(in a::b)` speaks of who may see, not of what is used.
fn starts_path(before: [Option<&Token>; 2]) -> bool {
    match before {
        [_, Some(Token::Mark('.'))] => false,
        [Some(Token::Mark('(')), Some(Token::Word(word))] => word != "in",
        _ => true,
    }
}

/// The module that defines what `path` names in `place`; `None` for what is another crate's or local.
fn resolve(modules: &Modules, place: &Place, path: &[String], hops: usize) -> Option<Place> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => walk(modules, Place::new(), rest, hops),
        "self" => walk(modules, place.clone(), rest, hops),
        "super" => {
            let parent = place.get(..place.len().checked_sub(1)?)?.to_vec();
            match rest.first().map(String::as_str) {
                Some("super") => resolve(modules, &parent, rest, hops),
                _ => walk(modules, parent, rest, hops),
            }
        }
        _ => step(modules, place, first, rest, hops),
    }
}

/// Goes down as far as the path names modules; the last one defines the rest.
fn walk(modules: &Modules, at: Place, path: &[String], hops: usize) -> Option<Place> {
    let Some((name, rest)) = path.split_first() else {
        return Some(at);
    };
    step(modules, &at, name, rest, hops).or(Some(at))
}

/// Where `name` in module `at` leads: into a child, or along an alias or a glob.
fn step(modules: &Modules, at: &Place, name: &str, rest: &[String], hops: usize) -> Option<Place> {
    let hops = hops.checked_sub(1)?;
    let child: Place = at.iter().cloned().chain([name.to_owned()]).collect();
    if modules.contains_key(&child) {
        return walk(modules, child, rest, hops);
    }
    let module = modules.get(at).filter(|module| !module.names.contains(name))?;
    for used in &module.uses {
        let alias = used.import.name.as_deref() == Some(name);
        // `use name;` would lead to itself.
        let itself = matches!(used.import.path.as_slice(), [only] if only == name);
        if alias && !itself {
            let path: Vec<String> = used.import.path.iter().chain(rest).cloned().collect();
            return resolve(modules, at, &path, hops);
        }
        if used.import.name.is_none()
            && let Some(target) = resolve(modules, at, &used.import.path, hops).filter(|target| target != at)
            && exports(modules, &target, name)
        {
            return walk(modules, target, &[&[name.to_owned()], rest].concat(), hops);
        }
    }
    None
}

fn exports(modules: &Modules, place: &Place, name: &str) -> bool {
    let child: Place = place.iter().cloned().chain([name.to_owned()]).collect();
    modules.contains_key(&child)
        || modules.get(place).is_some_and(|module| {
            let aliased = module.uses.iter().any(|used| used.public && used.import.name.as_deref() == Some(name));
            module.names.contains(name) || aliased
        })
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::super::modules::read;
    use super::*;

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let show = |place: &Place| {
            if place.is_empty() { "crate".to_owned() } else { place.join("::") }
        };
        let modules = read(&Files::of(files), "lib.rs");
        let mut seen: Vec<String> =
            edges(&modules).iter().map(|edge| format!("{} -> {}", show(&edge.from), show(&edge.to))).collect();
        seen.dedup();
        assert_eq!(seen, expected);
    }

    #[test]
    fn use_lines_and_inline_paths_are_edges() {
        let root = ("lib.rs", "mod a; mod b; mod c;");
        check(&[root, ("a.rs", "use crate::b::X;"), ("b.rs", ""), ("c.rs", "")], &["a -> b"]);
        check(
            &[root, ("a.rs", "fn f() { crate::c::g(super::b::X) }"), ("b.rs", ""), ("c.rs", "")],
            &["a -> c", "a -> b"],
        );
        check(&[root, ("a.rs", "fn f() { x.crate_::b(); std::b::c() }"), ("b.rs", ""), ("c.rs", "")], &[]);
        check(&[root, ("a.rs", "pub(in crate::b) fn f() {}"), ("b.rs", ""), ("c.rs", "")], &[]);
    }

    #[test]
    fn test_modules_and_comments_make_no_edge() {
        let root = ("lib.rs", "mod a; mod b;");
        check(&[root, ("a.rs", "/// crate::b::X\n#[cfg(test)] mod tests { use crate::b::X; }"), ("b.rs", "")], &[]);
    }

    #[test]
    fn a_re_export_leads_to_where_the_thing_is_defined() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::*;"),
            ("a/x.rs", "pub struct X;"),
            ("a/y.rs", "use super::X; pub struct Y;"),
            ("b.rs", "use crate::a::{X, Y as Z}; use crate::a; fn f() { a::Y::g() }"),
        ];
        check(&files, &["a::y -> a::x", "b -> a::x", "b -> a::y", "b -> a", "b -> a::y"]);
    }

    #[test]
    fn the_root_speaks_of_its_children_by_name() {
        check(&[("lib.rs", "mod a; fn f() { a::g() }"), ("a.rs", "pub fn g() {}")], &["crate -> a"]);
    }
}
