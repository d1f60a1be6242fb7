//! All gateways of a store have the same two secrets, as files in their data directories. The store has a value that is derived from each, so that a gateway with others
//! is refused before it writes what nobody else can read, or signs what nobody else believes.

use portcullis_domain::digest::Digest;
use portcullis_domain::journal::checkpoint::Signer;
use tokio_postgres::Client;

use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, SIGNER_FILE, VAULT_FILE};
use crate::journal::postgres::trouble::Trouble;
use crate::journal::vault::Vault;

/// What the fingerprint of a secret is derived for.
const PURPOSE: &str = "portcullis fingerprint of a secret";

/// What a gateway needs of its secrets.
pub struct Secrets {
    /// What bodies are encrypted under.
    pub vault: [u8; 32],
    /// What signs checkpoints.
    pub signer: Signer,
}

impl Secrets {
    /// The vault.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::new(&self.vault)
    }
}

/// Reads the secrets of the data directory and compares them with those that the store was begun with; makes and records them where the store is new. The
/// lock of the set-up must be held.
///
/// # Errors
///
/// When the store was begun with others, or with some and there are none here.
pub async fn open(client: &Client, directory: &DataDirectory) -> Result<Secrets, Trouble> {
    let rows = client.query("SELECT name, fingerprint FROM portcullis.secrets", &[]).await?;
    let mut recorded = Vec::new();
    for row in rows {
        recorded.push((row.try_get::<_, String>(0)?, row.try_get::<_, Vec<u8>>(1)?));
    }
    if recorded.is_empty() {
        // Nothing was written with any secret yet: what lies here is used, what is missing is made.
        directory.make_secret(VAULT_FILE, VAULT_FILE)?;
        directory.make_secret(SIGNER_FILE, SIGNER_FILE)?;
        let [(vault, vault_print), (signer, signer_print)] = fingerprints(directory)?;
        let insert = "INSERT INTO portcullis.secrets (name, fingerprint) VALUES ($1, $2), ($3, $4)";
        let (vault_print, signer_print) = (vault_print.0.as_slice(), signer_print.0.as_slice());
        client.execute(insert, &[&vault, &vault_print, &signer, &signer_print]).await?;
    } else {
        compare(directory, &recorded)?;
    }
    Ok(Secrets { vault: directory.secret(VAULT_FILE)?, signer: directory.signer()? })
}

fn compare(directory: &DataDirectory, recorded: &[(String, Vec<u8>)]) -> Result<(), StoreFault> {
    let wish = "copy `vault.key` and `journal.key` from the data directory of a gateway that uses this store";
    for name in [VAULT_FILE, SIGNER_FILE] {
        if !directory.file(name).exists() {
            let path = directory.file(name);
            return Err(StoreFault::Unusable(format!(
                "the store is in use and `{}` is missing: {wish}",
                path.display()
            )));
        }
    }
    for (name, fingerprint) in fingerprints(directory)? {
        if !recorded.iter().any(|(known, bytes)| known == name && bytes == &fingerprint.0) {
            let path = directory.file(name);
            return Err(StoreFault::Unusable(format!("`{}` is not the one of this store: {wish}", path.display())));
        }
    }
    Ok(())
}

fn fingerprints(directory: &DataDirectory) -> Result<[(&'static str, Digest); 2], StoreFault> {
    let of = |name: &'static str| {
        let secret = directory.secret(name)?;
        Ok::<_, StoreFault>((name, Digest::of_parts(&[PURPOSE.as_bytes(), b"\n", name.as_bytes(), b"\n", &secret])))
    };
    Ok([of(VAULT_FILE)?, of(SIGNER_FILE)?])
}
