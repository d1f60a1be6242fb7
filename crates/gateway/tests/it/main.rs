//! The running binary, looked at from outside: every test starts a gateway of its own on a free port, speaks to it as a client or
//! an upstream would, and has the oracle judge its journal at the end.
//!
//! [`gateway`] is the process, [`scene`] puts a scripted model and a tool server behind it, [`spoken`] is what clients say to
//! models, [`raw_upstream`] and [`fake_mcp`] are upstreams that misbehave, [`a2a_agent`] and [`grpc_peer`] are agents, [`issuer`] gives tokens, [`authorization_server`] gives them for upstreams, [`fleet`] are several gateways behind a balancer. The other modules are tests, one for each part that a
//! user would name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, in what it calls too"
)]

mod a2a_agent;
mod authorization_server;
mod fake_mcp;
mod fleet;
mod gateway;
mod grpc_peer;
mod issuer;
mod raw_upstream;
mod scene;
mod spoken;
mod tls_way;

mod a2a;
mod a2a_ask;
mod a2a_grpc;
mod a2a_grpc_replicas;
mod a2a_guard;
mod a2a_halt;
mod a2a_list;
mod a2a_matrix;
mod agentdojo;
mod agents;
mod approvals;
mod cards;
mod chat;
mod chat_agents;
mod clients;
mod cluster;
mod cluster_approvals;
mod config;
mod crash;
mod delegation;
mod demo;
mod deployments;
mod elicitation;
mod exchange;
mod exchange_discovery;
mod exchange_kinds;
mod exchange_tls;
mod grants;
mod guardrails;
mod halt;
mod identity;
mod identity_keys;
mod identity_oidc;
mod interception;
mod journal;
mod keyed;
mod mcp;
mod memory;
mod money;
mod once;
mod own_sessions;
mod policy;
mod provenance;
mod push;
mod rates;
mod responses;
mod rollback;
mod rolling;
mod sdk;
mod sessions;
mod soak;
mod store;
mod tau2;
mod tls;
mod waits;
