//! `portcullis check`: what is wrong with configuration and policies, before anything runs by them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::ids::ServerName;
use serde_json::json;

use crate::assemble::protect::{self, Protection};
use crate::assemble::{Parts, connector, http_client, unasked};
use crate::cli::arguments::{Check, Common};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::clock::{Clock as _, SystemClock};
use crate::config::read::{self, Loaded};
use crate::config::{Config, Problem, schema};
use crate::identity::declared;
use crate::policy::load;
use crate::policy::rulebook::Choice;
use crate::policy::table::Mode;
use crate::registry::Tool;
use crate::registry::tool::read_list;
use crate::snapshot::Snapshot;

/// How long a server may take to say which tools it has.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn run(common: &Common, check: &Check) -> Result<(), Exit> {
    if check.config_schema {
        print::line(schema::json_schema().trim_end());
        return Ok(());
    }
    let loaded = read::read_file(&common.config);
    let (policies, schema, problems) = match loaded {
        Ok(loaded) => examine(loaded, check).await,
        Err(problem) => (0, String::new(), vec![problem]),
    };
    let errors = problems.iter().filter(|problem| !problem.is_warning).count();
    if check.policy_schema && errors == 0 {
        print::line(&schema);
        return Ok(());
    }
    if common.json {
        print::json(&json!({"ok": errors == 0, "policies": policies, "problems": problems}));
    } else {
        for problem in &problems {
            print::error_line(&problem.to_string());
        }
        if errors == 0 {
            print::line(&format!("{}: in order, {policies} policies", common.config.display()));
        }
    }
    if errors == 0 {
        Ok(())
    } else {
        Err(Exit::negative(if common.json { String::new() } else { format!("{errors} problem(s)") }))
    }
}

/// Puts everything together as a start would, without a store.
async fn examine(loaded: Loaded, check: &Check) -> (usize, String, Vec<Problem>) {
    let (snapshot, problems) = assembled(loaded, check.offline).await;
    match snapshot {
        Some(snapshot) => (snapshot.policy.policies(), snapshot.policy.schema_text().to_owned(), problems),
        None => (0, String::new(), problems),
    }
}

/// What would be in force, and all that somebody should look at.
pub(super) async fn assembled(loaded: Loaded, is_offline: bool) -> (Option<Snapshot>, Vec<Problem>) {
    let (mut tools, mut unreachable, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let base = read::directory(&loaded.path).to_owned();
    let file = loaded.path.display().to_string();
    let http = match http_client(&loaded) {
        Ok(http) => http,
        Err(problem) => return (None, vec![problem]),
    };
    for (name, table) in &loaded.config.registry.servers {
        let listed = match table.resolved(&base).and_then(|table| connector(name, &table, &base, &http, unasked())) {
            Ok(_) if is_offline => Err("was not asked for its tools".to_owned()),
            Ok(connection) => {
                let listed = list(name, connection.as_ref()).await;
                connection.stop().await;
                listed
            }
            Err(problem) => {
                problems.push(Problem::of_file(&file, format!("registry.servers.{name}: {problem}")));
                continue;
            }
        };
        match listed {
            Ok(listed) => tools.extend(listed),
            Err(problem) => {
                unreachable.push(name.clone());
                let message = format!("registry.servers.{name} {problem}; policies about its tools are not checked");
                problems.push(Problem { is_warning: true, ..Problem::of_file(&file, message) });
            }
        }
    }
    let warning = |message| Problem { is_warning: true, ..Problem::of_file(&file, message) };
    let unlimited: Vec<Problem> = unlimited(&loaded.config).into_iter().map(warning).collect();
    let is_on_trial = loaded.config.policy.mode == Mode::Audit;
    let on_trial = is_on_trial.then(|| warning(load::ON_TRIAL.to_owned()));
    let in_clear = protect::warning(&loaded.config).map(warning);
    let unread = unread(&loaded.config, &base);
    let parts = Parts {
        config: loaded.config,
        path: &loaded.path,
        tools,
        unreachable,
        journal: None,
        choice: Choice::Written(None),
    };
    let snapshot = match parts.build() {
        Ok(snapshot) => {
            problems.extend(snapshot.policy.warnings().iter().map(crate::assemble::of_rule));
            let of_tools = snapshot.listed.iter().map(|(tool, guarded)| crate::assemble::listed(tool, guarded));
            problems.extend(of_tools.map(warning));
            Some(snapshot)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    problems.extend(unread.iter().map(|problem| Problem::of_file(&file, problem)));
    problems.extend(unlimited);
    problems.extend(on_trial);
    problems.extend(in_clear);
    (snapshot.filter(|_| unread.is_empty()), problems)
}

/// What is wrong with the files of certificates and keys.
fn unread(config: &Config, base: &Path) -> Vec<String> {
    match Protection::read(config, base) {
        Ok(_) => {
            let expired = protect::check_time(config, base, SystemClock.now()).err();
            let keys = declared::read(&config.identity.keys, base).err().unwrap_or_default();
            keys.into_iter().chain(expired).collect()
        }
        Err(problems) => problems,
    }
}

/// Principals whose calls cost money and have no limit: nobody may have meant that.
fn unlimited(config: &Config) -> Vec<String> {
    if config
        .registry
        .models
        .values()
        .all(|model| model.price.is_none() && model.deployments.iter().all(|deployment| deployment.price.is_none()))
    {
        return Vec::new();
    }
    let names = config.identity.principals.keys().filter(|name| !config.ledger.budgets.contains_key(*name));
    let say = |name| {
        format!(
            "ledger.budgets has no line for `{name}`: all its sessions together may spend without limit on models that have a price"
        )
    };
    names.map(say).collect()
}

async fn list(
    name: &ServerName,
    connection: &dyn crate::upstreams::egress::ToolServer,
) -> Result<Vec<Arc<Tool>>, String> {
    let listed = tokio::time::timeout(LIST_TIMEOUT, connection.list()).await;
    let list = listed.map_err(|_| "did not list its tools in time".to_owned())?.map_err(|fault| fault.to_string())?;
    let text = std::str::from_utf8(&list).map_err(|_| "wrote a list that is not UTF-8".to_owned())?;
    read_list(name, text).map(|(tools, _)| tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_who_may_spend_without_limit_are_named() {
        let check = |text: &str, expected: &[&str]| {
            let config = read::read_text("c.yaml", text, std::collections::HashMap::new()).unwrap();
            let found = unlimited(&config);
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            for (said, name) in found.iter().zip(expected) {
                assert!(said.contains(&format!("no line for `{name}`")), "{said}");
            }
        };
        let people = "identity: {principals: {ann: {}, bob: {}}}\n";
        let priced = format!(
            "{people}registry: {{models: {{m: {{base_url: 'http://x', price: {{input: 1, output: 2}}}}, n: {{base_url: 'http://x'}}}}}}\n"
        );
        check(&priced, &["ann", "bob"]);
        check(&format!("{priced}ledger: {{session: {{usd: 1}}}}"), &["ann", "bob"]);
        check(&format!("{priced}ledger: {{budgets: {{ann: {{usd: 1}}}}}}"), &["bob"]);
        check(&format!("{priced}ledger: {{budgets: {{ann: {{usd: 1}}, bob: {{usd: 0}}}}}}"), &[]);
        check(&format!("{people}registry: {{models: {{m: {{base_url: 'http://x'}}}}}}"), &[]);
        check(people, &[]);
    }
}
