//! The claims agent as a service: one of the replicas of an agent behind the gateway.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /healthz` | says that it is there |
//! | `POST /hydrate` | takes note of what the gateway tells it of the session |
//! | `POST /run` `{"say": "…", "wait_for": "…"}` | works until it rests; with `wait_for` it then declares a wait of two days; answers with its own address as `replica`, the last words and the wait's `event_url` |
//! | `POST /resume` | works on what the wait came to |
//!
//! It keeps nothing either: the session is named by the gateway in `Portcullis-Session`, and all that it needs is there.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::narrator::{Event, Narrator};
use super::options::{AgentOptions, Form};
use super::run::run;
use crate::http::{Answer, Client, Failure};

/// The name of the wait that it declares.
const WAIT: &str = "verification";
/// How long it waits, in seconds.
const WAIT_SECONDS: u64 = 2 * 24 * 60 * 60;

/// How a replica works.
pub struct ReplicaOptions {
    /// Its name in the gateway's registry.
    pub agent: String,
    /// The gateway, such as `http://127.0.0.1:4040`.
    pub base_url: String,
    /// The file with the agent's key, which is read for each piece of work.
    pub key_file: PathBuf,
    /// How steps are told.
    pub form: Form,
    /// Where they are told.
    pub out: fn() -> Box<dyn Write + Send>,
}

/// Serves for as long as it is awaited.
///
/// # Errors
///
/// What the listener says.
pub async fn serve(listener: TcpListener, options: ReplicaOptions) -> Result<(), String> {
    let url = listener.local_addr().map(|address| format!("http://{address}"));
    let url = url.map_err(|error| format!("serve the agent: {error}"))?;
    let app = Router::new()
        .route("/healthz", get(async || StatusCode::NO_CONTENT))
        .route("/hydrate", post(hydrate))
        .route("/run", post(work))
        .route("/resume", post(resume))
        .with_state(Arc::new(Replica { options, url }));
    axum::serve(listener, app).await.map_err(|error| format!("serve the agent: {error}"))
}

async fn hydrate(State(replica): State<Arc<Replica>>, Json(told): Json<Value>) -> StatusCode {
    let count = |member: &str| told.get(member).and_then(Value::as_array).map_or(0, Vec::len);
    let (messages, values) = (count("messages"), count("state"));
    replica.tell(&Event::Hydrated { messages, values, fence: told.get("fence").and_then(Value::as_u64).unwrap_or(0) });
    StatusCode::NO_CONTENT
}

async fn work(State(replica): State<Arc<Replica>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |member: &str| asked.get(member).and_then(Value::as_str).map(str::to_owned);
    let Some(say) = text("say") else { return failed(StatusCode::BAD_REQUEST, "there is nothing in `say`") };
    let done = async {
        let answer = replica.work(&headers, &say, false).await?;
        let event_url = match text("wait_for") {
            Some(what) => Some(replica.declare(&headers, &what).await?),
            None => None,
        };
        Ok(json!({"replica": replica.url, "answer": answer, "event_url": event_url}))
    };
    answered(done.await)
}

async fn resume(State(replica): State<Arc<Replica>>, headers: HeaderMap, body: Bytes) -> Response {
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |path: &str| told.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let say = match text("/type") {
        "event" => format!("{} (event {})", text("/event/data/text"), text("/event/id")),
        _ => "The verification did not come in time.".to_owned(),
    };
    answered(replica.work(&headers, &say, true).await.map(|answer| json!({"answer": answer})))
}

struct Replica {
    options: ReplicaOptions,
    /// Where it is, which it says in its answers.
    url: String,
}

impl Replica {
    /// Works until the model has an answer.
    async fn work(&self, headers: &HeaderMap, say: &str, is_event: bool) -> Result<Option<String>, String> {
        let (key, session) = (self.key()?, session(headers)?);
        let options = AgentOptions {
            instruction: Some(say.to_owned()),
            is_event,
            form: self.options.form,
            ..AgentOptions::new(&self.options.base_url, &key, &session)
        };
        let mut out = (self.options.out)();
        let report = run(&options, &mut *out).await?;
        report.refusal.map_or(Ok(report.answer), |refusal| Err(format!("the gateway refuses: {refusal}")))
    }

    /// Declares the wait; where its event is to be posted.
    async fn declare(&self, headers: &HeaderMap, what: &str) -> Result<String, String> {
        let wait = json!({
            "name": WAIT, "for": what, "timeout_s": WAIT_SECONDS, "deliver": {"agent": self.options.agent, "path": "/resume"},
        });
        let client = Client::new(&self.options.base_url).with_key(&self.key()?);
        let declared = client.post(&format!("/api/v1/sessions/{}/waits", session(headers)?), &wait).await;
        let declared = declared.and_then(Answer::accepted).map_err(|failure: Failure| failure.to_string())?.json();
        self.tell(&Event::Awaits { what });
        let url = declared.get("event_url").and_then(Value::as_str);
        url.map(str::to_owned).ok_or_else(|| "the wait has no URL".to_owned())
    }

    fn key(&self) -> Result<String, String> {
        let key = std::fs::read_to_string(&self.options.key_file);
        key.map(|key| key.trim().to_owned()).map_err(|error| format!("the key file can't be read: {error}"))
    }

    fn tell(&self, event: &Event<'_>) {
        Narrator { form: self.options.form, out: &mut *(self.options.out)() }.tell(event);
    }
}

fn session(headers: &HeaderMap) -> Result<String, String> {
    let session = headers.get("portcullis-session").and_then(|name| name.to_str().ok());
    session.map(str::to_owned).ok_or_else(|| "the gateway names no session".to_owned())
}

fn answered(done: Result<Value, String>) -> Response {
    match done {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response(),
        Err(reason) => failed(StatusCode::BAD_GATEWAY, &reason),
    }
}

fn failed(status: StatusCode, reason: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!({"error": reason}).to_string()).into_response()
}
