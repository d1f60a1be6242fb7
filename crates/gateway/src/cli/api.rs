//! A client of the running gateway's API.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use serde_json::Value;

use crate::assemble::ADMIN_KEY_FILE;
use crate::cli::arguments::{Common, Remote};
use crate::cli::exit::Exit;
use crate::config::read::{self, Whereabouts};
use crate::trust;
use crate::upstreams::client::chain;

/// How long the gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A gateway and the key to it.
pub struct Api {
    url: String,
    /// None for whoever comes with a certificate alone.
    key: Option<String>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Api {
    /// The gateway that the flags or else the configuration name.
    ///
    /// # Errors
    ///
    /// When the configuration or the key can't be read.
    pub fn open(common: &Common, remote: &Remote) -> Result<Self, Exit> {
        let place = || read::find(&common.config).map_err(|problem| Exit::config(problem.to_string()));
        let (url, own) = match &remote.url {
            Some(url) => (url.trim_end_matches('/').to_owned(), None),
            None => {
                let Whereabouts { listen, certificate_file, .. } = place()?;
                let scheme = if certificate_file.is_some() { "https" } else { "http" };
                (format!("{scheme}://{listen}"), certificate_file)
            }
        };
        let key_file = match (&remote.key_file, &remote.certificate_file) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(data_directory(&place()?).join(ADMIN_KEY_FILE)),
        };
        let client = client(remote, own.as_deref()).map_err(Exit::io)?;
        Ok(Self { url, key: key_file.as_deref().map(key_in).transpose()?, client })
    }

    /// Asks for `path`.
    ///
    /// # Errors
    ///
    /// When the gateway can't be reached or refuses.
    pub async fn get(&self, path: &str) -> Result<Value, Exit> {
        self.send(Method::GET, path, None).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    ///
    /// When the gateway can't be reached or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Deletes `path`.
    ///
    /// # Errors
    ///
    /// When the gateway can't be reached or refuses.
    pub async fn delete(&self, path: &str) -> Result<Value, Exit> {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Exit> {
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = match &self.key {
            Some(key) => request.header(AUTHORIZATION, format!("Bearer {key}")),
            None => request,
        };
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request
            .body(Full::new(Bytes::from(bytes)))
            .map_err(|error| Exit::config(format!("`{}`: {error}", self.url)))?;
        let unreachable = |reason: String| {
            Exit::unavailable(format!(
                "the gateway at {} can't be reached ({reason}); is `portcullis up` running?",
                self.url
            ))
        };
        let answered = tokio::time::timeout(TIMEOUT, self.client.request(request)).await;
        let answer = answered
            .map_err(|_| unreachable("no answer in time".to_owned()))?
            .map_err(|error| unreachable(chain(&error)))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| unreachable(error.to_string()))?.to_bytes();
        let value: Value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_default() };
        if status.is_success() {
            return Ok(value);
        }
        let detail = value.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        Err(Exit::negative(format!("the gateway refuses: {detail} ({status})")))
    }
}

fn key_in(file: &Path) -> Result<String, Exit> {
    let key = std::fs::read_to_string(file);
    let key = key.map_err(|error| Exit::io(format!("the key file `{}` can't be read: {error}", file.display())))?;
    Ok(key.trim().to_owned())
}

/// A client that believes the gateway at `own` by that certificate alone, and any other one by its authority.
fn client(remote: &Remote, own: Option<&Path>) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
    let shown = remote.certificate_file.as_deref();
    let config = match (&remote.ca_file, own) {
        (Some(file), _) => {
            let mut roots = RootCertStore::empty();
            trust::add(&mut roots, file).map_err(|problem| format!("`--ca-file` {problem}"))?;
            trust::client_with(roots, shown)
        }
        (None, Some(own)) => trust::client_of(own, shown),
        (None, None) => trust::client_with(trust::public(), shown),
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(config?).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// The gateway's data directory.
#[must_use]
pub fn data_directory(place: &Whereabouts) -> std::path::PathBuf {
    read::directory(&place.path).join(place.journal.directory())
}

/// The text of a member; `-` where there is none.
#[must_use]
pub fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}
