//! Texts of rules that are broken at random: none ends the process, and whatever is still taken decides as Cedar's own authorizer does over all rules as they were written.

use portcullis_testkit::fuzz::Fuzz;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::fixture;
use crate::oracle::{Oracle, facts, parts, question, rule};

/// What is put into rules.
const WORDS: [&str; 40] = [
    "permit",
    "forbid",
    "when",
    "unless",
    "principal",
    "action",
    "resource",
    "context",
    "in",
    "is",
    "has",
    "like",
    "if",
    "then",
    "else",
    "true",
    "false",
    "==",
    "!=",
    "<",
    "&&",
    "||",
    "!",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    ".",
    "\"",
    "@id(\"x\")",
    "@ask(\"manager\")",
    "@mode(\"audit\")",
    "decimal(\"1.0\")",
    "9223372036854775807",
    "-",
    "?principal",
];

/// How many questions are asked of rules that were taken.
const QUESTIONS: usize = 4;

#[test]
fn broken_rules_end_nothing_and_those_that_are_taken_decide_as_cedar_does() {
    let mut fuzz = Fuzz::start("policy", 150);
    let seed: Vec<u8> = (0..4).flat_map(|_| fuzz.number().to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let random = |runner: &mut TestRunner| rule().new_tree(runner).map(|tree| tree.current()).unwrap();
    while fuzz.goes_on() {
        let count = 1 + fuzz.below(5);
        let rules: Vec<String> =
            (0..count).map(|number| format!("@id(\"r{number}.\") {}", random(&mut runner))).collect();
        let mut text = rules.join("\n");
        if !fuzz.once_in(8) {
            text = fuzz.broken(&text, &WORDS);
        }
        let Ok(engine) = crate::compile(&[fixture::source(&text)], &facts()) else { continue };
        if !can_be_told_apart(&text) {
            continue;
        }
        fuzz.accepted += 1;
        let oracle = Oracle::new(&text, engine.schema_text(), &facts());
        for _ in 0..QUESTIONS {
            let asked = question().new_tree(&mut runner).map(|tree| tree.current()).unwrap();
            assert_eq!(parts(asked.decide(&engine)), oracle.decide(&asked), "{text}\n{asked:?}");
        }
    }
    println!("{}", fuzz.summary());
}

/// Whether the oracle can find every rule by its `@id`, written as it writes them, and none is on trial, which it knows nothing of.
fn can_be_told_apart(text: &str) -> bool {
    let Ok(policies) = text.parse::<cedar_policy::PolicySet>() else { return false };
    policies.policies().all(|policy| {
        let id = policy.annotation("id").unwrap_or_default();
        policy.annotation("mode").is_none() && text.matches(&format!("@id({id:?})")).count() == 1
    })
}
