//! Whatever agents drop, swap, replay and forge of all that any of them was ever handed: what they reach is what everybody on a chain may do that was really handed out.
//!
//! Random graphs of calls, with the code that makes tokens, recognises callers, judges and admits, and without a socket. What should come of each attempt is reckoned here once more, from
//! what was handed to whom, and never from a token.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its supporting functions too"
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use portcullis::asking::{Asking, Effect};
use portcullis::config::Config;
use portcullis::doors::caller::{Caller, Known, named_session};
use portcullis::doors::recognise::{Shown, authenticate};
use portcullis::guardrails::Guardrails;
use portcullis::identity::signing::{SigningKey, SigningKeys};
use portcullis::identity::task::{TaskToken, expiry};
use portcullis::policy::rulebook::Rulebook;
use portcullis::registry::Catalogue;
use portcullis::registry::table::{AgentTable, RegistryTable};
use portcullis::registry::tool::Tool;
use portcullis::snapshot::{Known as KnownCall, Setting, Snapshot};
use portcullis_cedar::{Facts, Principal, Source, compile};
use portcullis_domain::admission::{
    Activation, Admit, Admitted, CloseSession, Command, Configure, CreateKey, Delegate, Passed, RevokeKey,
    RotateSigning,
};
use portcullis_domain::call::{Door, Place};
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::identity::{Presented, Scope};
use portcullis_domain::ids::{Actor, CallId, PrincipalName, SessionId, TenantName};
use portcullis_domain::journal::{Body, Entry, Head};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::Asks;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::scope::Pattern;
use portcullis_domain::session::{Origin, Repetition, Turn};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config as Runs;

const USERS: usize = 2;
const AGENTS: usize = 4;
const TOOLS: usize = 4;
/// The agent that must show a key of its own.
const CAREFUL: usize = 3;
const LIFE_S: u64 = 300;
/// The bits of a scope that has all agents in it, besides tools.
const AGENTS_TOO: u8 = 0b1111_0000;
const SECRET: [u8; 32] = [9; 32];

/// Who may call which tools, users first: a bit for each tool.
type Rights = Vec<u8>;

#[derive(Debug, Clone)]
enum Step {
    /// A user has a task done in the first or second of their sessions.
    Ask {
        user: usize,
        session: usize,
        agent: usize,
    },
    /// A token is used as it should be, to have the next agent do something.
    Pass {
        token: usize,
        agent: usize,
    },
    /// A token is used as it should be, to make one of it that is worth less.
    Narrow {
        token: usize,
        agent: Option<usize>,
        scope: Option<u8>,
        life_s: u64,
    },
    /// Something is tried with whatever there is.
    Reach {
        tool: usize,
        show: Show,
    },
    Close {
        user: usize,
        session: usize,
    },
    Revoke {
        user: usize,
    },
    Rotate,
    Wait {
        seconds: u64,
    },
}

/// What an agent shows.
#[derive(Debug, Clone)]
struct Show {
    token: usize,
    other: usize,
    forged: Forged,
    /// Whose key it shows, if any: the token then stands beside it. One more than there are agents is a key that nobody has.
    key: Option<usize>,
    /// Whether the token is left out.
    is_dropped: bool,
    /// The session that it names, if any: a name is one of the caller's own.
    session: Option<(usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Forged {
    Not,
    Altered(usize),
    /// The claims of another token.
    Swapped,
    /// The signature of another token.
    Signature,
    Unsigned,
    /// Somebody else's claims, signed with a key of the forger's own.
    OwnKey,
    /// Fewer agents on the chain, under the signature that was there.
    Shortened,
    Twice,
}

fn step() -> impl Strategy<Value = Step> {
    let token = 0..64_usize;
    prop_oneof![
        3 => (0..USERS, 0..2_usize, 0..AGENTS).prop_map(|(user, session, agent)| Step::Ask { user, session, agent }),
        4 => (token.clone(), 0..AGENTS).prop_map(|(token, agent)| Step::Pass { token, agent }),
        3 => (token, prop::option::of(0..AGENTS), prop::option::of(1..16_u8), 1..600_u64)
            .prop_map(|(token, agent, scope, life_s)| Step::Narrow { token, agent, scope, life_s }),
        12 => (0..TOOLS, show()).prop_map(|(tool, show)| Step::Reach { tool, show }),
        1 => (0..USERS, 0..2_usize).prop_map(|(user, session)| Step::Close { user, session }),
        1 => (0..USERS).prop_map(|user| Step::Revoke { user }),
        1 => Just(Step::Rotate),
        1 => (1..200_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn show() -> impl Strategy<Value = Show> {
    let forged = prop_oneof![
        6 => Just(Forged::Not),
        1 => (0..800_usize).prop_map(Forged::Altered),
        1 => prop::sample::select(vec![Forged::Swapped, Forged::Signature, Forged::Unsigned]),
        1 => prop::sample::select(vec![Forged::OwnKey, Forged::Shortened, Forged::Twice]),
    ];
    let key = prop::option::weighted(0.5, 0..=AGENTS);
    let session = prop::option::weighted(0.2, (0..USERS, 0..2_usize));
    (0..64_usize, 0..64_usize, forged, key, prop::bool::weighted(0.1), session).prop_map(
        |(token, other, forged, key, is_dropped, session)| Show { token, other, forged, key, is_dropped, session },
    )
}

/// A token as it was handed out, and what is known of it without reading it.
#[derive(Debug, Clone)]
struct Handed {
    text: String,
    user: usize,
    session: usize,
    chain: Vec<usize>,
    /// The tools that it was handed on for.
    scope: u8,
    ends_at: u64,
    generation: u32,
}

struct Play {
    world: World,
    heads: BTreeMap<String, Head>,
    snapshot: Snapshot,
    signing: SigningKeys,
    rights: Rights,
    /// What the users' keys are for: tools, and agents.
    limits: Vec<u8>,
    tools: Vec<Arc<Tool>>,
    keys: Vec<String>,
    wallet: Vec<Handed>,
    now: u64,
    calls: u8,
    closed: Vec<(usize, usize)>,
    revoked: Vec<usize>,
    reached: usize,
}

fn name(principal: usize) -> String {
    if principal < USERS { format!("user{principal}") } else { format!("agent{}", principal - USERS) }
}

fn principal(number: usize) -> PrincipalName {
    name(number).parse().unwrap()
}

/// What a key is for that is limited to these tools.
fn patterns(mask: u8) -> Vec<Pattern> {
    let tools = (0..TOOLS).filter(|tool| mask & (1 << tool) != 0).map(|tool| format!("tool/s__t{tool}"));
    tools.chain(["agent/*".to_owned()]).map(|text| text.parse().unwrap()).collect()
}

fn session_id(user: usize, session: usize) -> SessionId {
    format!("user{user}:session{session}").parse().unwrap()
}

fn snapshot(rights: &Rights, tools: &[Arc<Tool>]) -> Snapshot {
    let mut text = "permit (principal, action == Action::\"call_agent\", resource);\n".to_owned();
    for (number, mask) in rights.iter().enumerate() {
        for tool in (0..TOOLS).filter(|tool| mask & (1 << tool) != 0) {
            let who = name(number);
            text += &format!("permit (principal == Principal::\"{who}\", action, resource == Tool::\"s__t{tool}\");\n");
        }
    }
    let table = |number: usize| AgentTable {
        replicas: vec!["http://10.0.0.1".to_owned()],
        bound: number == CAREFUL,
        ..AgentTable::default()
    };
    let registry = RegistryTable {
        agents: (0..AGENTS).map(|number| (format!("agent{number}").parse().unwrap(), table(number))).collect(),
        ..RegistryTable::default()
    };
    let facts = Facts {
        stated: BTreeMap::new(),
        principals: (0..USERS + AGENTS)
            .map(|number| Principal { name: principal(number), roles: Vec::new(), attributes: BTreeMap::new() })
            .collect(),
        tools: tools
            .iter()
            .map(|tool| portcullis_cedar::Tool {
                server: tool.server.clone(),
                name: tool.name.clone(),
                arguments: tool.arguments.clone(),
                read_only: None,
                destructive: None,
                idempotent: None,
            })
            .collect(),
        agents: (0..AGENTS).map(|number| format!("agent{number}")).collect(),
        ..Facts::default()
    };
    let policy = compile(&[Source { file: "rules".to_owned(), text: text.clone() }], &facts).unwrap();
    let catalogue = Catalogue::new(&registry, Path::new("."), tools.iter().cloned()).unwrap();
    let guardrails = Guardrails::default();
    Snapshot {
        config: Config::default(),
        catalogue,
        policy,
        guardrails,
        listed: Vec::new(),
        policy_text: text,
        made_of: Vec::new(),
        rulebook: Rulebook::default(),
        journal: None,
    }
}

impl Play {
    fn start(rights: Rights, limits: &[Option<u8>]) -> Self {
        let server = "s".parse().unwrap();
        let tool = |number: usize| {
            let raw = format!(r#"{{"name":"t{number}","inputSchema":{{"type":"object","properties":{{}}}}}}"#);
            Arc::new(Tool::read(&server, &raw).unwrap())
        };
        let tools: Vec<_> = (0..TOOLS).map(tool).collect();
        let snapshot = snapshot(&rights, &tools);
        let mut play = Self {
            world: World::default(),
            heads: BTreeMap::new(),
            signing: SigningKeys::new(SECRET).unwrap(),
            rights,
            limits: limits.iter().map(|limit| limit.map_or(u8::MAX, |mask| mask | AGENTS_TOO)).collect(),
            tools,
            keys: Vec::new(),
            wallet: Vec::new(),
            now: 1_000_000_000_000_000,
            calls: 0,
            closed: Vec::new(),
            revoked: Vec::new(),
            reached: 0,
            snapshot,
        };
        let version = play.snapshot.policy.version();
        let policies = Activation::of(version, Body::new(Bytes::new()));
        play.run(&Configure { policies, written: None, budgets: BTreeMap::new() });
        for number in 0..USERS + AGENTS {
            let byte = u8::try_from(number).unwrap();
            let text = Presented::issue([byte; 6], [byte; 32]);
            let presented = Presented::read(&text).unwrap();
            let key = KeyCreated {
                key: presented.id,
                principal: principal(number),
                secret: presented.secret,
                expires_at: None,
                scope: Scope {
                    capabilities: limits.get(number).into_iter().flatten().copied().flat_map(patterns).collect(),
                    ..Scope::default()
                },
            };
            play.run(&CreateKey { by: Actor::Gateway, key }).unwrap();
            play.keys.push(text);
        }
        play
    }

    fn run<C: Command>(&mut self, command: &C) -> C::Answer {
        let at = Timestamp(self.now);
        let verdict = command.decide(&self.world, at);
        let tenant: TenantName = "default".parse().unwrap();
        for draft in verdict.drafts {
            let head = self.heads.entry(draft.stream.to_string()).or_insert(Head::START);
            let (entry, _) = Entry::place(draft, *head, &tenant, at);
            *head = Head { seq: entry.seq, ..*head };
            self.world.apply(&entry);
        }
        verdict.answer
    }

    fn call(&mut self) -> CallId {
        self.calls = self.calls.wrapping_add(1);
        CallId([self.calls; 16])
    }

    /// Who it is that shows this, in the session that is named or follows.
    fn arrive(&self, headers: &HeaderMap) -> Result<(Caller, SessionId), Refusal> {
        let known = Known {
            certified: None,
            keys: &self.world.identity,
            snapshot: &self.snapshot,
            signing: &self.signing,
            now: Timestamp(self.now),
        };
        let Shown::Known(caller) = authenticate(headers, &known)? else {
            return Err(Refusal::new(Code::Unauthenticated, "nobody here is an issuer"));
        };
        let caller = *caller;
        let session = named_session(&caller, None, headers)?;
        let own = SessionId { owner: caller.principal.clone(), name: "own".parse().unwrap() };
        Ok((caller, session.unwrap_or(own)))
    }

    fn admit(
        &mut self,
        headers: &HeaderMap,
        know: impl Fn(&Snapshot, &Asking) -> KnownCall,
    ) -> Result<Admitted, Refusal> {
        let (caller, session) = self.arrive(headers)?;
        let (origin, effect) = (Origin::Named, Effect::default());
        let asking =
            Asking { authority: caller.authority.clone(), session, origin, door: Door::Mcp, effect, token: None };
        let known = know(&self.snapshot, &asking);
        let admit = Admit {
            within: None,
            call: self.call(),
            callee: None,
            parent: None,
            authority: caller.authority,
            session: asking.session,
            origin,
            session_budget: None,
            door: asking.door,
            capability: known.capability,
            payload: known.obstacle.map_or_else(|| Ok(Body::new(Bytes::from_static(b"{}"))), Err),
            decision: known.decision,
            estimate: Some(Nanodollars::ZERO),
            repetition: Repetition::default(),
            candidates: None,
            content: None,
            asks: Asks::Anew { lasts_us: 1, is_run: false },
            shown: None,
            turn: Turn::Beside,
        };
        match self.run(&admit)? {
            Passed::New(admitted) => {
                // Its number may come again.
                let settle = portcullis_domain::admission::Settle {
                    call: admitted.call(),
                    outcome: portcullis_domain::event::Outcome::Completed,
                    tokens: None,
                    cost: Some(Nanodollars::ZERO),
                    answer: None,
                    judged: Vec::new(),
                    labels: Vec::new(),
                    guarded: Vec::new(),
                };
                self.run(&settle).unwrap();
                Ok(admitted)
            }
            Passed::Again(_) => panic!("nothing here has a mark"),
        }
    }

    /// What its own agent shows of a token.
    fn honest(&self, handed: &Handed) -> HeaderMap {
        let actor = *handed.chain.last().unwrap();
        let key = (actor == CAREFUL).then(|| self.keys[USERS + actor].as_str());
        headers(key, Some(&handed.text), None)
    }

    fn is_live(&self, handed: &Handed) -> bool {
        let signing = self.world.identity.signing().generation;
        !self.closed.contains(&(handed.user, handed.session))
            && !self.revoked.contains(&handed.user)
            && self.now < handed.ends_at
            && signing - handed.generation <= 1
    }

    /// Whether everybody on the chain may, and it was handed on for this.
    fn may(&self, handed: &Handed, tool: usize) -> bool {
        let chain = handed.chain.iter().map(|agent| USERS + agent);
        let mut masks = std::iter::once(handed.user).chain(chain).map(|number| self.rights[number]);
        masks.all(|mask| mask & (1 << tool) != 0) && handed.scope & (1 << tool) != 0
    }

    fn hand(&mut self, admitted: &Admitted, before: Option<&Handed>, (user, session, agent): (usize, usize, usize)) {
        let number = self.call();
        let next = principal(USERS + agent);
        let token = TaskToken::for_call(admitted, &next, number, Timestamp(self.now), LIFE_S).unwrap();
        let mut chain = before.map(|before| before.chain.clone()).unwrap_or_default();
        chain.push(agent);
        let ends_at = (self.now / 1_000_000 + LIFE_S) * 1_000_000;
        self.keep(
            &token,
            Handed {
                text: String::new(),
                user,
                session,
                chain,
                scope: before.map_or(self.limits[user], |before| before.scope),
                ends_at: before.map_or(ends_at, |before| before.ends_at.min(ends_at)),
                generation: 0,
            },
        );
    }

    fn keep(&mut self, token: &TaskToken, handed: Handed) {
        let (signing, issuer) = (self.world.identity.signing(), self.snapshot.issuer(&self.signing));
        let text = token.write(&self.signing.current(signing), &issuer, Timestamp(self.now)).unwrap();
        self.wallet.push(Handed { text, generation: signing.generation, ..handed });
    }

    fn take(&mut self, step: &Step) {
        self.now += 1_000_000;
        let picked = |play: &Self, number: usize| (!play.wallet.is_empty()).then(|| number % play.wallet.len());
        match step {
            Step::Ask { user, session, agent } => {
                let named = session_id(*user, *session);
                let headers = headers(Some(&self.keys[*user].clone()), None, Some(&named));
                let called = self.snapshot.catalogue.agent(&format!("agent{agent}")).unwrap().clone();
                let admitted = self.admit(&headers, |snapshot, asking| {
                    snapshot.know_agent(asking, &Setting::default(), Place::Request, &called)
                });
                let is_open = !self.closed.contains(&(*user, *session)) && !self.revoked.contains(user);
                assert_eq!(admitted.is_ok(), is_open, "{:?}", admitted.err());
                if let Ok(admitted) = admitted {
                    self.hand(&admitted, None, (*user, *session, *agent));
                }
            }
            Step::Pass { token, agent } => {
                let Some(token) = picked(self, *token) else { return };
                let handed = self.wallet[token].clone();
                if handed.chain.len() >= 8 {
                    return;
                }
                let called = self.snapshot.catalogue.agent(&format!("agent{agent}")).unwrap().clone();
                let headers = self.honest(&handed);
                let admitted = self.admit(&headers, |snapshot, asking| {
                    snapshot.know_agent(asking, &Setting::default(), Place::Request, &called)
                });
                // A task that was handed on for tools is for no agent.
                let expected = self.is_live(&handed) && handed.scope & AGENTS_TOO != 0;
                assert_eq!(admitted.is_ok(), expected, "{:?} with {handed:?}", admitted.err());
                if let Ok(admitted) = admitted {
                    self.hand(&admitted, Some(&handed), (handed.user, handed.session, *agent));
                }
            }
            Step::Narrow { token, agent, scope, life_s } => {
                let Some(token) = picked(self, *token) else { return };
                let handed = self.wallet[token].clone();
                self.narrow(&handed, *agent, *scope, *life_s);
            }
            Step::Reach { tool, show } => {
                let Some(token) = picked(self, show.token) else { return };
                let other = picked(self, show.other).unwrap_or(token);
                self.reach(*tool, token, other, show);
            }
            Step::Close { user, session } => {
                let named = session_id(*user, *session);
                if self.run(&CloseSession { session: named, by: principal(*user) }).is_ok() {
                    self.closed.push((*user, *session));
                }
            }
            Step::Revoke { user } => {
                let key = Presented::read(&self.keys[*user]).unwrap().id;
                self.run(&RevokeKey { by: Actor::Gateway, key }).unwrap();
                self.revoked.push(*user);
            }
            Step::Rotate => drop(self.run(&RotateSigning { by: Actor::Gateway }).unwrap()),
            Step::Wait { seconds } => self.now += seconds * 1_000_000,
        }
    }

    fn narrow(&mut self, handed: &Handed, agent: Option<usize>, scope: Option<u8>, life_s: u64) {
        let arrived = self.arrive(&self.honest(handed));
        let Ok((caller, session)) = arrived else { return };
        let mut chain = handed.chain.clone();
        chain.extend(agent);
        if chain.len() > 8 {
            return;
        }
        let patterns = scope.map(|mask| {
            let tools = (0..TOOLS).filter(|tool| mask & (1 << tool) != 0).map(|tool| format!("tool/s__t{tool}"));
            tools.collect::<Vec<_>>().join(" ").parse().unwrap()
        });
        let token = self.call();
        let expires_at = expiry(&caller.authority, Timestamp(self.now), life_s);
        let delegate = Delegate {
            authority: caller.authority,
            session: session.clone(),
            token,
            to: agent.map(|agent| principal(USERS + agent)),
            scope: patterns,
            expires_at,
            until: None,
            budget: None,
            within: None,
        };
        let scope = handed.scope & scope.unwrap_or(u8::MAX);
        let delegated = self.run(&delegate);
        assert_eq!(delegated.is_ok(), self.is_live(handed) && scope != 0, "{:?} with {handed:?}", delegated.err());
        if let Ok(delegation) = delegated {
            let ends_at = handed.ends_at.min((self.now / 1_000_000 + life_s) * 1_000_000);
            let made =
                TaskToken { number: token, session, authority: delegation.authority, call: None, asked_by: None };
            self.keep(&made, Handed { text: String::new(), chain, scope, ends_at, ..handed.clone() });
        }
    }

    /// Tries to call the tool, and holds what comes of it against what should.
    fn reach(&mut self, tool: usize, token: usize, other: usize, show: &Show) {
        let (handed, other) = (self.wallet[token].clone(), self.wallet[other].clone());
        let shown = (!show.is_dropped).then(|| forge(&handed.text, &other.text, show.forged));
        let nobodys = Presented::issue([99; 6], [99; 32]);
        let key = show.key.map(|agent| self.keys.get(USERS + agent).unwrap_or(&nobodys).clone());
        let named = show.session.map(|(user, session)| session_id(user, session));
        let mut headers = headers(key.as_deref(), shown.as_deref(), named.as_ref());
        if matches!(show.forged, Forged::Twice) {
            headers.append("portcullis-task", other.text.parse().unwrap());
        }
        let called = self.tools[tool].clone();
        let outcome = self.admit(&headers, |snapshot, asking| {
            snapshot.know_tool(asking, &Setting::default(), Place::Request, &called, "{}")
        });
        // What was shown is exactly what somebody was handed, or it is nothing.
        // Where the one token is left out, the other one stands beside a key by itself.
        let is_other = show.is_dropped && matches!(show.forged, Forged::Twice) && key.is_some();
        let shown = if is_other { Some(other.text.clone()) } else { shown };
        let genuine = shown.and_then(|shown| self.wallet.iter().find(|known| known.text == shown)).cloned();
        let is_alone = !matches!(show.forged, Forged::Twice)
            || show.is_dropped
            || (key.is_none() && genuine.as_ref().is_some_and(|genuine| genuine.text == other.text));
        let expected = genuine.filter(|_| is_alone).is_some_and(|genuine| {
            let actor = *genuine.chain.last().unwrap();
            let is_bound = show.key.map_or(actor != CAREFUL, |shown| shown == actor);
            let is_there = show.session.is_none_or(|(_, session)| session == genuine.session);
            is_bound && is_there && self.is_live(&genuine) && self.may(&genuine, tool)
        });
        self.reached += usize::from(expected);
        assert_eq!(outcome.is_ok(), expected, "{show:?} with {handed:?}: {:?}", outcome.err());
    }
}

/// What is sent: a key and a token beside it, or one of them alone.
fn headers(key: Option<&str>, token: Option<&str>, session: Option<&SessionId>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match (key, token) {
        (Some(key), token) => {
            headers.insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
            headers.extend(token.map(|token| (HeaderName::from_static("portcullis-task"), token.parse().unwrap())));
        }
        (None, Some(token)) => drop(headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())),
        (None, None) => {}
    }
    headers
        .extend(session.map(|id| (HeaderName::from_static("portcullis-session"), id.name.as_str().parse().unwrap())));
    headers
}

fn forge(text: &str, other: &str, forged: Forged) -> String {
    let [header, claims, signature]: [&str; 3] = text.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [other_header, other_claims, other_signature]: [&str; 3] =
        other.split('.').collect::<Vec<_>>().try_into().unwrap();
    let edited = |part: &str, edit: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        edit(&mut value);
        URL_SAFE_NO_PAD.encode(value.to_string())
    };
    match forged {
        Forged::Not | Forged::Twice => text.to_owned(),
        Forged::Altered(place) => {
            let mut bytes = text.as_bytes().to_vec();
            let place = place % bytes.len();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        }
        Forged::Swapped => format!("{header}.{other_claims}.{signature}"),
        Forged::Signature => format!("{other_header}.{claims}.{other_signature}"),
        Forged::Unsigned => format!("{}.{claims}.", edited(header, &|header| header["alg"] = "none".into())),
        Forged::OwnKey => {
            let input = format!("{header}.{other_claims}");
            let key = SigningKey::new(&[1; 32], 0).unwrap();
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes())))
        }
        Forged::Shortened => {
            let shorter = edited(claims, &|claims| {
                let inner = claims["act"]["act"].take();
                claims["act"] = inner;
                if let Some(claims) = claims.as_object_mut() {
                    claims.remove("scope");
                }
            });
            format!("{header}.{shorter}.{signature}")
        }
    }
}

#[test]
fn no_effect_is_reached_but_what_all_on_a_chain_may_that_was_handed_out() {
    let reached = Cell::new(0);
    let runs = Runs { failure_persistence: None, ..Runs::default() };
    let limits = || vec(prop::option::weighted(0.4, 0..16_u8), USERS);
    proptest!(runs, |(rights in vec(any::<u8>(), USERS + AGENTS), limits in limits(), steps in vec(step(), 1..80))| {
        // Few rights are missing, so that long chains are still worth something.
        let rights = rights.into_iter().map(|mask| mask | mask.rotate_left(3)).collect();
        let mut play = Play::start(rights, &limits);
        for step in &steps {
            play.take(step);
        }
        reached.set(reached.get() + play.reached);
    });
    assert!(reached.get() > 50, "the stories reach too little: {}", reached.get());
}
