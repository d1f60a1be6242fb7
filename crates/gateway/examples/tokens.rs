//! What a task token costs: minting it and checking it, by the length of the chain.
//!
//! ```text
//! cargo run --release -p portcullis --example tokens
//! ```

#![expect(clippy::print_stdout, reason = "this is a tool for a terminal")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "it measures, and ends at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use mimalloc::MiMalloc;
use portcullis::identity::signing::SigningKey;
use portcullis::identity::task::TaskToken;
use portcullis_domain::authority::Authority;
use portcullis_domain::ids::CallId;
use portcullis_domain::time::Timestamp;

/// The allocator of the gateway, so that figures are its figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ISSUER: &str = "https://gate.example.org";
const NOW: Timestamp = Timestamp(1_000_000_000_000);
/// How often each is done.
const TIMES: usize = 20_000;

fn token(agents: usize) -> TaskToken {
    let mut authority = Authority::of_key("0123456789ab".parse().unwrap());
    authority.through = (0..agents).map(|number| format!("agent-{number}").parse().unwrap()).collect();
    authority.expires_at = Some(Timestamp(NOW.0 + 600_000_000));
    let session = "ann:claim-99".parse().unwrap();
    TaskToken { number: CallId([1; 16]), session, authority, call: Some(CallId([2; 16])), asked_by: None }
}

/// The median, the 99th of a hundred, and the mean of the fastest half, in microseconds.
fn measured(mut once: impl FnMut()) -> String {
    let mut times: Vec<u128> = (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            once();
            begun.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times.get(TIMES * part / 100).copied().unwrap_or_default();
    let fast = times.get(..TIMES / 2).unwrap_or_default();
    let mean = fast.iter().sum::<u128>() / u128::try_from(fast.len()).unwrap();
    let show = |nanoseconds: u128| format!("{:>5}.{:02}", nanoseconds / 1000, nanoseconds % 1000 / 10);
    format!("{} {} {}", show(at(50)), show(at(99)), show(mean))
}

fn main() {
    let key = Arc::new(SigningKey::new(&[7; 32], 0).unwrap());
    println!("{:<28} {:>8} {:>8} {:>8}", "task token, µs", "p50", "p99", "fast");
    for agents in [1, 3, 8] {
        let token = token(agents);
        let text = token.write(&key, ISSUER, NOW).unwrap();
        let minted = measured(|| drop(black_box(token.write(&key, ISSUER, NOW).unwrap())));
        let find = |id: &str| (id == key.id()).then(|| key.clone());
        let checked = measured(|| drop(black_box(TaskToken::read(&text, ISSUER, find, NOW).unwrap())));
        println!("{:<28} {minted}", format!("mint, {agents} agents"));
        println!("{:<28} {checked}", format!("check, {agents} agents, {} bytes", text.len()));
    }
}
