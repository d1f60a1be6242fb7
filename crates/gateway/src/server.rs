//! The table `server` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the gateway listens and whom it listens to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTable {
    /// Address and port. Anything but loopback needs `allowed_hosts`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where clients reach the gateway, as in `https://gate.example.org`: agents' cards and the URLs of events name it. If nothing is said, it is `http://` with the request's `Host`.
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

impl Default for ServerTable {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4040)),
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
