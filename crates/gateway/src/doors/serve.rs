//! The listener: connections, their limits, and the end of them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::doors::answer::{Answer, with_header};
use crate::doors::arrived::Doors;
use crate::doors::router::route;

/// How many connections may be open at a time.
const CONNECTIONS_LIMIT: usize = 8_192;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// How long to wait after the system refused a connection, as when there are no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a stop takes at most.
pub struct Patience {
    /// For whoever sends connections here, to notice.
    pub unready: Duration,
    /// For the calls that are under way then.
    pub drain: Duration,
}

/// Serves until the gateway is asked to stop and whoever sends connections had time to notice; then takes no more and lets those that are open finish.
pub async fn serve(listener: TcpListener, doors: Arc<Doors>, patience: impl Fn() -> Patience) {
    let mut stop = doors.stop.clone();
    let mut is_over = pin!(async {
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(patience().unready).await;
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut is_over => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let doors = doors.clone();
        let service = service_fn(move |request| {
            let doors = doors.clone();
            async move { Ok::<_, Infallible>(answer(&doors, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_LIMIT_BYTES)
            .serve_connection(TokioIo::new(socket), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(patience().drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("calls were still under way when the time to drain was over");
    }
}

/// The answer; once the gateway is about to stop it asks for the next request to be sent on another connection, which will lead elsewhere.
async fn answer(doors: &Arc<Doors>, request: Request<Incoming>) -> Answer {
    let answer = route(doors, request).await;
    if doors.is_leaving() { with_header(answer, CONNECTION, "close") } else { answer }
}
