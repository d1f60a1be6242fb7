//! The form of requests and answers.

use std::borrow::Cow;

use portcullis_domain::refusal::{Code, Refusal};
use serde::Serialize;

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::path::decoded;

/// An answer in JSON. The types of the API have no maps but of text, so that writing them does not fail.
pub(super) fn json(status: u16, body: &impl Serialize) -> Result<Answer, Refusal> {
    let body = serde_json::to_vec(body).map_err(|error| {
        Refusal::new(Code::StoreUnavailable, "the answer can't be written").because(error.to_string())
    })?;
    Ok(answer::json(status, body))
}

/// Reads a body in JSON; an empty one stands for `{}`.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(Code::InvalidRequest, format!("the body can't be read: {error}")))
}

/// The value of a parameter of the query. All that are read here are names or numbers, so that a `+` stands for itself.
pub(super) fn parameter<'a>(arrived: &'a Arrived, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
    let query = arrived.query.as_deref().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value)).transpose()
}
