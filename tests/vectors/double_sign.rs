//! What a record of its own lets through, from request to signature, and what it answers with.

use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use serde_json::Value;
use tmkms::{
    codec::{Codec as _, DecodeError, Reason, messages::Sum},
    crypto::{PublicKey, Signature},
    key_file,
    privval::{ChainId, Hrs, Request, SignRequest, Timestamp},
    protection::{
        Denial, Guard, Policy, Record, Refusal, SignedMsg,
        store::file::{self, FileStore},
    },
};

use super::{
    Raw,
    case::{Case, bytes, cases, number, say, small, understood},
    codec, pb,
};

const CHAIN: &str = "test_chain_id";

struct Validator {
    key: SigningKey,
    public: PublicKey,
    guard: Guard,
}

impl Validator {
    fn new(path: &Path, initial_state: Option<&Value>) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = PublicKey::ed25519(key.verifying_key().as_bytes()).unwrap();
        let chain = ChainId::new(CHAIN).unwrap();
        match initial_state {
            // A node's own file, which is converted when it is opened.
            Some(state) => key_file::create(path, state.to_string().as_bytes()).unwrap(),
            None => file::create(path, &chain, &public, &Record::never_signed()).unwrap(),
        }
        let opened = FileStore::open(path, &chain, &public).unwrap();
        Self {
            key,
            public,
            guard: Guard::new(opened.store),
        }
    }

    fn sign(&self, request: SignRequest) -> Result<SignedMsg, Denial> {
        let made = |bytes: &[u8]| Signature::Ed25519(self.key.sign(bytes).to_bytes());
        let permit = self.guard.judge(request.msg, Policy::default())?;
        let signature = made(permit.sign_bytes().as_bytes());
        let extension = request.extension.as_ref().map(|extension| {
            let permitted = permit.extension(extension).unwrap();
            (extension, made(permitted.as_bytes()))
        });
        Ok(permit.complete(signature, extension, &self.public).unwrap())
    }
}

/// A request's bytes, and the time that it asks to have signed.
fn request(input: &Value) -> (Vec<u8>, Timestamp) {
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
    let block = |byte: u8| Some((vec![byte; 32], 1, vec![byte; 32]));
    let case = Case {
        chain_id: CHAIN.to_owned(),
        type_number: match input["msg"].as_str().unwrap() {
            "prevote" => 1,
            "precommit" => 2,
            "proposal" => 32,
            other => panic!("not understood: {other}"),
        },
        height: number(&input["height"]),
        round: small(&input["round"]),
        pol_round: if input["pol_round"].is_null() {
            -1
        } else {
            small(&input["pol_round"])
        },
        block_id: match input["block"].as_str() {
            Some("A") => block(0xaa),
            Some("B") => block(0xbb),
            None => None,
            Some(other) => panic!("not understood: {other}"),
        },
        timestamp: Timestamp {
            seconds: 1_700_000_000 + number(&input["ts"]),
            nanos: 0,
        },
    };
    let mut message = pb::Message::decode(case.request().as_slice()).unwrap();
    if let Some(Sum::SignVoteRequest(it)) = &mut message.sum {
        it.vote.as_mut().unwrap().extension = bytes(&input["extension"]);
    }
    (message.encode_to_vec(), case.timestamp)
}

/// What happened, in the words of the file: all those that would be true.
fn outcome(
    validator: &Validator,
    input: &Value,
    first: &mut Vec<(Hrs, Signature)>,
) -> Vec<&'static str> {
    let (message, asked_time) = request(input);
    let request = match codec(CHAIN, Raw::Refuse).decode(&message) {
        Ok(Request::Sign(request)) => request,
        Err(DecodeError::Answerable {
            reason: Reason::UnexpectedExtension,
            ..
        }) => {
            return vec!["error:unexpected vote extension"];
        }
        other => panic!("{other:?} for {input}"),
    };
    let extended = request.extension.is_some();
    match validator.sign(request) {
        Ok(signed) => {
            assert_eq!(signed.extension_signature().is_some(), extended, "{input}");
            let before = first.iter().find(|(hrs, _)| *hrs == signed.hrs());
            if let Some((_, signature)) = before {
                assert_eq!(
                    signed.signature(),
                    signature,
                    "a second signature for {input}"
                );
                assert!(signed.repeats());
                return vec![if signed.timestamp() == asked_time {
                    "reuse_signature"
                } else {
                    "reuse_signature_and_timestamp"
                }];
            }
            assert!(!signed.repeats() && signed.timestamp() == asked_time);
            first.push((signed.hrs(), signed.signature().clone()));
            vec!["sign_new"]
        }
        Err(Denial::Refused(Refusal::Conflict { .. })) => {
            vec!["error:conflicting data", "error:double sign"]
        }
        Err(Denial::Refused(Refusal::ProposalTimestamp { .. })) => {
            vec!["error:proposal with another timestamp"]
        }
        Err(Denial::Refused(Refusal::Regression { asked, last, .. })) => {
            let part = if asked.height < last.height {
                "error:height regression"
            } else if asked.round < last.round {
                "error:round regression"
            } else {
                "error:step regression"
            };
            vec![part, "error:regression"]
        }
        Err(other) => panic!("{other} for {input}"),
    }
}

#[test]
fn double_sign_scenarios_end_as_they_must() {
    let (mut requests, mut on_purpose) = (0, 0);
    let all = cases("double_sign_scenarios.json", 21);
    for case in &all {
        understood(
            case,
            &["source", "description", "inputs", "expected", "ours"],
        );
        let ours = !case["ours"].is_null();
        on_purpose += usize::from(ours);
        let expected = case[if ours { "ours" } else { "expected" }]
            .as_array()
            .unwrap();
        let inputs = case["inputs"].as_array().unwrap();
        assert_eq!(inputs.len(), expected.len());
        let home = tempfile::tempdir().unwrap();
        let initial_state = inputs
            .first()
            .map(|it| &it["initial_state"])
            .filter(|it| !it.is_null());
        let validator = Validator::new(&home.path().join("state.json"), initial_state);
        let mut first = Vec::new();
        for (input, expected) in inputs.iter().zip(expected) {
            if !input["initial_state"].is_null() {
                assert_eq!(expected, "loaded");
                continue;
            }
            let happened = outcome(&validator, input, &mut first);
            let expected = expected.as_str().unwrap();
            assert!(
                happened.contains(&expected),
                "{expected} became {happened:?} in {case}"
            );
            requests += 1;
        }
    }
    say(&format!(
        "double_sign_scenarios.json: {} cases, {requests} requests, {on_purpose} unlike the reference on purpose",
        all.len()
    ));
}
