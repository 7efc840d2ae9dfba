//! Real validator nodes whose key is away for a while: they wait, and no chain stops.
//!
//! As in `real_nodes.rs`, without Go it says loudly that it was skipped; with `CI` set it fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
#[path = "support/client.rs"]
mod running;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use running::{PLAIN, Parts, Thread, key_of};
use support::{
    Transport::{self, Tcp, Unix},
    go_tools::Tool::{
        self, CometBftV038, CometBftV040, TendermintV032, TendermintV033, TendermintV034,
    },
    node::{CHAIN, Genesis, NodeHome},
    wait_for,
};
use tmkms::{
    chain::Served,
    codec::amino::Amino,
    crypto::{PublicKey, Signature},
    event::Event,
    keyring::{Signer, SignerError},
    privval::ChainId,
    protection::Permitted,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than the 50 tries, a tenth of a second apart, after which a node goes without a vote.
const AWAY: Duration = Duration::from_secs(25);

/// A device that is pulled and plugged in by the test.
#[derive(Clone)]
struct Device {
    key: Arc<dyn Signer>,
    is_away: Arc<AtomicBool>,
    asked_in_vain: Arc<AtomicU32>,
}

impl Signer for Device {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        if self.is_away.load(Ordering::SeqCst) {
            self.asked_in_vain.fetch_add(1, Ordering::SeqCst);
            let reason = "the device was pulled".to_owned();
            return Err(SignerError::Transient { reason });
        }
        self.key.sign(msg)
    }
}

#[test]
fn tendermint_v0_32_waits_for_a_key_that_is_away() {
    waits_for_a_key_that_is_away(TendermintV032, Tcp);
}

#[test]
fn tendermint_v0_33_waits_for_a_key_that_is_away() {
    waits_for_a_key_that_is_away(TendermintV033, Unix);
}

#[test]
fn tendermint_v0_34_waits_for_a_key_that_is_away() {
    waits_for_a_key_that_is_away(TendermintV034, Tcp);
}

#[test]
fn cometbft_v0_38_waits_for_a_key_that_is_away() {
    waits_for_a_key_that_is_away(CometBftV038, Unix);
}

#[test]
fn cometbft_v0_40_waits_for_a_key_that_is_away() {
    waits_for_a_key_that_is_away(CometBftV040, Tcp);
}

fn waits_for_a_key_that_is_away(tool: Tool, transport: Transport) {
    let test = format!("a key that is away, {tool:?}");
    let Some(node) = NodeHome::new(tool, transport, Genesis::default(), &test) else {
        return;
    };
    let (is_away, asked_in_vain) = (Arc::default(), Arc::default());
    let key = key_of(&node.take_key(), |key| {
        Arc::new(Device {
            key,
            is_away: Arc::clone(&is_away),
            asked_in_vain: Arc::clone(&asked_in_vain),
        })
    });
    let chain = ChainId::new(CHAIN).unwrap();
    let record = node.path("record");
    let amino = Parts {
        codec: |_| Box::new(Amino::new(ChainId::new(CHAIN).unwrap())),
        ..PLAIN
    };
    // One try every 4.1 s or 2.6 s, the first of them at once.
    let (parts, expected) = match tool.amino() {
        Some(_) => (&amino, 8..=11),
        None => (&PLAIN, 5..=7),
    };
    let addr = &node.signer_addr;
    let signer = Thread::start(addr, &chain, key, &record, parts, Served::from);
    let mut running = node.start();
    node.wait_for_height(5, PATIENCE);
    let disconnected = |event: &Event| matches!(event, Event::Disconnected { .. });
    let before = signer.told.count(disconnected);

    // Old nodes do not tell it while they wait.
    let stood_at = node.rpc.height().unwrap();
    is_away.store(true, Ordering::SeqCst);
    let pulled = Instant::now();
    wait_for("the node to ask again and again", PATIENCE, || {
        (pulled.elapsed() > AWAY).then_some(())
    });
    let tries = asked_in_vain.load(Ordering::SeqCst);
    assert!(expected.contains(&tries), "{tries} tries");
    is_away.store(false, Ordering::SeqCst);
    node.wait_for_height(stood_at + 10, PATIENCE);

    assert!(running.is_running());
    assert_eq!(signer.told.count(disconnected), before, "on one connection");
    // The proposal's timeout may have run out meanwhile, and a node then chooses at random what it looks at first.
    let heights = 1..=stood_at + 10;
    let later_rounds = heights
        .clone()
        .filter(|height| node.rpc.commit(*height).unwrap().round > 0);
    assert!(later_rounds.count() <= 1);
    for height in heights {
        assert_eq!(node.rpc.evidence(height), Some(0));
    }
}
