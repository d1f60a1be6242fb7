//! The table `server` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the gateway listens and whom it listens to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTable {
    /// Address and port. Anything but loopback needs `allowed_hosts`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The certificate that connections are protected with. Without it the gateway speaks in clear: keys and tokens can be read on the way unless something in front of it speaks TLS.
    pub tls: Option<TlsTable>,
    /// Where clients reach the gateway, as in `https://gate.example.org`: agents' cards and the URLs of events name it. If nothing is said, it is `http://`, or `https://` with `tls`, and the request's `Host`.
    pub public_url: Option<String>,
    /// Names, without port, that a request's `Host` may have besides those of loopback and the listening address.
    pub allowed_hosts: Vec<String>,
    /// Origins, as in `https://console.example.org`, that a browser may call from. Requests without `Origin` are not from a page.
    pub allowed_origins: Vec<String>,
    /// Hosts, addresses and networks, as in `hooks.internal` or `10.0.0.0/8`, that clients may name for news of tasks although they are not public or have no `https`.
    pub push_allowed: Vec<String>,
    /// The largest request body, in bytes.
    pub body_limit_bytes: usize,
    /// How many calls may be under way at a time.
    pub calls_limit: usize,
    /// How long new connections are still taken after the gateway is asked to stop, in seconds. `/readyz` says no at once: this is how long a load balancer may take to notice.
    /// 0 where there is none.
    pub unready_s: u64,
    /// How long calls under way may go on after that, in seconds.
    pub drain_s: u64,
}

impl ServerTable {
    /// Where clients reach the gateway that call it by this host, without a slash at the end.
    #[must_use]
    pub fn base(&self, host: &str) -> String {
        let own = || format!("{}://{host}", if self.tls.is_some() { "https" } else { "http" });
        self.public_url.as_deref().map_or_else(own, |url| url.trim_end_matches('/').to_owned())
    }

    /// Whether nobody comes in without a certificate of their own.
    #[must_use]
    pub fn requires_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_certificates == ClientCertificates::Required)
    }
}

/// How connections are protected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsTable {
    /// A PEM file with the certificate, and with those between it and its authority. Watched: another one is used for new connections, and those that are open go on.
    pub certificate_file: PathBuf,
    /// A PEM file with its key.
    pub key_file: PathBuf,
    /// Whether clients must show a certificate of their own. They are asked for one where `identity.certificates` says whose count.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// They may.
    #[default]
    Optional,
    /// Without one there is no connection, for health checks and links to approvals neither.
    Required,
}

impl Default for ServerTable {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4040)),
            tls: None,
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            push_allowed: Vec::new(),
            body_limit_bytes: 16 << 20,
            calls_limit: 4_096,
            unready_s: 0,
            drain_s: 30,
        }
    }
}
