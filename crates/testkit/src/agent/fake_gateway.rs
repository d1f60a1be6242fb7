//! Just enough of a gateway to test the agent against: a session's history and state, a rule about payments, the tools, and
//! faults on order.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::http::Client;
use crate::{claims, model, process};

const REFUSAL: &str = "Limit Exceeded. Escalate to Manager.";
const ROUNDS: usize = 3;

/// When the answer to a request is lost, or what else happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was done.
    Before,
    /// All was done.
    After,
    /// It is not lost, but somebody else has noted a step before.
    Taken,
}

pub(super) struct FakeGateway {
    model: Client,
    pub(super) payments: PathBuf,
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    history: Vec<Value>,
    state: Option<(u64, String)>,
    answered: Vec<(String, String)>,
    requests: usize,
    faults: Vec<(usize, Fault)>,
}

impl FakeGateway {
    /// With a model behind it; `payments` is the claims server's file.
    pub(super) async fn start(payments: PathBuf) -> (Arc<Self>, String) {
        let (listener, url) = process::listen().await.unwrap();
        tokio::spawn(model::serve(listener, model::ModelOptions::default()));
        let gateway = Arc::new(Self { model: Client::new(&url), payments, world: Mutex::default() });
        let (listener, url) = process::listen().await.unwrap();
        let app = Router::new().fallback(receive).with_state(Arc::clone(&gateway));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (gateway, url)
    }

    /// The answer to the request with this number, counted from 1 over all, is lost.
    pub(super) fn fail(&self, number: usize, fault: Fault) {
        self.world.lock().unwrap().faults.push((number, fault));
    }

    pub(super) fn requests(&self) -> usize {
        self.world.lock().unwrap().requests
    }

    /// The roles of the history, with the names of tool calls.
    pub(super) fn history(&self) -> String {
        let world = self.world.lock().unwrap();
        let shown = world.history.iter().map(|message| match message.get("tool_calls") {
            Some(calls) => calls[0]["function"]["name"].as_str().unwrap().to_owned(),
            None => message["role"].as_str().unwrap().to_owned(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Of the last message; empty where there is none.
    pub(super) fn last_text(&self) -> String {
        let world = self.world.lock().unwrap();
        world.history.last().and_then(|last| last["content"].as_str()).unwrap_or_default().to_owned()
    }

    async fn answer(&self, head: &Parts, body: &str) -> Response {
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        if header("authorization").as_deref() != Some("Bearer key") {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        match (head.method.as_str(), head.uri.path()) {
            ("GET", "/api/v1/sessions/claim-99/history") => self.history_answer(),
            ("GET", "/api/v1/sessions/claim-99/state/step") => self.state_answer(StatusCode::OK),
            ("PUT", "/api/v1/sessions/claim-99/state/step") => self.put_state(header("if-match"), body),
            ("POST", "/s/claim-99/v1/chat/completions") => self.chat(body).await,
            ("POST", "/mcp/claims") => {
                assert_eq!(header("portcullis-session").as_deref(), Some("claim-99"));
                self.tool(body, header("idempotency-key")).await
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn history_answer(&self) -> Response {
        let world = self.world.lock().unwrap();
        if world.history.is_empty() {
            return StatusCode::NOT_FOUND.into_response();
        }
        json!({"messages": world.history}).to_string().into_response()
    }

    fn state_answer(&self, status: StatusCode) -> Response {
        match &self.world.lock().unwrap().state {
            Some((version, text)) => (status, [("etag", format!("\"{version}\""))], text.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn put_state(&self, expected: Option<String>, body: &str) -> Response {
        {
            let mut world = self.world.lock().unwrap();
            let version = world.state.as_ref().map(|(version, _)| *version);
            if version.map(|version| format!("\"{version}\"")) != expected {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            world.state = Some((version.unwrap_or_default() + 1, body.to_owned()));
        }
        self.state_answer(StatusCode::OK)
    }

    async fn chat(&self, body: &str) -> Response {
        let mut request: Value = serde_json::from_str(body).unwrap();
        let messages = request["messages"].as_array().unwrap().clone();
        {
            let mut world = self.world.lock().unwrap();
            let known = world.history.len();
            assert_eq!(world.history, messages[..known], "a client repeats the whole history");
            world.history = messages;
        }
        request["stream"] = json!(false);
        for _ in 0..ROUNDS {
            request["messages"] = json!(self.world.lock().unwrap().history);
            let answer = self.model.post("/v1/chat/completions", &request).await.unwrap();
            if answer.status != 200 {
                return (StatusCode::from_u16(answer.status).unwrap(), answer.text()).into_response();
            }
            let message = answer.json()["choices"][0]["message"].clone();
            let is_denied = message["tool_calls"].as_array().into_iter().flatten().any(|call| {
                let arguments = call["function"]["arguments"].as_str().unwrap();
                let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
                arguments["amount"].as_f64().is_some_and(|amount| amount > 10_000.0)
            });
            if !is_denied {
                return self.released(message);
            }
            self.world.lock().unwrap().history.push(json!({"role": "system", "content": REFUSAL}));
        }
        self.released(json!({"role": "assistant", "content": "I give up."}))
    }

    fn released(&self, message: Value) -> Response {
        let mut delta = message.clone();
        for (index, call) in delta["tool_calls"].as_array_mut().into_iter().flatten().enumerate() {
            call["index"] = json!(index);
        }
        self.world.lock().unwrap().history.push(message);
        let chunk = json!({"choices": [{"index": 0, "delta": delta}]});
        ([("content-type", "text/event-stream")], format!("data: {chunk}\n\ndata: [DONE]\n\n")).into_response()
    }

    /// What was answered under a key is answered again, to the id of the new request.
    async fn tool(&self, body: &str, key: Option<String>) -> Response {
        let known = |key: &String| {
            let world = self.world.lock().unwrap();
            world.answered.iter().find(|(known, _)| known == key).map(|(_, answer)| answer.clone())
        };
        let answer = match key.as_ref().and_then(known) {
            Some(answer) => answer,
            None => self.run_tool(body).await,
        };
        self.world.lock().unwrap().answered.extend(key.map(|key| (key, answer.clone())));
        let Ok(mut answer) = serde_json::from_str::<Value>(&answer) else {
            return StatusCode::ACCEPTED.into_response();
        };
        answer["id"] = serde_json::from_str::<Value>(body).unwrap()["id"].clone();
        ([("content-type", "application/json")], answer.to_string()).into_response()
    }

    async fn run_tool(&self, body: &str) -> String {
        let begin = r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#;
        let mut output = Vec::new();
        claims::serve(format!("{begin}\n{body}\n").as_bytes(), &mut output, &self.payments).await.unwrap();
        String::from_utf8(output).unwrap().lines().nth(1).unwrap_or_default().to_owned()
    }
}

async fn receive(State(gateway): State<Arc<FakeGateway>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let fault = {
        let mut world = gateway.world.lock().unwrap();
        world.requests += 1;
        world.faults.iter().find(|(number, _)| *number == world.requests).map(|(_, fault)| *fault)
    };
    match fault {
        Some(Fault::Before) => return broken(),
        Some(Fault::Taken) => {
            gateway.world.lock().unwrap().state = Some((99, r#"{"number":9,"did":"this"}"#.to_owned()))
        }
        Some(Fault::After) | None => {}
    }
    let answer = gateway.answer(&head, str::from_utf8(&body).unwrap()).await;
    if fault == Some(Fault::After) { broken() } else { answer }
}

/// An answer whose connection breaks before its body.
fn broken() -> Response {
    struct Broken;
    impl hyper::body::Body for Broken {
        type Data = bytes::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
        }
    }
    Body::new(Broken).into_response()
}
