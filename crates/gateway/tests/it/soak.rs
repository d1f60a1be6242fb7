//! The soak: three gateways on one database and one Redis behind a balancer, three replicas of an agent that keeps its state in sessions and has effects by a tool, and something that
//! is killed every second. Whoever was told that a turn is done finds it done; no turn runs on a replica that another one has taken over from; no effect happens twice;
//! and every session has exactly the history that its client knows.
//!
//! Sizes: `PORTCULLIS_SOAK_SESSIONS`, `PORTCULLIS_SOAK_TURNS` and, for what an idle session takes, `PORTCULLIS_SOAK_IDLE`. Clients go on beyond their turns until every kind of fault has come often enough, so that a
//! fast machine is not spared. Nothing is limited by time but standing still.
//!
//! [`agent`] is the agent, [`clients`] asks it, [`person`] finds out what became of calls that nobody saw the end of, [`faults`] kills, [`judge`] judges, and [`figures`] measures
//! while all is quiet.

mod agent;
mod clients;
mod faults;
mod figures;
mod judge;
mod person;

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_testkit::http::Client;
use portcullis_testkit::redis::Redis;
use portcullis_testkit::tool_server::Era;

use crate::fleet::{Balancer, Fleet};
use crate::rates::redis;
use crate::scene::{Setup, TOOLS_TOKEN, Upstream};
use agent::{Agent, Notes, Replica};
use clients::Clients;
use faults::Faults;
use person::Person;

/// How many gateways there are.
const GATEWAYS: usize = 3;
/// How many replicas of the agent.
const REPLICAS: usize = 3;
/// The name of the agent in the configuration.
const AGENT: &str = "counter";

/// Every call is counted, and none comes too soon.
const RATE: &str = "{ name: all, calls: 1000000, per_s: 1 }";

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Size {
    sessions: usize,
    turns: u64,
    /// How many sessions are opened at the beginning to see what an idle one takes.
    idle: usize,
}

impl Size {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the soak says how long it is")]
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
        let count = |name: &str, default: u64| usize::try_from(number(name, default)).unwrap();
        Self {
            sessions: count("PORTCULLIS_SOAK_SESSIONS", 16),
            turns: number("PORTCULLIS_SOAK_TURNS", 4),
            idle: count("PORTCULLIS_SOAK_IDLE", 200),
        }
    }
}

/// Everything that there is.
struct Site {
    fleet: Fleet,
    /// What the gateways count calls in.
    redis: Redis,
    replicas: Vec<Replica>,
    tools: Upstream,
    effects: PathBuf,
    notes: Arc<Notes>,
    agent: Arc<Agent>,
    /// Through the balancer, as `ann`.
    client: Client,
    person: Arc<Person>,
    _balancer: Balancer,
}

impl Site {
    /// None on a machine without PostgreSQL or Redis that somebody watches.
    async fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap().keep();
        let effects = folder.join("effects.jsonl");
        let tools = Upstream::tools(Era::Stateless, effects.clone()).await;
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(Replica::new().await);
        }
        let urls: Vec<String> = replicas.iter().map(|replica| format!("'{}'", replica.url())).collect();
        let agents = format!(
            "  agents: {{ {AGENT}: {{ replicas: [{}], hydrate: /hydrate, health: /healthz }} }}\n",
            urls.join(", ")
        );
        let servers = format!("{{ tools: {{ url: '{}/mcp', token: '{TOOLS_TOKEN}' }} }}", tools.url);
        let setup = Setup { models: "{}".to_owned(), servers, ..Setup::default() };
        let redis = redis().await?;
        let rates = format!("ledger: {{ rates: {{ store: '{}', limits: [{RATE}] }} }}", redis.url());
        let config = setup.config("", "").replace("policy:", &format!("{agents}policy:")).replace("ledger: {}", &rates);
        let fleet = Fleet::start(GATEWAYS, &config).await?;
        let balancer = Balancer::start(fleet.members.iter().map(|member| member.port)).await;
        let client = balancer.client(&fleet.known_key("ann").await);
        let notes = Arc::<Notes>::default();
        let person = Arc::new(Person {
            admin: balancer.client(&fleet.admin_key()),
            tools: tools.http.clone(),
            effects: effects.clone(),
        });
        let agent = Arc::new(Agent { gateway: client.clone(), person: person.clone(), notes: notes.clone() });
        for replica in &mut replicas {
            replica.live(&agent).await;
        }
        Some(Self { fleet, redis, replicas, tools, effects, notes, agent, client, person, _balancer: balancer })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_killed_no_turn_is_lost_none_is_stale_and_no_effect_happens_twice() {
    let size = Size::from_environment();
    let Some(mut site) = Site::build().await else { return };
    figures::idle(&site, size.idle).await;
    let clients = Clients::start(&site.client, &site.person, size);
    let mut faults = Faults::default();
    while !clients.are_done() {
        faults.next(&mut site, &clients).await;
        clients.may_end(faults.are_enough());
    }
    faults.heal(&mut site).await;
    let acknowledged = clients.end().await;
    let said = judge::judge(&site, &acknowledged).await;
    eprintln!("soak: {} sessions, {} turns, {said}; {faults}", size.sessions, acknowledged.values().sum::<u64>());
    figures::measure(&mut site, &acknowledged).await;
    let folder = site.effects.parent().unwrap().to_owned();
    let _tools = site.tools;
    site.fleet.finish().await;
    std::fs::remove_dir_all(folder).unwrap();
}
