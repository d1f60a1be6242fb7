//! A proxy that does nothing but forward, on hyper: the floor under Portcullis. Runs as a process of its own,
//! started from this same program, so that its processor time can be told apart.

use std::{convert::Infallible, fs, net::SocketAddr};

use http::{Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;

use super::site::Site;
use crate::{
    child::{Child, free_address},
    failure::Result,
};

type Pool = Client<HttpConnector, Incoming>;
type Body = Either<Incoming, Empty<Bytes>>;

pub(super) async fn start(site: &Site<'_>) -> Result<(SocketAddr, Child)> {
    let folder = site.folder.join("hyper");
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let arguments = ["bare-proxy", &address.to_string(), &site.upstream.to_string()];
    let mut child = Child::start(&std::env::current_exe()?, arguments, site.cores, &folder)?;
    child.ready(address, "/").await?;
    Ok((address, child))
}

/// The proxy's own main: forwards everything that comes in at one address to the other, until it is ended.
pub(crate) fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = pool.clone();
            let service = service_fn(move |request| forward(pool.clone(), upstream, request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn forward(
    pool: Pool,
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = upstream.to_string().parse().ok();
    let answer = match Uri::from_parts(parts) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            request.headers_mut().remove(header::HOST);
            pool.request(request).await.ok()
        }
        Err(_) => None,
    };
    Ok(answer.map_or_else(bad_gateway, |answer| answer.map(Either::Left)))
}

fn bad_gateway() -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
