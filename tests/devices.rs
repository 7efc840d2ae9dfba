//! `tmkms start` with several devices and stand-in nodes: who is served, who waits, and what does not start.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
#[path = "support/mod.rs"]
mod support;
#[path = "support/yubihsm/mod.rs"]
mod yubihsm;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use node_side::{Answer, Ballot, Link, Listener, Validator, block, now};
use support::{process::Process, signer::SignerHome, wait_for};
use tmkms::privval::{ChainId, Step};
use yubihsm::{Options, Simulator, words};

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "password-of-the-validator";

/// A node of a chain, waiting to be dialled.
struct Node {
    chain: ChainId,
    listener: Listener,
}

impl Node {
    fn new(chain: &str) -> Self {
        Self {
            chain: ChainId::new(chain).unwrap(),
            listener: Listener::bind("tcp://127.0.0.1:0").unwrap(),
        }
    }

    fn sections(&self) -> String {
        let (chain, addr) = (&self.chain, self.listener.addr().unwrap());
        format!(
            "[[chain]]\nid = \"{chain}\"\nstate_file = \"{chain}.json\"\n\n\
             [[validator]]\nchain_id = \"{chain}\"\naddr = \"{addr}\"\nsecret_key = \"identity.key\"\n\n"
        )
    }

    /// Waits to be dialled, and asks what a node asks first.
    fn meet(&self) -> (Link, Validator) {
        let link = self.dialled_within(PATIENCE);
        let mut link = link.expect("the signer dials");
        let validator = Validator::meet(&mut link, &self.chain).unwrap();
        (link, validator)
    }

    fn dialled_within(&self, limit: Duration) -> Option<Link> {
        let begun = Instant::now();
        self.listener.accept(|| begun.elapsed() > limit).unwrap()
    }
}

/// Has a prevote signed, on one connection however often it takes.
fn sign(link: &mut Link, validator: &Validator, height: i64) {
    let ballot = Ballot {
        step: Step::Prevote,
        height,
        round: 0,
        block: Some(block(height, 0)),
        timestamp: now(),
        extension: None,
    };
    let begun = Instant::now();
    loop {
        match validator.ask(link, &ballot).unwrap() {
            Answer::Signed(_) => return,
            Answer::TryAgain => {
                assert!(begun.elapsed() < PATIENCE, "height {height} is not signed")
            }
            other => panic!("height {height}: {other:?}"),
        }
    }
}

/// A device with a validator's authentication key and one Ed25519 key of this seed.
fn device(serial: u32, seed: u8) -> Simulator {
    let hsm = Simulator::start(Options {
        serial,
        ..Options::default()
    });
    words::apply(&hsm, &format!("auth 4 {PASSWORD} sign-eddsa"));
    words::apply(&hsm, &format!("ed25519 1 {seed}"));
    hsm
}

fn section(hsm: &Simulator, chain: &str, more: &str) -> String {
    format!(
        "[[providers.yubihsm]]\nadapter = {{ type = \"http\", addr = \"tcp://{}\", timeout_ms = 1000 }}\n\
         serial_number = \"{}\"\nauth = {{ key = 4, password_file = \"password\" }}\n\
         keys = [{{ chain_ids = [\"{chain}\"], key = 1 }}]\n{more}\n",
        hsm.addr(),
        hsm.serial()
    )
}

/// A home with this configuration, and a record for each of the chains.
fn home(config: &str, chains: &[&str]) -> SignerHome {
    let home = SignerHome::with_config(env!("CARGO_BIN_EXE_tmkms"), config);
    home.write("password", PASSWORD);
    for chain in chains {
        home.init_record(chain);
    }
    home
}

fn wait_for_log(home: &SignerHome, what: &str) {
    wait_for(&format!("{what:?} in the log"), PATIENCE, || {
        home.log().contains(what).then_some(())
    });
}

fn ends_well(process: Process) {
    let status = process.terminate(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn several_devices_serve_their_chains_and_one_that_is_away_holds_up_its_own_only() {
    let (first, second) = (device(7_550_054, 1), device(7_550_055, 2));
    let (here, away) = (Node::new("here-1"), Node::new("away-1"));
    let config = [
        here.sections(),
        away.sections(),
        section(&first, "here-1", ""),
        section(&second, "away-1", ""),
    ];
    let home = home(&config.concat(), &["here-1", "away-1"]);
    second.unplug();
    let process = home.start();

    let (mut link, validator) = here.meet();
    for height in 1..=3 {
        sign(&mut link, &validator, height);
    }
    wait_for_log(&home, "[chain away-1] not served until its key is there");
    let early = away.dialled_within(Duration::from_secs(2));
    assert!(early.is_none(), "a node was dialled that would exit");

    second.plug();
    let (mut other_link, other) = away.meet();
    assert_ne!(other.key, validator.key);
    sign(&mut other_link, &other, 1);

    // Pulled while it is used: its node asks again, the other's does not notice.
    second.unplug();
    for height in 4..=6 {
        let begun = Instant::now();
        sign(&mut link, &validator, height);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    second.plug();
    sign(&mut other_link, &other, 2);

    ends_well(process);
    for hsm in [&first, &second] {
        assert_eq!(hsm.device().open_sessions(), 0, "a session was left open");
    }
}

#[test]
fn a_key_in_a_file_and_one_in_a_device_serve_side_by_side_and_check_disturbs_neither() {
    let hsm = device(7_550_056, 3);
    let (soft, hard) = (Node::new("soft-1"), Node::new("hard-1"));
    let config = [
        soft.sections(),
        hard.sections(),
        section(&hsm, "hard-1", ""),
        "[[providers.softsign]]\nchain_ids = [\"soft-1\"]\npath = \"consensus.key\"\n".into(),
    ];
    let home = {
        let home = SignerHome::with_config(env!("CARGO_BIN_EXE_tmkms"), &config.concat());
        home.write("password", PASSWORD);
        support::process::run(home.command().args(["softsign", "keygen", "consensus.key"]));
        for chain in ["soft-1", "hard-1"] {
            home.init_record(chain);
        }
        home
    };
    let process = home.start();
    let (mut soft_link, soft_node) = soft.meet();
    let (mut hard_link, hard_node) = hard.meet();
    sign(&mut soft_link, &soft_node, 1);
    sign(&mut hard_link, &hard_node, 1);

    let found = home.command().arg("check").output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(
        found.contains("ok: key 0x0001 in YubiHSM 0007550056 for hard-1"),
        "{found}"
    );
    assert!(
        found.contains(&format!("in use by process {}", process.id())),
        "{found}"
    );
    assert!(!found.contains("error: "), "{found}");
    sign(&mut soft_link, &soft_node, 2);
    sign(&mut hard_link, &hard_node, 2);
    ends_well(process);
}

#[test]
fn a_key_that_its_device_does_not_have_stops_its_chain_and_not_the_others() {
    let (first, second) = (device(7_550_057, 4), device(7_550_058, 5));
    let (good, bad) = (Node::new("good-1"), Node::new("bad-1"));
    let config = [
        good.sections(),
        bad.sections(),
        section(&first, "good-1", ""),
        section(&second, "bad-1", ""),
    ];
    let home = home(&config.concat(), &["good-1", "bad-1"]);
    words::apply(&second, "delete 3 1");
    let process = home.start();
    let (mut link, validator) = good.meet();
    sign(&mut link, &validator, 1);
    wait_for_log(&home, "there is no asymmetric key 0x0001");
    assert!(bad.dialled_within(Duration::from_secs(1)).is_none());
    ends_well(process);
}

#[test]
fn a_connector_server_whose_address_is_taken_is_a_clear_error_at_start() {
    let hsm = device(7_550_059, 6);
    let node = Node::new("c-1");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let laddr = taken.local_addr().unwrap();
    let server = format!("connector_server = {{ laddr = \"tcp://{laddr}\" }}\n");
    let config = [node.sections(), section(&hsm, "c-1", &server)];
    let home = home(&config.concat(), &["c-1"]);
    let started = home.command().arg("start").output().unwrap();
    assert_eq!(started.status.code(), Some(1));
    let told = String::from_utf8(started.stderr).unwrap();
    assert!(told.contains("connector_server"), "{told}");
    assert!(
        told.contains("hint: another program listens there"),
        "{told}"
    );
}

#[test]
fn other_programs_reach_the_device_through_a_running_signer() {
    let hsm = device(7_550_060, 7);
    let node = Node::new("c-1");
    let port = support::free_port();
    let server = format!("connector_server = {{ laddr = \"tcp://127.0.0.1:{port}\" }}\n");
    let config = [node.sections(), section(&hsm, "c-1", &server)];
    let home = home(&config.concat(), &["c-1"]);
    let process = home.start();
    let (mut link, validator) = node.meet();
    sign(&mut link, &validator, 1);

    // A second tmkms looks at the same device through the first one.
    let through = config
        .concat()
        .replace(&hsm.addr().to_string(), &format!("127.0.0.1:{port}"));
    home.write("through.toml", &through.replace(&server, ""));
    let found = home
        .command()
        .args(["check", "-c", "through.toml"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(
        found.contains("ok: key 0x0001 in YubiHSM 0007550060 for c-1"),
        "{found}"
    );
    sign(&mut link, &validator, 2);
    ends_well(process);
}
