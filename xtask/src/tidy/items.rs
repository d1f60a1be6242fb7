//! What a file says outside its tests: test items are cut away, `use` trees spread into single paths, functions measured.

use super::lexer::{Spot, Token};

/// A file without its tests.
#[derive(Default)]
pub(crate) struct Production {
    pub(crate) spots: Vec<Spot>,
    /// `#[cfg(test)] mod name;`: the file of that name is a test too.
    pub(crate) test_modules: Vec<String>,
    /// How many lines the cut items took.
    pub(crate) test_lines: usize,
}

/// Cuts every item under `#[test]`, `#[tokio::test]` or `#[cfg(test)]`, and the whole file under `#![cfg(test)]`.
pub(crate) fn without_tests(spots: &[Spot]) -> Production {
    let mut production = Production::default();
    let mut rest = spots;
    while let Some(first) = rest.first() {
        let Some((attribute, inner, after)) = attribute(rest) else {
            production.spots.push(first.clone());
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        if !marks_test(attribute) {
            let taken = rest.len() - after.len();
            production.spots.extend(rest.iter().take(taken).cloned());
            rest = after;
            continue;
        }
        let (item, after) = if inner { (after, [].as_slice()) } else { split_item(after) };
        production.test_modules.extend(declared_module(item));
        let last = item.last().map_or(first.line, |spot| spot.line);
        production.test_lines += last - first.line + 1;
        rest = after;
    }
    production
}

/// At `#[…]` or `#![…]`: its inside, whether it is an inner one, and what follows.
fn attribute(spots: &[Spot]) -> Option<(&[Spot], bool, &[Spot])> {
    let hash = spots.first().filter(|spot| spot.is('#'));
    let rest = spots.get(1..).filter(|_| hash.is_some())?;
    let inner = rest.first().is_some_and(|spot| spot.is('!'));
    let rest = if inner { rest.get(1..)? } else { rest };
    let inside = rest.get(1..).filter(|_| rest.first().is_some_and(|spot| spot.is('[')))?;
    let end = closing(inside)?;
    Some((inside.get(..end)?, inner, inside.get(end + 1..)?))
}

/// `cfg(any(test, …))` and `cfg(not(test))` are production code as well.
fn marks_test(attribute: &[Spot]) -> bool {
    let words: Vec<&str> = attribute.iter().filter_map(Spot::word).collect();
    match words.as_slice() {
        ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"any") && !rest.contains(&"not"),
        ["test"] => true,
        [_, "test", ..] => attribute.get(1).is_some_and(|spot| spot.token == Token::Colons),
        _ => false,
    }
}

/// The item at the start and what follows it. An item ends with its braces or a semicolon; a field or variant with a comma.
fn split_item(spots: &[Spot]) -> (&[Spot], &[Spot]) {
    const ITEMS: &[&str] = &[
        "pub",
        "fn",
        "mod",
        "use",
        "struct",
        "enum",
        "union",
        "impl",
        "trait",
        "const",
        "static",
        "type",
        "async",
        "unsafe",
        "extern",
        "macro_rules",
        "let",
    ];
    let mut start = spots;
    while let Some((_, _, after)) = attribute(start) {
        start = after;
    }
    let listed = !start.first().and_then(Spot::word).is_some_and(|word| ITEMS.contains(&word));
    let skipped = spots.len() - start.len();
    let mut depth = 0;
    for (index, spot) in start.iter().enumerate() {
        depth += spot.nesting();
        if depth < 0 {
            return spots.split_at(skipped + index);
        }
        if depth == 0 && (spot.is(';') || spot.is('}') || (listed && spot.is(','))) {
            return spots.split_at(skipped + index + 1);
        }
    }
    (spots, &[])
}

/// `mod name;` within an item's tokens.
fn declared_module(item: &[Spot]) -> Option<String> {
    let [.., keyword, name, end] = item else {
        return None;
    };
    (keyword.word() == Some("mod") && end.is(';')).then(|| name.word().map(str::to_owned))?
}

/// The index of the bracket that closes what was opened just before `spots`.
pub(crate) fn closing(spots: &[Spot]) -> Option<usize> {
    let mut depth = 1;
    spots.iter().position(|spot| {
        depth += spot.nesting();
        depth == 0
    })
}

/// One path of a `use` tree: `use a::{b as c, d::*}` gives `a::b` named `c` and everything of `a::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name it has here; `None` for a glob.
    pub(crate) name: Option<String>,
}

/// Spreads the tree between `use` and its semicolon.
pub(crate) fn imports(tree: &[Spot]) -> Vec<Import> {
    let mut found = Vec::new();
    spread(tree, &[], &mut found);
    found
}

fn spread(tree: &[Spot], prefix: &[String], found: &mut Vec<Import>) {
    let mut path = prefix.to_vec();
    let mut rest = tree;
    while let Some((spot, after)) = rest.split_first() {
        rest = after;
        match &spot.token {
            Token::Word(word) if word == "as" => {
                let name = rest.first().and_then(Spot::word).map(str::to_owned);
                found.push(Import { path: plain(path), name });
                return;
            }
            Token::Word(word) => path.push(word.clone()),
            Token::Mark('*') => {
                found.push(Import { path, name: None });
                return;
            }
            Token::Mark('{') => {
                let inside = rest.get(..closing(rest).unwrap_or(rest.len())).unwrap_or_default();
                for part in split_at_commas(inside) {
                    spread(part, &path, found);
                }
                return;
            }
            Token::Colons | Token::Mark(_) | Token::Literal => {}
        }
    }
    if path.len() > prefix.len() {
        let path = plain(path);
        found.push(Import { name: path.last().cloned(), path });
    }
}

/// `a::{self}` is `a`.
fn plain(mut path: Vec<String>) -> Vec<String> {
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    path
}

fn split_at_commas(spots: &[Spot]) -> Vec<&[Spot]> {
    let mut depth = 0;
    spots
        .split(|spot| {
            depth += spot.nesting();
            depth == 0 && spot.is(',')
        })
        .collect()
}

/// A function with a body, from the line of its `fn` to its closing brace.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

pub(crate) fn functions(spots: &[Spot]) -> Vec<Function> {
    let starts = spots.windows(2).enumerate().filter_map(|(index, pair)| match pair {
        [keyword, name] if keyword.word() == Some("fn") => Some((index + 2, keyword.line, name.word()?)),
        _ => None,
    });
    starts
        .filter_map(|(index, line, name)| {
            let end = body_end(spots.get(index..)?)?;
            Some(Function { name: name.to_owned(), line, lines: end - line + 1 })
        })
        .collect()
}

/// The line of the brace that closes the body; `None` for a signature without one.
fn body_end(after_name: &[Spot]) -> Option<usize> {
    let mut depth = 0;
    for (index, spot) in after_name.iter().enumerate() {
        if depth == 0 && spot.is(';') {
            return None;
        }
        if depth == 0 && spot.is('{') {
            let body = after_name.get(index + 1..)?;
            return body.get(closing(body)?).map(|spot| spot.line);
        }
        depth += spot.nesting();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::*;

    fn check_kept(source: &str, words: &str) {
        let production = without_tests(&tokens(source));
        let kept: Vec<&str> = production.spots.iter().filter_map(Spot::word).collect();
        assert_eq!(kept.join(" "), words, "in {source}");
    }

    #[test]
    fn test_items_are_cut_and_nothing_else() {
        check_kept("a #[cfg(test)] mod tests { use x::y; } b", "a b");
        check_kept("#[test] fn f() { x } b", "b");
        check_kept("#[tokio::test(flavor = \"x\")] async fn f() { x } b", "b");
        check_kept("#[cfg(test)] #[allow(c)] use a::{b}; d", "d");
        check_kept("struct S { #[cfg(test)] x: u8, y: u8 }", "struct S y u8");
        check_kept("#[cfg(not(test))] fn f() {}", "cfg not test fn f");
        check_kept("#[cfg(any(test, feature = \"x\"))] fn f() {}", "cfg any test feature fn f");
        check_kept("#[derive(Debug)] struct S;", "derive Debug struct S");
        check_kept("#![cfg(test)] fn f() {} fn g() {}", "");
    }

    #[test]
    fn a_test_module_in_its_own_file_is_named() {
        let production = without_tests(&tokens("#[cfg(test)]\nmod tests;\nfn f() {}"));
        assert_eq!(production.test_modules, ["tests"]);
        assert_eq!(production.test_lines, 2);
    }

    #[test]
    fn use_trees_are_spread() {
        let check = |source: &str, expected: &str| {
            let paths: Vec<String> = imports(&tokens(source))
                .iter()
                .map(|import| format!("{}={}", import.path.join("::"), import.name.as_deref().unwrap_or("*")))
                .collect();
            assert_eq!(paths.join(" "), expected, "in {source}");
        };
        check("crate::a", "crate::a=a");
        check("crate::{a::{self, b as c}, d::*, e}", "crate::a=a crate::a::b=c crate::d=* crate::e=e");
        check("super::super::x::Y", "super::super::x::Y=Y");
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let found = functions(&tokens("trait T { fn a(x: [u8; 2]); }\nfn b() {\n  if c { d }\n}\n"));
        let found: Vec<(&str, usize)> = found.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(found, [("b", 3)]);
    }
}
