//! What tmkms adds to the time of a YubiHSM2: a signature over HTTP beside the raw round trip of messages of the same length on the same
//! connection, interleaved in one run. The device is the simulator, so that its own work is small and counts as ours.
//!
//! `cargo bench --bench yubihsm`; `--check` makes a missed bar an exit code.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for the terminal that ends when it cannot measure"
)]

#[path = "../tests/support/yubihsm/mod.rs"]
mod simulator;
#[path = "../tests/support/yubihsm_target.rs"]
mod target;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use simulator::{Options, Simulator};
use target::{LONG, config, credentials, of};
use tmkms::{
    event::{Silent, Sink},
    keyring::providers::yubihsm::{
        Algorithm, Capabilities, Device, Domains, Hsm, Label, NewObject,
    },
    privval::canonical,
    protection::RawPermit,
    shutdown::Shutdown,
};

const KEY: u16 = 9002;
/// As long as the sign bytes of a precommit.
const VOTE: usize = 112;
/// Our own cost, in milliseconds.
const BAR: f64 = 1.0;

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let mut holds = true;
    for latency in [Duration::ZERO, Duration::from_millis(5)] {
        let rounds = if latency.is_zero() { 2_000 } else { 200 };
        holds &= contest(latency, rounds);
    }
    if holds || !check {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One device of this speed. Whether the bar holds.
fn contest(latency: Duration, rounds: usize) -> bool {
    let simulator = Simulator::start(Options {
        latency,
        ..Options::default()
    });
    let factory = credentials(1, "password");
    let mut device = Device::open(&of(&simulator, LONG), None, &factory).unwrap();
    let object = NewObject {
        id: KEY,
        label: Label::new("bench"),
        domains: Domains::ONE,
        capabilities: Capabilities::SIGN_EDDSA,
    };
    device
        .generate_asymmetric_key(&object, Algorithm::ED25519)
        .unwrap();
    let sink: Arc<dyn Sink> = Arc::new(Silent);
    let shutdown = Shutdown::new();
    let hsm = Hsm::start(
        &config(of(&simulator, LONG), 1, "password"),
        &sink,
        &shutdown,
    )
    .unwrap();
    let signer = hsm.key(KEY, LONG).unwrap().signer;

    let (mut raw, mut session, mut provider) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut vote = vec![0; VOTE];
        vote[..8].copy_from_slice(&(round as u64).to_be_bytes());
        // A device's ECHO outside of a session, as long as the encrypted command is.
        let mut echo = vec![1, 0, 137];
        echo.resize(140, 7);
        raw.push(timed(|| {
            device.carry(&echo, Instant::now() + LONG).unwrap();
        }));
        session.push(timed(|| {
            device.sign_eddsa(KEY, &vote).unwrap();
        }));
        let bytes = canonical::bare_bytes(&vote).unwrap();
        let permit = RawPermit::for_raw_bytes(&bytes);
        provider.push(timed(|| {
            signer.sign(permit.sign_bytes()).unwrap();
        }));
    }
    shutdown.request();

    println!("a device that takes {latency:?}: µs, {rounds} rounds");
    println!("  {:<28} {:>8} {:>8}", "", "p50", "p99");
    for (name, samples) in [
        ("raw round trip", &mut raw),
        ("signature, session", &mut session),
        ("signature, provider", &mut provider),
    ] {
        samples.sort_unstable();
        println!(
            "  {name:<28} {:>8.1} {:>8.1}",
            micros(samples, 50),
            micros(samples, 99)
        );
    }
    let own = (micros(&provider, 50) - micros(&raw, 50)) / 1e3;
    let holds = own <= BAR;
    let verdict = if holds { "ok" } else { "MISSED" };
    println!("  our own cost {own:.3} ms, bar {BAR} ms: {verdict}\n");
    holds
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn micros(sorted: &[Duration], percentile: usize) -> f64 {
    let at = (sorted.len() * percentile / 100).min(sorted.len() - 1);
    sorted[at].as_secs_f64() * 1e6
}
