//! The other processes of the story.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portcullis_testkit::agent::{self, AgentOptions, Form, ReplicaOptions};
use portcullis_testkit::claims;
use portcullis_testkit::model::{self, ModelOptions};
#[cfg(target_os = "linux")]
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::net::TcpListener;

use crate::cli::arguments::{AgentPart, Common, PartName, ReplicaPart};
use crate::cli::demo::agent::ADJUSTER;
use crate::cli::exit::Exit;
use crate::cli::print;

pub(super) async fn run(common: &Common, part: &PartName) -> Result<(), Exit> {
    match part {
        PartName::Model { port, key_file } => serve_model(*port, key_file.as_deref()).await,
        PartName::Claims { payments } => claims::serve_stdio(payments).await.map_err(Exit::io),
        PartName::Agent(part) => work(common, part).await,
        PartName::Replica(part) => serve_replica(common, part).await,
        PartName::Bound { argv } => Err(become_bound(argv)),
    }
}

/// Becomes the program, with the same process id, so that there is nothing between the demo and what it kills. The demo starts processes from its main thread only, whose
/// end is the demo's: Linux means the thread when it says parent.
fn become_bound(argv: &[String]) -> Exit {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Exit::system(format!("can't be bound to the demo: {error}"));
    }
    let Some((program, arguments)) = argv.split_first() else { return Exit::system("there is no program") };
    let error = Command::new(program).args(arguments).exec();
    Exit::system(format!("can't start `{program}`: {error}"))
}

async fn serve_model(port: u16, key_file: Option<&Path>) -> Result<(), Exit> {
    let key = key_file.map(read_key).transpose()?;
    let listener = listen(port).await?;
    if let Ok(address) = listener.local_addr() {
        print::error_line(&format!("the scripted model listens at http://{address}/v1"));
    }
    model::serve(listener, ModelOptions { key, ..ModelOptions::default() }).await.map_err(Exit::system)
}

async fn serve_replica(common: &Common, part: &ReplicaPart) -> Result<(), Exit> {
    let options = ReplicaOptions {
        agent: ADJUSTER.to_owned(),
        base_url: part.url.clone(),
        key_file: part.key_file.clone(),
        form: form(common),
        out: || Box::new(std::io::stdout()),
    };
    agent::serve(listen(part.port).await?, options).await.map_err(Exit::system)
}

async fn listen(port: u16) -> Result<TcpListener, Exit> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| Exit::system(format!("can't listen at port {port}: {error}")))
}

fn form(common: &Common) -> Form {
    if common.json { Form::Json } else { Form::Text }
}

async fn work(common: &Common, part: &AgentPart) -> Result<(), Exit> {
    let options = AgentOptions {
        instruction: part.say.clone(),
        form: form(common),
        pause: Duration::from_millis(part.pause_ms),
        hold_before: part.hold_before.clone(),
        ..AgentOptions::new(&part.url, &read_key(&part.key_file)?, &part.session)
    };
    let report = agent::run(&options, &mut std::io::stdout()).await.map_err(Exit::unavailable)?;
    report.refusal.map_or(Ok(()), |refusal| Err(Exit::negative(format!("the gateway refuses: {refusal}"))))
}

fn read_key(file: &Path) -> Result<String, Exit> {
    let key = std::fs::read_to_string(file);
    let key = key.map_err(|error| Exit::io(format!("the key file `{}` can't be read: {error}", file.display())))?;
    Ok(key.trim().to_owned())
}
