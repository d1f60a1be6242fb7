//! A client of the running gateway's API.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::assemble::ADMIN_KEY_FILE;
use crate::cli::arguments::{Common, Remote};
use crate::cli::exit::Exit;
use crate::config::read::{self, Whereabouts};

/// How long the gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A gateway and the key to it.
pub struct Api {
    url: String,
    key: String,
}

impl Api {
    /// The gateway that the flags or else the configuration name.
    ///
    /// # Errors
    ///
    /// When the configuration or the key can't be read.
    pub fn open(common: &Common, remote: &Remote) -> Result<Self, Exit> {
        let place = || read::find(&common.config).map_err(|problem| Exit::config(problem.to_string()));
        let url = match &remote.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", place()?.listen),
        };
        let key_file = match &remote.key_file {
            Some(file) => file.clone(),
            None => data_directory(&place()?).join(ADMIN_KEY_FILE),
        };
        let key = std::fs::read_to_string(&key_file);
        let key =
            key.map_err(|error| Exit::io(format!("the key file `{}` can't be read: {error}", key_file.display())))?;
        Ok(Self { url, key: key.trim().to_owned() })
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

    /// Puts `body` at `path`.
    ///
    /// # Errors
    ///
    /// When the gateway can't be reached or refuses.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        self.send(Method::PUT, path, Some(body)).await
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
        let request =
            request.header(AUTHORIZATION, format!("Bearer {}", self.key)).header(CONTENT_TYPE, "application/json");
        let request = request
            .body(Full::new(Bytes::from(bytes)))
            .map_err(|error| Exit::config(format!("`{}`: {error}", self.url)))?;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let unreachable = |reason: String| {
            Exit::unavailable(format!(
                "the gateway at {} can't be reached ({reason}); is `portcullis up` running?",
                self.url
            ))
        };
        let answered = tokio::time::timeout(TIMEOUT, client.request(request)).await;
        let answer = answered
            .map_err(|_| unreachable("no answer in time".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
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
