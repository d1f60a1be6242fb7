//! The mock upstream: prebuilt answers, so that it is not what limits a measurement.

mod chat;
mod chunks;
mod counters;
mod mcp;
mod reply;

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use counters::Counters;
use reply::{Body, empty, json};

use crate::failure::Result;

const REQUEST_LIMIT: usize = 1 << 20;

/// A running mock upstream; it ends with the process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answers: chat::Answers,
    counters: Counters,
}

impl Upstream {
    /// Starts the server on a thread of its own and waits until it listens.
    pub(crate) fn start(chunks: usize, gap: Duration) -> Result<Self> {
        let state = Arc::new(State { answers: chat::Answers::new(chunks, gap), counters: Counters::default() });
        let (sender, receiver) = mpsc::sync_channel(1);
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            if let Err(error) = serve(shared, &sender) {
                // Nobody listens any more once the address was sent; the run then fails with refused connections.
                let _ = sender.send(Err(error));
            }
        });
        Ok(Self { address: receiver.recv()??, state })
    }

    pub(crate) fn served(&self) -> u64 {
        self.state.counters.served.load(Ordering::Relaxed)
    }
}

fn serve(state: Arc<State>, listening: &mpsc::SyncSender<Result<SocketAddr>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        listening.send(Ok(listener.local_addr()?))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let state = Arc::clone(&state);
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_LIMIT).collect().await else {
        return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes();
    Ok(match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/chat/completions") => chat::complete(&state.answers, &state.counters, &body),
        (&Method::GET, "/v1/models") => json(chat::MODELS),
        (&Method::POST, "/mcp") => mcp::answer(&state.counters, &body),
        (_, "/mcp") => empty(StatusCode::METHOD_NOT_ALLOWED),
        (&Method::GET, "/") => json("{}"),
        _ => empty(StatusCode::NOT_FOUND),
    })
}
