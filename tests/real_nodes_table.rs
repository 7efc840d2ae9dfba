//! The table of `docs/compatibility.md`: every node, over every transport, with every type of key that it knows, without and with
//! vote extensions. One line here is one cell there; `tests/docs.rs` holds them together.
//!
//! Each test builds its node from its Go module (once, kept under `target/nodes/`). Without Go it says loudly that it was
//! skipped; with `CI` set it fails.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{
    SIGNER_IDENTITY,
    Transport::{self, Noise, Tcp, Unix},
    go_tools::{
        Amino,
        Tool::{
            self, CometBftV1, CometBftV1WithBls, CometBftV038, CometBftV040, TendermintV026,
            TendermintV027, TendermintV028, TendermintV032, TendermintV033, TendermintV034,
        },
    },
    node::{CHAIN, Genesis, NodeHome},
    process::Process,
    signer::SignerHome,
    wait_for,
};
use tmkms::{
    crypto::Algorithm::{self, Bls12381, Ed25519, MlDsa65, Secp256k1, Secp256k1Eth},
    keyring::providers::softsign,
};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 30;

/// What a restarted chain must get before it is believed to go on: five heights of a proposal and two votes.
const SIGNATURES: usize = 15;

const PLAIN: Genesis = Genesis { extensions: false };
const EXTENDED: Genesis = Genesis { extensions: true };

/// The whole configuration of every cell. Nothing in it but the address depends on the node, its version, the transport or the key.
const CONFIG: &str = r#"
[[chain]]
id = "tmkms-test-1"
state_file = "state.json"

[[validator]]
chain_id = "tmkms-test-1"
addr = "ADDRESS"
secret_key = "identity.key"

[[providers.softsign]]
chain_ids = ["tmkms-test-1"]
path = "consensus.key"
"#;

macro_rules! cells {
    ($(fn $test:ident($tool:expr, $transport:expr, $key:expr, $genesis:expr);)+) => {$(
        #[test]
        fn $test() {
            makes_blocks($tool, $transport, $key, $genesis);
        }
    )+};
}

cells! {
    fn tendermint_v0_26_makes_blocks_over_tcp_with_ed25519(TendermintV026, Tcp, Ed25519, PLAIN);
    fn tendermint_v0_26_makes_blocks_over_unix_with_ed25519(TendermintV026, Unix, Ed25519, PLAIN);
    fn tendermint_v0_26_makes_blocks_over_tcp_with_secp256k1(TendermintV026, Tcp, Secp256k1, PLAIN);
    fn tendermint_v0_26_makes_blocks_over_unix_with_secp256k1(TendermintV026, Unix, Secp256k1, PLAIN);

    fn tendermint_v0_27_makes_blocks_over_tcp_with_ed25519(TendermintV027, Tcp, Ed25519, PLAIN);
    fn tendermint_v0_27_makes_blocks_over_unix_with_ed25519(TendermintV027, Unix, Ed25519, PLAIN);
    fn tendermint_v0_27_makes_blocks_over_tcp_with_secp256k1(TendermintV027, Tcp, Secp256k1, PLAIN);
    fn tendermint_v0_27_makes_blocks_over_unix_with_secp256k1(TendermintV027, Unix, Secp256k1, PLAIN);

    fn tendermint_v0_28_makes_blocks_over_tcp_with_ed25519(TendermintV028, Tcp, Ed25519, PLAIN);
    fn tendermint_v0_28_makes_blocks_over_unix_with_ed25519(TendermintV028, Unix, Ed25519, PLAIN);
    fn tendermint_v0_28_makes_blocks_over_tcp_with_secp256k1(TendermintV028, Tcp, Secp256k1, PLAIN);
    fn tendermint_v0_28_makes_blocks_over_unix_with_secp256k1(TendermintV028, Unix, Secp256k1, PLAIN);

    fn tendermint_v0_32_makes_blocks_over_tcp_with_ed25519(TendermintV032, Tcp, Ed25519, PLAIN);
    fn tendermint_v0_32_makes_blocks_over_unix_with_ed25519(TendermintV032, Unix, Ed25519, PLAIN);
    fn tendermint_v0_32_makes_blocks_over_tcp_with_secp256k1(TendermintV032, Tcp, Secp256k1, PLAIN);
    fn tendermint_v0_32_makes_blocks_over_unix_with_secp256k1(TendermintV032, Unix, Secp256k1, PLAIN);

    fn tendermint_v0_33_makes_blocks_over_tcp_with_ed25519(TendermintV033, Tcp, Ed25519, PLAIN);
    fn tendermint_v0_33_makes_blocks_over_unix_with_ed25519(TendermintV033, Unix, Ed25519, PLAIN);
    fn tendermint_v0_33_makes_blocks_over_tcp_with_secp256k1(TendermintV033, Tcp, Secp256k1, PLAIN);
    fn tendermint_v0_33_makes_blocks_over_unix_with_secp256k1(TendermintV033, Unix, Secp256k1, PLAIN);

    fn tendermint_v0_34_makes_blocks_over_tcp_with_ed25519(TendermintV034, Tcp, Ed25519, PLAIN);
    fn tendermint_v0_34_makes_blocks_over_unix_with_ed25519(TendermintV034, Unix, Ed25519, PLAIN);
    fn tendermint_v0_34_makes_blocks_over_tcp_with_secp256k1(TendermintV034, Tcp, Secp256k1, PLAIN);
    fn tendermint_v0_34_makes_blocks_over_unix_with_secp256k1(TendermintV034, Unix, Secp256k1, PLAIN);

    fn cometbft_v0_38_makes_blocks_over_tcp_with_ed25519(CometBftV038, Tcp, Ed25519, PLAIN);
    fn cometbft_v0_38_makes_blocks_over_tcp_with_ed25519_and_extensions(CometBftV038, Tcp, Ed25519, EXTENDED);
    fn cometbft_v0_38_makes_blocks_over_unix_with_ed25519(CometBftV038, Unix, Ed25519, PLAIN);
    fn cometbft_v0_38_makes_blocks_over_unix_with_ed25519_and_extensions(CometBftV038, Unix, Ed25519, EXTENDED);
    fn cometbft_v0_38_makes_blocks_over_tcp_with_secp256k1(CometBftV038, Tcp, Secp256k1, PLAIN);
    fn cometbft_v0_38_makes_blocks_over_tcp_with_secp256k1_and_extensions(CometBftV038, Tcp, Secp256k1, EXTENDED);
    fn cometbft_v0_38_makes_blocks_over_unix_with_secp256k1(CometBftV038, Unix, Secp256k1, PLAIN);
    fn cometbft_v0_38_makes_blocks_over_unix_with_secp256k1_and_extensions(CometBftV038, Unix, Secp256k1, EXTENDED);

    fn cometbft_v0_40_makes_blocks_over_tcp_with_ed25519(CometBftV040, Tcp, Ed25519, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_ed25519_and_extensions(CometBftV040, Tcp, Ed25519, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_unix_with_ed25519(CometBftV040, Unix, Ed25519, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_unix_with_ed25519_and_extensions(CometBftV040, Unix, Ed25519, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_noise_with_ed25519(CometBftV040, Noise, Ed25519, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_noise_with_ed25519_and_extensions(CometBftV040, Noise, Ed25519, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_secp256k1(CometBftV040, Tcp, Secp256k1, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_secp256k1_and_extensions(CometBftV040, Tcp, Secp256k1, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_unix_with_secp256k1(CometBftV040, Unix, Secp256k1, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_unix_with_secp256k1_and_extensions(CometBftV040, Unix, Secp256k1, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_noise_with_secp256k1(CometBftV040, Noise, Secp256k1, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_noise_with_secp256k1_and_extensions(CometBftV040, Noise, Secp256k1, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_secp256k1eth(CometBftV040, Tcp, Secp256k1Eth, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_secp256k1eth_and_extensions(CometBftV040, Tcp, Secp256k1Eth, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_unix_with_secp256k1eth(CometBftV040, Unix, Secp256k1Eth, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_unix_with_secp256k1eth_and_extensions(CometBftV040, Unix, Secp256k1Eth, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_noise_with_secp256k1eth(CometBftV040, Noise, Secp256k1Eth, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_noise_with_secp256k1eth_and_extensions(CometBftV040, Noise, Secp256k1Eth, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_ml_dsa_65(CometBftV040, Tcp, MlDsa65, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_tcp_with_ml_dsa_65_and_extensions(CometBftV040, Tcp, MlDsa65, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_unix_with_ml_dsa_65(CometBftV040, Unix, MlDsa65, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_unix_with_ml_dsa_65_and_extensions(CometBftV040, Unix, MlDsa65, EXTENDED);
    fn cometbft_v0_40_makes_blocks_over_noise_with_ml_dsa_65(CometBftV040, Noise, MlDsa65, PLAIN);
    fn cometbft_v0_40_makes_blocks_over_noise_with_ml_dsa_65_and_extensions(CometBftV040, Noise, MlDsa65, EXTENDED);

    fn cometbft_v1_makes_blocks_over_tcp_with_ed25519(CometBftV1, Tcp, Ed25519, PLAIN);
    fn cometbft_v1_makes_blocks_over_tcp_with_ed25519_and_extensions(CometBftV1, Tcp, Ed25519, EXTENDED);
    fn cometbft_v1_makes_blocks_over_unix_with_ed25519(CometBftV1, Unix, Ed25519, PLAIN);
    fn cometbft_v1_makes_blocks_over_unix_with_ed25519_and_extensions(CometBftV1, Unix, Ed25519, EXTENDED);
    fn cometbft_v1_makes_blocks_over_tcp_with_secp256k1(CometBftV1, Tcp, Secp256k1, PLAIN);
    fn cometbft_v1_makes_blocks_over_tcp_with_secp256k1_and_extensions(CometBftV1, Tcp, Secp256k1, EXTENDED);
    fn cometbft_v1_makes_blocks_over_unix_with_secp256k1(CometBftV1, Unix, Secp256k1, PLAIN);
    fn cometbft_v1_makes_blocks_over_unix_with_secp256k1_and_extensions(CometBftV1, Unix, Secp256k1, EXTENDED);
    fn cometbft_v1_makes_blocks_over_tcp_with_bls12_381(CometBftV1WithBls, Tcp, Bls12381, PLAIN);
    fn cometbft_v1_makes_blocks_over_tcp_with_bls12_381_and_extensions(CometBftV1WithBls, Tcp, Bls12381, EXTENDED);
    fn cometbft_v1_makes_blocks_over_unix_with_bls12_381(CometBftV1WithBls, Unix, Bls12381, PLAIN);
    fn cometbft_v1_makes_blocks_over_unix_with_bls12_381_and_extensions(CometBftV1WithBls, Unix, Bls12381, EXTENDED);
}

/// 30 blocks from an undisturbed start, all committed in round 0 by our validator, and no complaint of the node; then the chain goes on
/// after the node was restarted, and after the signer was killed. No block holds evidence.
fn makes_blocks(tool: Tool, transport: Transport, key: Algorithm, genesis: Genesis) {
    let test = format!("{tool:?} over {transport:?} with {key}");
    let Some(node) = NodeHome::new(tool, transport, genesis, &test) else {
        return;
    };
    let signer = signer(&node, key);
    let tmkms = start(&signer, &node);
    let running = node.start();
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, &signer);
    node.assert_extensions(genesis);
    node.assert_no_complaint();
    assert_speaks(&signer, tool, transport);

    // The node, under the running signer.
    let _ = running.terminate(Duration::from_secs(20));
    let before = signer.signed().len();
    node.wait_for_its_signer();
    let mut running = node.start();
    signs_on(&signer, before);

    // The signer, under the running node.
    tmkms.kill();
    let before = signer.signed().len();
    let tmkms = start(&signer, &node);
    if !survives_its_signer(tool) {
        running.kill();
        running = node.start();
    }
    signs_on(&signer, before);

    node.assert_no_evidence();
    signer.assert_nothing_conflicts();
    running.kill();
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

/// The signer's home: the one configuration, an identity, the key and its record. An Ed25519 key is the one that the node's `init` has
/// made, one of another type is made here and takes its place in the genesis file.
fn signer(node: &NodeHome, key: Algorithm) -> SignerHome {
    let signer = SignerHome::with_config(TMKMS, &CONFIG.replacen("ADDRESS", &node.signer_addr, 1));
    signer.write("identity.key", SIGNER_IDENTITY.0);
    let path = signer.path("consensus.key");
    if key == Ed25519 {
        softsign::import(None, None, &node.take_key(), &path).expect("init has made a key");
    } else {
        node.take_over_by(&softsign::generate(key, &path).expect("a new file"));
    }
    signer.init_record(CHAIN);
    signer
}

/// The signer, and its socket where the node is to dial it.
fn start(signer: &SignerHome, node: &NodeHome) -> Process {
    let tmkms = signer.start();
    node.wait_for_its_signer();
    tmkms
}

/// What the node speaks was found out and told once; and, where it applies, that its requests name no chain.
fn assert_speaks(signer: &SignerHome, tool: Tool, transport: Transport) {
    let speaks = match (tool, transport) {
        (TendermintV026 | TendermintV027, _) => "amino (Tendermint v0.26 or v0.27)",
        (TendermintV028, _) => "amino (Tendermint v0.28)",
        (TendermintV032, Tcp) => "amino (Tendermint v0.29 to v0.32)",
        (TendermintV033, Tcp) => "amino (Tendermint v0.33)",
        // Nothing but the handshake tells them apart.
        (TendermintV032 | TendermintV033, _) => "amino (Tendermint v0.29 to v0.33)",
        _ => "protobuf",
    };
    let log = signer.log();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("the node speaks"))
        .collect();
    assert!(
        matches!(told.as_slice(), [line] if line.contains(&format!("the node speaks {speaks}"))),
        "{log}"
    );
    assert_eq!(
        log.contains(&format!("whatever comes from there is signed for {CHAIN}")),
        tool.amino().is_some(),
        "{log}"
    );
}

/// v0.26 and v0.27 ask nothing more once they have lost their signer; v0.28 asks once, and a vote that was lost halts a chain of one
/// validator. They go on once they are restarted, too.
fn survives_its_signer(tool: Tool) -> bool {
    tool.amino() != Some(Amino::OneDial) && tool != TendermintV028
}

fn signs_on(signer: &SignerHome, before: usize) {
    wait_for("the chain to go on", PATIENCE, || {
        (signer.signed().len() >= before + SIGNATURES).then_some(())
    });
}
