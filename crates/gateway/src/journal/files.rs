//! The data directory: who may open it, and the secrets that lie in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_domain::journal::checkpoint::Signer;

use crate::entropy;
use crate::journal::fault::StoreFault;

/// The file with the secret that bodies are encrypted under.
pub const VAULT_FILE: &str = "vault.key";
/// The file with the seed of the key that signs checkpoints.
pub const SIGNER_FILE: &str = "journal.key";
/// The name that checkpoints are signed under.
const ORIGIN: &str = "portcullis";
/// How long another process may hold the directory before it counts as in use: the system takes a moment to end one that was killed.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait between two attempts to lock it.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The data directory of an embedded store. While it is open for writing no other process can open it so.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Held by one process at a time; released by the system however that process ends.
    lock: Option<File>,
}

impl DataDirectory {
    /// Opens the directory for the one writer, and makes it, for its owner only, where there is none. Waits a moment for a process that is ending.
    ///
    /// # Errors
    ///
    /// When another process has it open, or it can't be made.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        let unusable =
            |what: &str, error: &std::io::Error| StoreFault::Unusable(format!("{what} `{}`: {error}", path.display()));
        make(path).map_err(|error| unusable("can't make", &error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(|error| unusable("can't open", &error))?;
        match patiently(|| lock.try_lock()) {
            Ok(()) => Ok(Self { path: path.to_owned(), lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => {
                Err(StoreFault::Unusable(format!("`{}` is in use by another gateway", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(unusable("can't lock", &error)),
        }
    }

    /// Looks at the directory without writing, beside whoever writes.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The 32 secret bytes in the file of that name.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or has another length.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], StoreFault> {
        let path = self.file(name);
        let bytes = fs::read(&path);
        let bytes = bytes.map_err(|error| StoreFault::Unusable(format!("can't read `{}`: {error}", path.display())))?;
        bytes.try_into().map_err(|_| StoreFault::Unusable(format!("`{}` does not have 32 bytes", path.display())))
    }

    /// The signer of checkpoints.
    ///
    /// # Errors
    ///
    /// When its key can't be read.
    pub fn signer(&self) -> Result<Signer, StoreFault> {
        Signer::new(ORIGIN, &self.secret(SIGNER_FILE)?).map_err(StoreFault::Unusable)
    }

    /// Makes the secret of that name from the system's generator, unless there is one or `made_with` is there: what was
    /// written with a secret that is lost can't be read with a new one.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn make_secret(&self, name: &str, made_with: &str) -> Result<(), StoreFault> {
        if self.lock.is_none() || self.file(name).exists() || self.file(made_with).exists() {
            return Ok(());
        }
        self.keep(name, &entropy::bytes::<32>()?)
    }

    /// Writes a file that only its owner may read, durably, and whole or not at all.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), StoreFault> {
        let new = self.file(&format!("{name}.new"));
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, self.file(name))?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error: std::io::Error| StoreFault::Failed(format!("can't write `{name}`: {error}")))
    }
}

/// Tries to lock until nobody else holds the lock, or has held it for too long.
#[expect(clippy::disallowed_methods, reason = "a start waits for a process that is ending, and nothing else runs yet")]
fn patiently(mut try_lock: impl FnMut() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let mut waited = Duration::ZERO;
    loop {
        match try_lock() {
            Err(TryLockError::WouldBlock) if waited < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PAUSE);
                waited += LOCK_PAUSE;
            }
            tried => return tried,
        }
    }
}

/// Makes a directory, for its owner only, that is still there after the power failed.
fn make(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(|parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_ending_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut ending = Some(DataDirectory::open(folder.path()).unwrap());
        let lock = File::open(folder.path().join("lock")).unwrap();
        let mut attempts = 0;
        let locked = patiently(|| {
            attempts += 1;
            // It holds the lock twice as long as one look takes, and is then gone.
            if attempts == 3 {
                ending.take();
            }
            lock.try_lock()
        });
        assert!(locked.is_ok() && attempts == 3, "{locked:?} after {attempts} attempts");
    }

    #[test]
    fn a_directory_that_stays_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _holder = DataDirectory::open(folder.path()).unwrap();
        let refused = DataDirectory::open(folder.path()).unwrap_err();
        assert!(refused.to_string().contains("in use by another gateway"), "{refused}");
    }
}
