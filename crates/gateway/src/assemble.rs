//! Putting the parts together: at a start, and again whenever the configuration or the tools change. Only here concrete stores and connectors are named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_cedar::{Engine, Facts, compile};
use portcullis_domain::admission::{Activation, Configure};
use portcullis_domain::digest::Digest;
use portcullis_domain::identity::Scope;
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::ids::{Actor, PrincipalName, ServerName};
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::event::Activated;
use tokio::sync::{Notify, mpsc};

use crate::assemble::protect::Protection;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Problem, read};
use crate::doors::sealed::Sealer;
use crate::guardrails::Guardrails;
use crate::heard::Heard;
use crate::hydration::Told;
use crate::identity::certificates::Certificates;
use crate::identity::declared;
use crate::identity::issuers::{DOCUMENT_LIMIT_BYTES, Fetch, Issuers};
use crate::identity::signing::SigningKeys;
use crate::identity::uses::Uses;
use crate::identity::{ADMINISTRATOR, issue};
use crate::journal::engine::OnFault;
use crate::journal::files::{DataDirectory, VAULT_FILE};
use crate::journal::{Journal, StoreFault};
use crate::ledger::rates::Rates;
use crate::life::credential::Credentials;
use crate::life::looks::Looks;
use crate::life::{Gate, Owed};
use crate::listings::Listings;
use crate::policy::load;
use crate::policy::rulebook::{Choice, Rulebook};
use crate::policy::table::Mode as PolicyMode;
use crate::registry::table::ToolServerTable;
use crate::registry::{Catalogue, Tool};
use crate::repetition::Repetitions;
use crate::rollback::{ORDERS_LIMIT, Order};
use crate::snapshot::Snapshot;
use crate::spoken::Spoken;
use crate::telemetry::Metrics;
use crate::turns::Turns;
use crate::upstreams::Egress;
use crate::upstreams::cards::Cards;
use crate::upstreams::egress::{ToolServer, ToolServers};
use crate::upstreams::guard::Guard;
use crate::upstreams::issuer::Way;
use crate::upstreams::push::PushClient;
use crate::upstreams::replicas::Replicas;

mod connect;
mod declare;
mod parts;
pub mod protect;
mod rollback;
mod store;

pub use connect::{connector, http_client, unasked};
pub use parts::{Parts, listed, of_rule};
pub use store::Opened;

/// The connections with the tables that they were made of.
type Connections = BTreeMap<ServerName, (ToolServerTable, Arc<dyn ToolServer>)>;

/// What is journaled of a configuration: the version that its policies would have, and what principals may spend. Rules that were put back are no part of it.
type Configured = (Digest, BTreeMap<PrincipalName, Nanodollars>);

/// How often a snapshot is made anew because somebody rolls the policies back or forward meanwhile.
const AGREE_LIMIT: usize = 8;
/// The file with the administrator's key.
pub const ADMIN_KEY_FILE: &str = "admin.key";
/// What the secret that transport sessions are sealed under is derived for.
const TRANSPORT_PURPOSE: &str = "portcullis transport session";

/// Why the gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The configuration or the policies are wrong.
    #[error("the configuration has problems")]
    Config(Vec<Problem>),
    /// The store can't be opened or written.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Something of the system was refused: the address, a thread.
    #[error("{0}")]
    System(String),
}

/// Tools that are known, and servers of whose nothing is.
#[derive(Default, Clone)]
struct Tools {
    all: Vec<Arc<Tool>>,
    unreachable: Vec<ServerName>,
}

/// The running parts, and what is needed to put them together again.
pub struct Assembly {
    /// Where calls go.
    pub gate: Arc<Gate>,
    /// The configuration file.
    pub path: PathBuf,
    /// The store.
    pub engine: Opened,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What seals transport sessions.
    pub sealer: Arc<Sealer>,
    /// The connections with the tables that they were made of.
    connections: Connections,
    /// The servers that have not answered yet.
    listings: Listings,
    /// Whether a server could not be asked last time.
    has_unreached: bool,
    /// The files that the configuration named when it was read last. One that is not there yet is waited for.
    wanted: Vec<PathBuf>,
    /// What was journaled of the configuration last.
    configured: Option<Configured>,
    /// The keys that it declared last.
    declared: Option<Vec<KeyCreated>>,
    /// The version of the policies that another gateway has put in force, once it was seen.
    overtaken_by: Option<Digest>,
    /// The tools that what is in force was made of.
    known: Tools,
    /// What is ordered by hand.
    pub orders: mpsc::Receiver<Order>,
    /// The file with the administrator's key, if this start has made it.
    pub new_admin_key: Option<PathBuf>,
}

impl Assembly {
    /// Opens the store, settles what was in flight, connects to everything, and takes in the configuration.
    ///
    /// # Errors
    ///
    /// Why the gateway can't start.
    pub async fn start(path: &Path, on_fault: OnFault) -> Result<Self, StartFault> {
        let loaded = read::read_file(path).map_err(|problem| StartFault::Config(vec![problem]))?;
        let http = http_client(&loaded).map_err(|problem| StartFault::Config(vec![problem]))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let directory = loaded.resolve(loaded.config.journal.directory());
        let engine = store::open(&loaded.config.journal.store, &directory, clock.clone(), on_fault).await?;
        let journal = engine.journal();
        if !engine.is_shared() {
            store::recover(&journal).await?;
        }
        let files = DataDirectory::look(&directory);
        let new_admin_key = first_key(&journal, &files).await?;
        let secret = sealer_secret(&files)?;
        let issuers_way = Arc::new(PushClient::new());
        let (ordering, orders) = mpsc::channel(ORDERS_LIMIT);
        let gate = Gate {
            journal,
            issuers: Issuers::new(clock.clone(), fetch(&issuers_way)),
            issuers_way,
            certificates: Certificates::default(),
            uses: Uses::default(),
            tls: ArcSwapOption::empty(),
            snapshot: ArcSwap::from_pointee(empty().map_err(StartFault::Config)?),
            egress: Egress::new(http),
            repetitions: Repetitions::default(),
            turns: Turns::default(),
            deliveries: Notify::new(),
            leases: engine.leases(),
            news: Notify::new(),
            approvals: Notify::new(),
            spoken: Spoken::default(),
            pushes: PushClient::new(),
            services: PushClient::new(),
            looks: Looks::default(),
            credentials: Credentials::new(read::directory(path).to_owned()),
            signing: SigningKeys::new(files.secret(VAULT_FILE)?).map_err(StartFault::System)?,
            clock: clock.clone(),
            replicas: Arc::new(Replicas::default()),
            cards: Arc::new(Cards::new(clock.clone())),
            told: Told::default(),
            heard: Heard::default(),
            rates: Rates::new(clock.clone()),
            metrics: Metrics::new(),
            owed: Owed::default(),
            orders: ordering,
        };
        let gate = Arc::new(gate);
        tokio::spawn(connect::drop_with_authority(Arc::downgrade(&gate), gate.journal.doorway()));
        let mut assembly = Self {
            gate,
            path: path.to_owned(),
            engine,
            clock,
            sealer: Arc::new(Sealer::new(&secret).map_err(StartFault::System)?),
            connections: BTreeMap::new(),
            listings: Listings::default(),
            has_unreached: false,
            wanted: Vec::new(),
            configured: None,
            declared: None,
            overtaken_by: None,
            known: Tools::default(),
            orders,
            new_admin_key,
        };
        if let Err(problem) = protect::check_time(&loaded.config, read::directory(path), assembly.clock.now()) {
            return Err(StartFault::Config(vec![Problem::of_file(&path.display().to_string(), problem)]));
        }
        if let Some(warning) = protect::warning(&loaded.config) {
            tracing::warn!("{warning}");
        }
        assembly.take_in_files(loaded.config).await.map_err(StartFault::Config)?;
        Ok(assembly)
    }

    /// Reads the configuration again and takes it in; when anything is wrong with it, everything stays as it was.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub async fn reload(&mut self) -> Result<(), Vec<Problem>> {
        let loaded = read::read_file(&self.path).map_err(|problem| vec![problem])?;
        self.wanted.clone_from(&named(&loaded.config));
        let current = self.gate.snapshot.load_full();
        let fixed = |config: &Config| (config.server.listen, config.journal.clone(), config.registry.ca_file.clone());
        if fixed(&loaded.config) != fixed(&current.config) {
            let message = "`server.listen`, `journal` and `registry.ca_file` can't change while the gateway runs";
            return Err(vec![Problem::of_file(&self.path.display().to_string(), message)]);
        }
        self.take_in_files(loaded.config).await
    }

    /// Asks all servers again for their tools, and takes in what they say.
    ///
    /// # Errors
    ///
    /// What is wrong with the rules, now that the tools are others.
    pub async fn refresh(&mut self) -> Result<(), Vec<Problem>> {
        let config = self.gate.snapshot.load().config.clone();
        self.take_in(config).await
    }

    /// Takes in the rules that another gateway has put in force by hand, without asking any server. Says whether the policies here are those in force then.
    pub async fn follow(&mut self) -> bool {
        let config = self.gate.snapshot.load().config.clone();
        let Ok(snapshot) = self.agreed(config, &self.known.clone()).await else { return false };
        self.put_in_force(snapshot);
        !self.is_other().await
    }

    /// Whether a server has said that its tools have changed, or its program has ended.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.connections.values().any(|(_, connection)| connection.has_changed())
    }

    /// Whether a server has answered that was not waited for.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.listings.has_news()
    }

    /// Whether a server could not be asked last time.
    #[must_use]
    pub fn has_unreached(&self) -> bool {
        self.has_unreached
    }

    /// The files that the configuration consists of: the one that is in force, and the one that was read last, although it may not have been taken.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let snapshot = self.gate.snapshot.load();
        let base = read::directory(&self.path);
        let named = named(&snapshot.config);
        let named = named.iter().chain(&self.wanted).map(|file| base.join(file));
        let mut files: Vec<PathBuf> = std::iter::once(self.path.clone()).chain(named).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Ends all connections and child processes, and closes the store.
    pub async fn stop(self) {
        drop(self.listings);
        for (_, connection) in self.connections.values() {
            connection.stop().await;
        }
        let engine = self.engine;
        let _ = tokio::task::spawn_blocking(move || engine.close()).await;
    }

    /// The same with what other files say that it names: certificates, keys and authorities.
    async fn take_in_files(&mut self, config: Config) -> Result<(), Vec<Problem>> {
        let file = self.path.display().to_string();
        let base = read::directory(&self.path).to_owned();
        let of_file = |problems: Vec<String>| -> Vec<Problem> {
            problems.into_iter().map(|problem| Problem::of_file(&file, problem)).collect()
        };
        let protection = Protection::read(&config, &base).map_err(of_file)?;
        if let Err(expired) = protect::check_time(&config, &base, self.clock.now()) {
            tracing::warn!("{expired}");
        }
        let declared = declared::wanted(&config.identity.keys, &base, &self.gate.journal.keys()).map_err(of_file)?;
        self.take_in(config).await?;
        self.declare(declared).await.map_err(|problem| of_file(vec![problem]))?;
        self.gate.certificates.configure(protection.authorities);
        self.gate.tls.store(protection.tls);
        Ok(())
    }

    async fn take_in(&mut self, config: Config) -> Result<(), Vec<Problem>> {
        let base = read::directory(&self.path).to_owned();
        let connections = self.connect(&config, &base)?;
        // Servers are asked for their tools before the rest is known to be right, and some with a token that must be asked for first.
        self.gate.issuers_way.allow(Guard::new(&config.identity.issuers_allowed).unwrap_or_default());
        let asked = connections.iter().map(|(name, (_, connection))| (name, connection));
        let observed = self.listings.observe(&self.gate.journal, asked, config.registry.tools_wait()).await;
        self.has_unreached = observed.has_unreached;
        let known = Tools { all: observed.tools, unreachable: observed.unreachable };
        let snapshot = match self.agreed(config, &known).await {
            Ok(snapshot) => snapshot,
            Err(problems) => {
                self.drop_new(&connections).await;
                let before = &self.gate.snapshot.load().config.identity.issuers_allowed;
                self.gate.issuers_way.allow(Guard::new(before).unwrap_or_default());
                return Err(problems);
            }
        };
        for warning in snapshot.policy.warnings() {
            tracing::warn!("{warning}");
        }
        for (tool, guarded) in &snapshot.listed {
            self.gate.metrics.guarded(guarded.rule.as_str(), guarded.at, guarded.deed);
            tracing::warn!("{}", listed(tool, guarded));
        }
        if snapshot.config.policy.mode == PolicyMode::Audit {
            tracing::warn!("{}", load::ON_TRIAL);
        }
        if snapshot.rulebook.rules != snapshot.rulebook.written {
            tracing::warn!("{}", load::PUT_BACK);
        }
        self.known = known;
        let servers: ToolServers =
            connections.iter().map(|(name, (_, connection))| (name.clone(), connection.clone())).collect();
        self.gate.egress.servers.store(Arc::new(servers));
        // What is wrong with it was found when the snapshot was made.
        self.gate.pushes.allow(Guard::new(&snapshot.config.server.push_allowed).unwrap_or_default());
        let services = services_allowed(&snapshot.config).collect::<Vec<_>>();
        self.gate.services.allow(Guard::new(&services).unwrap_or_default());
        self.gate.issuers.configure(&snapshot.config.identity.issuers, &base);
        self.gate.rates.configure(&snapshot.config.ledger.rates);
        self.put_in_force(snapshot);
        let old = std::mem::replace(&mut self.connections, connections);
        for (name, (_, connection)) in old {
            if !self.connections.get(&name).is_some_and(|(_, kept)| Arc::ptr_eq(kept, &connection)) {
                connection.stop().await;
            }
        }
        Ok(())
    }

    /// The snapshot of a configuration with the rules that count now, and journaled as far as it is new.
    async fn agreed(&mut self, config: Config, tools: &Tools) -> Result<Snapshot, Vec<Problem>> {
        for _ in 0..AGREE_LIMIT {
            let choice = Choice::Written(self.put_back().await?);
            let snapshot = self.parts_of(config.clone(), tools.clone(), choice).build()?;
            if self.configure(&snapshot).await? {
                return Ok(snapshot);
            }
            // Somebody has rolled the policies back or forward meanwhile.
        }
        let message = "the policies are rolled back and forward all the time";
        Err(vec![Problem::of_file(&self.path.display().to_string(), message)])
    }

    /// What a snapshot is made of, with the tools that are known.
    fn parts(&self, config: Config, choice: Choice) -> Parts<'_> {
        self.parts_of(config, self.known.clone(), choice)
    }

    fn parts_of(&self, config: Config, tools: Tools, choice: Choice) -> Parts<'_> {
        let Tools { all, unreachable } = tools;
        let journal = Some(self.gate.journal.clone());
        Parts { config, path: &self.path, tools: all, unreachable, journal, choice }
    }

    fn put_in_force(&self, snapshot: Snapshot) {
        self.gate.snapshot.store(Arc::new(snapshot));
        // Other sources may be believed now.
        self.gate.heard.forget();
    }

    /// Journals what the configuration says, if it says something else than before. Saying the same again would take back what another gateway has said
    /// since: of gateways that share a journal, the one whose configuration changed last is right. Says no where somebody has rolled the policies back or forward since the snapshot was made.
    async fn configure(&mut self, snapshot: &Snapshot) -> Result<bool, Vec<Problem>> {
        let wanted = configured(snapshot);
        if self.configured.as_ref() == Some(&wanted) {
            return Ok(true);
        }
        let done = self.gate.journal.execute(configure(snapshot)).await;
        let done = done.map_err(|fault| vec![Problem::of_file(&self.path.display().to_string(), fault.to_string())])?;
        if done {
            self.configured = Some(wanted);
        }
        Ok(done)
    }

    /// Whether another gateway has put other policies in force, told once for each: its tools are newer, or its configuration is.
    pub async fn is_overtaken(&mut self) -> bool {
        if !self.engine.is_shared() {
            return false;
        }
        let Ok(Some(version)) = self.gate.journal.read(|world| world.policy.version).await else { return false };
        let is_other = version != self.gate.snapshot.load().policy.version();
        let is_new = is_other && self.overtaken_by != Some(version);
        self.overtaken_by = is_other.then_some(version);
        is_new
    }

    /// Whether other policies are in force than those here.
    async fn is_other(&self) -> bool {
        let version = self.gate.snapshot.load().policy.version();
        self.gate.journal.read(move |world| world.policy.version != Some(version)).await.unwrap_or(true)
    }

    /// The connections of this configuration: those whose table is the same are kept.
    fn connect(&self, config: &Config, base: &Path) -> Result<Connections, Vec<Problem>> {
        let mut connections = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, table) in &config.registry.servers {
            let made = table.resolved(base).and_then(|table| {
                let kept = self.connections.get(name).filter(|(made_of, _)| *made_of == table);
                let own = || connect::given(&self.gate, name, &table);
                let make = || connector(name, &table, base, &self.gate.egress.http, own());
                let connection = kept.map_or_else(make, |(_, connection)| Ok(connection.clone()))?;
                Ok((table, connection))
            });
            match made {
                Ok(made) => drop(connections.insert(name.clone(), made)),
                Err(problem) => {
                    let message = format!("registry.servers.{name}: {problem}");
                    problems.push(Problem::of_file(&self.path.display().to_string(), message));
                }
            }
        }
        if problems.is_empty() { Ok(connections) } else { Err(problems) }
    }

    /// Ends the connections that were made for a configuration that is not taken.
    async fn drop_new(&mut self, connections: &Connections) {
        for (name, (_, connection)) in connections {
            if !self.connections.get(name).is_some_and(|(_, kept)| Arc::ptr_eq(kept, connection)) {
                // It may have taken the place of one that was still to answer, which is then to be asked anew.
                self.has_unreached |= self.listings.forget(connection);
                connection.stop().await;
            }
        }
    }
}

/// The files that the configuration names and that may change while the gateway runs.
fn named(config: &Config) -> Vec<PathBuf> {
    let secrets = config.registry.secret_files();
    let keys = config.identity.keys.values().filter_map(|table| table.file.as_ref());
    config.policy.files.iter().chain(protect::files(config)).chain(secrets).chain(keys).cloned().collect()
}

/// Where services may be although they are not public.
fn services_allowed(config: &Config) -> impl Iterator<Item = String> {
    config.guardrails.iter().flat_map(|rule| rule.allowed.iter().cloned())
}

fn configure(snapshot: &Snapshot) -> Configure {
    Configure {
        policies: activation(snapshot),
        written: Some(snapshot.rulebook.written),
        budgets: budgets(&snapshot.config),
    }
}

/// What the files say, whatever was put back.
fn configured(snapshot: &Snapshot) -> Configured {
    (snapshot.rulebook.declared, budgets(&snapshot.config))
}

fn budgets(config: &Config) -> BTreeMap<PrincipalName, Nanodollars> {
    config.ledger.budgets.iter().map(|(name, budget)| (name.clone(), budget.usd.0)).collect()
}

/// The policies of a snapshot as they are journaled.
fn activation(snapshot: &Snapshot) -> Activation {
    Activation {
        event: Activated {
            version: snapshot.policy.version(),
            policies: u32::try_from(snapshot.policy.policies()).unwrap_or(u32::MAX),
            is_audit: snapshot.config.policy.mode == PolicyMode::Audit,
            rules: Some(snapshot.rulebook.rules),
        },
        text: Body::new(snapshot.policy_text.clone().into()),
        made_of: Some(Body::new(snapshot.made_of.clone().into())),
    }
}

/// At the very first start: a key for the administrator, in a file for its owner only.
async fn first_key(journal: &Journal, files: &DataDirectory) -> Result<Option<PathBuf>, StartFault> {
    if journal.keys().all().next().is_some() {
        return Ok(None);
    }
    let system = |problem: String| StartFault::System(problem);
    let issued = issue::issue(Actor::Gateway, ADMINISTRATOR.parse().map_err(system)?, None, Scope::default());
    let issued = issued.map_err(|refusal| StartFault::System(refusal.to_string()))?;
    // The file comes first: a key that nobody has would lock everybody out, a file whose key is not valid is written again.
    files.keep(ADMIN_KEY_FILE, format!("{}\n", issued.text).as_bytes())?;
    journal.execute(issued.command).await?.map_err(|refusal| StartFault::System(refusal.to_string()))?;
    Ok(Some(files.file(ADMIN_KEY_FILE)))
}

/// The way by which keys of issuers are fetched.
fn fetch(way: &Arc<PushClient>) -> Fetch {
    let way = way.clone();
    Arc::new(move |url, ca_file| {
        let way = way.clone();
        Box::pin(async move { Way::new(&way, ca_file.as_deref()).get(&url, DOCUMENT_LIMIT_BYTES).await })
    })
}

/// The secret of the transport's seal: derived, so that it is one file less to keep.
fn sealer_secret(files: &DataDirectory) -> Result<[u8; 32], StoreFault> {
    let vault = files.secret(VAULT_FILE)?;
    Ok(Digest::of_parts(&[TRANSPORT_PURPOSE.as_bytes(), b"\n", &vault]).0)
}

/// What holds until the configuration is taken in: nothing is there and nothing is allowed.
fn empty() -> Result<Snapshot, Vec<Problem>> {
    let policy: Engine =
        compile(&[], &Facts::default()).map_err(|found| found.iter().map(of_rule).collect::<Vec<_>>())?;
    let (config, catalogue) = (Config::default(), Catalogue::default());
    let guardrails = Guardrails::default();
    Ok(Snapshot {
        config,
        catalogue,
        policy,
        guardrails,
        listed: Vec::new(),
        policy_text: String::new(),
        made_of: Vec::new(),
        rulebook: Rulebook::default(),
        journal: None,
    })
}
