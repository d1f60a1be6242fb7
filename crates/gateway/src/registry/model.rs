//! A model, ready to be called.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use portcullis_domain::call::{Capability, Kind, Shown};
use portcullis_domain::money::Price;
use portcullis_domain::registry::Replica;

use crate::credential::{Secret, read_file};
use crate::registry::credential::UpstreamCredential;
use crate::registry::table::ModelTable;

/// A model of the registry.
pub struct Model {
    /// Its name for callers and policies.
    pub capability: Capability,
    /// Its chat completions endpoint.
    pub chat_uri: Uri,
    /// What it is shown.
    pub credential: UpstreamCredential,
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
    /// The kind of what it is shown, wherever it runs: it is the same everywhere, but that it may be nothing where no key is needed.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        self.credential.shown().or_else(|| self.deployments.iter().find_map(|place| place.model.credential.shown()))
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
            (Some(key), None) => Some(key.clone()),
            (None, Some(file)) => Some(Secret(read_file(&base.join(file))?)),
            (None, None) => None,
        };
        Ok(Self {
            capability: Capability::new(Kind::Model, name),
            chat_uri,
            credential: UpstreamCredential::of_table(key.as_ref(), table.credential.as_ref(), base)?,
            upstream_name: table.model.clone().unwrap_or_else(|| name.to_owned()),
            price: table.price.map(|price| Price { input: price.input.0, output: price.output.0 }),
            max_output_tokens: table.max_output_tokens,
            timeout: Duration::from_secs(table.timeout_s),
            deployments: Vec::new(),
        })
    }
}
