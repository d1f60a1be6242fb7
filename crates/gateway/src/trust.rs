//! Whom connections that the gateway makes are with: certificates must be valid for the name in the address, and issued by somebody who is trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The authorities of the web.
#[must_use]
pub fn public() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// Adds the certificates in a PEM file.
///
/// # Errors
///
/// A sentence with the path when there are none.
pub fn add(store: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = store.len();
    let unusable = |problem: String| format!("`{}`: {problem}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        store.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if store.len() == before { Err(unusable("it has no certificate".to_owned())) } else { Ok(()) }
}

/// A client that trusts these.
///
/// # Errors
///
/// Never with this library of cryptography; its error is passed on rather than ignored.
pub fn client(store: RootCertStore) -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}
