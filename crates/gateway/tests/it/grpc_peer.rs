//! The two ends of gRPC: a client that calls the gateway, and an agent that the gateway calls. Messages are written and read by `portcullis_interop`, whose words are held to those of the
//! official libraries by its own tests; what is looked at here is what happens between.
//!
//! The agent wants to know of its sessions. It answers `direct …` by a message, `wait …` by a task that goes on, `hang …` by nothing, `fail …` by an error, everything else by a task that is done. It shows its card over
//! HTTP/1 at one port and is called at another, or is called where it shows it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_interop::a2a::egress::{AnswerReader, Inbound, ask};
use portcullis_interop::a2a::{
    A2aCall, Binding, Dialect, Failure, Interface, Kind, Method, Reply, Version, answer, ingress,
};
use portcullis_interop::frame::grpc::{Status, only, read_lines};
use portcullis_testkit::authority::Certificate;
use portcullis_testkit::process::{listen, wait_until};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::gateway::LIMIT;
use crate::raw_upstream::{RawUpstream, Received, whole};

pub(crate) const LIMIT_BYTES: usize = 1 << 20;
/// By which it is told of its sessions.
pub(crate) const EXTENSION: &str = "https://portcullis.dev/extensions/session/v1";
/// More than an answer of the agent has.
const FRAMES_LIMIT: usize = 8;

/// A client of one version.
#[derive(Clone)]
pub(crate) struct GrpcClient {
    http: Client<HttpConnector, Full<Bytes>>,
    pub(crate) url: String,
    key: String,
    pub(crate) version: Version,
    /// Sent with every call.
    pub(crate) metadata: Vec<(&'static str, String)>,
    pub(crate) tenant: Option<String>,
}

/// What a call has come to.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) headers: HeaderMap,
    /// As 1.0 writes them.
    pub(crate) replies: Vec<Value>,
    pub(crate) failure: Option<Failure>,
    pub(crate) status: Status,
}

impl GrpcClient {
    pub(crate) fn new(url: &str, key: &str, version: Version) -> Self {
        let http = Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
        Self { http, url: url.to_owned(), key: key.to_owned(), version, metadata: Vec::new(), tenant: None }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.metadata.push((name, value.to_owned()));
        self
    }

    fn dialect(&self) -> Dialect {
        Dialect::new(self.version, Binding::Grpc)
    }

    /// The request for these parameters of 1.0.
    pub(crate) fn request(&self, method: Method, params: &Value) -> Request<Full<Bytes>> {
        let interface = Interface { url: self.url.clone(), dialect: self.dialect(), tenant: self.tenant.clone() };
        let dialect = Dialect::new(Version::V1_0, Binding::JsonRpc);
        let params = params.to_string();
        let call = A2aCall { dialect, method, id: None, extensions: Vec::new(), params: params.as_str().into() };
        let asked = ask(&interface, &call, &params, 1).unwrap();
        let mut request = Request::post(asked.url).body(Full::new(asked.body.unwrap())).unwrap();
        *request.headers_mut() = asked.headers;
        let authorization = ("authorization", format!("Bearer {}", self.key));
        for (name, value) in self.metadata.iter().chain((!self.key.is_empty()).then_some(&authorization)) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    /// Sends it and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.http.request(request).await.unwrap()
    }

    /// The status of HTTP that it is answered with, if it is.
    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Option<u16> {
        self.http.request(request).await.ok().map(|answer| answer.status().as_u16())
    }

    /// Calls, and reads the answer to its end.
    pub(crate) async fn call(&self, method: Method, params: &Value) -> Called {
        let response = self.send(self.request(method, params)).await;
        self.read(method, response).await
    }

    pub(crate) async fn read(&self, method: Method, response: Response<Incoming>) -> Called {
        let (head, body) = response.into_parts();
        assert_eq!(head.status, 200, "{head:?}");
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().unwrap_or(&head.headers).clone();
        let bytes = collected.to_bytes();
        let mut reader = AnswerReader::new(self.dialect(), method, 200, Some("application/grpc"), LIMIT_BYTES);
        reader.feed(&bytes).unwrap();
        reader.feed_trailers(&trailers);
        reader.feed_end().unwrap();
        let status = Status::read(&trailers).unwrap();
        let mut called = Called { headers: head.headers, replies: Vec::new(), failure: None, status };
        while let Some(inbound) = reader.next_inbound() {
            match inbound {
                Inbound::Reply(reply) => called.replies.push(serde_json::from_str(reply.raw()).unwrap()),
                Inbound::Failure(failure) => called.failure = Some(failure),
            }
        }
        called
    }
}

impl Called {
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.failure.as_ref().and_then(Failure::kind)
    }
}

/// An agent of one version.
pub(crate) struct GrpcAgent {
    pub(crate) card: RawUpstream,
    pub(crate) port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

/// What an agent proves its name with, where it shows its card and where it is called.
#[derive(Default)]
pub(crate) struct Proofs {
    pub(crate) card: Option<Certificate>,
    pub(crate) calls: Option<Certificate>,
}

#[derive(Default)]
struct State {
    /// Locked to read and to change, never across a wait.
    calls: Mutex<Vec<(HeaderMap, Method, Value)>>,
    tasks: Mutex<BTreeMap<String, Value>>,
    /// How many answers were given up before their end.
    left: AtomicUsize,
}

impl GrpcAgent {
    pub(crate) async fn start(version: Version) -> Self {
        Self::start_with(version, Proofs::default()).await
    }

    /// One that proves its names.
    pub(crate) async fn start_with(version: Version, proofs: Proofs) -> Self {
        let (listener, url) = listen().await.unwrap();
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let (card_listener, card_url) = listen().await.unwrap();
        let card_url = if proofs.card.is_some() { card_url.replace("http:", "https:") } else { card_url };
        let show = move |_: &Received| vec![whole(200, "", &card(version, port).to_string())];
        let card_tls = proofs.card.as_ref().map(|proof| acceptor(proof, b"http/1.1"));
        let card = RawUpstream::start_with(card_listener, card_url, card_tls, show);
        let state = Arc::new(State::default());
        let tls = proofs.calls.as_ref().map(|proof| acceptor(proof, b"h2"));
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, state).await;
                            }
                        }
                        None if is_http2(&socket).await => serve(socket, state).await,
                        None => show_card(socket, self::card(version, port).to_string()).await,
                    }
                });
            }
        });
        Self { card, port, state, accepting: accepting.abort_handle() }
    }

    /// Where it is called, and shows its card too.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would, but for where it shows its card alone.
    pub(crate) fn kill(&self) {
        self.accepting.abort();
    }

    /// Everything that it was asked: the metadata, the method, and the parameters as 1.0 has them.
    pub(crate) fn calls(&self) -> Vec<(HeaderMap, Method, Value)> {
        self.state.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many of its answers were given up.
    pub(crate) async fn wait_for_leavers(&self, count: usize) {
        let have_left = || async { self.state.left.load(Ordering::SeqCst) >= count };
        wait_until(&format!("{count} answers were given up"), LIMIT, have_left).await.unwrap();
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(state.answer(request).await) }
    });
    drop(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await);
}

/// Whether a connection begins as those over HTTP/2 do.
async fn is_http2(socket: &TcpStream) -> bool {
    let mut first = [0; 3];
    socket.readable().await.is_ok() && socket.peek(&mut first).await.is_ok() && first == *b"PRI"
}

async fn show_card(socket: TcpStream, card: String) {
    let service = service_fn(move |_: Request<Incoming>| {
        let answer = Response::new(Full::new(Bytes::from(card.clone())));
        async move { Ok::<_, Infallible>(answer) }
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
}

pub(crate) fn acceptor(proof: &Certificate, protocol: &[u8]) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(proof.certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(proof.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn card(version: Version, port: u16) -> Value {
    let mut card = json!({
        "name": "adjuster", "description": "Adjusts claims.", "version": "7", "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "n", "description": "d", "tags": ["t"]}], "capabilities": {"streaming": true, "extensions": [{"uri": EXTENSION}]},
    });
    let url = format!("192.0.2.1:{port}");
    let more = match version {
        Version::V1_0 => {
            json!({"supportedInterfaces": [{"url": url, "protocolBinding": "GRPC", "protocolVersion": "1.0", "tenant": "ten"}]})
        }
        Version::V0_3 => json!({"url": url, "preferredTransport": "GRPC", "protocolVersion": "0.3.0"}),
    };
    card.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    card
}

impl State {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Pieces> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (sender, receiver) = mpsc::channel(FRAMES_LIMIT);
        let mut response = Response::new(Pieces { receiver, state: self.clone(), is_over: false });
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let call = match ingress::read_grpc(&head.headers, head.uri.path(), only(&body).unwrap()) {
            Ok(call) => call,
            Err(written) => {
                sender.try_send(Frame::trailers(read_lines(&written.body))).unwrap();
                return response;
            }
        };
        let params: Value = serde_json::from_str(&call.params).unwrap();
        let text = params["message"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned();
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push((head.headers, call.method, params.clone()));
        if text.starts_with("hang") {
            // Kept open, so that nothing ever comes.
            tokio::spawn(async move { sender.closed().await });
            return response;
        }
        let replies = self.replies(&call, &params, &text);
        let status = match replies {
            Ok(replies) => {
                for reply in replies {
                    let reply = Reply::read(call.method, Version::V1_0, &reply.to_string()).unwrap();
                    sender.try_send(Frame::data(answer::event(&call, &reply).unwrap())).unwrap();
                }
                Status::OK.headers()
            }
            Err(failure) => read_lines(&failure.answer(call.dialect, None).body),
        };
        if text.starts_with("wait") && call.method.is_streaming() || call.method == Method::SubscribeToTask {
            tokio::spawn(async move { sender.closed().await });
        } else {
            sender.try_send(Frame::trailers(status)).unwrap();
        }
        response
    }

    fn replies(&self, call: &A2aCall<'_>, params: &Value, text: &str) -> Result<Vec<Value>, Failure> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let named = params["id"].as_str().unwrap_or_default();
        let missing = || Failure::new(Kind::TaskNotFound, format!("Task {named} not found"));
        let context = &params["message"]["contextId"];
        match call.method {
            _ if text.starts_with("fail") => Err(Failure::new(Kind::ContentTypeNotSupported, "no such parts")),
            Method::SendMessage | Method::SendStreamingMessage if text.starts_with("direct") => {
                let message = json!({"messageId": "r", "role": "ROLE_AGENT", "contextId": context, "parts": [{"text": text}, {"data": {"n": 1}}]});
                Ok(vec![json!({"message": message})])
            }
            Method::SendMessage | Method::SendStreamingMessage => {
                let id = format!("t-{}", tasks.len() + 1);
                let state = if text.starts_with("wait") { "TASK_STATE_WORKING" } else { "TASK_STATE_COMPLETED" };
                let task = json!({"id": id, "contextId": context, "status": {"state": state, "timestamp": "2026-11-22T19:41:01Z"}, "artifacts": [{"artifactId": "a", "parts": [{"text": text}]}]});
                tasks.insert(id.clone(), task.clone());
                let update = json!({"taskId": id, "contextId": context, "status": {"state": state}});
                let mut replies = vec![json!({"task": task})];
                if call.method.is_streaming() {
                    replies[0]["task"]["status"]["state"] = json!("TASK_STATE_WORKING");
                    replies.push(json!({"statusUpdate": update}));
                }
                Ok(replies)
            }
            Method::GetTask => tasks.get(named).cloned().map(|task| vec![task]).ok_or_else(missing),
            Method::SubscribeToTask => tasks.get(named).map(|task| vec![json!({"task": task})]).ok_or_else(missing),
            Method::CancelTask => {
                let task = tasks.get_mut(named).ok_or_else(missing)?;
                task["status"]["state"] = json!("TASK_STATE_CANCELED");
                Ok(vec![task.clone()])
            }
            Method::ListTasks => {
                let all: Vec<Value> = tasks.values().cloned().collect();
                Ok(vec![json!({"tasks": all, "totalSize": all.len(), "pageSize": 50, "nextPageToken": ""})])
            }
            Method::CreatePushConfig
            | Method::GetPushConfig
            | Method::ListPushConfigs
            | Method::DeletePushConfig
            | Method::GetExtendedCard => Err(Failure::new(Kind::UnsupportedOperation, "no")),
        }
    }
}

/// Frames as they come; it notices when they are given up.
struct Pieces {
    receiver: mpsc::Receiver<Frame<Bytes>>,
    state: Arc<State>,
    is_over: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.receiver.poll_recv(context);
        self.is_over |= matches!(&frame, Poll::Ready(Some(frame)) if frame.is_trailers());
        frame.map(|frame| frame.map(Ok))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if !self.is_over {
            self.state.left.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Metadata by its name.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name.parse::<HeaderName>().unwrap()).and_then(|value| value.to_str().ok())
}
