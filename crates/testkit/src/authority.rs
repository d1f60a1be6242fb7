//! An authority that issues certificates, for what must prove its name. They are made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=authority -keyout ca.key -out ca.pem")?;
        Ok(authority)
    }

    /// The file with its own certificate.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
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
