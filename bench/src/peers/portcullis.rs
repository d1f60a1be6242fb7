//! Portcullis as a user would run it: authentication, session, policy, budget and durable journal are all on.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::site::Site;
use crate::{
    child::{Child, free_address},
    failure::Result,
};

pub(super) async fn start(site: &Site<'_>) -> Result<(SocketAddr, String, Child)> {
    let program = program()?;
    let folder = site.folder.join("portcullis");
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let file = folder.join("config.yaml");
    fs::write(&file, configuration(address, site, &folder.join("data")))?;
    let arguments = ["up".as_ref(), "--config".as_ref(), file.as_os_str()];
    let mut child = Child::start(&program, arguments, site.cores, &folder)?;
    child.ready(address, "/readyz").await?;
    let key = create_key(&program, &file)?;
    Ok((address, key, child))
}

/// The gateway built with the same profile lies beside this program.
fn program() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("portcullis");
    if path.is_file() {
        return Ok(path);
    }
    Err("not built; run `cargo build --release -p portcullis`".into())
}

fn configuration(listen: SocketAddr, site: &Site<'_>, data: &Path) -> String {
    let (upstream, data) = (site.upstream, data.display());
    let journal = match site.store {
        Some(store) => format!(r#"store: "{store}", directory: "{data}""#),
        None => format!(r#"store: "sqlite:{data}""#),
    };
    format!(
        r#"server: {{ listen: "{listen}" }}
journal: {{ {journal} }}
identity:
  principals:
    bench: {{ roles: [bench] }}
registry:
  models:
    bench-model: {{ base_url: "http://{upstream}/v1", price: {{ input: 1.00, output: 2.00 }} }}
  servers:
    bench: {{ url: "http://{upstream}/mcp" }}
policy:
  text: 'permit (principal in Role::"bench", action, resource);'
ledger:
  budgets:
    bench: {{ usd: 1000000 }}
"#
    )
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

fn create_key(program: &Path, file: &Path) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.args(["identity", "key", "create", "bench", "--json", "--config"]).arg(file).output()?;
    if !output.status.success() {
        return Err(format!("no key: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice::<Key>(&output.stdout)?.key)
}
