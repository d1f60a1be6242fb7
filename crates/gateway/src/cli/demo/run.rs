//! From the flags to the end of the demo, whichever way it ends.

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::arguments::{Common, Demo, Part};
use crate::cli::demo::page::Page;
use crate::cli::demo::stage::Stage;
use crate::cli::demo::{part, story};
use crate::cli::exit::Exit;

/// Plays the story, or one part in it.
pub(in crate::cli) async fn run(common: &Common, demo: &Demo) -> Result<(), Exit> {
    if let Some(Part::Part(name)) = &demo.part {
        return part::run(common, name).await;
    }
    let mut stopped = Stopped::new()?;
    let mut page = Page::new();
    let mut stage = Stage::new(demo.directory.as_deref())?;
    let played = tokio::select! {
        played = story::play(&mut stage, &mut page, demo.keep) => played,
        () = stopped.wait() => Err(Exit::negative("stopped before the end of the story")),
    };
    let is_kept = demo.keep && played.is_ok();
    if is_kept {
        stopped.wait().await;
    }
    stage.close().await;
    if played.is_err() {
        page.text(&format!("What the processes wrote is in {}.", stage.directory().display()));
        return played;
    }
    stage.clear(is_kept)
}

/// The signals that end the demo. They are taken from the start on, so that none of them leaves a process behind.
struct Stopped(Vec<tokio::signal::unix::Signal>);

impl Stopped {
    fn new() -> Result<Self, Exit> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = kinds.into_iter().map(signal).collect::<Result<_, _>>();
        signals.map(Self).map_err(|error| Exit::system(format!("can't listen for signals: {error}")))
    }

    async fn wait(&mut self) {
        std::future::poll_fn(|context| {
            let is_there = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if is_there { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}
