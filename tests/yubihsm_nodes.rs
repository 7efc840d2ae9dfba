//! Real validator nodes whose key is in a YubiHSM2: blocks while others use the device, and while the connector is killed.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "support/yubihsm/mod.rs"]
mod simulator;
#[path = "support/yubihsm_target.rs"]
mod target;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use simulator::{Fault, Options, Simulator, codes::command};
use support::{
    Transport::{self, Tcp, Unix},
    free_port,
    go_tools::Tool::{self, CometBftV038, CometBftV040},
    node::{CHAIN, Genesis, NodeHome},
    signer::SignerHome,
    wait_for,
};
use target::{LONG, credentials, http, of};
use tmkms::{
    crypto::PublicKey,
    keyring::providers::yubihsm::{
        Algorithm, Capabilities, Device, Domains, Filter, Label, NewObject, StaticKeys,
    },
};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 50;

/// The validator role of `setup`, and its key.
const VALIDATOR: u16 = 4;
const KEY: u16 = 9002;

/// A device as `setup` leaves it, as far as a signer sees it, with the time that a real one takes; and the public key.
fn device() -> (Simulator, [u8; 32]) {
    let (simulator, public) = device_with(Algorithm::ED25519);
    (simulator, public.try_into().unwrap())
}

fn device_with(algorithm: Algorithm) -> (Simulator, Vec<u8>) {
    let simulator = Simulator::start(Options {
        latency: Duration::from_millis(3),
        ..Options::default()
    });
    let factory = credentials(1, "password");
    let mut admin = Device::open(&of(&simulator, LONG), None, &factory).unwrap();
    let object = |id, capabilities| NewObject {
        id,
        label: Label::new(target::LABEL),
        domains: Domains::ONE,
        capabilities,
    };
    let signs = Capabilities::SIGN_EDDSA.with(Capabilities::SIGN_ECDSA);
    let role = object(VALIDATOR, signs);
    let keys = StaticKeys::from_password(&target::password("validator password"));
    admin
        .put_authentication_key(&role, Capabilities::NONE, &keys)
        .unwrap();
    let made = admin.generate_asymmetric_key(&object(KEY, signs), algorithm);
    made.unwrap();
    let public = admin.public_key(KEY).unwrap().bytes;
    (simulator, public)
}

fn node(tool: Tool, transport: Transport, public: &[u8; 32], test: &str) -> Option<NodeHome> {
    let node = NodeHome::new(tool, transport, Genesis { extensions: true }, test)?;
    node.take_over(public);
    Some(node)
}

/// A signer whose device is behind a connector at `port`, with its record.
fn signer(node: &NodeHome, port: u16, server: Option<u16>) -> SignerHome {
    let server = server.map_or(String::new(), |port| {
        format!("connector_server = {{ laddr = \"tcp://127.0.0.1:{port}\" }}")
    });
    let home = SignerHome::with_config(
        TMKMS,
        &format!(
            r#"
            [[chain]]
            id = "{CHAIN}"
            state_file = "state.json"

            [[validator]]
            addr = "{addr}"
            chain_id = "{CHAIN}"
            secret_key = "identity.key"

            [[providers.yubihsm]]
            adapter = {{ type = "http", addr = "tcp://127.0.0.1:{port}" }}
            auth = {{ key = {VALIDATOR}, password_file = "password" }}
            keys = [{{ chain_ids = ["{CHAIN}"], key = {KEY} }}]
            {server}
            "#,
            addr = node.signer_addr,
        ),
    );
    home.write("password", "validator password\n");
    home.init_record(CHAIN);
    home
}

#[test]
fn a_chain_makes_blocks_while_guests_use_the_device_and_the_connector_is_killed() {
    let test = "a YubiHSM2 behind a connector";
    for (tool, transport) in [(CometBftV038, Tcp), (CometBftV040, Unix)] {
        let (simulator, public) = device();
        let Some(node) = node(tool, transport, &public, test) else {
            return;
        };
        let port = free_port();
        let signer = signer(&node, simulator.addr().port(), Some(port));
        let mut tmkms = signer.start();
        let _node = node.start();
        let busy = AtomicBool::new(true);
        thread::scope(|scope| {
            scope.spawn(|| {
                let through = http("127.0.0.1", port, LONG);
                wait_for("the connector server", PATIENCE, || {
                    let device = Device::open(&through, None, &credentials(1, "password"));
                    device.ok().map(drop)
                });
                while busy.load(Ordering::Relaxed) {
                    let factory = credentials(1, "password");
                    let mut guest = Device::open(&through, None, &factory).unwrap();
                    guest.list_objects(&Filter::default()).unwrap();
                    guest.close().unwrap();
                }
            });
            // Told also if the node falls behind, so that the guest ends.
            let reached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                node.wait_for_height(BLOCKS + 1, PATIENCE);
            }));
            busy.store(false, Ordering::Relaxed);
            reached.unwrap();
        });
        node.assert_round_0(1..=BLOCKS, &signer);

        simulator.stop_connector();
        wait_for("the log to say why", PATIENCE, || {
            let log = signer.log();
            log.contains("cannot reach the connector").then_some(())
        });
        simulator.restart_connector();
        let reached = node.rpc.height().unwrap();
        node.wait_for_height(reached + 20, PATIENCE);
        // And what else can happen, one after the other, each in the middle of a vote.
        for fault in [
            Fault::DropBefore,
            Fault::DropAfter,
            Fault::TwoSegments,
            Fault::WrongMac,
            Fault::SessionLost,
            Fault::Busy,
        ] {
            simulator.fault_on(command::SIGN_EDDSA, fault);
            let reached = node.rpc.height().unwrap();
            node.wait_for_height(reached + 5, PATIENCE);
            assert_eq!(simulator.faults_left(), 0, "{fault:?}");
        }
        simulator.unplug();
        simulator.plug();
        let reached = node.rpc.height().unwrap();
        node.wait_for_height(reached + 20, PATIENCE);
        assert!(tmkms.is_running());
        for (hrs, blocks) in signer.signed() {
            assert_eq!(blocks.len(), 1, "{hrs}: {blocks:?}");
        }
        assert!(tmkms.terminate(Duration::from_secs(2)).success());
        assert_eq!(simulator.device().open_sessions(), 0);
    }
}

#[test]
fn a_signer_reaches_its_device_through_the_connector_server_of_another() {
    let test = "a signer behind a connector_server";
    let (simulator, public) = device();
    let (Some(node), Some(other)) = (
        node(CometBftV038, Tcp, &public, test),
        node(CometBftV038, Unix, &public, test),
    ) else {
        return;
    };
    // The first holds the device and has no node to serve: its node never starts.
    let port = free_port();
    let holder = signer(&other, simulator.addr().port(), Some(port));
    let holds = holder.start();
    wait_for("the connector server", PATIENCE, || {
        holder
            .log()
            .contains(&format!("connector_server listens on 127.0.0.1:{port}"))
            .then_some(())
    });
    let signer = signer(&node, port, None);
    let _signs = signer.start();
    let _node = node.start();
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, &signer);
    // The holder is killed and started again in the middle: the chain goes on.
    holds.kill();
    wait_for("the log to say why", PATIENCE, || {
        let log = signer.log();
        log.contains("cannot reach the connector").then_some(())
    });
    let _holds = holder.start();
    let reached = node.rpc.height().unwrap();
    node.wait_for_height(reached + 20, PATIENCE);
}

#[test]
fn a_chain_whose_validator_has_a_secp256k1_key_makes_blocks() {
    let test = "a secp256k1 key in a YubiHSM2";
    let (simulator, public) = device_with(Algorithm::EC_K256);
    // The device gives x ‖ y.
    let key = PublicKey::secp256k1(&[&[0x04], public.as_slice()].concat()).unwrap();
    for tool in [CometBftV038, CometBftV040] {
        let genesis = Genesis { extensions: false };
        let Some(node) = NodeHome::new(tool, Tcp, genesis, test) else {
            return;
        };
        node.take_over_by(&key);
        let signer = signer(&node, simulator.addr().port(), None);
        let tmkms = signer.start();
        let _node = node.start();
        node.wait_for_height(BLOCKS + 1, PATIENCE);
        node.assert_round_0(1..=BLOCKS, &signer);
        // A vote that is asked for again after a restart has the signature that is in the record.
        tmkms.kill();
        let _tmkms = signer.start();
        let reached = node.rpc.height().unwrap();
        node.wait_for_height(reached + 10, PATIENCE);
    }
}
