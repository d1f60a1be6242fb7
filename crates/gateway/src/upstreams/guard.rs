//! Addresses that clients name. A client must not make the gateway call what only the gateway can reach (server-side request forgery).
//!
//! A URL is looked at when it is given, and the *address* once more when it is connected to: what a name stands for may have changed by then. Without the operator's
//! word only `https` to public addresses passes; redirects are followed nowhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

/// The longest URL, in bytes.
const URL_LIMIT_BYTES: usize = 2_048;
/// IPv4 addresses that are not public (IANA special-purpose registry), and those at which clouds tell machines their secrets.
const CLOSED_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// The IPv6 addresses that are given out; whatever is not in here is something special: loopback, mapped, NAT64, local, multicast.
const PUBLIC_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Those among them that are not public: protocols and tunnels, documentation, 6to4.
const CLOSED_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// What the operator allows besides public addresses by `https`.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

/// A URL that may be called as far as its words say. Its address is looked at when it is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The URL.
    pub uri: Uri,
    /// The host without brackets.
    pub host: String,
    /// Whether it goes without encryption.
    pub is_plain: bool,
    port: u16,
}

impl Guard {
    /// The guard that lets these through: host names, addresses, and networks as `10.0.0.0/8`.
    ///
    /// # Errors
    ///
    /// A sentence on what is none of them.
    pub fn new(allowed: &[String]) -> Result<Self, String> {
        let mut guard = Self::default();
        for text in allowed {
            let (address, bits) = text.split_once('/').map_or((text.as_str(), None), |(net, bits)| (net, Some(bits)));
            match (address.parse::<IpAddr>(), bits) {
                (Ok(address), bits) => {
                    guard.networks.push((address, bits_of(address, bits).ok_or_else(|| no_network(text))?))
                }
                (Err(_), None) if is_name(text) => guard.hosts.push(text.to_ascii_lowercase()),
                (Err(_), _) => return Err(no_network(text)),
            }
        }
        Ok(guard)
    }

    /// Looks at the words of a URL.
    ///
    /// # Errors
    ///
    /// A sentence for the client when it may not be called.
    pub fn check(&self, url: &str) -> Result<Checked, String> {
        if url.len() > URL_LIMIT_BYTES {
            return Err(format!("the URL is longer than {URL_LIMIT_BYTES} bytes"));
        }
        let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("it is no whole URL".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err("the URL must not have a user or password".to_owned());
        }
        let is_plain = match scheme {
            "https" => false,
            "http" => true,
            _ => return Err("only `https` URLs can be called".to_owned()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() || (authority.host().starts_with('[') && host.parse::<Ipv6Addr>().is_err()) {
            return Err("the URL names no host".to_owned());
        }
        if let Ok(address) = host.parse() {
            self.permits(&host, address, is_plain)?;
        }
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        Ok(Checked { uri, host, is_plain, port })
    }

    /// Looks at the words of a URL, and at what its host stands for now.
    ///
    /// # Errors
    ///
    /// A sentence for the client when it may not be called.
    pub async fn check_resolved(&self, url: &str) -> Result<Checked, String> {
        let checked = self.check(url)?;
        if checked.host.parse::<IpAddr>().is_err() {
            self.resolve(&checked.host, checked.port, checked.is_plain).await?;
        }
        Ok(checked)
    }

    /// The addresses that a host stands for. If one of them may not be called, none may.
    ///
    /// # Errors
    ///
    /// A sentence for the client when there is none, or one that may not be called.
    pub async fn resolve(&self, host: &str, port: u16, is_plain: bool) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| format!("`{host}` can't be found"))?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(format!("`{host}` can't be found"));
        }
        found.iter().try_for_each(|address| self.permits(host, address.ip(), is_plain))?;
        Ok(found)
    }

    /// Whether this address of this host may be called.
    ///
    /// # Errors
    ///
    /// A sentence for the client. It does not say what the host stands for.
    pub fn permits(&self, host: &str, address: IpAddr, is_plain: bool) -> Result<(), String> {
        let is_named = self.hosts.iter().any(|allowed| host.eq_ignore_ascii_case(allowed));
        if is_named || self.networks.iter().any(|(network, bits)| is_in(address, *network, *bits)) {
            return Ok(());
        }
        if is_plain {
            return Err("only `https` URLs can be called".to_owned());
        }
        if is_public(address) { Ok(()) } else { Err(format!("`{host}` is not a public address")) }
    }
}

/// Whether anybody on the internet could have this address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !CLOSED_V4.iter().any(|(network, bits)| is_in(address, (*network).into(), *bits)),
        IpAddr::V6(_) => {
            is_in(address, PUBLIC_V6.0.into(), PUBLIC_V6.1)
                && !CLOSED_V6.iter().any(|(network, bits)| is_in(address, (*network).into(), *bits))
        }
    }
}

/// Whether an address is in a network. An IPv4 address that is written as one of IPv6 is another address.
fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (address.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128_u32),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let differing: u128 = address ^ network;
    differing.checked_shr(width.saturating_sub(u32::from(bits))).unwrap_or(0) == 0
}

fn bits_of(address: IpAddr, bits: Option<&str>) -> Option<u8> {
    let width = if address.is_ipv4() { 32 } else { 128 };
    bits.map_or(Some(width), |bits| bits.parse().ok().filter(|bits| *bits <= width))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn no_network(text: &str) -> String {
    format!("`{text}` is no host, address or network as `10.0.0.0/8`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        Guard::new(&allowed.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn only_public_addresses_are_called() {
        for (address, expected) in [
            ("93.184.215.14", true),
            ("8.8.8.8", true),
            ("172.15.255.255", true),
            ("172.32.0.1", true),
            ("100.63.255.255", true),
            ("100.128.0.1", true),
            ("198.20.0.1", true),
            ("223.255.255.255", true),
            ("2606:2800:21f:cb07::1", true),
            ("2a00:1450:4001::200e", true),
            ("2001:4860:4860::8888", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:8.8.8.8", false),
            ("::ffff:127.0.0.1", false),
            ("::127.0.0.1", false),
            ("64:ff9b::8.8.8.8", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_url_is_https_and_plain_to_read_or_allowed_by_the_operator() {
        let allowed = ["hooks.internal", "127.0.0.1", "10.1.0.0/16", "fd00::/8"];
        for (url, by_default, if_allowed) in [
            ("https://client.example/news?x=1", true, true),
            ("https://client.example:8443/news", true, true),
            ("https://8.8.8.8/", true, true),
            ("http://8.8.8.8/", false, false),
            ("https://127.0.0.1/", false, true),
            ("http://127.0.0.1:8080/x", false, true),
            ("https://127.0.0.2/", false, false),
            ("https://[::ffff:127.0.0.1]/", false, false),
            ("http://10.1.2.3/", false, true),
            ("http://10.2.2.3/", false, false),
            ("https://[fd12::1]/", false, true),
            ("https://[::1]/", false, false),
            ("https://[fe80::1%25eth0]/", false, false),
            ("https://user:secret@client.example/", false, false),
            ("https://client.example@127.0.0.1/", false, false),
            ("ftp://client.example/", false, false),
            ("file:///etc/passwd", false, false),
            ("/news", false, false),
            ("client.example", false, false),
            ("", false, false),
        ] {
            assert_eq!(guard(&[]).check(url).is_ok(), by_default, "{url}");
            assert_eq!(guard(&allowed).check(url).is_ok(), if_allowed, "{url}");
        }
        assert!(guard(&[]).check(&format!("https://client.example/{}", "x".repeat(2_048))).is_err());
        for wrong in ["10.0.0.0/33", "10.0.0.0/x", "a b", "http://x", "*", ""] {
            assert!(Guard::new(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_a_name_stands_for_is_looked_at() {
        // Spellings that only the system's resolver takes for an address, too.
        for url in ["https://localhost/", "https://127.1/", "https://2130706433/", "https://0x7f000001/"] {
            assert!(guard(&[]).check_resolved(url).await.is_err(), "{url}");
        }
        assert!(guard(&["localhost"]).check_resolved("http://localhost:1/").await.is_ok());
        assert!(guard(&["127.0.0.1", "::1"]).check_resolved("http://localhost:1/").await.is_ok());
    }
}
