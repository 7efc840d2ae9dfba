//! The nodes before protobuf, Tendermint v0.26 to v0.33, in what is not a cell of `real_nodes_table.rs`: heartbeats, restarts in other
//! orders, wrong pins.
//!
//! Each test builds its node from its Go module (once, kept under `target/nodes/`). Without Go it says loudly that it was
//! skipped; with `CI` set it fails.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

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

#[test]
fn a_node_that_waits_for_transactions_gets_its_heartbeats_signed() {
    side_by_side(&[(TendermintV026, Tcp), (TendermintV026, Unix)], heartbeats);
}

#[test]
fn signers_and_nodes_are_restarted_in_any_order() {
    let nodes = [
        (TendermintV033, Tcp),
        (TendermintV032, Unix),
        (TendermintV028, Tcp),
    ];
    side_by_side(&nodes, any_order);
}

#[test]
fn a_node_of_one_dial_goes_on_after_both_were_restarted_and_the_log_says_so() {
    let nodes = [
        (TendermintV027, Unix),
        (TendermintV027, Tcp),
        (TendermintV026, Unix),
    ];
    side_by_side(&nodes, both_restarted);
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

fn heartbeats(tool: Tool, transport: Transport) {
    let Some((node, signer)) = pair(tool, transport, "heartbeats") else {
        return;
    };
    node.wait_for_transactions();
    // Heartbeats are told to those who want to know everything.
    let mut command = signer.command();
    command.args(["start", "-v", "-c"]).arg(signer.config());
    let _tmkms = Process::start("tmkms", &mut command, &signer.log_file());
    node.wait_for_its_signer();
    let _running = node.start();
    // A proof block follows the first, and then nothing happens until there is a transaction.
    wait_for("a heartbeat", PATIENCE, || {
        signer.log().contains("signed heartbeat").then_some(())
    });
    let rested = node.rpc.height().expect("the node runs");
    assert!(node.rpc.get("/broadcast_tx_commit?tx=\"a=b\"").is_some());
    node.wait_for_height(rested + 1, PATIENCE);
    assert!(!signer.log().contains("] refused"), "{}", signer.log());
    node.assert_no_complaint();
}

fn any_order(tool: Tool, transport: Transport) {
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

fn both_restarted(tool: Tool, transport: Transport) {
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

/// They wait more than they compute.
fn side_by_side(nodes: &[(Tool, Transport)], each: fn(Tool, Transport)) {
    std::thread::scope(|scope| {
        for (tool, transport) in nodes {
            scope.spawn(move || each(*tool, *transport));
        }
    });
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
    node.wait_for_its_signer();
    tmkms
}
