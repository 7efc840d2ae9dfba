//! Reading the vectors' files and what votes and proposals look like in them.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use prost::Message as _;
use serde_json::Value;
use subtle_encoding::hex;
use tmkms::{
    codec::messages::{self as pb, Sum},
    privval::{
        Form, Timestamp,
        canonical::{self, Fields},
    },
};

pub(crate) fn directory() -> PathBuf {
    env::var_os("TMKMS_TEST_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    )
}

pub(crate) fn cases(file: &str, at_least: usize) -> Vec<Value> {
    let path = directory().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["vectors"].as_array().unwrap().clone();
    assert!(cases.len() >= at_least, "{} cases", cases.len());
    cases
}

/// Straight to the handle: the test runner keeps the output of a test that passes.
pub(crate) fn say(line: &str) {
    let line = format!("vectors: {line}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The keys of an object, which must be among `known`: a new one would be a check that is not made.
pub(crate) fn understood(object: &Value, known: &[&str]) {
    for key in object.as_object().unwrap().keys() {
        assert!(
            known.contains(&key.as_str()),
            "not understood: {key} in {object}"
        );
    }
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap_or_default()).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(hex::encode(bytes)).unwrap()
}

/// A number, which Go's JSON writes as a string where it has 64 bits.
pub(crate) fn number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().unwrap(),
        other => other.as_i64().unwrap(),
    }
}

pub(crate) fn small(value: &Value) -> i32 {
    number(value).try_into().unwrap()
}

/// What the wire fields of a case say, before anything judges them.
pub(crate) struct Case {
    pub(crate) chain_id: String,
    pub(crate) type_number: i32,
    pub(crate) height: i64,
    pub(crate) round: i32,
    pub(crate) pol_round: i32,
    pub(crate) block_id: Option<(Vec<u8>, u32, Vec<u8>)>,
    pub(crate) timestamp: Timestamp,
}

impl Case {
    pub(crate) fn read(input: &Value) -> Self {
        let block_id = (!input["block_id"].is_null()).then(|| {
            let id = &input["block_id"];
            understood(id, &["hash", "total", "parts_hash"]);
            let total = number(&id["total"]).try_into().unwrap();
            (bytes(&id["hash"]), total, bytes(&id["parts_hash"]))
        });
        let timestamp = timestamp(input["timestamp"].as_str().unwrap());
        if !input["seconds"].is_null() {
            let (seconds, nanos) = (number(&input["seconds"]), small(&input["nanos"]));
            assert_eq!(timestamp, Timestamp { seconds, nanos }, "{input}");
        }
        Self {
            chain_id: input["chain_id"].as_str().unwrap().to_owned(),
            // Only proposals have a proof-of-lock round; their type is always 32 and not named.
            type_number: if input["type"].is_null() {
                assert!(!input["pol_round"].is_null(), "not understood: {input}");
                32
            } else {
                small(&input["type"])
            },
            height: number(&input["height"]),
            round: small(&input["round"]),
            pol_round: small(&input["pol_round"]),
            block_id,
            timestamp,
        }
    }

    pub(crate) fn raw_sign_bytes(&self) -> Vec<u8> {
        let (hash, parts_total, parts_hash) = self.block_id.clone().unwrap_or_default();
        let encoded = canonical::encode(&Fields {
            type_number: self.type_number.try_into().unwrap(),
            height: self.height,
            round: self.round.into(),
            pol_round: self.pol_round.into(),
            hash: &hash,
            parts_total,
            parts_hash: &parts_hash,
            timestamp: self.timestamp,
            chain_id: &self.chain_id,
        });
        assert_eq!(
            canonical::parse(Form::Proto, encoded.as_bytes()),
            Some(encoded.clone())
        );
        encoded.as_bytes().to_vec()
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        let block_id = Some(self.block_id.clone().map_or_else(
            pb::BlockId::nil,
            |(hash, total, parts)| pb::BlockId {
                hash,
                part_set_header: Some(pb::PartSetHeader { total, hash: parts }),
            },
        ));
        let timestamp = Some(pb::Timestamp {
            seconds: self.timestamp.seconds,
            nanos: self.timestamp.nanos,
        });
        let chain_id = self.chain_id.clone();
        let (height, round) = (self.height, self.round);
        pb::Message::from(if self.type_number == 32 {
            Sum::SignProposalRequest(pb::SignProposalRequest {
                proposal: Some(pb::Proposal {
                    proposal_type: 32,
                    height,
                    round,
                    pol_round: self.pol_round,
                    block_id,
                    timestamp,
                    signature: Vec::new(),
                }),
                chain_id,
            })
        } else {
            Sum::SignVoteRequest(pb::SignVoteRequest {
                vote: Some(pb::Vote {
                    vote_type: self.type_number,
                    height,
                    round,
                    block_id,
                    timestamp,
                    ..pb::Vote::default()
                }),
                chain_id,
                skip_extension_signing: false,
            })
        })
        .encode_to_vec()
    }
}

/// RFC 3339 in UTC, for any year of the common era.
pub(crate) fn timestamp(text: &str) -> Timestamp {
    let (whole, fraction) = text.strip_suffix('Z').unwrap().split_at(19);
    let parts: Vec<i64> = whole
        .split(['-', 'T', ':'])
        .map(|part| part.parse().unwrap())
        .collect();
    let [year, month, day, hour, minute, second] = parts.as_slice() else {
        panic!("not a time: {text}");
    };
    // Years that begin in March: the leap day is their last.
    let (y, m) = if *month > 2 {
        (*year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let nanos = format!("{:0<9}", fraction.trim_start_matches('.'));
    Timestamp {
        seconds: ((days * 24 + hour) * 60 + minute) * 60 + second,
        nanos: nanos.parse().unwrap(),
    }
}
