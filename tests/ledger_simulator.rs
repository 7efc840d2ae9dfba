//! The simulated Ledger, proved by the maker's own client library: what it answers is what the real app is known to answer.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "support/ledger/mod.rs"]
mod ledger;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use ed25519_dalek::{Signature, VerifyingKey};
use ledger::{Person, Screen, Simulator};
use subtle_encoding::hex;
use support::python;
use tmkms::privval::{BlockId, ChainId, Step, Timestamp, canonical};

/// The independent client, started for one test.
struct Client {
    child: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Client {
    fn start(simulator: &Simulator, test: &str) -> Option<Self> {
        let python = match python::environment("tests/interop/ledger/requirements.txt") {
            Ok(python) => python,
            Err(why) => {
                support::skip(test, &why);
                return None;
            }
        };
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/ledger/client.py"))
            .arg(simulator.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self {
            commands: child.stdin.take().unwrap(),
            replies: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    fn send(&mut self, (cla, ins): (u8, u8), (p1, p2): (u8, u8), data: &[u8]) {
        let data = match data {
            [] => "-".to_owned(),
            data => text(data),
        };
        writeln!(
            self.commands,
            "{cla:02x} {ins:02x} {p1:02x} {p2:02x} {data}"
        )
        .unwrap();
    }

    fn reply(&mut self) -> (u16, Vec<u8>) {
        let mut line = String::new();
        self.replies.read_line(&mut line).unwrap();
        let (status, data) = line.trim_end().split_once(' ').expect("a reply");
        let data = hex::decode(data.trim_matches('-')).unwrap();
        (u16::from_str_radix(status, 16).unwrap(), data)
    }

    fn ask(&mut self, command: (u8, u8), data: &[u8]) -> (u16, Vec<u8>) {
        self.send(command, (0, 0), data);
        self.reply()
    }

    fn sign(&mut self, message: &[u8]) -> (u16, Vec<u8>) {
        self.send((0x56, 2), (1, 1), message);
        self.reply()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(hex::encode(bytes)).unwrap()
}

fn message(step: Step, height: i64, round: i64) -> Vec<u8> {
    on_chain("c-1", step, height, round)
}

fn on_chain(chain: &str, step: Step, height: i64, round: i64) -> Vec<u8> {
    let block_id = BlockId {
        hash: [7; 32],
        parts_total: 1,
        parts_hash: [8; 32],
    };
    let timestamp = Timestamp {
        seconds: 1_764_000_000,
        nanos: 999_999_999,
    };
    let chain = ChainId::new(chain).unwrap();
    canonical::sign_bytes(
        &chain,
        step,
        (height, round, -1),
        Some(&block_id),
        timestamp,
    )
    .as_bytes()
    .to_vec()
}

#[test]
fn the_whole_life_of_a_key_as_the_makers_client_sees_it() {
    let simulator = Simulator::start(Person::Confirms);
    let Some(mut client) = Client::start(&simulator, "the Ledger's independent client") else {
        return;
    };
    assert_eq!(client.ask((0x56, 0), &[]), (0x9000, vec![0, 0, 9, 13, 0]));
    let (status, name) = client.ask((0xb0, 1), &[]);
    assert_eq!(status, 0x9000);
    assert_eq!(name, b"\x01\x14Tendermint Validator\x060.9.13\x01\x00");
    let (status, key) = client.ask((0x56, 1), &[]);
    assert_eq!(
        (status, key.as_slice()),
        (0x9000, &simulator.public_key()[..])
    );
    let key = VerifyingKey::from_bytes(&key.try_into().unwrap()).unwrap();

    // Height, round and step as the app's rule has them, and nothing twice.
    for (step, height, round, expected) in [
        (Step::Proposal, 5, 0, 0x9000),
        (Step::Proposal, 5, 0, 0x6985),
        (Step::Prevote, 5, 0, 0x9000),
        (Step::Prevote, 5, 0, 0x6985),
        (Step::Precommit, 5, 0, 0x9000),
        (Step::Precommit, 5, 0, 0x6985),
        (Step::Prevote, 5, 0, 0x6985),
        (Step::Proposal, 5, 0, 0x6985),
        (Step::Prevote, 4, 9, 0x6985),
        (Step::Prevote, 5, 1, 0x9000),
        (Step::Prevote, 5, 0, 0x6985),
        (Step::Precommit, 5, 1, 0x9000),
        (Step::Precommit, 6, 0, 0x9000),
        (Step::Prevote, 6, 0, 0x6985),
        (Step::Proposal, 7, 255, 0x9000),
        (Step::Precommit, 7, 255, 0x9000),
    ] {
        let message = message(step, height, round);
        let (status, signature) = client.sign(&message);
        assert_eq!(status, expected, "{step} at {height}/{round}");
        if status == 0x9000 {
            let signature = Signature::from_slice(&signature).unwrap();
            key.verify_strict(&message, &signature).unwrap();
        }
    }
    assert_eq!(simulator.signed().len(), 8);
}

#[test]
fn what_the_app_refuses_is_refused_by_its_number() {
    let simulator = Simulator::start(Person::Confirms);
    let Some(mut client) = Client::start(&simulator, "the Ledger's refusals") else {
        return;
    };
    let not_a_vote = message(Step::Prevote, 5, 0).split_off(3);
    let beyond = message(Step::Prevote, 5, 256);
    let longest = on_chain("chain-of-15-chr", Step::Proposal, 5, 0);
    let too_long = on_chain("chain-of-16-char", Step::Proposal, 5, 0);
    assert_eq!((longest.len(), too_long.len()), (128, 130));
    assert_eq!(client.sign(&not_a_vote).0, 0x6984);
    assert_eq!(client.sign(&beyond), (0x6984, vec![5]));
    assert_eq!(client.sign(&too_long).0, 0x6984);
    assert_eq!(client.sign(&[]).0, 0x6982);
    assert_eq!(client.ask((0x56, 3), &[]).0, 0x6d00);
    assert_eq!(client.ask((0x55, 0), &[]).0, 0x6e00);
    assert_eq!(client.sign(&longest).0, 0x9000);
    // In two chunks, and with one left out.
    let next = message(Step::Prevote, 6, 0);
    let (first, second) = next.split_at(60);
    client.send((0x56, 2), (2, 2), second);
    assert_eq!(client.reply().0, 0x6984);
    client.send((0x56, 2), (1, 2), first);
    assert_eq!(client.reply(), (0x9000, vec![]));
    client.send((0x56, 2), (2, 2), second);
    assert_eq!(client.reply().0, 0x9000);
    simulator.show(Screen::Locked);
    assert_eq!(client.ask((0x56, 0), &[]).0, 0x5515);
}

#[test]
fn another_app_does_not_know_the_class() {
    for (screen, name) in [(Screen::OtherApp, "Cosmos"), (Screen::Dashboard, "BOLOS")] {
        let simulator = Simulator::start(Person::Confirms);
        simulator.show(screen);
        let Some(mut client) = Client::start(&simulator, "another app on the Ledger") else {
            return;
        };
        assert_eq!(client.ask((0x56, 0), &[]).0, 0x6e00);
        let (status, said) = client.ask((0xb0, 1), &[]);
        assert_eq!(status, 0x9000);
        assert!(text(&said).contains(&text(name.as_bytes())), "{said:?}");
    }
}

#[test]
fn the_first_vote_waits_for_a_person_and_a_restarted_app_asks_again() {
    let simulator = Simulator::start(Person::Absent);
    let Some(mut client) = Client::start(&simulator, "the Ledger's buttons") else {
        return;
    };
    client.send((0x56, 2), (1, 1), &message(Step::Prevote, 5, 0));
    let asked = simulator.wait_until_asked();
    assert_eq!((asked.kind, asked.height, asked.round), (1, 5, 0));
    simulator.press(false);
    assert_eq!(client.reply(), (0x6986, vec![]));
    client.send((0x56, 2), (1, 1), &message(Step::Prevote, 6, 1));
    simulator.press(true);
    assert_eq!(client.reply().0, 0x9000);
    assert_eq!(client.sign(&message(Step::Precommit, 6, 1)).0, 0x9000);
    simulator.restart_app();
    let Some(mut client) = Client::start(&simulator, "the Ledger's buttons") else {
        return;
    };
    // What it signed before is forgotten: this is why the record is not the device's.
    client.send((0x56, 2), (1, 1), &message(Step::Prevote, 6, 1));
    simulator.press(true);
    assert_eq!(client.reply().0, 0x9000);
}
