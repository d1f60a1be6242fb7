//! One library, or a set of them that is installed together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian;
use crate::environment::Environment;
use crate::process;

pub(crate) struct Library {
    pub(crate) name: String,
    kind: Kind,
    /// The folder that holds all libraries.
    clients: PathBuf,
    /// All that decides what is installed: kept beside it, so that the next run can tell whether it is the same.
    stamp: String,
}

enum Kind {
    /// Installed from this file of requirements.
    Python(PathBuf),
    /// Installed from the `package.json` and `package-lock.json` of this folder.
    Node(PathBuf),
    /// A program of this crate, `name@version`, built once.
    Rust(String),
}

/// What `tests/clients` and the tests of `sdk/python` ask for; asks the system for the interpreters first.
pub(crate) fn wanted(environment: &Environment) -> Result<Vec<Library>, String> {
    let sources = environment.root.join("tests/clients");
    let clients = environment.clients();
    let mut libraries = Vec::new();
    let python = [sources.join("python"), environment.root.join("sdk/python/tests")];
    for (name, path) in python.iter().flat_map(|folder| listed(folder, "requirements-")) {
        debian::need("python3", &["-c", "import ensurepip, venv"], &["python3", "python3-venv"])?;
        let stamp = stamp("python3", &[&path])?;
        libraries.push(Library { name, kind: Kind::Python(path), clients: clients.clone(), stamp });
    }
    for (name, path) in packages(&sources) {
        debian::need("node", &["--version"], &["nodejs"])?;
        debian::need("npm", &["--version"], &["npm"])?;
        let stamp = stamp("node", &[&path.join("package.json"), &path.join("package-lock.json")])?;
        libraries.push(Library { name, kind: Kind::Node(path), clients: clients.clone(), stamp });
    }
    for (name, path) in listed(&sources.join("rust"), "crate-") {
        let package = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // What it is built with does not matter to those who speak to it.
        libraries.push(Library {
            name,
            kind: Kind::Rust(package.trim().to_owned()),
            clients: clients.clone(),
            stamp: package,
        });
    }
    Ok(libraries)
}

/// `<prefix><name>.txt`, in order of name.
fn listed(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let paths = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let named = paths.filter_map(|path| {
        let file = path.file_name()?.to_str()?;
        let name = file.strip_prefix(prefix)?.strip_suffix(".txt")?.to_owned();
        Some((name, path))
    });
    let mut found: Vec<_> = named.collect();
    found.sort();
    found
}

/// Folders with a `package-lock.json`, in order of name.
fn packages(folder: &Path) -> Vec<(String, PathBuf)> {
    let paths = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let locked = paths.filter(|path| path.join("package-lock.json").is_file());
    let named = locked.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
    let mut found: Vec<_> = named.collect();
    found.sort();
    found
}

/// The interpreter's version and the texts; an environment does not outlive its interpreter.
fn stamp(interpreter: &str, files: &[&Path]) -> Result<String, String> {
    let mut stamp = process::answer(interpreter, &["--version"]).unwrap_or_default();
    for file in files {
        stamp.push('\n');
        stamp.push_str(&fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?);
    }
    Ok(stamp)
}

impl Library {
    pub(crate) fn current(&self) -> bool {
        fs::read_to_string(self.stamp_path()).is_ok_and(|stamp| stamp == self.stamp)
    }

    /// The stamp goes first and comes last, so that an interrupted install is never taken for a whole one.
    pub(crate) fn install(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.clients.display());
        fs::create_dir_all(&self.clients).map_err(failed)?;
        if self.stamp_path().exists() {
            fs::remove_file(self.stamp_path()).map_err(failed)?;
        }
        match &self.kind {
            Kind::Python(requirements) => self.install_python(requirements)?,
            Kind::Node(sources) => self.install_node(sources)?,
            Kind::Rust(package) => self.install_rust(package)?,
        }
        fs::write(self.stamp_path(), &self.stamp).map_err(failed)
    }

    fn install_python(&self, requirements: &Path) -> Result<(), String> {
        let folder = self.clients.join(&self.name);
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(&folder);
        process::run(make)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
        process::run(pip)
    }

    /// `npm ci` installs beside the lock file, so both files are copied to where the modules should be.
    fn install_node(&self, sources: &Path) -> Result<(), String> {
        let folder = self.clients.join(&self.name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for file in ["package.json", "package-lock.json"] {
            let copied = fs::copy(sources.join(file), folder.join(file));
            copied.map_err(|error| format!("{file}: {error}"))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
        process::run(npm)
    }

    /// Unoptimised: it is there in half the time, and runs for a moment. What it was built from is not kept.
    fn install_rust(&self, package: &str) -> Result<(), String> {
        let (folder, build) = (self.clients.join(&self.name), self.clients.join(format!("{}-build", self.name)));
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", "--debug", "--force", package, "--root"]).arg(&folder);
        // Outside of the workspace, whose settings are not meant for it.
        cargo.arg("--target-dir").arg(&build).current_dir(&self.clients);
        let built = process::run(cargo);
        let _ = fs::remove_dir_all(build);
        built
    }

    fn stamp_path(&self) -> PathBuf {
        self.clients.join(format!("{}.stamp", self.name))
    }
}
