//! `tmkms start` while a device is absent: the others are served, the service manager is told, and nothing exits.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
mod support;

use std::{
    cell::Cell,
    fs::OpenOptions,
    io::Write,
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use node_side::{Answer, Ballot, Listener, Validator, block, now};
use support::{
    free_port,
    process::Process,
    signer::{Chain, SignerHome},
    wait_for,
};
use tempfile::TempDir;
use tmkms::privval::{ChainId, Step};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(20);

/// A node of one chain, in this process.
struct Node {
    listener: Listener,
    chain: ChainId,
}

impl Node {
    fn new(directory: &TempDir, chain: &str) -> Self {
        let path = directory.path().join(format!("{chain}.sock"));
        Self {
            listener: Listener::bind(&format!("unix://{}", path.display())).unwrap(),
            chain: ChainId::new(chain).unwrap(),
        }
    }

    fn has_got_a_vote(&self) -> bool {
        let begun = Instant::now();
        let link = self.listener.accept(|| begun.elapsed() > PATIENCE).unwrap();
        let mut link = link.expect("the signer dials");
        let validator = Validator::meet(&mut link, &self.chain).unwrap();
        let prevote = Ballot {
            step: Step::Prevote,
            height: 1,
            round: 0,
            block: Some(block(1, 0)),
            timestamp: now(),
            extension: None,
        };
        let answer = validator.ask(&mut link, &prevote).unwrap();
        matches!(answer, Answer::Signed(_))
    }

    fn is_dialled_now(&self) -> bool {
        let looked = Cell::new(false);
        let link = self.listener.accept(|| looked.replace(true)).unwrap();
        link.is_some()
    }
}

/// A chain whose Ledger is at an address where nobody listens.
fn absent(node: &Node) -> String {
    let (chain, addr) = (&node.chain, node.listener.addr().unwrap());
    let device = format!("tcp://127.0.0.1:{}", free_port());
    format!(
        "\n[[providers.ledgertm]]\nchain_ids = [\"{chain}\"]\nadapter = {{ type = \"tcp\", addr = \"{device}\" }}\n\
         \n[[chain]]\nid = \"{chain}\"\nstate_file = \"absent.json\"\nsign_extensions = false\n\
         \n[[validator]]\nchain_id = \"{chain}\"\naddr = \"{addr}\"\n"
    )
}

/// Starts, with a socket of the service manager's.
fn start(home: &SignerHome, config: &Path, directory: &TempDir) -> (Process, UnixDatagram) {
    let socket = directory.path().join("notify.sock");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = home.command();
    command
        .args(["start", "-c"])
        .arg(config)
        .env("NOTIFY_SOCKET", &socket);
    let log = directory.path().join("tmkms.log");
    (Process::start("tmkms", &mut command, &log), notified)
}

fn is_ready(notified: &UnixDatagram) -> bool {
    let mut buffer = [0; 256];
    let length = notified.recv(&mut buffer).unwrap();
    let said = String::from_utf8_lossy(buffer.split_at(length).0);
    said.lines().any(|line| line == "READY=1")
}

#[test]
fn the_other_chains_are_served_and_the_service_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let (soft, hard) = (
        Node::new(&directory, "soft-1"),
        Node::new(&directory, "hard-1"),
    );
    let home = SignerHome::with_chains(
        TMKMS,
        &[Chain {
            id: soft.chain.to_string(),
            record: "soft.json".into(),
            addrs: vec![soft.listener.addr().unwrap()],
        }],
    );
    let mut config = OpenOptions::new().append(true).open(home.config()).unwrap();
    config.write_all(absent(&hard).as_bytes()).unwrap();

    let (tmkms, notified) = start(&home, &home.config(), &directory);
    assert!(soft.has_got_a_vote());
    assert!(is_ready(&notified));
    wait_for("the reason", PATIENCE, || {
        let told = tmkms
            .output()
            .contains("[chain hard-1] not served until its key is there");
        told.then_some(())
    });
    assert!(!hard.is_dialled_now());
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

#[test]
fn a_signer_whose_every_chain_waits_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let hard = Node::new(&directory, "hard-1");
    let home = SignerHome::with_chains(TMKMS, &[]);
    let config = directory.path().join("hard.toml");
    std::fs::write(&config, absent(&hard)).unwrap();

    let (mut tmkms, notified) = start(&home, &config, &directory);
    assert!(is_ready(&notified));
    assert!(tmkms.is_running());
    assert!(!hard.is_dialled_now());
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}
