//! The payment that must not be made.

use crate::cli::demo::agent::{Agent, SESSION};
use crate::cli::demo::chapters::blocked::{self, MESSAGE};
use crate::cli::demo::page::Page;
use crate::cli::demo::record::Record;
use crate::cli::demo::stage::{JUNIOR, Stage};
use crate::cli::exit::Exit;

const ABOUT: &str = "The gateway reads every tool call inside the model's answer, also in a stream: text flows on, the call is held \
    until its arguments are whole, and judged. A denied one is taken out, and the model is asked again, with the rule's own \
    message.";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("One that must not be made: $50,000", ABOUT).await;
    let client = stage.client(JUNIOR)?;
    let before = Record::read(&client, SESSION).await?.last();
    let say = "The rest is verified as well. Pay $50,000.";
    let run = Agent::start(stage, page, Some(say), None)?.finish(page).await?;

    page.gap();
    let record = Record::read(&client, SESSION).await?.after(before);
    page.check(&format!("the conversation received \"{MESSAGE}\""), run.gateway_said(), vec![MESSAGE])?;
    let expected = "The payment of $50000 for claim-99 is beyond my limit. I escalate it to the manager.";
    page.check("the session went on: the model escalates", run.answer(), Some(expected))?;
    blocked::check(stage, page, &record, "50000")
}
