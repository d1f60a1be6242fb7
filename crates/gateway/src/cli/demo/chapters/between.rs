//! Killed between two steps.

use crate::cli::demo::agent::{Agent, SESSION};
use crate::cli::demo::chapters::kill::{kill, restart};
use crate::cli::demo::page::Page;
use crate::cli::demo::record::{Call, Record};
use crate::cli::demo::stage::{JUNIOR, Stage};
use crate::cli::exit::Exit;

const ABOUT: &str = "A user uploads a claim. The agent keeps nothing itself: what was said and done is in the session `claim-99`, \
    which the gateway rebuilds from its journal. An entry is on the disk before the world sees its effect.";

const MOMENT: &str = "The model has asked for the damage report and the tool has not run yet. At this moment the gateway and the \
    agent are killed.";

const AFTER: &str = "A new agent is given the same words. It finds the session as the other one left it: it neither asks the model \
    again nor looks up the policy again.";

/// What the user says.
const REQUEST: &str = "Please look into claim-99.";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("Killed between two steps", ABOUT).await;
    let mut agent = Agent::start(stage, page, Some(REQUEST), Some("damage_report"))?;
    agent.until_it_holds(page).await?;
    page.paragraph(MOMENT).await;
    kill(stage, page, agent).await?;
    restart(stage, page).await?;
    page.paragraph(AFTER).await;
    let run = Agent::start(stage, page, Some(REQUEST), None)?.finish(page).await?;

    let record = Record::read(&stage.client(JUNIOR)?, SESSION).await?;
    page.text("What the journal says of it:");
    show(page, &record.calls());
    page.check("the new agent went on after step 3, from the 5 messages that there were", run.begun(), Some((3, 5)))?;
    page.check("it called only what was still to be called", run.tools(), vec!["damage_report"])?;
    let calls: Vec<String> = record.calls().iter().map(Call::to_string).collect();
    let expected = [
        "model/scripted completed",
        "tool/claims__policy_lookup completed",
        "model/scripted completed",
        "tool/claims__damage_report completed",
        "model/scripted completed",
    ];
    let expected: Vec<String> = expected.map(str::to_owned).into();
    page.check("no step is lost and none is repeated: five calls, each of them once", calls, expected)
}

/// The calls, one a line.
pub(super) fn show(page: &Page, calls: &[Call]) {
    let line = |call: &Call| {
        let Call { seq, capability, outcome, charged } = call;
        let outcome = crate::cli::demo::record::word(*outcome);
        format!("entry {seq:<4} {:<34} {outcome:<10} {charged}", capability.to_string())
    };
    page.verbatim(&calls.iter().map(line).collect::<Vec<_>>().join("\n"));
}
