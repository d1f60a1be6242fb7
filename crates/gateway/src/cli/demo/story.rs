//! The chapters in their order.

use crate::cli::demo::chapters::{
    between, cost, exact, journal, keep, midway, others, payment, setting, wait, wording,
};
use crate::cli::demo::page::Page;
use crate::cli::demo::stage::Stage;
use crate::cli::exit::Exit;
use crate::clock::{Clock as _, SystemClock};

/// Plays all of it.
pub(super) async fn play(stage: &mut Stage, page: &mut Page, is_kept: bool) -> Result<(), Exit> {
    let begun = SystemClock.now().0;
    page.title("Portcullis demo: the claims adjuster");
    setting::tell(stage, page).await?;
    between::tell(stage, page).await?;
    midway::tell(stage, page).await?;
    wait::tell(stage, page).await?;
    payment::tell(stage, page).await?;
    wording::tell(stage, page).await?;
    exact::tell(stage, page).await?;
    cost::tell(stage, page).await?;
    others::tell(stage, page).await?;
    journal::tell(stage, page).await?;
    if is_kept {
        stage.start_gateway().await?;
    }
    let seconds = SystemClock.now().0.saturating_sub(begun) / 1_000_000;
    page.title(&format!("All {} facts hold, after {seconds} s.", page.facts()));
    keep::tell(stage, page, is_kept);
    Ok(())
}
