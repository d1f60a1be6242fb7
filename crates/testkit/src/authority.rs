//! An authority that issues certificates, for what must prove its name. They are made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How `openssl ca` keeps what it has issued.
const CONFIG: &str = "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ncertificate=ca.pem\nprivate_key=ca.key\n\
    default_md=sha256\ndefault_days=1\ndefault_crl_days=1\nunique_subject=no\npolicy=any\ncrl_extensions=list\n\
    [any]\ncommonName=supplied\n[list]\nauthorityKeyIdentifier=keyid\n";

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate of the server.
    pub certificate: String,
    /// Its secret key.
    pub key: String,
}

/// An authority with its files.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// A new one in this folder, which is to be its own.
    ///
    /// # Errors
    ///
    /// A sentence when `openssl` does not make it.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let authority = Self { folder: folder.to_owned() };
        std::fs::write(folder.join("ca.cnf"), CONFIG).map_err(|error| error.to_string())?;
        std::fs::write(folder.join("index"), "").map_err(|error| error.to_string())?;
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=authority -keyout ca.key -out ca.pem")?;
        Ok(authority)
    }

    /// The file with its own certificate.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate with these names, as in `URI:spiffe://example.org/a,DNS:localhost`, and these extensions besides, each on a line of its own. It ends at that time, as in
    /// `20261122093000Z`, or tomorrow.
    ///
    /// # Errors
    ///
    /// A sentence when `openssl` does not make it.
    pub fn certify(&self, names: &str, more: &str, ends_at: Option<&str>) -> Result<Certificate, String> {
        let file = |name: &str| self.folder.join(name);
        let names = if names.is_empty() { String::new() } else { format!("subjectAltName={names}\n") };
        std::fs::write(file("names"), format!("basicConstraints=CA:FALSE\n{names}{more}\n"))
            .map_err(|error| error.to_string())?;
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=somebody -keyout server.key -out server.csr")?;
        let ends = ends_at.map(|time| format!(" -startdate 20200101000000Z -enddate {time}")).unwrap_or_default();
        self.openssl(&format!("ca -batch -notext -config ca.cnf -in server.csr -out server.pem -extfile names{ends}"))?;
        let read = |name: &str| std::fs::read_to_string(file(name)).map_err(|error| error.to_string());
        Ok(Certificate { certificate: read("server.pem")?, key: read("server.key")? })
    }

    /// The list of the certificates that it has taken back, with this one among them.
    ///
    /// # Errors
    ///
    /// A sentence when `openssl` does not make it.
    pub fn revoke(&self, certificate: Option<&Certificate>) -> Result<String, String> {
        let file = |name: &str| self.folder.join(name);
        if let Some(certificate) = certificate {
            std::fs::write(file("revoked.pem"), &certificate.certificate).map_err(|error| error.to_string())?;
            self.openssl("ca -config ca.cnf -revoke revoked.pem")?;
        }
        self.openssl("ca -config ca.cnf -gencrl -out crl.pem")?;
        std::fs::read_to_string(file("crl.pem")).map_err(|error| error.to_string())
    }

    /// A certificate of a server of that name, as in `IP:127.0.0.1` or `DNS:localhost`.
    ///
    /// # Errors
    ///
    /// A sentence when `openssl` does not make it.
    pub fn issue(&self, name: &str) -> Result<Certificate, String> {
        let file = |name: &str| self.folder.join(name);
        std::fs::write(file("names"), format!("subjectAltName={name}\n")).map_err(|error| error.to_string())?;
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key -out server.csr")?;
        self.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile names -out server.pem",
        )?;
        let read = |name: &str| std::fs::read_to_string(file(name)).map_err(|error| error.to_string());
        Ok(Certificate { certificate: read("server.pem")?, key: read("server.key")? })
    }

    fn openssl(&self, arguments: &str) -> Result<(), String> {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.folder).output();
        let output = output.map_err(|error| format!("`openssl` makes the certificates: {error}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}
