//! The rules of the tree that the compiler does not know, held over every tracked file.
//!
//! [`rules`] is the tables: start there, and change them there. The rest reads the tree and compares. What breaks a rule is an
//! error and fails the chore; what wants a second look is a note. Nothing here may need more than the sources themselves: no
//! build, no network, no other crate.

mod rules;

mod borders;
mod cycles;
mod manifests;
mod pages;
mod sizes;
mod words;

mod files;
mod finding;
mod items;
mod lexer;
mod modules;
mod paths;
mod sweep;

pub(crate) use sweep::run;
