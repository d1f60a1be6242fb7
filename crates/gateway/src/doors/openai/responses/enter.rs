//! Which request it is.

use std::sync::Arc;

use http::Method;
use portcullis_domain::refusal::{Code, Refusal};

use crate::doors::answer::Answer;
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::openai::responses::{conversations, create, show};
use crate::doors::path::decoded;
use crate::doors::task::check_open;

/// Answers a request to `/v1/responses…` or `/v1/conversations…`.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    check_open(&doors.gate, &arrived.caller, doors.clock.now()).await?;
    let parts: Vec<_> = arrived.path.split('/').skip(2).map(decoded).collect::<Result<_, _>>()?;
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match (&arrived.method, parts.as_slice()) {
        (&Method::POST, ["responses"]) => create::create(doors, &arrived).await,
        (&Method::GET, ["responses", id]) => show::response(&doors.gate, &arrived, id).await,
        (&Method::DELETE, ["responses", id]) => show::delete(&doors.gate, &arrived, id).await,
        (&Method::POST, ["responses", id, "cancel"]) => show::cancel(&doors.gate, &arrived, id).await,
        (&Method::GET, ["responses", id, "input_items"]) => show::input_items(&doors.gate, &arrived, id).await,
        (&Method::POST, ["conversations"]) => conversations::create(doors, &arrived).await,
        (&Method::GET, ["conversations", id]) => conversations::show(&doors.gate, &arrived, id).await,
        (&Method::POST, ["conversations", id]) => conversations::update(&doors.gate, &arrived, id).await,
        (&Method::DELETE, ["conversations", id]) => conversations::delete(&doors.gate, &arrived, id).await,
        (&Method::POST, ["conversations", id, "items"]) => conversations::add(&doors.gate, &arrived, id).await,
        (&Method::GET, ["conversations", id, "items"]) => conversations::items(&doors.gate, &arrived, id).await,
        (&Method::GET, ["conversations", id, "items", item]) => {
            conversations::item(&doors.gate, &arrived, id, item).await
        }
        (&Method::DELETE, ["conversations", id, "items", item]) => {
            conversations::delete_item(&doors.gate, &arrived, id, item).await
        }
        (method, _) => Err(Refusal::new(Code::NotFound, format!("{method} {} is not served here", arrived.path))),
    }
}
