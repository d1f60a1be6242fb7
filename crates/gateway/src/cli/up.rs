//! `portcullis up`: the gateway itself.

use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::ids::GatewayId;
use portcullis_domain::world::World;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::assemble::{Assembly, StartFault};
use crate::cli::arguments::{Common, Up};
use crate::cli::exit::Exit;
use crate::cli::print::error_line;
use crate::doors::arrived::Doors;
use crate::doors::serve::{Patience, serve};
use crate::life::Gate;
use crate::telemetry::logging;
use crate::timers;

/// How many exchanges of tokens are under way at a time. They are short, and whoever asks for one is not known at first.
const EXCHANGES_LIMIT: usize = 256;
/// How long calls may take to be settled once nobody waits for their answers any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether they are.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn run(common: &Common, up: &Up) -> Result<(), Exit> {
    logging::start(&up.log, up.log_json);
    let assembly = Assembly::start(&common.config, Box::new(end_of_store)).await.map_err(explain)?;
    let transport = assembly.sealer.clone();
    let gate = assembly.gate.clone();
    let me = assembly.engine.gateway();
    let server = gate.snapshot.load().config.server.clone();
    let listener = TcpListener::bind(server.listen).await;
    let listener = listener.map_err(|error| Exit::system(format!("can't listen at {}: {error}", server.listen)))?;
    let address = listener.local_addr().unwrap_or(server.listen);
    // Before anybody can know that the gateway is there: until somebody listens to them, signals kill.
    let signals = Signals::listen().map_err(|error| Exit::system(format!("can't listen to signals: {error}")))?;
    announce(&assembly, address);
    let (stop, stopped) = watch::channel(false);
    let doors = Arc::new(Doors {
        gate: gate.clone(),
        transport,
        clock: assembly.clock.clone(),
        stop: stopped.clone(),
        calls: Arc::new(Semaphore::new(server.calls_limit)),
        exchanges: Arc::new(Semaphore::new(EXCHANGES_LIMIT)),
    });
    let Signals { terminate, interrupt, hangup } = signals;
    tokio::spawn(stop_on_signal(stop, terminate, interrupt));
    // Calls are taken for a while yet: what they rest on is looked after until they have ended.
    let (rest, resting) = watch::channel(false);
    let kept = tokio::spawn(timers::run(assembly, doors.clone(), hangup, stopped, resting));
    serve(listener, doors, || patience(&gate)).await;
    let _ = rest.send(true);
    settle_rest(&gate, me.as_ref()).await;
    let assembly = kept.await.map_err(|error| Exit::system(error.to_string()))?;
    assembly.stop().await;
    tracing::info!("stopped");
    Ok(())
}

fn patience(gate: &Gate) -> Patience {
    let snapshot = gate.snapshot.load();
    Patience { unready: snapshot.unready(), drain: snapshot.drain() }
}

fn announce(assembly: &Assembly, address: std::net::SocketAddr) {
    if let Some(file) = &assembly.new_admin_key {
        error_line(&format!("first start: the administrator's key is in {}", file.display()));
    }
    let snapshot = assembly.gate.snapshot.load();
    let (models, tools) = (snapshot.catalogue.models().count(), snapshot.catalogue.all_tools().len());
    tracing::info!(%address, models, tools, policies = snapshot.policy.policies(), "listening");
}

/// A store that fails after a decision can't be trusted to agree with memory: the process ends at once, and the next start rebuilds.
#[expect(clippy::disallowed_methods, reason = "no answer may leave after this, not even one that is being written")]
fn end_of_store(fault: &crate::journal::StoreFault) {
    tracing::error!(%fault, "the journal failed; ending at once, the next start rebuilds from what is there");
    std::process::exit(74);
}

/// The signals that the gateway obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Calls whose callers have left are cancelled and still to be written down; they have no connection any more that is waited for.
/// Those of other gateways that share the journal are theirs.
async fn settle_rest(gate: &Gate, me: Option<&GatewayId>) {
    let has_open = |me: Option<GatewayId>| {
        move |world: &World| {
            let has_call = world.open_calls.values().any(|call| call.gateway == me);
            has_call || world.requests.all_open().any(|(_, open)| open.gateway == me)
        }
    };
    let settled = async {
        gate.owed.pay(&gate.journal).await;
        while gate.journal.read(has_open(me.cloned())).await.is_ok_and(|open| open) {
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
    };
    if tokio::time::timeout(SETTLE_LIMIT, settled).await.is_err() {
        tracing::warn!("calls were still open at the end; the next start settles them as unknown");
    }
}

async fn stop_on_signal(stop: watch::Sender<bool>, mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: not ready any more, calls under way may finish");
    let _ = stop.send(true);
    // Kept until the process ends: receivers would take a closed channel for a stop.
    std::future::pending::<()>().await;
}

fn explain(fault: StartFault) -> Exit {
    match fault {
        StartFault::Config(problems) => {
            for problem in &problems {
                error_line(&problem.to_string());
            }
            Exit::config(format!(
                "{} problem(s) in the configuration; `portcullis check` finds them without starting",
                problems.len()
            ))
        }
        StartFault::Store(fault) => fault.into(),
        StartFault::System(problem) => Exit::system(problem),
    }
}
