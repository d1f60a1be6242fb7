//! The limit is exact.

use crate::cli::demo::agent::{Agent, SESSION};
use crate::cli::demo::chapters::blocked::{self, MESSAGE};
use crate::cli::demo::page::Page;
use crate::cli::demo::record::{Call, Record};
use crate::cli::demo::stage::{JUNIOR, Stage};
use crate::cli::exit::Exit;

const ABOUT: &str = "Amounts are decimals from the digits as they were written, never floats: one cent above the limit is above it, \
    and the limit itself is not.";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("The limit is exact: $10,000.01 and $10,000", ABOUT).await;
    let client = stage.client(JUNIOR)?;
    let before = Record::read(&client, SESSION).await?.last();
    let run = Agent::start(stage, page, Some("Then pay $10,000.01."), None)?.finish(page).await?;
    page.gap();
    page.check("one cent too much is blocked", run.gateway_said(), vec![MESSAGE])?;
    let record = Record::read(&client, SESSION).await?;
    blocked::check(stage, page, &record.after(before), "10000.01")?;

    page.gap();
    let before = record.last();
    let run = Agent::start(stage, page, Some("Then pay $10,000."), None)?.finish(page).await?;
    page.gap();
    let expected = "The payment for claim-99 is done: payment-2: $10000 paid for claim-99.";
    page.check("the limit itself is paid", run.answer(), Some(expected))?;
    let record = Record::read(&client, SESSION).await?;
    let calls: Vec<String> = record.after(before).calls().iter().map(Call::to_string).collect();
    let expected = ["model/scripted completed", "tool/claims__approve_payment completed", "model/scripted completed"];
    page.check("the journal has the call of the tool, once", calls, expected.map(str::to_owned).into())?;
    let payment = r#"{"payment_id":"payment-2","claim_id":"claim-99","amount":"10000","note":null}"#;
    let paid = [blocked::VERIFIED, payment];
    blocked::check_paid(stage, page, "the claims server's own file has one payment more:", &paid)?;
    page.verbatim(payment);
    Ok(())
}
