//! How connections are protected, and whose certificates they may be made with: what the files say that the configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_domain::time::Timestamp;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;

use crate::config::Config;
use crate::identity::certificates::{AtHandshake, Authorities};
use crate::tls;

/// What is made of the files.
pub struct Protection {
    /// What connections are made with; none where they are in clear.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whose certificates count.
    pub authorities: Arc<Authorities>,
}

impl Protection {
    /// Reads the files, which begin at `base`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn read(config: &Config, base: &Path) -> Result<Self, Vec<String>> {
        let authorities = Arc::new(Authorities::read(&config.identity.certificates, base)?);
        let Some(table) = &config.server.tls else { return Ok(Self { tls: None, authorities }) };
        let is_required = config.server.requires_certificates();
        let clients = AtHandshake::new(authorities.clone(), is_required);
        let clients = (!authorities.is_empty()).then(|| Arc::new(clients) as Arc<dyn ClientCertVerifier>);
        let server = tls::server(table, base, clients).map_err(|problem| vec![problem])?;
        Ok(Self { tls: Some(Arc::new(server)), authorities })
    }
}

/// Whether the gateway's own certificate is still valid.
///
/// # Errors
///
/// A sentence when it is not.
pub fn check_time(config: &Config, base: &Path, now: Timestamp) -> Result<(), String> {
    config.server.tls.as_ref().map_or(Ok(()), |table| tls::check_time(table, base, now))
}

/// The files.
pub fn files(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let own = config.server.tls.iter().flat_map(|tls| [&tls.certificate_file, &tls.key_file]);
    let authorities = config.identity.certificates.values();
    own.chain(authorities.flat_map(|table| std::iter::once(&table.ca_file).chain(&table.crl_file)))
}

/// What is wrong with the configuration of it, whatever the files say.
#[must_use]
pub fn problem(config: &Config) -> Option<String> {
    let has_authorities = !config.identity.certificates.is_empty();
    if has_authorities && config.server.tls.is_none() {
        return Some("identity.certificates: nobody can show a certificate without `server.tls`".to_owned());
    }
    let message = "server.tls: `client_certificates` are required, and no `identity.certificates` says whose count";
    (config.server.requires_certificates() && !has_authorities).then(|| message.to_owned())
}

/// What the operator should know who lets others reach a gateway that speaks in clear.
#[must_use]
pub fn warning(config: &Config) -> Option<String> {
    let server = &config.server;
    let is_open = !server.listen.ip().is_loopback() && server.tls.is_none();
    is_open.then(|| {
        format!(
            "`server.listen` is {} and there is no `server.tls`: keys can be read on the way, unless something in front of the gateway speaks TLS",
            server.listen
        )
    })
}
