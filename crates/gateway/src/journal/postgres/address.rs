//! Where the database is, as a URL, and whether the way there is protected.
//!
//! A mode that protects from nobody is not spoken: what leaves this machine is encrypted and the server proves its name, or the URL says `sslmode=disable`.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The schemes that are taken for this engine.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
/// How long one address is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// After how long without a byte the other side is asked whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// A database by its URL. It may have a password and so is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// How it is connected to.
    pub config: Config,
    /// The certificates that the server's must descend from; those of the web when there is none.
    pub root_certificates: Option<PathBuf>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts = self.config.get_hosts();
        write!(out, "postgres at {hosts:?}, database {:?}", self.config.get_dbname().unwrap_or_default())
    }
}

impl Address {
    /// Whether a store's URL is one for this engine.
    #[must_use]
    pub fn is_meant(url: &str) -> bool {
        SCHEMES.iter().any(|scheme| url.starts_with(scheme))
    }

    /// Reads a URL as libpq has them, with `sslmode` one of `disable`, `require` and `verify-full`, and `sslrootcert`.
    ///
    /// # Errors
    ///
    /// A sentence, without the URL, on what can't be read.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (url, sslmode, root_certificates) = without_tls(url);
        let config: Result<Config, _> = url.parse();
        let mut config = config.map_err(|error| format!("the URL of the database can't be read: {error}"))?;
        let ssl_mode = match sslmode.as_deref() {
            Some("disable") => SslMode::Disable,
            // The server's certificate is always checked, so that the two mean the same.
            Some("require" | "verify-full") => SslMode::Require,
            Some(other) => {
                return Err(format!("`sslmode={other}` is not spoken; use `disable`, `require` or `verify-full`"));
            }
            None if config.get_hosts().iter().all(is_here) => SslMode::Disable,
            None => SslMode::Require,
        };
        config.ssl_mode(ssl_mode);
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("portcullis");
        }
        Ok(Self { config, root_certificates: root_certificates.map(PathBuf::from) })
    }
}

/// The URL without the parameters that are ours to read.
fn without_tls(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut sslmode, mut roots, mut rest) = (None, None, Vec::new());
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => sslmode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => roots = Some(value.replace("%2F", "/").replace("%2f", "/")),
            Some(_) | None => rest.push(parameter),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    (url, sslmode, roots)
}

/// Whether what is said to the host stays on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<SslMode, &str>) {
        match (Address::parse(url), expected) {
            (Ok(address), Ok(mode)) => assert_eq!(address.config.get_ssl_mode(), mode, "{url}"),
            (Err(problem), Err(part)) => assert!(problem.contains(part) && !problem.contains("hush"), "{problem}"),
            (found, expected) => panic!("{url}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_the_url_says_otherwise() {
        check("postgres://ann:hush@localhost/gate", Ok(SslMode::Disable));
        check("postgres://ann:hush@127.0.0.1:5433/gate", Ok(SslMode::Disable));
        check("postgresql:///gate?host=/run/postgresql&user=ann", Ok(SslMode::Disable));
        check("postgres://ann:hush@db.example.org/gate", Ok(SslMode::Require));
        check("postgres://ann:hush@localhost,db.example.org/gate", Ok(SslMode::Require));
        check("postgres://ann:hush@db.example.org/gate?sslmode=disable", Ok(SslMode::Disable));
        check("postgres://ann:hush@localhost/gate?sslmode=verify-full&sslrootcert=/etc/ca.pem", Ok(SslMode::Require));
        check("postgres://ann:hush@localhost/gate?sslmode=prefer", Err("`sslmode=prefer` is not spoken"));
        check("postgres://ann:hush@localhost:many/gate", Err("can't be read"));
        check("postgres://ann:hush@localhost/gate?colour=red", Err("can't be read"));
    }

    #[test]
    fn a_url_is_never_shown() {
        let address = Address::parse("postgres://ann:hush@db.example.org/gate?sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert!(!format!("{address:?}").contains("hush"));
        assert_eq!(address.root_certificates, Some(PathBuf::from("/etc/ca.pem")));
    }
}
