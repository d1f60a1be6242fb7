//! Parameters in the body (`application/x-www-form-urlencoded`).

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::doors::caller::text_header;
use crate::doors::oauth::refuse::Denial;
use crate::doors::path::decoded;

/// The parameters of a request, each of which is there at most once (RFC 6749, section 3.2).
#[derive(Debug, Default)]
pub struct Form {
    parameters: BTreeMap<String, String>,
}

impl Form {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// When the body is something else, or has a parameter twice.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Denial> {
        let media = text_header(headers, &CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        if !media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Denial::invalid("send the parameters as `application/x-www-form-urlencoded`"));
        }
        let body = std::str::from_utf8(body).map_err(|_| Denial::invalid("the body is no text"))?;
        let mut form = Self::default();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let [name, value] =
                [name, value].map(|part| decoded(&part.replace('+', " ")).map(std::borrow::Cow::into_owned));
            let unread = |_| Denial::invalid("a parameter is not percent-encoded text");
            let (name, value) = (name.map_err(unread)?, value.map_err(unread)?);
            if form.parameters.insert(name, value).is_some() {
                return Err(Denial::invalid("a parameter is given twice"));
            }
        }
        Ok(form)
    }

    /// The value of a parameter; one without a value is none (RFC 6749, section 3.2).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
