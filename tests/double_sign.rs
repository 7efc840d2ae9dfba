//! The shared double-sign scenarios, from the bytes of a node's request to the record on the disk.
//!
//! The directory is the one in `TMKMS_TEST_VECTORS` when that is set. Where a scenario says `ours`, that counts: there the
//! reference does something else on purpose.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise; the vectors' reader is shared with a test that uses more of it"
)]

use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use serde_json::Value;
use tmkms::{
    codec::{
        Codec as _, DecodeError,
        messages::{self as pb, Sum},
        proto::{Options, Proto, Raw},
    },
    crypto::{PublicKey, Signature},
    privval::{ChainId, Request, Timestamp},
    protection::{
        Denial, Guard, Policy, Record,
        store::file::{FileStore, create},
    },
};

#[path = "vectors/case.rs"]
mod case;

use case::{Case, bytes, cases, number, say, small, understood};

const CHAIN: &str = "double-sign-1";

/// Seconds that the vectors' times count from.
const EPOCH: i64 = 1_700_000_000;

/// A validator's key, its record in a directory of its own, and one connection.
struct Validator {
    directory: tempfile::TempDir,
    key: SigningKey,
    codec: Proto,
    guard: Option<Guard>,
    /// What was signed so far: bytes and signature.
    signed: Vec<(Timestamp, Vec<u8>)>,
}

impl Validator {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            key: SigningKey::from_bytes(&[7; 32]),
            codec: Proto::new(Options {
                chain_id: chain(),
                sign_extensions: true,
                v2: false,
                raw: Raw::Refuse,
            }),
            guard: None,
            signed: Vec::new(),
        }
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::ed25519(self.key.verifying_key().as_bytes()).unwrap()
    }

    /// Opens the record anew, as after a restart. The only other thing that was remembered is what is not asked for here.
    fn restart(&mut self) {
        self.guard = None;
        let path = self.directory.path().join("state.json");
        let key = self.public_key();
        if !path.exists() {
            create(&path, &chain(), &key, &Record::never_signed()).unwrap();
        }
        let opened = FileStore::open(&path, &chain(), &key).unwrap();
        self.guard = Some(Guard::new(opened.store));
    }

    fn load(&mut self, state: &Value) {
        understood(state, &["height", "round", "step"]);
        let path = self.directory.path().join("state.json");
        std::fs::write(path, state.to_string()).unwrap();
        self.restart();
    }

    /// The outcome in the vectors' words.
    fn ask(&mut self, message: &[u8]) -> String {
        let request = match self.codec.decode(message) {
            Ok(Request::Sign(request)) => request,
            Ok(other) => panic!("not understood: {other:?}"),
            Err(DecodeError::Answerable { reason, .. }) => return format!("error:{reason}"),
            Err(DecodeError::Unanswerable(reason)) => return format!("disconnect:{reason}"),
        };
        let guard = self.guard.as_ref().unwrap();
        let asked_at = request.msg.sign_bytes.timestamp();
        let permit = match guard.judge(request.msg, Policy::default()) {
            Ok(permit) => permit,
            Err(Denial::Refused(refusal)) => {
                let conflict = if refusal.code() == 2 { "conflict:" } else { "" };
                return format!("error:{conflict}{refusal}");
            }
            Err(Denial::Stopped(error)) => panic!("{error}"),
        };
        let sign = |bytes: &[u8]| Signature::Ed25519(self.key.sign(bytes).to_bytes());
        let signature = sign(permit.sign_bytes().as_bytes());
        let extension = request.extension.as_ref().map(|extension| {
            let bytes = permit.extension(extension).unwrap();
            (extension, sign(bytes.as_bytes()))
        });
        let reply = permit
            .complete(signature, extension, &self.public_key())
            .unwrap();
        let signature = reply.signature().as_bytes().to_vec();
        let known = (reply.timestamp(), signature);
        let repeated = self.signed.contains(&known);
        assert_eq!(repeated, reply.repeats(), "a repeat is a repeat");
        if !repeated {
            self.signed.push(known);
            return "sign_new".to_owned();
        }
        if reply.timestamp() == asked_at {
            "reuse_signature".to_owned()
        } else {
            "reuse_signature_and_timestamp".to_owned()
        }
    }
}

#[test]
fn every_scenario_ends_as_it_should() {
    run(|_| {});
}

#[test]
fn every_scenario_ends_as_it_should_with_a_restart_before_each_request() {
    run(Validator::restart);
}

fn run(between: impl Fn(&mut Validator)) {
    let scenarios = cases("double_sign_scenarios.json", 21);
    let mut requests = 0;
    for scenario in &scenarios {
        understood(
            scenario,
            &["source", "description", "inputs", "expected", "ours"],
        );
        let name = scenario["description"].as_str().unwrap();
        let ours = [&scenario["ours"], &scenario["expected"]];
        let expected = ours.into_iter().find_map(Value::as_array).unwrap();
        let inputs = scenario["inputs"].as_array().unwrap();
        assert_eq!(inputs.len(), expected.len(), "{name}");
        let mut validator = Validator::new();
        for (number, (input, expected)) in inputs.iter().zip(expected).enumerate() {
            let expected = expected.as_str().unwrap();
            let outcome = if input["initial_state"].is_null() {
                if number == 0 {
                    validator.restart();
                }
                between(&mut validator);
                validator.ask(&message(input))
            } else {
                understood(input, &["initial_state"]);
                validator.load(&input["initial_state"]);
                "loaded".to_owned()
            };
            assert!(
                is(&outcome, expected),
                "{name}, {number}: {outcome}, not {expected}"
            );
            requests += 1;
        }
    }
    say(&format!(
        "{} double-sign scenarios with {requests} requests",
        scenarios.len()
    ));
}

/// Whether an outcome is what the vectors call so; their words for an error are not ours.
fn is(outcome: &str, expected: &str) -> bool {
    let Some(error) = expected.strip_prefix("error:") else {
        return outcome == expected;
    };
    match error {
        "conflicting data" | "double sign" => {
            outcome.starts_with("error:conflict:double signing requested at height: ")
        }
        "height regression" | "round regression" | "step regression" | "regression" => {
            outcome.starts_with("error:") && outcome.contains(error)
        }
        "proposal with another timestamp" => outcome.starts_with(&format!("error:{error}")),
        "unexpected vote extension" => {
            outcome.starts_with("error:") && outcome.contains("extension")
        }
        _ => panic!("not understood: {expected}"),
    }
}

fn chain() -> ChainId {
    ChainId::new(CHAIN).unwrap()
}

/// The node's request.
fn message(input: &Value) -> Vec<u8> {
    understood(
        input,
        &[
            "msg",
            "height",
            "round",
            "block",
            "ts",
            "pol_round",
            "extension",
        ],
    );
    let type_number = match input["msg"].as_str().unwrap() {
        "proposal" => 32,
        "prevote" => 1,
        "precommit" => 2,
        other => panic!("not understood: {other}"),
    };
    let block_id = input["block"].as_str().map(|name| {
        let hash = match name {
            "A" => vec![0xaa; 32],
            "B" => vec![0xbb; 32],
            other => panic!("not understood: {other}"),
        };
        (hash.clone(), 1, hash)
    });
    let request = Case {
        chain_id: CHAIN.to_owned(),
        type_number,
        height: number(&input["height"]),
        round: small(&input["round"]),
        pol_round: match &input["pol_round"] {
            Value::Null => -1,
            round => small(round),
        },
        block_id,
        timestamp: Timestamp {
            seconds: EPOCH + number(&input["ts"]),
            nanos: 0,
        },
    }
    .request();
    let mut message = pb::Message::decode(request.as_slice()).unwrap();
    if let Some(Sum::SignVoteRequest(request)) = &mut message.sum {
        request.vote.as_mut().unwrap().extension = bytes(&input["extension"]);
    }
    message.encode_to_vec()
}
