//! An agent that counts the turns of sessions. Each turn has one effect, by a tool behind the gateway, and ends with the count in the session's scratchpad.
//!
//! Its memory is its own and dies with it. It refuses nothing: whatever goes wrong on the way to the gateway it tries again, with the same keys, for as long as it lives.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_testkit::http::Client;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::person::Person;

/// The version of MCP that it speaks: one request for a call, whichever gateway it comes to.
const VERSION: &str = "2026-07-28";
/// Before something is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What all replicas have in common, also after their deaths.
pub(super) struct Agent {
    pub(super) gateway: Client,
    pub(super) person: Arc<Person>,
    pub(super) notes: Arc<Notes>,
}

/// What happened, for the judge.
#[derive(Default)]
pub(super) struct Notes {
    /// Turns in the order in which they began. Locked to add and to read, never across a wait.
    pub(super) turns: Mutex<Vec<Begun>>,
    /// How waits ended, by the delivery, and when that was told.
    pub(super) told: Mutex<Vec<(String, tokio::time::Instant)>>,
}

/// A turn that began on a replica.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) session: String,
    pub(super) turn: u64,
    pub(super) fence: u64,
    pub(super) replica: String,
    /// How many turns the replica believed to be done.
    pub(super) done: u64,
}

/// One replica, which lives on a runtime of its own and is killed with it.
pub(super) struct Replica {
    port: u16,
    runtime: Option<Runtime>,
}

/// What a replica remembers of a session: how many turns are done.
type Memory = Mutex<HashMap<String, u64>>;

pub(super) fn held<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replica {
    pub(super) async fn new() -> Self {
        Self { port: crate::gateway::free_port(), runtime: None }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lives, without any memory of before.
    pub(super) async fn live(&mut self, agent: &Arc<Agent>) {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (agent, url, port) = (agent.clone(), self.url(), self.port);
        let listener = runtime.spawn(async move { crate::gateway::listen_at(port).await });
        let listener = listener.await.unwrap();
        let memory = Arc::<Memory>::default();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (agent, url, memory) = (agent.clone(), url.clone(), memory.clone());
                let service = service_fn(move |request| {
                    let (agent, url, memory) = (agent.clone(), url.clone(), memory.clone());
                    async move { Ok::<_, Infallible>(agent.answer(&url, &memory, request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        self.runtime = Some(runtime);
    }

    /// Everything that it was doing ends where it is, and its connections with it.
    pub(super) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            crate::gateway::end(runtime);
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl Agent {
    async fn answer(&self, url: &str, memory: &Memory, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Response::default() };
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let session = header(&head.headers, "portcullis-session").to_owned();
        let answer = match head.uri.path() {
            "/turn" => {
                let fence = header(&head.headers, "portcullis-fence").parse().unwrap();
                self.turn(url, memory, session, fence, body["turn"].as_u64().unwrap()).await
            }
            "/hydrate" => {
                let state = body["state"].as_array().into_iter().flatten().find(|value| value["key"] == "turns");
                held(memory).insert(session, state.and_then(|value| value["value"].as_u64()).unwrap_or(0));
                json!({})
            }
            "/resume" => {
                let delivery = header(&head.headers, "portcullis-delivery").to_owned();
                held(&self.notes.told).push((delivery, now()));
                json!({})
            }
            _ => json!({}),
        };
        Response::new(Full::new(answer.to_string().into()))
    }

    async fn turn(&self, url: &str, memory: &Memory, session: String, fence: u64, turn: u64) -> Value {
        let known = held(memory).get(&session).copied();
        // It has died and lives again before anybody has noticed: it knows nothing of the session, and asks.
        let done = match known {
            Some(done) => done,
            None => self.count(&session).await.map_or(0, |(count, _)| count),
        };
        let begun = Begun { session: session.clone(), turn, fence, replica: url.to_owned(), done };
        held(&self.notes.turns).push(begun);
        if done < turn {
            self.effect(&session, turn).await;
            self.put(&session, turn).await;
        }
        held(memory).insert(session, turn.max(done));
        json!({"turn": turn, "fence": fence})
    }

    /// Has the effect, once, however often it has to be asked for.
    async fn effect(&self, session: &str, turn: u64) {
        let (id, expected) = (format!("{session}/{turn}"), format!("recorded {session}/{turn}"));
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "counter", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": "tools__record", "arguments": {"id": id, "value": turn}, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let headers = [
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", VERSION),
            ("mcp-method", "tools/call"),
            ("mcp-name", "tools__record"),
            ("portcullis-session", session),
            ("idempotency-key", id.as_str()),
        ];
        loop {
            if let Ok(answer) = self.gateway.send("POST", "/mcp", &headers, Some(body.clone())).await {
                let text = answer.text();
                if text.contains(&expected) {
                    return;
                }
                if text.contains("outcome_unknown") {
                    self.person.find_out(session, turn).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The count in the scratchpad and its version. It is asked for until there is an answer.
    async fn count(&self, session: &str) -> Option<(u64, String)> {
        loop {
            match self.gateway.get(&format!("/api/v1/sessions/{session}/state/turns")).await {
                Ok(answer) if answer.status == 200 => {
                    let tag = answer.header("etag").unwrap().to_owned();
                    return Some((answer.json().as_u64().unwrap(), tag));
                }
                Ok(answer) if answer.status == 404 => return None,
                Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Writes the count over the one before it. A replica that was taken over from finds another one there, and leaves it.
    async fn put(&self, session: &str, turn: u64) {
        loop {
            let condition = match self.count(session).await {
                Some((count, _)) if count >= turn => return,
                Some((_, tag)) => ("if-match", tag),
                None => ("if-none-match", "*".to_owned()),
            };
            let headers = [(condition.0, condition.1.as_str()), ("content-type", "application/json")];
            let path = format!("/api/v1/sessions/{session}/state/turns");
            if !self
                .gateway
                .send("PUT", &path, &headers, Some(turn.to_string()))
                .await
                .is_ok_and(|put| put.status < 300)
            {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// When it is, for what is measured.
#[expect(clippy::disallowed_methods, reason = "how long something takes is what is measured")]
pub(super) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
