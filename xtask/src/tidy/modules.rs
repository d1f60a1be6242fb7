//! The modules of one crate, read from its root file down, without their tests.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Files;
use super::items::{Import, Production, closing, imports, without_tests};
use super::lexer::{Spot, Token, tokens};

/// Where a module is, from the crate's root: `["session", "state"]`; empty is the root itself.
pub(crate) type Place = Vec<String>;

/// A module in its own file or between braces.
pub(crate) struct Module {
    pub(crate) file: String,
    /// What it says itself: neither its `use` lines nor its inline modules.
    pub(crate) spots: Vec<Spot>,
    pub(crate) uses: Vec<Use>,
    /// The items it defines, so that a glob can be followed.
    pub(crate) names: BTreeSet<String>,
}

pub(crate) struct Use {
    pub(crate) import: Import,
    pub(crate) line: usize,
    /// `pub use`, at any visibility.
    pub(crate) public: bool,
}

pub(crate) type Modules = BTreeMap<Place, Module>;

/// `root` is a `lib.rs` or `main.rs`.
pub(crate) fn read(files: &Files, root: &str) -> Modules {
    let mut modules = Modules::new();
    read_file(files, root, Vec::new(), &mut modules);
    modules
}

fn read_file(files: &Files, path: &str, place: Place, modules: &mut Modules) {
    let Some(text) = files.text(path) else { return };
    let Production { spots, .. } = without_tests(&tokens(text));
    for child in read_body(&spots, path, &place, modules) {
        let below = folder_below(path, &place, &child);
        let name = child.last().map_or("", String::as_str);
        let candidates = [format!("{below}{name}.rs"), format!("{below}{name}/mod.rs")];
        if let Some(found) = candidates.iter().find(|candidate| files.text(candidate).is_some()) {
            read_file(files, found, child, modules);
        }
    }
}

/// Where `mod` lines of this file look, with a slash at its end; inline modules between file and child are folders too.
fn folder_below(path: &str, place: &Place, child: &Place) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let owns_folder = place.is_empty() || file == "mod.rs";
    let mut below =
        if owns_folder { path.trim_end_matches(file).to_owned() } else { format!("{}/", path.trim_end_matches(".rs")) };
    for inline in child.iter().take(child.len() - 1).skip(place.len()) {
        below.push_str(inline);
        below.push('/');
    }
    below
}

/// Adds the module of these tokens and those between braces in it; returns the places of `mod name;` lines.
fn read_body(spots: &[Spot], file: &str, place: &Place, modules: &mut Modules) -> Vec<Place> {
    let mut module = Module { file: file.to_owned(), spots: Vec::new(), uses: Vec::new(), names: BTreeSet::new() };
    let mut children = Vec::new();
    let mut depth = 0;
    let mut rest = spots;
    while let Some((spot, after)) = rest.split_first() {
        rest = match spot.word() {
            Some("mod") if depth == 0 => read_child(after, file, place, modules, &mut children),
            // `impl Trait + use<'a>` is no import.
            Some("use") if !after.first().is_some_and(|next| next.is('<')) => module.read_use(spot.line, after),
            _ => {
                module.names.extend(spot.word().filter(|_| depth == 0).and_then(|word| defined(word, after)));
                depth += spot.nesting();
                module.spots.push(spot.clone());
                after
            }
        };
    }
    modules.insert(place.clone(), module);
    children
}

/// After `mod`: reads a module between braces or notes one in a file, and returns what follows it.
fn read_child<'a>(
    after: &'a [Spot],
    file: &str,
    place: &Place,
    modules: &mut Modules,
    children: &mut Vec<Place>,
) -> &'a [Spot] {
    let Some(name) = after.first().and_then(Spot::word) else {
        return after;
    };
    let child: Place = place.iter().cloned().chain([name.to_owned()]).collect();
    let rest = after.get(2..).unwrap_or_default();
    if !after.get(1).is_some_and(|spot| spot.is('{')) {
        children.push(child);
        return rest;
    }
    let end = closing(rest).unwrap_or(rest.len());
    children.extend(read_body(rest.get(..end).unwrap_or_default(), file, &child, modules));
    rest.get(end + 1..).unwrap_or_default()
}

impl Module {
    /// After `use`: notes what is imported and returns what follows.
    fn read_use<'a>(&mut self, line: usize, after: &'a [Spot]) -> &'a [Spot] {
        let end = after.iter().position(|spot| spot.is(';')).unwrap_or(after.len());
        let public = self.spots.last().is_some_and(|last| last.is(')') || last.word() == Some("pub"));
        let found = imports(after.get(..end).unwrap_or_default());
        self.uses.extend(found.into_iter().map(|import| Use { import, line, public }));
        after.get(end..).unwrap_or_default()
    }
}

/// The name that an item's keyword gives to what follows it.
fn defined(word: &str, after: &[Spot]) -> Option<String> {
    let name = after.iter().find(|next| next.token != Token::Mark('!')).and_then(Spot::word);
    name.filter(|_| defines(word)).map(str::to_owned)
}

fn defines(word: &str) -> bool {
    matches!(word, "struct" | "enum" | "union" | "fn" | "trait" | "type" | "const" | "static" | "macro_rules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_files_folders_and_braces() {
        let files = Files::of(&[
            ("c/src/lib.rs", "mod a; mod b { mod c; } #[cfg(test)] mod t;"),
            ("c/src/a/mod.rs", "mod x;"),
            ("c/src/a/x.rs", "mod y;"),
            ("c/src/a/x/y.rs", "fn f() {}"),
            ("c/src/b/c.rs", ""),
            ("c/src/t.rs", ""),
        ]);
        let places: Vec<String> = read(&files, "c/src/lib.rs").keys().map(|place| place.join("::")).collect();
        assert_eq!(places, ["", "a", "a::x", "a::x::y", "b", "b::c"]);
    }
}
