//! From sources and facts to an engine, or to all that is wrong with them.

use std::collections::HashSet;

use crate::engine::Engine;
use crate::entity::Types;
use crate::facts::{Facts, Source};
use crate::population::Population;
use crate::presence::Shapes;
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::Declared;
use crate::slice::{Rules, Slices};
use crate::source::Statement;
use crate::{annotation, attributes, check, findings, names, source, version};

/// Reads the sources, checks them against the facts and makes an engine of them.
///
/// Where several rules forbid with a message, the first is told: by the name of its file, then by its place in it. The order
/// of `sources` has no meaning.
///
/// # Errors
///
/// All that is wrong, with warnings, ordered by place; there is at least one [error](Problem::is_error) among them.
pub fn compile(sources: &[Source], facts: &Facts) -> Result<Engine, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut sorted: Vec<&Source> = sources.iter().collect();
    sorted.sort_by(|one, other| one.file.cmp(&other.file));
    find_duplicates(&sorted, facts, &mut problems);

    let statements = source::read(&sorted, &mut problems);
    for statement in &statements {
        annotation::check(statement, &mut problems);
    }
    let principal = attributes::types(facts, &mut problems);
    let shapes = Shapes::of(facts, &principal);
    for statement in &statements {
        shapes.check(statement, &mut problems);
    }
    names::check(&statements, facts, &mut problems);
    let unseen = names::unseen_actions(&statements, facts);
    let declared = Declared::of(facts, &principal, &unseen);
    let generated = declared.generate().map_err(|problem| problems.push(problem)).ok();
    if let Some(generated) = &generated {
        check::check(&statements, &declared, &generated.schema, &mut problems);
    }

    problems.sort();
    let Some(generated) = generated.filter(|_| !problems.iter().any(Problem::is_error)) else { return Err(problems) };
    let rules = rules(&statements)?;
    let population = Types::new().and_then(|types| Population::of(facts, &rules, &types));
    let population = population.map_err(|message| vec![Problem::in_table("registry", message)])?;
    findings::find(&statements, &rules, &population, facts, &mut problems);
    problems.sort();
    let rules = Rules::new(rules, version::version(&sorted, facts), facts.mode);
    Ok(Engine { rules, population, schema_text: generated.text, warnings: problems, slices: Slices::default() })
}

fn rules(statements: &[Statement<'_>]) -> Result<Vec<Rule>, Vec<Problem>> {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for statement in statements {
        match Rule::of(statement) {
            Ok(rule) => rules.push(rule),
            Err(message) => problems.push(statement.problem("decimal", message)),
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

/// Names that stand for two things stand for nothing.
fn find_duplicates(sources: &[&Source], facts: &Facts, problems: &mut Vec<Problem>) {
    let mut find = |table: &str, what: &str, names: Vec<String>| {
        let mut seen = HashSet::new();
        let twice = names.into_iter().filter(|name| !seen.insert(name.clone()));
        problems.extend(twice.map(|name| Problem::in_table(table, format!("there are two {what} `{name}`"))));
    };
    find("policy", "files", sources.iter().map(|source| source.file.clone()).collect());
    find("principals", "principals", facts.principals.iter().map(|principal| principal.name.to_string()).collect());
    find("registry", "tools", facts.tools.iter().map(crate::Tool::capability_name).collect());
}
