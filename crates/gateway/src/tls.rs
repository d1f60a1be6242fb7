//! TLS for those who connect to the gateway: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.

use std::path::Path;
use std::sync::Arc;

use portcullis_domain::time::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;

use crate::server::TlsTable;
use crate::x509::Certificate;

/// What HTTP/2 is called in ALPN (RFC 7301).
pub const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What connections are made with.
///
/// # Errors
///
/// A sentence when a file can't be read, or the key is not that of the certificate.
pub fn server(
    table: &TlsTable,
    base: &Path,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, String> {
    let chain = chain(table, base)?;
    let file = base.join(&table.key_file);
    let key = PrivateKeyDer::from_pem_file(&file);
    let key = key.map_err(|error| format!("server.tls.key_file: `{}`: {error}", file.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("server.tls: {error}"))?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let unfit = |error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            return "server.tls: the key in `key_file` is not that of the certificate in `certificate_file`".to_owned();
        }
        format!("server.tls: {error}")
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}

/// Whether the gateway's own certificate has ended by now.
///
/// # Errors
///
/// A sentence when it has, or can't be read.
pub fn check_time(table: &TlsTable, base: &Path, now: Timestamp) -> Result<(), String> {
    let file = base.join(&table.certificate_file);
    let at = |problem: String| format!("server.tls.certificate_file: `{}`: {problem}", file.display());
    let chain = chain(table, base)?;
    let own = chain.first().ok_or_else(|| at("it has no certificate".to_owned()))?;
    let ends_at = Certificate::read(own).map_err(at)?.ends_at;
    if ends_at <= now { Err(at(format!("the certificate has expired at {ends_at}"))) } else { Ok(()) }
}

/// The certificates in the file, of which the first is the gateway's own.
///
/// # Errors
///
/// A sentence when there are none.
pub fn chain(table: &TlsTable, base: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = base.join(&table.certificate_file);
    let unusable = |problem: String| format!("server.tls.certificate_file: `{}`: {problem}", file.display());
    let chain = CertificateDer::pem_file_iter(&file).map_err(|error| unusable(error.to_string()))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() { Err(unusable("it has no certificate".to_owned())) } else { Ok(chain) }
}
