//! Calls of issuers and authorization servers: where their keys are, what they say of themselves, and their token endpoints.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use crate::upstreams::push::PushClient;

/// How long an answer may take to come.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to one of them.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    client: &'a PushClient,
    ca_file: Option<&'a Path>,
}

impl<'a> Way<'a> {
    /// To one whose certificate may, besides those of the web, be of an authority in that file. The file is read for each connection.
    #[must_use]
    pub fn new(client: &'a PushClient, ca_file: Option<&'a Path>) -> Self {
        Self { client, ca_file }
    }

    /// Gets what is there, if it is no larger than that. No redirect is followed.
    ///
    /// # Errors
    ///
    /// Why there is nothing, for the operator.
    pub async fn get(self, url: &str, limit_bytes: usize) -> Result<Bytes, String> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(Full::default());
        let request = request.map_err(|error| format!("`{url}`: {error}"))?;
        let (status, body) = self.answer(url, request, limit_bytes).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(format!("`{url}`: is answered with status {status}")) }
    }

    /// Posts a form there, and gives the status and what is answered, if it is no larger than that. No redirect is followed.
    ///
    /// # Errors
    ///
    /// Why there is no answer, for the operator; what was posted is not in it.
    pub async fn ask(
        self,
        url: &str,
        headers: HeaderMap,
        form: Bytes,
        limit_bytes: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = Request::post(url).body(Full::new(form));
        let mut request = request.map_err(|error| format!("`{url}`: {error}"))?;
        *request.headers_mut() = headers;
        self.answer(url, request, limit_bytes).await
    }

    async fn answer(
        self,
        url: &str,
        mut request: Request<Full<Bytes>>,
        limit_bytes: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let of = |problem: String| format!("`{url}`: {problem}");
        // What is called is what was looked at, and not what stands in the request.
        let checked = self.client.guard().check(url).map_err(of)?;
        *request.uri_mut() = checked.uri;
        let answered = async {
            let answer = self.client.send(checked.is_plain, self.ca_file, request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit_bytes).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|error| format!("can't be read: {error}"))
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, answered).await;
        let late = || format!("it takes longer than {} s", ANSWER_TIMEOUT.as_secs());
        answered.unwrap_or_else(|_| Err(late())).map_err(of)
    }
}
