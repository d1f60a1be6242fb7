//! What happens by itself: reloads when files change or the process is told to, and servers that are asked again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use portcullis_domain::policy::Version;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

use crate::approvals;
use crate::assemble::Assembly;
use crate::cancels;
use crate::config::Problem;
use crate::deliveries;
use crate::doors::arrived::Doors;
use crate::life::Gate;
use crate::news;
use crate::rollback::Order;
use crate::stop::stopped;

/// What Kubernetes replaces when a mounted secret changes.
const VOLUME_LINK: &str = "..data";
/// How long files are left alone after a change, so that an editor can finish.
const SETTLE: Duration = Duration::from_millis(150);
/// How often it is looked whether a server has other tools.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often all servers are asked again: those over HTTP don't say when something changes.
const REFRESH_EVERY: u32 = 120;
/// How often replicas of agents are asked how they are.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often servers that were not reached are tried again.
const RETRY_EVERY: u32 = 6;

/// Keeps the assembly up to date until `stop` says so; then hands it back. Once `leaving` says so, nothing is begun any more that could as well be begun by another gateway.
pub async fn run(
    mut assembly: Assembly,
    doors: Arc<Doors>,
    mut hangup: Signal,
    leaving: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) -> Assembly {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    // Held to the end: dropping it ends the watch.
    let mut places = Places::of(&assembly);
    let mut watcher = watch_files(&places, changed.clone());
    let mut looks = 0_u32;
    tokio::spawn(deliveries::run(assembly.gate.clone(), assembly.clock.clone(), leaving.clone()));
    tokio::spawn(approvals::run(doors, leaving.clone()));
    tokio::spawn(cancels::run(assembly.gate.clone(), assembly.clock.clone(), leaving.clone()));
    tokio::spawn(news::run(assembly.gate.clone(), assembly.clock.clone(), leaving));
    tokio::spawn(probe_replicas(assembly.gate.clone(), stop.clone()));
    tokio::spawn(refresh_cards(assembly.gate.clone(), stop.clone()));
    let mut doorway = assembly.gate.journal.doorway();
    loop {
        let due = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(order) = assembly.orders.recv() => Due::Order(order),
            Ok(()) = doorway.changed() => Due::Heard(doorway.borrow_and_update().policies),
            Some(()) = hangup.recv() => Due::Reload,
            Some(()) = changes.recv() => Due::Changed,
            () = tokio::time::sleep(LOOK_INTERVAL) => Due::Look,
        };
        match due {
            Due::Reload | Due::Changed => {
                if matches!(due, Due::Changed) {
                    tokio::time::sleep(SETTLE).await;
                    while changes.try_recv().is_ok() {}
                }
                reload(&mut assembly).await;
                while places != Places::of(&assembly) {
                    places = Places::of(&assembly);
                    watcher = watch_files(&places, changed.clone());
                    // What was changed before the new files were watched, nobody has told.
                    reload(&mut assembly).await;
                }
            }
            Due::Order(order) => assembly.serve(order).await,
            // Other policies may be in force: nobody waits for the next look.
            Due::Heard(version) => {
                if version != Some(assembly.gate.snapshot.load().policy.version()) {
                    let is_overtaken = catch_up(&mut assembly).await;
                    if is_overtaken {
                        refresh(&mut assembly).await;
                    }
                }
            }
            Due::Look => {
                looks = looks.wrapping_add(1);
                look(&mut assembly, looks).await;
            }
        }
    }
    drop(watcher);
    assembly
}

/// Asks replicas of agents how they are, until `stop` says so.
async fn probe_replicas(gate: Arc<Gate>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(PROBE_INTERVAL) => {
                gate.issuers.keep_fresh();
                gate.probe_replicas().await;
            }
        }
    }
}

/// Looks at the cards of agents, until `stop` says so.
async fn refresh_cards(gate: Arc<Gate>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = async {
                gate.refresh_cards().await;
                tokio::time::sleep(PROBE_INTERVAL).await;
            } => {}
        }
    }
}

/// What there is to do.
enum Due {
    Reload,
    Changed,
    Order(Order),
    Heard(Option<Version>),
    Look,
}

/// Takes in the policies that another gateway has put in force, if there are any that are new. Says whether that can't be done without asking the servers for their tools.
async fn catch_up(assembly: &mut Assembly) -> bool {
    if !assembly.is_overtaken().await {
        return false;
    }
    if assembly.follow().await {
        tracing::info!("another gateway has put other policies in force, which are in force here too");
        return false;
    }
    tracing::warn!(
        "another gateway has put other policies in force; calls are refused here until the configuration and the tools are the same"
    );
    true
}

async fn look(assembly: &mut Assembly, looks: u32) {
    assembly.gate.owed.pay(&assembly.gate.journal).await;
    let is_overtaken = catch_up(assembly).await;
    let is_due = is_overtaken
        || assembly.has_changed()
        || assembly.has_news()
        || looks.is_multiple_of(REFRESH_EVERY)
        || (assembly.has_unreached() && looks.is_multiple_of(RETRY_EVERY));
    if is_due {
        refresh(assembly).await;
    }
}

async fn refresh(assembly: &mut Assembly) {
    report(assembly.refresh().await, "the tools that servers declare now are not taken: the policies do not fit them");
}

async fn reload(assembly: &mut Assembly) {
    let outcome = assembly.reload().await;
    if outcome.is_ok() {
        tracing::info!("the configuration was taken in");
    }
    report(outcome, "the configuration is broken and not taken; everything stays as it was");
}

fn report(outcome: Result<(), Vec<Problem>>, message: &str) {
    if let Err(problems) = outcome {
        for problem in &problems {
            tracing::error!("{problem}");
        }
        tracing::error!(problems = problems.len(), "{message}");
    }
}

/// Watches the directories of the configuration and of its policies: editors replace files, which a watch of the file itself would not see.
fn watch_files(places: &Places, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    // As the events name them.
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let watched: Vec<PathBuf> = places.files.iter().map(absolute).collect();
    let on_event = move |event: notify::Result<notify::Event>| {
        // A folder on the way to a file counts as the file: it may be that which was missing.
        let is_ours = |path: &PathBuf| {
            // Where files come with a mounted volume, a link beside them is set to a new folder with all of them.
            path.file_name().is_some_and(|name| name == VOLUME_LINK)
                || watched
                    .iter()
                    .any(|file| file.file_name() == path.file_name() || (path.is_dir() && file.starts_with(path)))
        };
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(is_ours)) {
            // One notice that waits is enough.
            let _ = changed.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(on_event)
        .inspect_err(|error| tracing::warn!(%error, "files are not watched; send SIGHUP after a change"))
        .ok()?;
    for directory in &places.directories {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, directory = %directory.display(), "a directory is not watched; send SIGHUP after a change");
        }
    }
    Some(watcher)
}

/// What is watched.
#[derive(PartialEq)]
struct Places {
    files: Vec<PathBuf>,
    /// The directories that the files lie in; for one that is not there, the nearest above it that is.
    directories: BTreeSet<PathBuf>,
}

impl Places {
    fn of(assembly: &Assembly) -> Self {
        let files = assembly.files();
        let named =
            |directory: &Path| if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.to_owned() };
        let there = |file: &PathBuf| file.ancestors().skip(1).map(named).find(|directory| directory.is_dir());
        let directories = files.iter().filter_map(there).collect();
        Self { files, directories }
    }
}
