//! Whom connections that the gateway makes are with: certificates must be valid for the name in the address, and issued by somebody who is trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
};

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

/// Whether there are authorities in a file, where one is named; its path is relative to `base`.
///
/// # Errors
///
/// A sentence when there are none.
pub fn check(ca_file: Option<&Path>, base: &Path) -> Result<(), String> {
    let Some(file) = ca_file else { return Ok(()) };
    add(&mut RootCertStore::empty(), &base.join(file)).map_err(|problem| format!("`ca_file`: {problem}"))
}

/// A client that trusts these.
///
/// # Errors
///
/// Never with this library of cryptography; its error is passed on rather than ignored.
pub fn client(store: RootCertStore) -> Result<ClientConfig, String> {
    client_with(store, None)
}

/// The same, with the certificate and key in a PEM file to show, if there is one.
///
/// # Errors
///
/// A sentence when the file has not both.
pub fn client_with(store: RootCertStore, shown: Option<&Path>) -> Result<ClientConfig, String> {
    showing(builder()?.with_root_certificates(store), shown)
}

/// A client that trusts nobody but whoever has the first certificate in this file, by whatever name it is called.
///
/// # Errors
///
/// A sentence when a file has not what it should.
pub fn client_of(own: &Path, shown: Option<&Path>) -> Result<ClientConfig, String> {
    let unusable = |problem: String| format!("`{}`: {problem}", own.display());
    let own = CertificateDer::from_pem_file(own).map_err(|error| unusable(error.to_string()))?;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    showing(builder()?.dangerous().with_custom_certificate_verifier(Arc::new(Only { own, algorithms })), shown)
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

fn showing(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    shown: Option<&Path>,
) -> Result<ClientConfig, String> {
    let Some(file) = shown else { return Ok(builder.with_no_client_auth()) };
    let unusable = |problem: String| format!("`{}`: {problem}", file.display());
    let chain = CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))?;
    let chain = chain.collect::<Result<_, _>>().map_err(|error| unusable(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(file).map_err(|error| unusable(error.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))
}

/// The one certificate that is believed: whoever can read the gateway's own file needs no authority to know it.
#[derive(Debug)]
struct Only {
    own: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.own {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
