//! The running `tmkms` with a simulated Ledger: a stand-in node is kept asking while a person is waited for, a kept signature survives a
//! `kill -9`, and a real chain makes blocks.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "support/ledger/mod.rs"]
mod ledger;
#[path = "../examples/validator/node_side.rs"]
mod node_side;

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use ledger::{Person, Screen, Simulator};
use node_side::{Answer, Ballot, Link, Listener, Validator, block, now};
use serde_json::{Value, json};
use support::{
    Transport::Unix,
    go_tools::Tool::CometBftV038,
    node::{Genesis, NodeHome},
    process::run,
    signer::SignerHome,
    wait_for,
};
use tmkms::privval::{ChainId, Step};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 20;

/// Short enough for proposals of every round.
const CHAIN: &str = "led-1";

/// A signer with a Ledger for a key, and its record.
fn signer(simulator: &Simulator, addr: &str) -> SignerHome {
    let ledger = simulator.addr();
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

            [[providers.ledgertm]]
            chain_ids = ["{CHAIN}"]
            adapter = {{ type = "tcp", addr = "{ledger}" }}
            "#
        ),
    );
    home.init_record(CHAIN);
    home
}

/// The next dial, and what a node asks first.
fn meet(listener: &Listener) -> (Link, Validator) {
    Validator::await_signer(listener, &ChainId::new(CHAIN).unwrap(), PATIENCE).unwrap()
}

fn prevote(height: i64) -> Ballot {
    Ballot {
        step: Step::Prevote,
        height,
        round: 0,
        block: Some(block(height, 0)),
        timestamp: now(),
        extension: None,
    }
}

#[test]
fn a_node_is_kept_asking_until_a_person_has_confirmed() {
    let simulator = Simulator::start(Person::Absent);
    let listener = Listener::bind("tcp://127.0.0.1:0").unwrap();
    let signer = signer(&simulator, &listener.addr().unwrap());
    let _tmkms = signer.start();
    let (mut link, validator) = meet(&listener);
    let ballot = prevote(5);
    for _ in 0..2 {
        let begun = Instant::now();
        let answer = validator.ask(&mut link, &ballot).unwrap();
        assert!(matches!(answer, Answer::TryAgain), "{answer:?}");
        let took = begun.elapsed();
        // Asked again at once, a node would have used up its patience in seconds; after 5 s it hangs up.
        let held_back = Duration::from_millis(3_900)..Duration::from_millis(4_900);
        assert!(held_back.contains(&took), "{took:?}");
    }
    simulator.press(true);
    let answer = validator.ask(&mut link, &ballot).unwrap();
    assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
    assert_eq!(simulator.signed().len(), 1);
    let waits = "waits for a person to confirm on the device";
    assert_eq!(signer.log().matches(waits).count(), 1, "{}", signer.log());
    // From now on nobody has to be there.
    for height in 6..=9 {
        let answer = validator.ask(&mut link, &prevote(height)).unwrap();
        assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
    }
}

#[test]
fn an_identical_vote_gets_the_kept_signature_also_after_a_kill_and_a_restart_of_the_app() {
    let simulator = Simulator::start(Person::Confirms);
    let listener = Listener::bind("tcp://127.0.0.1:0").unwrap();
    let signer = signer(&simulator, &listener.addr().unwrap());
    let tmkms = signer.start();
    let (mut link, validator) = meet(&listener);
    let ballot = prevote(5);
    let Answer::Signed(first) = validator.ask(&mut link, &ballot).unwrap() else {
        panic!("not signed");
    };
    tmkms.kill();
    let _tmkms = signer.start();
    let (mut link, validator) = meet(&listener);
    let later = Ballot {
        timestamp: now(),
        ..ballot.clone()
    };
    for repeat in [&ballot, &later] {
        let Answer::Signed(again) = validator.ask(&mut link, repeat).unwrap() else {
            panic!("not signed");
        };
        assert_eq!(again.signature, first.signature);
        assert_eq!(again.timestamp, first.timestamp);
    }
    assert_eq!(simulator.signed().len(), 1, "the device signed once");
    assert_eq!(simulator.count(0x6985), 0, "and was not asked again");
    // An app that has forgotten everything would sign another block at that height; the record would not.
    simulator.restart_app();
    let other = Ballot {
        block: Some(block(5, 1)),
        ..ballot
    };
    let answer = validator.ask(&mut link, &other).unwrap();
    assert!(
        matches!(answer, Answer::Refused { code: 2, .. }),
        "{answer:?}"
    );
    assert_eq!(simulator.signed().len(), 1);
}

#[test]
fn a_chain_whose_ledger_is_absent_is_not_dialled_until_it_opens() {
    let simulator = Simulator::start(Person::Confirms);
    let listener = Listener::bind("tcp://127.0.0.1:0").unwrap();
    let signer = signer(&simulator, &listener.addr().unwrap());
    simulator.show(Screen::Dashboard);
    let mut tmkms = signer.start();
    wait_for("the log to say why", PATIENCE, || {
        signer
            .log()
            .contains("the open app is BOLOS 1.1.1 and not")
            .then_some(())
    });
    let begun = Instant::now();
    let dialled = listener.accept(|| begun.elapsed() > Duration::from_secs(3));
    assert!(dialled.unwrap().is_none(), "a node would have exited");
    assert!(tmkms.is_running());
    simulator.show(Screen::Validator);
    let (mut link, validator) = meet(&listener);
    let answer = validator.ask(&mut link, &prevote(1)).unwrap();
    assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
}

#[test]
fn ledger_init_and_a_running_signer_agree_where_the_chain_goes_on() {
    let simulator = Simulator::start(Person::Confirms);
    let listener = Listener::bind("tcp://127.0.0.1:0").unwrap();
    let signer = signer(&simulator, &listener.addr().unwrap());
    run(signer
        .command()
        .args(["ledger", "init", "-H", "100", "-r", "0", "-c"])
        .arg(signer.config()));
    simulator.person(Person::Absent);
    let _tmkms = signer.start();
    let (mut link, validator) = meet(&listener);
    // Both votes of the height that was named pass, with nobody there; nothing before it does.
    let answer = validator.ask(&mut link, &prevote(99)).unwrap();
    assert!(
        matches!(answer, Answer::Refused { code: 1, .. }),
        "{answer:?}"
    );
    for step in [Step::Prevote, Step::Precommit] {
        let ballot = Ballot {
            step,
            ..prevote(100)
        };
        let answer = validator.ask(&mut link, &ballot).unwrap();
        assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
    }
}

/// A node of a chain with a short ID, whose validator's key is in the Ledger.
fn node(simulator: &Simulator, test: &str) -> Option<NodeHome> {
    let node = NodeHome::new(CometBftV038, Unix, Genesis::default(), test)?;
    node.take_over(&simulator.public_key());
    let path = node.path("config/genesis.json");
    let mut genesis: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *genesis.get_mut("chain_id").unwrap() = json!(CHAIN);
    fs::write(&path, genesis.to_string()).unwrap();
    Some(node)
}

#[test]
fn a_real_chain_makes_blocks_with_a_ledger() {
    let simulator = Simulator::start(Person::Absent);
    let Some(node) = node(&simulator, "a chain with a Ledger") else {
        return;
    };
    let signer = signer(&simulator, &node.signer_addr);
    let tmkms = signer.start();
    let running = node.start();
    // The first proposal waits for a person who comes after the node has asked twice.
    let asked = simulator.wait_until_asked();
    assert_eq!((asked.kind, asked.height, asked.round), (32, 1, 0));
    wait_for("the log to tell of the person", PATIENCE, || {
        signer.log().contains("waits for a person").then_some(())
    });
    simulator.press(true);
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(2..=BLOCKS, &signer);
    for height in 2..=BLOCKS {
        assert_eq!(node.rpc.evidence(height), Some(0));
    }
    assert_eq!(simulator.count(0x6985), 0);
    // The app is closed and opened again in the middle: a person is needed once more.
    simulator.person(Person::Confirms);
    simulator.restart_app();
    node.wait_for_height(2 * BLOCKS, PATIENCE);
    let _ = running.terminate(Duration::from_secs(20));
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}

#[test]
fn a_real_chain_goes_on_after_a_kill_with_the_kept_signature() {
    let simulator = Simulator::start(Person::Confirms);
    let Some(node) = node(&simulator, "a chain with a Ledger whose signer is killed") else {
        return;
    };
    let between = Between::listen(&node.path("between.sock"), &node.signer_addr);
    let signer = signer(&simulator, &between.addr);
    let mut tmkms = signer.start();
    let _running = node.start();
    node.wait_for_height(5, PATIENCE);
    for _ in 0..3 {
        // A signed vote is lost on its way, with the signer that has sent it.
        between.lose_one();
        tmkms.kill();
        let signed = simulator.signed().len();
        tmkms = signer.start();
        let reached = node.rpc.height().unwrap();
        node.wait_for_height(reached + 5, PATIENCE);
        assert!(simulator.signed().len() > signed);
    }
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    assert_eq!(
        simulator.count(0x6985),
        0,
        "what was lost was in the record, and the device was not asked for it again"
    );
    let repeated = signer.signed().values().any(|blocks| blocks.len() > 1);
    assert!(!repeated, "two blocks of one height, round and step");
    for height in 1..=BLOCKS {
        assert_eq!(node.rpc.evidence(height), Some(0));
    }
}

/// Stands between signer and node, and can lose a reply.
struct Between {
    addr: String,
    armed: Arc<AtomicBool>,
    lost: Receiver<()>,
}

impl Between {
    fn listen(path: &Path, node: &str) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let node = node.strip_prefix("unix://").unwrap().to_owned();
        let armed = Arc::new(AtomicBool::new(false));
        let (tell, lost) = mpsc::channel();
        let arm = Arc::clone(&armed);
        thread::spawn(move || {
            for signer in listener.incoming().map_while(Result::ok) {
                let Ok(node) = UnixStream::connect(&node) else {
                    continue;
                };
                let (to_node, from_node) = (node.try_clone().unwrap(), node);
                let to_signer = signer.try_clone().unwrap();
                let (arm, tell) = (Arc::clone(&arm), tell.clone());
                thread::spawn(move || pass_replies(signer, to_node, &arm, &tell));
                thread::spawn(move || pass_requests(from_node, to_signer));
            }
        });
        Self {
            addr: format!("unix://{}", path.display()),
            armed,
            lost,
        }
    }

    /// Loses the next signature, and waits until that has happened.
    fn lose_one(&self) {
        self.armed.store(true, Ordering::SeqCst);
        self.lost.recv_timeout(PATIENCE).expect("a signature comes");
    }
}

fn pass_requests(mut node: UnixStream, mut signer: UnixStream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = node.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap();
        if count == 0 || signer.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = signer.shutdown(Shutdown::Both);
}

fn pass_replies(
    mut signer: UnixStream,
    mut node: UnixStream,
    armed: &AtomicBool,
    lost: &Sender<()>,
) {
    let mut buffer = [0; 4096];
    while let Ok(count) = signer.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap();
        // A pong has three bytes; a signature alone has 64.
        if count > 64 && armed.swap(false, Ordering::SeqCst) {
            let _ = lost.send(());
            continue;
        }
        if count == 0 || node.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = node.shutdown(Shutdown::Both);
}
