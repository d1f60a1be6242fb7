//! What happens by itself: reloads when files change or the process is told to, and servers that are asked again.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

use crate::assemble::Assembly;
use crate::config::Problem;

/// How long files are left alone after a change, so that an editor can finish.
const SETTLE: Duration = Duration::from_millis(150);
/// How often it is looked whether a server has other tools.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often all servers are asked again: those over HTTP don't say when something changes.
const REFRESH_EVERY: u32 = 120;
/// How often servers that were not reached are tried again.
const RETRY_EVERY: u32 = 6;

/// Keeps the assembly up to date until `stop` says so; then hands it back.
pub async fn run(mut assembly: Assembly, mut hangup: Signal, mut stop: watch::Receiver<bool>) -> Assembly {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    // Held to the end: dropping it ends the watch.
    let mut watcher = watch_files(&assembly, changed.clone());
    let mut looks = 0_u32;
    loop {
        let due = tokio::select! {
            () = stopped(&mut stop) => break,
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
                let files = assembly.files();
                reload(&mut assembly).await;
                if assembly.files() != files {
                    watcher = watch_files(&assembly, changed.clone());
                    // What was changed before the new files were watched, nobody has told.
                    reload(&mut assembly).await;
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

/// What there is to do.
enum Due {
    Reload,
    Changed,
    Look,
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone can't say anything else any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn look(assembly: &mut Assembly, looks: u32) {
    assembly.gate.owed.pay(&assembly.gate.journal).await;
    let is_overtaken = assembly.is_overtaken().await;
    if is_overtaken {
        tracing::warn!(
            "another gateway has put other policies in force; calls are refused here until the configuration and the tools are the same"
        );
    }
    let is_due = is_overtaken
        || assembly.has_changed()
        || looks.is_multiple_of(REFRESH_EVERY)
        || (assembly.has_unreached() && looks.is_multiple_of(RETRY_EVERY));
    if is_due {
        report(
            assembly.refresh().await,
            "the tools that servers declare now are not taken: the policies do not fit them",
        );
    }
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
fn watch_files(assembly: &Assembly, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let files = assembly.files();
    let watched = files.clone();
    let on_event = move |event: notify::Result<notify::Event>| {
        let is_ours = |path: &PathBuf| watched.iter().any(|file| file.file_name() == path.file_name());
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(is_ours)) {
            // One notice that waits is enough.
            let _ = changed.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(on_event)
        .inspect_err(|error| tracing::warn!(%error, "files are not watched; send SIGHUP after a change"))
        .ok()?;
    let mut directories: Vec<PathBuf> = files.iter().filter_map(|file| file.parent().map(PathBuf::from)).collect();
    directories.sort();
    directories.dedup();
    for directory in directories {
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, directory = %directory.display(), "a directory is not watched; send SIGHUP after a change");
        }
    }
    Some(watcher)
}
