//! The model's HTTP side: keys, the record of requests, answers in one piece and streams.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::answer::{Chunks, chunks, whole};
use super::reply::{Ending, Reply};
use super::request::ChatRequest;
use super::script::reply;
use super::turn;
use crate::bearer;
use crate::record::{self, Arrived, Record};

/// How large a request may be.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// How long an answer that never comes is waited for.
const HANG_LIMIT: Duration = Duration::from_secs(600);

/// How the model is served.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// The key that must come as `Authorization: Bearer`; none when anybody may ask.
    pub key: Option<String>,
    /// The names of the models there are.
    pub models: Vec<String>,
    /// Where each request is appended as a line of JSON, besides being shown at `GET /__requests`.
    pub record: Option<PathBuf>,
}

impl Default for ModelOptions {
    /// One model, `scripted`, for anybody.
    fn default() -> Self {
        Self { key: None, models: vec!["scripted".to_owned()], record: None }
    }
}

/// Serves `GET /v1/models` and `POST /v1/chat/completions` for as long as it is awaited.
///
/// `GET /__requests` shows what has arrived as `{"requests":[{number, method, path, headers, body, outcome}],"forgotten":n}`;
/// `DELETE /__requests` forgets it. An outcome is `pending`, `answered`, or `dropped` when the client went away first.
///
/// # Errors
///
/// What the listener says.
pub async fn serve(listener: TcpListener, options: ModelOptions) -> Result<(), String> {
    let server = Arc::new(Server { record: Record::new(options.record.clone()), options });
    let shown = async |State(server): State<Arc<Server>>| json_answer(StatusCode::OK, server.record.shown());
    let forget = async |State(server): State<Arc<Server>>| server.record.forget();
    let app = Router::new().route(record::PATH, get(shown).delete(forget)).fallback(receive).with_state(server);
    let listener = listener.tap_io(|stream| {
        // Without it the chunks of a stream wait for more to come; where it cannot be set they are only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await.map_err(|error| format!("serve the model: {error}"))
}

struct Server {
    options: ModelOptions,
    record: Arc<Record>,
}

async fn receive(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let is_known = bearer::is_right(server.options.key.as_deref(), &mut head.headers);
    let arrived = match server.record.arrived(&head, &body) {
        Ok(arrived) => arrived,
        Err(reason) => return error(StatusCode::INTERNAL_SERVER_ERROR, &reason),
    };
    let answer = match (head.method.as_str(), head.uri.path()) {
        _ if !is_known => error(StatusCode::UNAUTHORIZED, "incorrect API key provided"),
        ("GET", "/v1/models") => server.models(),
        ("POST", "/v1/chat/completions") => return server.complete(&body, arrived).await,
        _ => error(StatusCode::NOT_FOUND, "there is nothing here"),
    };
    arrived.answered();
    answer
}

impl Server {
    fn models(&self) -> Response {
        let model = |name: &String| json!({"id": name, "object": "model", "created": 0, "owned_by": "testkit"});
        let models: Vec<Value> = self.options.models.iter().map(model).collect();
        json_answer(StatusCode::OK, json!({"object": "list", "data": models}).to_string())
    }

    async fn complete(&self, body: &[u8], arrived: Arrived) -> Response {
        let body = std::str::from_utf8(body).map_err(|error| error.to_string());
        let request = match body.and_then(ChatRequest::read) {
            Ok(request) => request,
            Err(reason) => {
                arrived.answered();
                return error(StatusCode::BAD_REQUEST, &reason);
            }
        };
        if !self.options.models.contains(&request.model) {
            arrived.answered();
            return error(StatusCode::NOT_FOUND, &format!("the model `{}` does not exist", request.model));
        }
        let reply = reply(&turn::Request { messages: &request.messages, tools: &request.tools });
        if let Ending::Error(status, text) = &reply.ending {
            arrived.answered();
            return error(*status, text);
        }
        if request.is_streamed && (reply.ending != Ending::Hang || !reply.text.is_empty()) {
            return stream(&request, reply, arrived);
        }
        in_one_piece(&request, &reply, arrived).await
    }
}

async fn in_one_piece(request: &ChatRequest, reply: &Reply, arrived: Arrived) -> Response {
    tokio::time::sleep(if reply.ending == Ending::Hang { HANG_LIMIT } else { reply.pause }).await;
    let mut body = whole(request, reply);
    if reply.ending != Ending::Cut {
        arrived.answered();
        return json_answer(StatusCode::OK, body);
    }
    let middle = (body.len() / 2..body.len()).find(|&at| body.is_char_boundary(at)).unwrap_or_default();
    body.truncate(middle);
    let (sender, parts) = mpsc::channel(2);
    let _ = sender.send(Ok(body.into())).await;
    let _ = sender.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
    answer(StatusCode::OK, "application/json", Body::new(Parts(parts)))
}

fn stream(request: &ChatRequest, reply: Reply, arrived: Arrived) -> Response {
    let Chunks { mut text, mut rest } = chunks(request, &reply);
    match reply.ending {
        Ending::Hang => rest.clear(),
        Ending::Cut => {
            text.append(&mut rest);
            text.truncate(text.len().div_ceil(2));
        }
        Ending::Complete | Ending::Error(..) => rest.push("[DONE]".to_owned()),
    }
    let (sender, parts) = mpsc::channel(1);
    let send = async move {
        for chunk in text.into_iter().chain(rest) {
            tokio::time::sleep(reply.pause).await;
            if sender.send(Ok(format!("data: {chunk}\n\n").into())).await.is_err() {
                return;
            }
        }
        match reply.ending {
            Ending::Complete | Ending::Error(..) => arrived.answered(),
            Ending::Cut => {
                let _ = sender.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
            }
            Ending::Hang => {
                let _ = tokio::time::timeout(HANG_LIMIT, sender.closed()).await;
            }
        }
    };
    tokio::spawn(send);
    answer(StatusCode::OK, "text/event-stream", Body::new(Parts(parts)))
}

/// A body whose parts come when they are sent; a part that is an error breaks the connection.
struct Parts(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

/// The error object of the OpenAI API.
fn error(status: StatusCode, message: &str) -> Response {
    let (kind, code) = match status {
        StatusCode::UNAUTHORIZED => ("invalid_request_error", json!("invalid_api_key")),
        StatusCode::NOT_FOUND => ("invalid_request_error", json!("model_not_found")),
        StatusCode::TOO_MANY_REQUESTS => ("requests", json!("rate_limit_exceeded")),
        _ if status.is_client_error() => ("invalid_request_error", Value::Null),
        _ => ("server_error", Value::Null),
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    json_answer(status, body.to_string())
}

fn json_answer(status: StatusCode, body: String) -> Response {
    answer(status, "application/json", Body::from(body))
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Answer, Client, Failure};
    use crate::process::{listen, wait_until};

    const LIMIT: Duration = Duration::from_secs(20);

    async fn model(options: ModelOptions) -> Client {
        let (listener, url) = listen().await.unwrap();
        tokio::spawn(serve(listener, options));
        Client::new(&url)
    }

    fn asking(text: &str, is_streamed: bool) -> String {
        json!({"model": "scripted", "messages": [{"role": "user", "content": text}], "stream": is_streamed, "top_k": 7})
            .to_string()
    }

    async fn ask(client: &Client, text: &str) -> Result<Answer, Failure> {
        client.send("POST", "/v1/chat/completions", &[], Some(asking(text, false))).await
    }

    /// The last request's outcome.
    async fn outcome(client: &Client) -> String {
        let record = client.get(record::PATH).await.unwrap().json();
        let last = record["requests"].as_array().unwrap().last().unwrap();
        last["outcome"].as_str().unwrap().to_owned()
    }

    async fn wait_for_outcome(client: &Client, expected: &str) {
        wait_until(expected, LIMIT, || async { outcome(client).await == expected }).await.unwrap();
    }

    #[tokio::test]
    async fn models_are_listed_and_requests_are_shown_as_they_came() {
        let client = model(ModelOptions::default()).await;
        let models = client.get("/v1/models").await.unwrap().json();
        assert_eq!(models["data"][0]["id"], json!("scripted"));
        let answer = ask(&client, "SAY hello").await.unwrap();
        assert_eq!(answer.json()["choices"][0]["message"]["content"], json!("hello"));
        assert_eq!(answer.json()["system_fingerprint"], json!("scripted {\"top_k\":7}"));
        let record = client.get(record::PATH).await.unwrap();
        assert!(record.text().contains(&asking("SAY hello", false)));
        assert_eq!(record.json()["requests"][1]["path"], json!("/v1/chat/completions"));
        assert_eq!(outcome(&client).await, "answered");
        client.delete(record::PATH).await.unwrap();
        assert_eq!(client.get(record::PATH).await.unwrap().json()["requests"], json!([]));
    }

    #[tokio::test]
    async fn a_key_is_required_where_one_is_set_and_the_right_one_is_not_recorded() {
        let client = model(ModelOptions { key: Some("sk-right".into()), ..ModelOptions::default() }).await;
        for (client, status) in [
            (client.clone(), 401),
            (client.clone().with_key("sk-wrong"), 401),
            (client.clone().with_key("sk-right"), 200),
        ] {
            assert_eq!(ask(&client, "SAY x").await.unwrap().status, status);
        }
        let record = client.get(record::PATH).await.unwrap().text();
        assert!(record.contains("sk-wrong") && !record.contains("sk-right"), "{record}");
    }

    #[tokio::test]
    async fn what_is_wrong_is_an_error_object() {
        let client = model(ModelOptions::default()).await;
        let check = async |body: String, status: u16, message: &str| {
            let answer = client.send("POST", "/v1/chat/completions", &[], Some(body)).await.unwrap();
            let error = answer.accepted().unwrap_err();
            assert_eq!(error, Failure::Refused { status, message: message.to_owned() });
        };
        check(asking("ERROR 429 slow down", false), 429, "slow down").await;
        check(asking("ERROR 500", true), 500, "").await;
        check(r#"{"model":"scripted"}"#.into(), 400, "`model` and `messages` are required").await;
        check(asking("SAY x", false).replace("scripted", "gpt"), 404, "the model `gpt` does not exist").await;
        assert_eq!(client.get("/v2").await.unwrap().status, 404);
    }

    #[tokio::test]
    async fn a_stream_comes_in_many_events_and_ends_with_done() {
        let client = model(ModelOptions::default()).await;
        let body = asking("SAY one two\nCALL f {\"a\":1234567890}", true);
        let mut stream = client.stream("POST", "/v1/chat/completions", &[], Some(body)).await.unwrap();
        assert!(stream.is_events());
        let mut events = Vec::new();
        while let Some(event) = stream.next_event().await.unwrap() {
            events.push(event.data);
        }
        // Role, two words, name, four fragments, reason, end.
        assert_eq!(events.len(), 10);
        assert_eq!(events[9], "[DONE]");
        assert_eq!(outcome(&client).await, "answered");
    }

    #[tokio::test]
    async fn a_cut_answer_is_a_lost_connection_in_both_forms() {
        let client = model(ModelOptions::default()).await;
        assert!(matches!(ask(&client, "SAY a\nCUT").await, Err(Failure::Lost(_))));
        assert_eq!(outcome(&client).await, "dropped");
        let body = Some(asking("TOKENS 4\nCUT", true));
        let mut stream = client.stream("POST", "/v1/chat/completions", &[], body).await.unwrap();
        let mut count = 0;
        let end = loop {
            match stream.next_event().await {
                Ok(Some(_)) => count += 1,
                end => break end,
            }
        };
        assert!(matches!(end, Err(Failure::Lost(_))), "{end:?}");
        assert_eq!(count, 3);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_is_noticed() {
        let client = model(ModelOptions::default()).await;
        ask(&client, "SAY x").await.unwrap();
        for (text, is_streamed) in [("HANG", false), ("HANG", true), ("SAY a\nHANG", true), ("SLOW 10000 1", true)] {
            // A pool of its own, so that dropping the request closes its connection.
            let body = Some(asking(text, is_streamed));
            let other = Client::new(client.base_url());
            let request = async move {
                let mut stream = other.stream("POST", "/v1/chat/completions", &[], body).await.unwrap();
                while stream.next_event().await.unwrap().is_some() {}
            };
            let request = tokio::spawn(request);
            wait_for_outcome(&client, "pending").await;
            request.abort();
            wait_for_outcome(&client, "dropped").await;
            client.delete(record::PATH).await.unwrap();
            ask(&client, "SAY x").await.unwrap();
        }
    }
}
