//! The life of a key by commands alone, as docs/yubihsm.md tells it: set up, generate, back up, wipe, restore, and sign for a real chain.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "support/yubihsm/mod.rs"]
mod simulator;

use std::{io::Write, process::Stdio, time::Duration};

use simulator::{Options, Simulator};
use support::{
    Transport::Tcp,
    free_port,
    go_tools::Tool::CometBftV038,
    node::{CHAIN, Genesis, NodeHome},
    signer::SignerHome,
};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 50;
/// As the operator, whose password stands in a file.
const OPERATOR: &str = "--auth-key 2 --password-file operator";

/// A home whose configuration leads to the device, and to its own connector server while `start` runs.
fn home(hsm: &Simulator, node: &str) -> SignerHome {
    let home = SignerHome::with_config(
        TMKMS,
        &format!(
            r#"
            [[chain]]
            id = "{CHAIN}"
            state_file = "state.json"

            [[validator]]
            addr = "{node}"
            chain_id = "{CHAIN}"
            secret_key = "identity.key"

            [[providers.yubihsm]]
            adapter = {{ type = "http", addr = "tcp://{hsm}" }}
            auth = {{ key = 4, password_file = "validator" }}
            keys = [{{ chain_ids = ["{CHAIN}"], key = 1 }}]
            connector_server = {{ laddr = "tcp://127.0.0.1:{port}", cli = {{}} }}
            "#,
            hsm = hsm.addr(),
            port = free_port(),
        ),
    );
    home.write(
        "validator",
        "kms-validator-password-12mj5e85pfpj8k0cd4asmtp0g6qkw2unt",
    );
    home.write(
        "operator",
        "kms-operator-password-1wkjfj02kntmxd45pktl305speuas2eum",
    );
    home
}

/// Runs a command with these lines on stdin, and gives its stdout.
fn tmkms(home: &SignerHome, arguments: &str, lines: &[&str]) -> String {
    let mut child = home
        .command()
        .args(arguments.split(' '))
        .current_dir(home.path(""))
        .arg("-c")
        .arg(home.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The public key at the end of a line of `keys`.
fn public_key(line: &str) -> [u8; 32] {
    let key = line.split_ascii_whitespace().last().unwrap();
    let key = subtle_encoding::hex::decode(key.to_ascii_lowercase()).unwrap();
    key.try_into().unwrap()
}

#[test]
fn a_key_that_was_set_up_backed_up_wiped_and_restored_makes_fifty_blocks_in_round_0() {
    let test = "the life of a key in a YubiHSM2";
    let Some(node) = NodeHome::new(CometBftV038, Tcp, Genesis { extensions: true }, test) else {
        return;
    };
    let hsm = Simulator::start(Options {
        latency: Duration::from_millis(3),
        ..Options::default()
    });
    let home = home(&hsm, &node.signer_addr);
    let phrase = "abandon ".repeat(23) + "art";
    let answers = [phrase.as_str(), "y", &hsm.serial()];

    tmkms(&home, "yubihsm setup -r", &answers);
    let made = tmkms(
        &home,
        &format!("yubihsm keys generate 1 {OPERATOR} -b backup"),
        &[],
    );
    let key = public_key(made.lines().next().unwrap());
    assert_eq!(listed(&home), Some(key));
    tmkms(&home, "yubihsm setup -r", &answers);
    assert_eq!(listed(&home), None);
    let restored = tmkms(
        &home,
        &format!("yubihsm keys import {OPERATOR} backup"),
        &[],
    );
    assert_eq!(public_key(restored.trim_end()), key);

    node.take_over(&key);
    tmkms(&home, &format!("state init {CHAIN}"), &[]);
    let mut signs = home.start();
    let _node = node.start();
    node.wait_for_height(BLOCKS / 2, PATIENCE);
    // The operator's commands go through the running signer.
    assert_eq!(listed(&home), Some(key));
    tmkms(&home, &format!("yubihsm keys generate 2 {OPERATOR}"), &[]);
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, &home);
    assert!(signs.is_running());
    assert!(signs.terminate(Duration::from_secs(2)).success());
    assert_eq!(hsm.device().open_sessions(), 0);
}

/// The first key that the device has.
fn listed(home: &SignerHome) -> Option<[u8; 32]> {
    let list = tmkms(home, &format!("yubihsm keys list {OPERATOR}"), &[]);
    let line = list
        .lines()
        .find(|line| line.starts_with("- 0x0001: [cons] "))?;
    Some(public_key(line))
}
