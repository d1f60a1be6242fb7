//! Which rules count: those that stand in the files, or rules of before that somebody has put back.

use std::collections::BTreeSet;

use portcullis_cedar::Source;
use portcullis_domain::digest::Digest;
use portcullis_domain::policy::Version;

/// Which rules are in force, and what the files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rulebook {
    /// The digest of the rules that are in force.
    pub rules: Digest,
    /// The digest of the rules that stand in the files.
    pub written: Digest,
    /// The version that the files would have.
    pub declared: Version,
}

/// Rules that somebody has put back.
#[derive(Debug, Clone)]
pub struct PutBack {
    /// They themselves.
    pub sources: Vec<Source>,
    /// They count for as long as the files say this.
    pub instead_of: Digest,
}

/// Which rules a snapshot is made of.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Those that stand in the files, unless these still say what others were put back instead of.
    Written(Option<PutBack>),
    /// These, whatever the files say.
    These {
        /// The rules.
        sources: Vec<Source>,
        /// What was in force so far.
        before: Rulebook,
    },
}

impl Default for Rulebook {
    /// Of no rules at all.
    fn default() -> Self {
        Self { rules: digest(&[]), written: digest(&[]), declared: Digest::ZERO }
    }
}

/// The digest of rules alone: of their texts, whatever the files are called and in whichever order they are named.
#[must_use]
pub fn digest(sources: &[Source]) -> Digest {
    let texts: BTreeSet<Digest> = sources.iter().map(|source| Digest::of(source.text.as_bytes())).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.0.as_slice()).collect();
    Digest::of_parts(&texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_the_same_wherever_they_stand() {
        let source = |file: &str, text: &str| Source { file: file.to_owned(), text: text.to_owned() };
        let (one, other) = ("permit (principal, action, resource);", "forbid (principal, action, resource);");
        let all = digest(&[source("a", one), source("b", other)]);
        let check = |sources: &[Source], is_same: bool| assert_eq!(digest(sources) == all, is_same, "{sources:?}");
        check(&[source("c", other), source("d", one)], true);
        check(&[source("a", one)], false);
        check(&[source("a", one), source("b", &format!("{other}\n"))], false);
        check(&[], false);
    }
}
