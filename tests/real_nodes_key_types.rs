//! Blocks on real validator nodes with every type of consensus key.
//!
//! The signer makes the key, and the genesis file names it as the one validator. Without Go it says loudly that it was skipped; with `CI` set
//! it fails.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{
    Transport::{self, Tcp, Unix},
    go_tools::Tool::{self, CometBftV1WithBls, CometBftV038, CometBftV040},
    node::{CHAIN, Genesis, NodeHome},
    signer::SignerHome,
};
use tmkms::{crypto::Algorithm, keyring::providers::softsign};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 30;

#[test]
fn secp256k1_on_cometbft_v0_38() {
    makes_blocks(CometBftV038, Unix, Algorithm::Secp256k1);
}

#[test]
fn secp256k1_on_cometbft_v0_40() {
    makes_blocks(CometBftV040, Tcp, Algorithm::Secp256k1);
}

#[test]
fn secp256k1eth_on_cometbft_v0_40() {
    makes_blocks(CometBftV040, Tcp, Algorithm::Secp256k1Eth);
}

#[test]
fn ml_dsa_65_on_cometbft_v0_40() {
    makes_blocks(CometBftV040, Tcp, Algorithm::MlDsa65);
}

/// v0.40.0 cannot, however it is built: it loses the type of the key on the way through its own database.
#[test]
fn bls12_381_on_cometbft_v1_that_was_built_for_it() {
    makes_blocks(CometBftV1WithBls, Tcp, Algorithm::Bls12381);
}

/// All in round 0, with vote extensions, and on after the signer was killed.
fn makes_blocks(tool: Tool, transport: Transport, scheme: Algorithm) {
    let test = format!("{scheme} on {tool:?}");
    let extended = Genesis { extensions: true };
    let Some(node) = NodeHome::new(tool, transport, extended, &test) else {
        return;
    };
    let signer = signer(&node);
    let key = softsign::generate(scheme, &signer.path("consensus.key")).expect("a new file");
    node.take_over_by(&key);
    signer.init_record(CHAIN);

    let tmkms = signer.start();
    let running = node.start();
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, &signer);
    assert!(signer.log().contains("signed vote extension"));
    tmkms.kill();
    let tmkms = signer.start();
    let before = node.rpc.height().expect("the node runs");
    node.wait_for_height(before + 10, PATIENCE);
    let _ = running.terminate(Duration::from_secs(20));
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

fn signer(node: &NodeHome) -> SignerHome {
    let addr = &node.signer_addr;
    let config = format!(
        "[[chain]]\nid = \"{CHAIN}\"\nstate_file = \"state.json\"\n\n\
         [[validator]]\nchain_id = \"{CHAIN}\"\naddr = \"{addr}\"\nsecret_key = \"identity.key\"\n\n\
         [[providers.softsign]]\nchain_ids = [\"{CHAIN}\"]\npath = \"consensus.key\"\n"
    );
    SignerHome::with_config(TMKMS, &config)
}
