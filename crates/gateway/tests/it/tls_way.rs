//! A way into a gateway that speaks TLS, for clients that do not: what they say is carried over connections of its own, which show a certificate or none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_testkit::authority::Certificate;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::listen;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::gateway::Gateway;

/// The way; it leads there as long as the test runs.
pub(crate) struct Way {
    pub(crate) url: String,
    /// Why connections ended that did not end well. Locked to add and to read, never across a wait.
    failures: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Way {
    /// To the gateway, whose certificate is from the authority in that PEM, by the newest TLS and HTTP/1.1.
    pub(crate) async fn new(gateway: &Gateway, roots: &str, shown: Option<&Certificate>) -> Self {
        Self::by(gateway, roots, shown, rustls::ALL_VERSIONS, b"http/1.1").await
    }

    pub(crate) async fn by(
        gateway: &Gateway,
        roots: &str,
        shown: Option<&Certificate>,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &[u8],
    ) -> Self {
        let mut config = client(roots, shown, versions);
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let to = gateway.url().trim_start_matches("http://").to_owned();
        let (listener, url) = listen().await.unwrap();
        let way = Self { url, failures: Arc::default(), connections: Arc::default() };
        let (failures, connections) = (way.failures.clone(), way.connections.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (connector, to, failures) = (connector.clone(), to.clone(), failures.clone());
                tokio::spawn(async move {
                    let carried = async {
                        let far = TcpStream::connect(&to).await?;
                        let name = ServerName::try_from("127.0.0.1").unwrap();
                        let mut far = connector.connect(name, far).await?;
                        tokio::io::copy_bidirectional(&mut near, &mut far).await
                    };
                    if let Err(error) = carried.await {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
                    }
                });
            }
        });
        way
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn client(roots: &str, shown: Option<&Certificate>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(store);
    let Some(Certificate { certificate, key }) = shown else { return builder.with_no_client_auth() };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
    builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
}
