//! What the tests that drive real processes share: building and starting nodes, running the `tmkms` binary, ports, waiting.
//!
//! The benchmark includes the same files by path.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

pub mod go_tools;
pub mod node;
pub mod process;
pub mod python;
pub mod rpc;
pub mod signer;

use std::{
    io::Write,
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// How the signer reaches a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// `tcp://` with a SecretConnection.
    Tcp,
    /// `unix://` in clear.
    Unix,
    /// `noise://`, which only v0.40 knows.
    Noise,
    /// The same, and the node's own key is a secp256k1 key.
    NoiseOfSecp256k1Node,
}

/// The signer's identity where a node must know it beforehand: the base64 of a seed, and libp2p's peer ID of it (the
/// `kms-identity-key` of `peer_ids.json`).
pub const SIGNER_IDENTITY: (&str, &str) = (
    "pyVd5v5XEySxPWXj9R5PlDiWDierWG9HdW74JmojlFs=",
    "12D3KooWMwi3Cep7fKZjQxnGYhwWCLVUnRNuaCNMh92PFHNbQmHb",
);

/// A loopback port that was free a moment ago.
///
/// It lies below the range from which Linux takes the source ports of outgoing connections: a signer that dials a node which
/// is not there yet would otherwise, once in a while, be given the very port it dials and connect to itself.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const SPAN: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = std::process::id().wrapping_mul(7_919) % u32::from(SPAN);
    let seed = u16::try_from(seed).expect("smaller than the span");
    for _ in 0..SPAN {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(13);
        let port = FIRST + seed.wrapping_add(step) % SPAN;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + SPAN);
}

/// Asks again and again until there is an answer; panics with `what` when patience ends.
///
/// A process that we did not write has no other way to tell us that it has got somewhere.
pub fn wait_for<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < patience,
            "waited {patience:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says loudly that something was not tested, past the capture of the test harness.
///
/// With `CI` set a skipped test is a failed one.
pub fn skip(what: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} could not run: {why}, and CI is set"
    );
    let line = format!("\n*** SKIPPED: {what}: {why} ***\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
