//! What others see, and what the agent never sees.

use portcullis_testkit::http::{Answer, Client};

use crate::cli::demo::agent::SESSION;
use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::stage::{JUNIOR, MANAGER, Stage};
use crate::cli::demo::trouble::unanswered;
use crate::cli::exit::Exit;

const ABOUT: &str = "A session belongs to its principal. Anybody else is told that there is none, in the same words as of one that there \
    really is not. The model's key belongs to the gateway, which puts it into the call on its way out.";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("What others see", ABOUT).await;
    let manager = stage.client(MANAGER)?;
    let mut statuses = Vec::new();
    for what in ["", "/history", "/entries", "/state"] {
        let path = format!("/api/v1/sessions/{JUNIOR}:{SESSION}{what}");
        let answer = manager.get(&path).await.map_err(unanswered)?;
        page.said("manager", Tone::Plain, &format!("GET {path} → {}", answer.status));
        statuses.push(answer.status);
    }
    page.gap();
    page.check("with another principal's key it is 404 everywhere", statuses, vec![404; 4])?;
    let (there, absent) = (told(&manager, SESSION).await?, told(&manager, "claim-98").await?);
    let absent = absent.replace("claim-98", SESSION);
    page.check("and the words are those for a session that does not exist", there, absent)?;
    let nobody = Client::new(&stage.gateway_url()).get(&format!("/api/v1/sessions/{JUNIOR}:{SESSION}")).await;
    page.check("without a key it is 401", nobody.map_err(unanswered)?.status, 401)?;

    let junior = stage.client(JUNIOR)?;
    let mut seen = String::new();
    for path in [
        "/v1/models",
        "/api/v1/sessions/claim-99",
        "/api/v1/sessions/claim-99/history",
        "/api/v1/sessions/claim-99/entries",
    ] {
        seen += &junior.get(path).await.and_then(Answer::accepted).map_err(unanswered)?.text();
    }
    let is_seen = seen.contains(stage.model_key());
    page.check("the model's key is in nothing that the agent can read", is_seen, false)
}

/// What somebody is told of a session of the agent.
async fn told(client: &Client, session: &str) -> Result<String, Exit> {
    let answer = client.get(&format!("/api/v1/sessions/{JUNIOR}:{session}")).await;
    answer.map(|answer| answer.text()).map_err(unanswered)
}
