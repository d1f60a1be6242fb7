//! A model, ready to be called.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use portcullis_domain::call::{Capability, Kind};
use portcullis_domain::money::Price;
use portcullis_domain::registry::Replica;

use crate::credential::{bearer, read_file};
use crate::registry::table::ModelTable;

/// A model of the registry.
pub struct Model {
    /// Its name for callers and policies.
    pub capability: Capability,
    /// Its chat completions endpoint.
    pub chat_uri: Uri,
    /// What is sent as `Authorization`; marked as sensitive, so that nothing prints it.
    pub authorization: Option<HeaderValue>,
    /// Its name for the upstream.
    pub upstream_name: String,
    /// What it costs.
    pub price: Option<Price>,
    /// The most tokens that it produces.
    pub max_output_tokens: u64,
    /// How long it may take.
    pub timeout: Duration,
    /// Where it runs, if in several places. What stands above is then of the first of them, but for the price, which is that of the dearest.
    pub deployments: Vec<Deployment>,
}

/// A place that a model runs in.
#[derive(Debug)]
pub struct Deployment {
    /// Its name in the journal: its address, and behind a `#` what tells it from others there.
    pub replica: Replica,
    /// Whether it takes no new calls.
    pub is_draining: bool,
    /// The model as it is there.
    pub model: Arc<Model>,
}

impl fmt::Debug for Model {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {}", self.capability, self.chat_uri)
    }
}

impl Model {
    /// Whether a key is sent to it, wherever it runs.
    #[must_use]
    pub fn is_shown_a_key(&self) -> bool {
        self.authorization.is_some() || self.deployments.iter().any(|place| place.model.authorization.is_some())
    }

    /// The model of that name and table; paths are relative to `base`.
    ///
    /// # Errors
    ///
    /// A sentence when the URL is none, or the key can't be read or sent.
    pub fn of_table(name: &str, table: &ModelTable, base: &Path) -> Result<Self, String> {
        let url = format!("{}/chat/completions", table.base_url.trim_end_matches('/'));
        let uri = url
            .parse::<Uri>()
            .ok()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        let chat_uri = uri.ok_or_else(|| format!("`{}` is no URL of http or https", table.base_url))?;
        let key = match (&table.api_key, &table.api_key_file) {
            (Some(_), Some(_)) => return Err("has both `api_key` and `api_key_file`".to_owned()),
            (Some(key), None) => Some(key.0.clone()),
            (None, Some(file)) => Some(read_file(&base.join(file))?),
            (None, None) => None,
        };
        Ok(Self {
            capability: Capability::new(Kind::Model, name),
            chat_uri,
            authorization: key.as_deref().map(bearer).transpose()?,
            upstream_name: table.model.clone().unwrap_or_else(|| name.to_owned()),
            price: table.price.map(|price| Price { input: price.input.0, output: price.output.0 }),
            max_output_tokens: table.max_output_tokens,
            timeout: Duration::from_secs(table.timeout_s),
            deployments: Vec::new(),
        })
    }
}
