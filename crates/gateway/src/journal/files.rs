//! The data directory: who may open it, and the secrets that lie in it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use crate::journal::fault::StoreFault;

/// The data directory of an embedded store. While it is open for writing no other process can open it so.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Held by one process at a time; released by the system however that process ends.
    _lock: Option<File>,
}

impl DataDirectory {
    /// Opens the directory for the one writer, and makes it, for its owner only, where there is none.
    ///
    /// # Errors
    ///
    /// When another process has it open, or it can't be made.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        let unusable =
            |what: &str, error: &std::io::Error| StoreFault::Unusable(format!("{what} `{}`: {error}", path.display()));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(|error| unusable("can't make", &error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(|error| unusable("can't open", &error))?;
        lock.try_lock()
            .map_err(|_| StoreFault::Unusable(format!("`{}` is in use by another gateway", path.display())))?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Looks at the directory without writing, beside whoever writes.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    /// The path of a file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The 32 secret bytes in the file of that name; new ones from the system's generator where there is no file yet.
    ///
    /// # Errors
    ///
    /// When the file can't be read or written, or has another length.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], StoreFault> {
        match fs::read(self.file(name)) {
            Ok(bytes) => bytes.try_into().map_err(|_| StoreFault::Unusable(format!("`{name}` does not have 32 bytes"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self._lock.is_some() => {
                let mut bytes = [0; 32];
                random(&mut bytes)?;
                self.keep(name, &bytes)?;
                Ok(bytes)
            }
            Err(error) => Err(StoreFault::Unusable(format!("can't read `{}`: {error}", self.file(name).display()))),
        }
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

/// Fills `bytes` from the system's generator.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn random(bytes: &mut [u8]) -> Result<(), StoreFault> {
    rand::fill(bytes).map_err(|_| StoreFault::Failed("the system's random generator failed".to_owned()))
}
