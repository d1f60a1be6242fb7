//! Which rules are asked, and who and what there is for them.

use portcullis_cedar::{Engine, Source};

use crate::assemble::of_rule;
use crate::cli::arguments::Common;
use crate::cli::check;
use crate::cli::exit::Exit;
use crate::cli::policy::history;
use crate::cli::{journal, print};
use crate::config::{Problem, read};
use crate::policy::made_of::MadeOf;

/// An engine, and what it was made of.
pub(super) struct Ground {
    pub(super) engine: Engine,
    pub(super) made_of: MadeOf,
}

/// What the configuration says. Without asking the servers, their tools are those that the journal knows.
pub(super) async fn configured(common: &Common, is_offline: bool) -> Result<Ground, Exit> {
    let loaded = read::read_file(&common.config).map_err(|problem| Exit::config(problem.to_string()))?;
    let (snapshot, problems) = check::assembled(loaded, is_offline).await;
    let Some(snapshot) = snapshot else { return Err(broken(&problems)) };
    let mut made_of = MadeOf::of_bytes(&snapshot.made_of).map_err(Exit::system)?;
    if is_offline && !made_of.facts.unreachable_servers.is_empty() {
        add_recorded_tools(common, &mut made_of)?;
        return compiled(made_of);
    }
    for server in &made_of.facts.unreachable_servers {
        print::error_line(&format!("note: the server `{server}` could not be asked for its tools"));
    }
    Ok(Ground { engine: snapshot.policy, made_of })
}

fn add_recorded_tools(common: &Common, made_of: &mut MadeOf) -> Result<(), Exit> {
    let source = journal::open(common)?;
    let recorded = history::newest_made_of(source.as_ref())?;
    let facts = &mut made_of.facts;
    let tools = recorded.facts.tools.into_iter().filter(|tool| facts.unreachable_servers.contains(&tool.server));
    facts.tools.extend(tools.collect::<Vec<_>>());
    let tools = &facts.tools;
    facts.unreachable_servers.retain(|server| !tools.iter().any(|tool| tool.server == *server));
    Ok(())
}

/// These rules, with whom and what a version of the journal knew.
pub(super) fn with_files(made_of: MadeOf, files: &[std::path::PathBuf]) -> Result<Ground, Exit> {
    let mut sources = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Exit::io(format!("the policies `{name}` can't be read: {error}")))?;
        sources.push(Source { file: name, text });
    }
    compiled(MadeOf { sources, ..made_of })
}

/// The engine of that.
pub(super) fn compiled(made_of: MadeOf) -> Result<Ground, Exit> {
    match made_of.compile() {
        Ok(engine) => Ok(Ground { engine, made_of }),
        Err(problems) => Err(broken(&problems.iter().map(of_rule).collect::<Vec<_>>())),
    }
}

fn broken(problems: &[Problem]) -> Exit {
    for problem in problems {
        print::error_line(&problem.to_string());
    }
    Exit::config("the policies or the configuration have problems")
}
