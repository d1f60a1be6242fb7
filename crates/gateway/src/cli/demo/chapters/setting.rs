//! Who is there.

use portcullis_testkit::mcp;

use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::stage::{JUNIOR, MANAGER, Stage};
use crate::cli::demo::template;
use crate::cli::demo::trouble::unanswered;
use crate::cli::exit::Exit;

const ABOUT: &str = "A model, a claims server whose tool pays money, and an agent that drives both. They are processes of their \
    own, and so is the gateway between them: it knows who asks, in which session, what they may do and what it costs. Only the \
    model is a script, so that it says the same every time.";

const RULE: &str = "The agent acts as `junior`, a junior adjuster with an approval limit of $10,000. This rule is in \
    policies/claims.cedar:";

const WHY: &str =
    "It reads the amount in the call's own arguments. What the model was told, and by whom, is nowhere in it.";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("Who is there", ABOUT).await;
    let model = stage.start_model().await?;
    page.said("model", Tone::Plain, &format!("process {model} at {}", stage.model_url()));
    let (gateway, ms) = stage.start_gateway().await?;
    page.said("gateway", Tone::Plain, &format!("process {gateway} at {}, ready after {ms} ms", stage.gateway_url()));
    page.said("claims", Tone::Plain, "an MCP server on standard input and output, started by the gateway");
    for principal in [JUNIOR, MANAGER] {
        stage.issue_key(principal).await?;
    }
    page.said("keys", Tone::Plain, "issued for `junior` and `manager`; the gateway keeps only their digests");
    page.said("files", Tone::Plain, &stage.directory().display().to_string());
    page.text(RULE);
    page.verbatim(template::rule("approval-limit"));
    page.paragraph(WHY).await;
    let tools = mcp::Client::new(stage.client(JUNIOR)?, "/mcp/claims").list_tools().await.map_err(unanswered)?;
    let mut names: Vec<&str> = tools.iter().filter_map(|tool| tool.get("name")?.as_str()).collect();
    names.sort_unstable();
    let expected = vec!["approve_payment", "damage_report", "policy_lookup"];
    page.check("`junior` sees three tools: policy_lookup, damage_report and approve_payment", names, expected)
}
