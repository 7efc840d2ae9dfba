//! Several keys of one chain in one process: each connection signs with the key that it names, and each key has its own record.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
mod support;
#[path = "support/yubihsm/mod.rs"]
mod yubihsm;

use std::{fmt::Write as _, time::Duration};

use node_side::{Answer, Ballot, Link, Listener, Validator, block, now};
use support::{
    Transport::Tcp,
    go_tools::Tool::CometBftV038,
    node::{CHAIN, Genesis, NodeHome},
    process::run,
    signer::SignerHome,
};
use tmkms::{
    crypto::PublicKey,
    privval::{ChainId, Step},
};
use yubihsm::{Options, Simulator, words};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 30;

/// A chain's section, and one for each connection: its address and what it calls its key.
fn config(nodes: &[(String, String)], keys: &[&str]) -> String {
    let mut text = format!("[[chain]]\nid = \"{CHAIN}\"\nstate_file = \"state.json\"\n");
    for (addr, key) in nodes {
        let _ = write!(
            text,
            "\n[[validator]]\nchain_id = \"{CHAIN}\"\naddr = \"{addr}\"\nsecret_key = \"identity.key\"\npublic_key = \"{key}\"\n"
        );
    }
    for path in keys {
        let _ = write!(
            text,
            "\n[[providers.softsign]]\nchain_ids = [\"{CHAIN}\"]\npath = \"{path}\"\n"
        );
    }
    text
}

/// As [`config`], with keys 1 and 2 of a device.
fn config_of_device(nodes: &[(String, String)], device: &str) -> String {
    config(nodes, &[])
        + &format!(
            "\n[[providers.yubihsm]]\n\
             adapter = {{ type = \"http\", addr = \"tcp://{device}\", timeout_ms = 1000 }}\n\
             auth = {{ key = 4, password = \"password-of-the-validator\" }}\n\
             keys = [{{ chain_ids = [\"{CHAIN}\"], key = 1 }}, {{ chain_ids = [\"{CHAIN}\"], key = 2 }}]\n"
        )
}

/// Makes the record of one of the chain's keys.
fn init(home: &SignerHome, key: &str) {
    let mut command = home.command();
    command.args(["state", "init", CHAIN, "--key", key]);
    run(&mut command);
}

/// Makes a key of the signer's home; gives it in upper-case hex.
fn generate(home: &SignerHome, name: &str) -> String {
    let said = run(home.command().args(["generate", name]));
    let key = said.split_whitespace().find(is_key);
    key.unwrap_or_else(|| panic!("{said:?} has no key"))
        .to_owned()
}

/// An Ed25519 key in hex.
fn is_key(word: &&str) -> bool {
    word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn meet(listener: &Listener) -> (Link, Validator) {
    Validator::await_signer(listener, &ChainId::new(CHAIN).unwrap(), PATIENCE).unwrap()
}

fn prevote(height: i64, salt: u8) -> Ballot {
    Ballot {
        step: Step::Prevote,
        height,
        round: 0,
        block: Some(block(height, salt)),
        timestamp: now(),
        extension: None,
    }
}

/// Of a key in hex.
fn address_of(key: &str) -> String {
    let bytes = subtle_encoding::hex::decode_upper(key).unwrap();
    upper_hex(&PublicKey::ed25519(&bytes).unwrap().address())
}

fn upper_hex(bytes: &[u8]) -> String {
    String::from_utf8(subtle_encoding::hex::encode_upper(bytes)).unwrap()
}

#[test]
fn each_connection_signs_with_the_key_that_it_names_and_two_of_one_key_share_its_record() {
    let listeners: Vec<Listener> = (0..3)
        .map(|_| Listener::bind("tcp://127.0.0.1:0").unwrap())
        .collect();
    let home = SignerHome::with_config(TMKMS, "");
    let [old, new] = ["old.key", "new.key"].map(|name| generate(&home, name));
    // The third one names the new key by its address.
    let address = address_of(&new);
    let nodes: Vec<(String, String)> = listeners
        .iter()
        .map(|listener| listener.addr().unwrap())
        .zip([old.clone(), new.clone(), address.clone()])
        .collect();
    home.write("tmkms.toml", &config(&nodes, &["old.key", "new.key"]));
    init(&home, &old);
    init(&home, &address);
    let process = home.start();
    let mut met: Vec<(Link, Validator)> = listeners.iter().map(meet).collect();
    let met_with: Vec<String> = met.iter().map(|(_, v)| upper_hex(&v.address())).collect();
    assert_eq!(
        met_with,
        [address_of(&old), address.clone(), address.clone()]
    );

    let mut ask = |connection: usize, ballot: &Ballot| {
        let (link, validator) = met.get_mut(connection).unwrap();
        validator.ask(link, ballot).unwrap()
    };
    let signed = |answer: &Answer| matches!(answer, Answer::Signed(_));
    let conflict = |answer: &Answer| matches!(answer, Answer::Refused { code: 2, .. });
    // Two validators may vote for two blocks; one key may not, whoever asks.
    let (one, other) = (prevote(5, 0), prevote(5, 1));
    assert!(signed(&ask(0, &one)));
    assert!(signed(&ask(1, &other)));
    assert!(conflict(&ask(2, &one)));
    assert!(conflict(&ask(0, &other)));
    assert_eq!(ask(1, &other), ask(2, &other));
    // The old key's record is far behind, and stays there.
    assert!(signed(&ask(2, &prevote(9, 0))));
    assert!(conflict(&ask(1, &prevote(9, 1))));
    assert!(signed(&ask(0, &prevote(6, 1))));
    assert_eq!(process.terminate(Duration::from_secs(5)).code(), Some(0));

    // The old key is gone, and the new one is the chain's only key: it keeps its record.
    let (_, only) = nodes.split_at(2);
    home.write("tmkms.toml", &config(only, &["new.key"]));
    let process = home.start();
    let (mut link, validator) = meet(listeners.last().unwrap());
    assert_eq!(upper_hex(&validator.address()), address);
    let answer = validator.ask(&mut link, &prevote(9, 1)).unwrap();
    assert!(conflict(&answer), "{answer:?}");
    assert!(signed(&validator.ask(&mut link, &prevote(10, 0)).unwrap()));
    let _ = process.terminate(Duration::from_secs(5));
}

#[test]
fn a_key_whose_record_is_missing_stops_its_own_connections_only() {
    let listeners = [(); 2].map(|()| Listener::bind("tcp://127.0.0.1:0").unwrap());
    let home = SignerHome::with_config(TMKMS, "");
    let [one, other] = ["one.key", "other.key"].map(|name| generate(&home, name));
    let addrs = listeners.iter().map(|listener| listener.addr().unwrap());
    let nodes: Vec<(String, String)> = addrs.zip([one.clone(), other]).collect();
    home.write("tmkms.toml", &config(&nodes, &["one.key", "other.key"]));
    init(&home, &one);
    let process = home.start();
    let (mut link, validator) = meet(&listeners[0]);
    let answer = validator.ask(&mut link, &prevote(5, 0)).unwrap();
    assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
    let log = home.log();
    assert!(log.contains("not served: no state record at "), "{log}");
    let _ = process.terminate(Duration::from_secs(5));
}

#[test]
fn two_keys_of_a_device_sign_each_on_its_own_connection() {
    let hsm = Simulator::start(Options::default());
    words::apply(&hsm, "auth 4 password-of-the-validator sign-eddsa");
    words::apply(&hsm, "ed25519 1 7");
    words::apply(&hsm, "ed25519 2 8");
    let home = SignerHome::with_config(TMKMS, "");
    home.write(
        "tmkms.toml",
        &config_of_device(&[], &hsm.addr().to_string()),
    );
    // Nobody is served yet, which is an error; the keys are shown all the same.
    let mut check = home.command();
    let said = check.arg("check").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let keys: Vec<String> = said
        .split_whitespace()
        .filter(is_key)
        .map(str::to_owned)
        .collect();
    assert_eq!(keys.len(), 2, "{said}");

    let listeners = [(); 2].map(|()| Listener::bind("tcp://127.0.0.1:0").unwrap());
    let addrs = listeners.iter().map(|listener| listener.addr().unwrap());
    // Crossed, so that nothing but the name can tell.
    let nodes: Vec<_> = addrs.zip(keys.iter().rev().cloned()).collect();
    home.write(
        "tmkms.toml",
        &config_of_device(&nodes, &hsm.addr().to_string()),
    );
    for key in &keys {
        init(&home, key);
    }
    let process = home.start();
    for (salt, (listener, (_, key))) in (0..).zip(listeners.iter().zip(&nodes)) {
        let (mut link, validator) = meet(listener);
        assert_eq!(upper_hex(&validator.address()), address_of(key));
        let answer = validator.ask(&mut link, &prevote(5, salt)).unwrap();
        assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
    }
    let _ = process.terminate(Duration::from_secs(5));
}

#[test]
fn two_validators_of_one_chain_make_its_blocks_with_one_signer() {
    let test = "two validators of one chain with one signer";
    let make = || NodeHome::new(CometBftV038, Tcp, Genesis::default(), test);
    let (Some(first), Some(second)) = (make(), make()) else {
        return;
    };
    let addresses = [&first, &second].map(NodeHome::validator_address);
    let taken = [&first, &second].map(NodeHome::take_key);
    first.add_validator_of(&second);
    second.join(&first);

    let home = SignerHome::with_config(TMKMS, "");
    for (key, name) in taken.iter().zip(["first.key", "second.key"]) {
        run(home
            .command()
            .args(["softsign", "import"])
            .arg(key)
            .arg(name));
    }
    let nodes = [
        (first.signer_addr.clone(), addresses[0].clone()),
        (second.signer_addr.clone(), addresses[1].clone()),
    ];
    home.write("tmkms.toml", &config(&nodes, &["first.key", "second.key"]));
    for address in &addresses {
        init(&home, address);
    }
    let tmkms = home.start();
    let running = [first.start(), second.start()];
    first.wait_for_height(BLOCKS + 2, PATIENCE);
    let mut expected = addresses.to_vec();
    expected.sort();
    for height in 2..=BLOCKS + 1 {
        let commit = first.rpc.commit(height).unwrap();
        let mut signers = commit.signers;
        signers.sort();
        // More than two thirds of the power is both of them.
        assert_eq!(
            (commit.round, signers),
            (0, expected.clone()),
            "height {height}"
        );
    }
    first.assert_no_evidence();
    for process in running {
        let _ = process.terminate(Duration::from_secs(20));
    }
    assert!(tmkms.terminate(Duration::from_secs(2)).success());
}
