//! Real validator nodes in what is not a cell of `real_nodes_table.rs`: many restarts, several nodes, other identities, extensions
//! with content.
//!
//! Each test builds its node from its Go module (once, kept under `target/nodes/`). Without Go it says loudly that it was
//! skipped; with `CI` set it fails.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use support::{
    SIGNER_IDENTITY,
    Transport::{self, Noise, NoiseOfSecp256k1Node, Tcp, Unix},
    free_port,
    go_tools::Tool::{
        self, CometBftV1, CometBftV038, CometBftV040, E2eNodeV1, E2eNodeV038, E2eNodeV040, Harness,
        TendermintV034,
    },
    node::{CHAIN, EXTENSION_SIZE, Genesis, NodeHome},
    process::Process,
    signer::SignerHome,
    wait_for,
};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 50;
const KILLS: u32 = 20;

const PLAIN: Genesis = Genesis { extensions: false };
const EXTENDED: Genesis = Genesis { extensions: true };

#[test]
fn cometbft_v0_40_with_a_secp256k1_identity_makes_blocks_over_noise() {
    let test = "a secp256k1 identity";
    let Some((node, signer)) = pair(CometBftV040, NoiseOfSecp256k1Node, EXTENDED, test) else {
        return;
    };
    assert!(node.signer_addr.starts_with("noise://16Uiu2HA"));
    makes_blocks(&node, &signer);
}

#[test]
fn a_noise_node_that_expects_another_signer_is_explained_and_check_dial_sees_it_too() {
    let test = "a noise node that expects another signer";
    let Some((node, signer)) = pair(CometBftV040, Noise, PLAIN, test) else {
        return;
    };
    // Another key than the one whose ID the node's setting has.
    signer.write(
        "identity.key",
        "FKynxJUsRA19vD3TIQxpXyiarKO6SRBmM7KHObSQj00=",
    );
    let running = node.start();
    node.wait_until_it_wants_a_signer();
    let dialled = signer.check_dial();
    assert!(
        dialled.contains("the node accepted the handshake and hung up")
            && dialled.contains("priv_validator_laddr = \"noise://12D3KooW"),
        "{dialled}"
    );
    let tmkms = signer.start();
    wait_for("the refusal to be explained", PATIENCE, || {
        let log = signer.log();
        (log.contains("hung up (hint: is 12D3KooW") && log.contains("in its priv_validator_laddr?"))
            .then_some(())
    });
    assert!(!signer.log().contains("connected to validator"));
    drop(running);
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
    // With its own key again, the same home makes blocks.
    signer.write("identity.key", SIGNER_IDENTITY.0);
    let _tmkms = signer.start();
    let _running = node.start();
    node.wait_for_height(3, PATIENCE);
}

#[test]
fn extensions_with_content_reach_the_application_of_cometbft_v0_38() {
    extensions_with_content_reach_the_application(E2eNodeV038, Tcp);
}

#[test]
fn extensions_of_100_000_bytes_reach_the_application_of_cometbft_v0_40() {
    extensions_with_content_reach_the_application(E2eNodeV040, Noise);
}

#[test]
fn extensions_of_100_000_bytes_reach_the_application_of_cometbft_v1() {
    extensions_with_content_reach_the_application(E2eNodeV1, Unix);
}

#[test]
fn a_node_that_is_killed_and_started_again_goes_on() {
    let test = "a node killed and started again";
    for (tool, transport) in [(CometBftV038, Unix), (TendermintV034, Tcp)] {
        let Some((node, signer)) = pair(tool, transport, PLAIN, test) else {
            return;
        };
        let mut tmkms = signer.start();
        let mut reached = 0;
        for _ in 0..3 {
            let running = node.start();
            node.wait_for_height(reached + 20, PATIENCE);
            reached = node.rpc.height().expect("the node runs");
            running.kill();
        }
        let _running = node.start();
        node.wait_for_height(reached + 20, PATIENCE);
        assert!(tmkms.is_running(), "tmkms must outlive its node");
        node.assert_no_evidence();
        signer.assert_nothing_conflicts();
    }
}

#[test]
fn a_signer_that_is_killed_twenty_times_under_load_never_stops_the_chain() {
    let test = "a signer killed under load";
    std::thread::scope(|scope| {
        for (tool, transport) in [(CometBftV038, Tcp), (CometBftV040, Unix)] {
            scope.spawn(move || {
                let Some((node, signer)) = pair(tool, transport, EXTENDED, test) else {
                    return;
                };
                kill_signer_under_load(&node, &signer);
            });
        }
    });
}

#[test]
fn of_two_nodes_on_one_signer_the_first_makes_all_blocks() {
    let test = "two nodes on one signer";
    let (Some(first), Some(second)) = (
        NodeHome::new(CometBftV038, Tcp, PLAIN, test),
        NodeHome::new(CometBftV038, Unix, PLAIN, test),
    ) else {
        return;
    };
    second.join(&first);
    let addrs = [first.signer_addr.as_str(), second.signer_addr.as_str()];
    let signer = SignerHome::new(TMKMS, CHAIN, &first.take_key(), &addrs);
    let _tmkms = signer.start();
    let _first = first.start();
    first.wait_for_height(10, PATIENCE);
    let _second = second.start();
    // The second one follows the first one's blocks and asks for votes of its own all the while.
    wait_for("the second node to follow", PATIENCE, || {
        second.rpc.height().filter(|height| *height >= 20)
    });
    first.wait_for_height(BLOCKS + 1, PATIENCE);
    second.wait_for_height(BLOCKS + 1, PATIENCE);
    first.assert_round_0(1..=BLOCKS, &signer);
    for height in 1..=BLOCKS {
        assert_eq!(
            first.rpc.commit(height).map(|commit| commit.hash),
            second.rpc.commit(height).map(|commit| commit.hash),
            "both nodes must know one block at height {height}"
        );
    }
    first.assert_no_evidence();
    second.assert_no_evidence();
    signer.assert_nothing_conflicts();
}

#[test]
fn two_nodes_that_do_not_know_each_other_never_get_two_blocks_of_one_height() {
    let test = "two separate nodes on one signer";
    let (Some(first), Some(second)) = (
        NodeHome::new(TendermintV034, Tcp, PLAIN, test),
        NodeHome::new(CometBftV038, Unix, PLAIN, test),
    ) else {
        return;
    };
    let addrs = [first.signer_addr.as_str(), second.signer_addr.as_str()];
    let signer = SignerHome::new(TMKMS, CHAIN, &first.take_key(), &addrs);
    second.share_validator(&first);
    let _tmkms = signer.start();
    let _first = first.start();
    first.wait_for_height(10, PATIENCE);
    let _second = second.start();
    wait_for("the second node to be refused", PATIENCE, || {
        second.log().contains("regression").then_some(())
    });
    first.wait_for_height(BLOCKS + 1, PATIENCE);
    first.assert_round_0(1..=BLOCKS, &signer);
    assert_eq!(
        second.rpc.height(),
        Some(0),
        "the second chain must never get a block signed"
    );
    signer.assert_nothing_conflicts();
}

#[test]
fn the_order_in_which_node_and_signer_start_does_not_matter() {
    std::thread::scope(|scope| {
        for (tool, transport) in [
            (TendermintV034, Unix),
            (CometBftV038, Tcp),
            (CometBftV040, Tcp),
            (CometBftV040, Noise),
            (CometBftV1, Unix),
        ] {
            scope.spawn(move || any_order(tool, transport));
        }
    });
}

fn any_order(tool: Tool, transport: Transport) {
    let Some((node, signer)) = pair(tool, transport, PLAIN, "start order") else {
        return;
    };
    // The node first: it waits three seconds for a signer and then gives up.
    let running = node.start();
    node.wait_until_it_wants_a_signer();
    let tmkms = signer.start();
    node.wait_for_height(5, PATIENCE);
    // A signer that is restarted in order, under the running node.
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
    let before = node.rpc.height().expect("the node runs");
    let tmkms = signer.start();
    node.wait_for_height(before + 5, PATIENCE);
    // The node is stopped, the signer stays and is there first at the next start.
    let before = node.rpc.height().expect("the node runs");
    let _ = running.terminate(Duration::from_secs(20));
    let running = node.start();
    node.wait_for_height(before + 5, PATIENCE);
    node.assert_no_evidence();
    let _ = running.terminate(Duration::from_secs(20));
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

#[test]
fn the_official_harness_finds_nothing() {
    let test = "tm-signer-harness";
    let Some(harness) = Harness.program(test) else {
        return;
    };
    let Some(node) = NodeHome::new(TendermintV034, Tcp, PLAIN, test) else {
        return;
    };
    let key = node.take_key();
    // The harness compares with the key file, which therefore stays where its home has it.
    std::fs::copy(&key, node.path("config/priv_validator_key.json")).expect("a copy");
    let addr = format!("tcp://127.0.0.1:{}", free_port());
    let signer = SignerHome::new(TMKMS, CHAIN, &key, &[&addr]);
    let _tmkms = signer.start();
    let mut command = Command::new(harness);
    command
        .args(["run", "-addr", &addr, "-tmhome"])
        .arg(node.path(""));
    let mut running = Process::start("tm-signer-harness", &mut command, &node.path("harness.log"));
    let status = running.wait(PATIENCE);
    assert!(
        status.success(),
        "the harness ended with {status}:\n{}",
        running.output()
    );
    assert!(running.output().contains("SUCCESS"), "{}", running.output());
}

/// 50 blocks from an undisturbed start, all committed in round 0 by our validator, without evidence or complaint.
fn makes_blocks(node: &NodeHome, signer: &SignerHome) {
    let tmkms = signer.start();
    let running = node.start();
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, signer);
    node.assert_no_evidence();
    node.assert_no_complaint();
    let _ = running.terminate(Duration::from_secs(20));
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

/// The application verifies the signature of every extension by itself, and ends its node over a wrong or an empty one.
fn extensions_with_content_reach_the_application(tool: Tool, transport: Transport) {
    let test = format!("extensions with content, {tool:?}");
    let Some((node, signer)) = pair(tool, transport, EXTENDED, &test) else {
        return;
    };
    makes_blocks(&node, &signer);
    let log = node.log();
    for height in 2..=BLOCKS {
        let verified = log.lines().any(|line| {
            line.contains("received and verified vote extension value")
                && line.contains(&format!("height={height} "))
        });
        assert!(verified, "none at height {height}:\n{log}");
    }
    if tool != E2eNodeV038 {
        assert!(log.contains(&format!("len={EXTENSION_SIZE}")), "{log}");
    }
}

fn pair(
    tool: Tool,
    transport: Transport,
    genesis: Genesis,
    test: &str,
) -> Option<(NodeHome, SignerHome)> {
    let node = NodeHome::new(tool, transport, genesis, test)?;
    let signer = SignerHome::new(TMKMS, CHAIN, &node.take_key(), &[&node.signer_addr]);
    Some((node, signer))
}

fn kill_signer_under_load(node: &NodeHome, signer: &SignerHome) {
    let mut tmkms = signer.start();
    let _running = node.start();
    node.wait_for_height(3, PATIENCE);
    for kill in 1..=KILLS {
        tmkms.kill();
        tmkms = signer.start();
        let before = node.rpc.height().expect("the node runs");
        node.wait_for_height(before + 2, PATIENCE);
        // Not always at the same place of a height: up to 20 ms of blocks more.
        let more = Duration::from_micros(u64::from(kill * 7_919 % 20_000));
        let since = Instant::now();
        while since.elapsed() < more {
            std::thread::yield_now();
        }
    }
    let reached = node.rpc.height().expect("the node runs");
    node.wait_for_height(reached + 10, PATIENCE);
    node.assert_no_evidence();
    signer.assert_nothing_conflicts();
    assert!(tmkms.is_running());
}
