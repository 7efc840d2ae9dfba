//! Blocks on the nodes before protobuf, Tendermint v0.26 to v0.33, with the configuration that serves every other node.
//!
//! Each test builds its node from its Go module (once, kept under `target/nodes/`). Without Go it says loudly that it was
//! skipped; with `CI` set it fails.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{path::Path, time::Duration};

use support::{
    Transport::{self, Tcp, Unix},
    go_tools::{
        Amino,
        Tool::{
            self, TendermintV026, TendermintV027, TendermintV028, TendermintV032, TendermintV033,
        },
    },
    node::{CHAIN, Genesis, NodeHome},
    process::Process,
    signer::SignerHome,
    wait_for,
};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 30;

#[test]
fn tendermint_v0_33_makes_blocks_over_tcp() {
    makes_blocks(TendermintV033, Tcp, "amino (Tendermint v0.33)");
}

#[test]
fn tendermint_v0_33_makes_blocks_over_unix() {
    makes_blocks(TendermintV033, Unix, "amino (Tendermint v0.29 to v0.33)");
}

#[test]
fn tendermint_v0_32_makes_blocks_over_tcp() {
    makes_blocks(TendermintV032, Tcp, "amino (Tendermint v0.29 to v0.32)");
}

#[test]
fn tendermint_v0_32_makes_blocks_over_unix() {
    makes_blocks(TendermintV032, Unix, "amino (Tendermint v0.29 to v0.33)");
}

#[test]
fn tendermint_v0_28_makes_blocks_over_tcp() {
    makes_blocks(TendermintV028, Tcp, "amino (Tendermint v0.28)");
}

#[test]
fn tendermint_v0_28_makes_blocks_over_unix() {
    makes_blocks(TendermintV028, Unix, "amino (Tendermint v0.28)");
}

#[test]
fn tendermint_v0_27_makes_blocks_over_tcp() {
    makes_blocks(TendermintV027, Tcp, "amino (Tendermint v0.26 or v0.27)");
}

#[test]
fn tendermint_v0_27_makes_blocks_over_unix_where_it_dials_the_signer() {
    makes_blocks(TendermintV027, Unix, "amino (Tendermint v0.26 or v0.27)");
}

#[test]
fn tendermint_v0_26_makes_blocks_over_tcp() {
    makes_blocks(TendermintV026, Tcp, "amino (Tendermint v0.26 or v0.27)");
}

#[test]
fn tendermint_v0_26_makes_blocks_over_unix_where_it_dials_the_signer() {
    makes_blocks(TendermintV026, Unix, "amino (Tendermint v0.26 or v0.27)");
}

#[test]
fn a_node_that_waits_for_transactions_gets_its_heartbeats_signed() {
    let Some((node, signer)) = pair(TendermintV026, Tcp, "heartbeats") else {
        return;
    };
    node.wait_for_transactions();
    // Heartbeats are told to those who want to know everything.
    let mut command = signer.command();
    command.args(["start", "-v", "-c"]).arg(signer.config());
    let _tmkms = Process::start("tmkms", &mut command, &signer.log_file());
    let _node = node.start();
    // A proof block follows the first, and then nothing happens until there is a transaction.
    wait_for("a heartbeat", PATIENCE, || {
        signer.log().contains("signed heartbeat").then_some(())
    });
    let rested = node.rpc.height().expect("the node runs");
    assert!(node.rpc.get("/broadcast_tx_commit?tx=\"a=b\"").is_some());
    node.wait_for_height(rested + 1, PATIENCE);
    assert!(!signer.log().contains("] refused"), "{}", signer.log());
    assert_no_complaint(&node);
}

#[test]
fn signers_and_nodes_are_restarted_in_any_order() {
    for (tool, transport) in [
        (TendermintV033, Tcp),
        (TendermintV032, Unix),
        (TendermintV028, Tcp),
    ] {
        let Some((node, signer)) = pair(tool, transport, "restarts of amino nodes") else {
            return;
        };
        // The node first: it waits three seconds for a signer and then gives up.
        let running = node.start();
        node.wait_until_it_wants_a_signer();
        let tmkms = signer.start();
        node.wait_for_height(5, PATIENCE);
        // The signer, under the running node (whose RPC waits, too, while there is none).
        let before = node.rpc.height().expect("the node runs");
        assert!(tmkms.terminate(Duration::from_secs(2)).success());
        let tmkms = signer.start();
        let before = if tool == TendermintV028 {
            // It asks once: a vote that was lost halts a chain of one validator until the node is restarted.
            before
        } else {
            node.wait_for_height(before + 5, PATIENCE);
            node.rpc.height().expect("the node runs")
        };
        // The node, under the running signer.
        let _ = running.terminate(Duration::from_secs(20));
        let running = node.start();
        node.wait_for_height(before + 5, PATIENCE);
        node.assert_no_evidence();
        let _ = running.terminate(Duration::from_secs(20));
        assert!(tmkms.terminate(Duration::from_secs(2)).success());
        // Told once, however often it was dialled.
        assert_eq!(signer.log().matches("the node speaks").count(), 2);
    }
}

#[test]
fn a_node_of_one_dial_goes_on_after_both_were_restarted_and_the_log_says_so() {
    for (tool, transport) in [
        (TendermintV027, Unix),
        (TendermintV027, Tcp),
        (TendermintV026, Unix),
    ] {
        let Some((node, signer)) = pair(tool, transport, "restarts of the oldest nodes") else {
            return;
        };
        let tmkms = start_signer(&signer, &node);
        let running = node.start();
        node.wait_for_height(5, PATIENCE);
        assert!(tmkms.terminate(Duration::from_secs(2)).success());
        assert!(
            signer.log().contains("asks for nothing more: restart it"),
            "{}",
            signer.log()
        );
        running.kill();
        let before = signer.signed().len();
        let tmkms = start_signer(&signer, &node);
        let running = node.start();
        wait_for("the restarted node to be signed for", PATIENCE, || {
            (signer.signed().len() > before + 10).then_some(())
        });
        node.assert_no_evidence();
        let _ = running.terminate(Duration::from_secs(20));
        assert!(tmkms.terminate(Duration::from_secs(2)).success());
    }
}

#[test]
fn a_pin_that_the_node_contradicts_is_said_with_what_the_node_speaks() {
    let Some((node, signer)) = pair(TendermintV033, Tcp, "a wrong pin") else {
        return;
    };
    let config = std::fs::read_to_string(signer.config()).expect("it was written");
    let pinned = config.replace(
        "[[validator]]",
        "[[validator]]\nprotocol_version = \"v0.38\"",
    );
    std::fs::write(signer.config(), pinned).expect("our own directory");
    let tmkms = signer.start();
    let _node = node.start();
    let said = "protocol_version is \"v0.38\", but the node speaks amino (Tendermint v0.33)";
    wait_for("the contradiction", PATIENCE, || {
        signer.log().contains(said).then_some(())
    });
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

/// 30 blocks from an undisturbed start, all committed in round 0 by our validator, without evidence or complaint.
fn makes_blocks(tool: Tool, transport: Transport, speaks: &str) {
    let test = format!("{tool:?} over {transport:?}");
    let Some((node, signer)) = pair(tool, transport, &test) else {
        return;
    };
    let tmkms = start_signer(&signer, &node);
    let running = node.start();
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, &signer);
    node.assert_no_evidence();
    assert_no_complaint(&node);
    let log = signer.log();
    assert_eq!(
        log.matches(&format!("the node speaks {speaks}")).count(),
        1,
        "{log}"
    );
    assert!(log.contains(&format!("whatever comes from there is signed for {CHAIN}")));
    let _ = running.terminate(Duration::from_secs(20));
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

fn pair(tool: Tool, transport: Transport, test: &str) -> Option<(NodeHome, SignerHome)> {
    let node = NodeHome::new(tool, transport, Genesis::default(), test)?;
    assert!(matches!(
        tool.amino(),
        Some(Amino::OneDial | Amino::Dialled)
    ));
    let signer = SignerHome::new(TMKMS, CHAIN, &node.take_key(), &[&node.signer_addr]);
    Some((node, signer))
}

/// The signer, and its socket where the node is to dial it.
fn start_signer(signer: &SignerHome, node: &NodeHome) -> Process {
    let tmkms = signer.start();
    if let Some(path) = node.signer_addr.strip_prefix("unix-listen://") {
        wait_for("the signer to listen", PATIENCE, || {
            Path::new(path).exists().then_some(())
        });
    }
    tmkms
}

/// Lines that begin with `E[` are a node's errors; that there are no other nodes is none of ours.
fn assert_no_complaint(node: &NodeHome) {
    let log = node.log();
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("E[") && !line.contains("module=p2p"))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
