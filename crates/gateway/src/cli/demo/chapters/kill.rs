//! The gateway and an agent, killed and started again.

use crate::cli::demo::agent::Agent;
use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::stage::Stage;
use crate::cli::exit::Exit;

/// Kills both where they are: no signal that they could catch, no last words.
pub(super) async fn kill(stage: &mut Stage, page: &Page, agent: Agent) -> Result<(), Exit> {
    let gateway = stage.kill_gateway()?;
    let agent = agent.kill().await?;
    page.said("kill -9", Tone::Red, &format!("gateway {gateway} and agent {agent}"));
    Ok(())
}

/// Starts the gateway again on what is on the disk.
pub(super) async fn restart(stage: &mut Stage, page: &Page) -> Result<(), Exit> {
    let (gateway, ms) = stage.start_gateway().await?;
    page.said("gateway", Tone::Plain, &format!("started again as process {gateway}, ready after {ms} ms"));
    Ok(())
}
