//! Canonical encodings: what a node hashes in its head when it verifies a signature (`protocol.md` 3, Go's `types/canonical.go`).

use crate::privval::{
    BlockId, ChainId, Extension, Form, RawBytes, SignBytes, Step, Timestamp, Unprotected,
};

mod amino;
mod read;

use self::read::Reader;
pub use self::{
    amino::heartbeat,
    read::{Described, describe, parse},
};

/// How much of a `unique_id` a log line shows, in characters.
const LABEL: usize = 64;

/// The ASCII prefix that separates Celestia's raw bytes from consensus messages.
const RAW_BYTES_PREFIX: &[u8] = b"COMET::RAW_BYTES::SIGN";

/// The fields of a canonical vote or proposal before any of them was judged.
///
/// A node of bad faith may leave a block ID half-filled; the encoding of that is defined, so it is expressible here
/// and nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Wire number of the type: 1 prevote, 2 precommit, 32 proposal.
    pub type_number: u32,
    /// Block height.
    pub height: i64,
    /// Round.
    pub round: i64,
    /// Proof-of-lock round; only encoded when the type is a proposal.
    pub pol_round: i64,
    /// Block hash: 0 or 32 bytes.
    pub hash: &'a [u8],
    /// Total of the part-set header.
    pub parts_total: u32,
    /// Hash of the part-set header: 0 or 32 bytes.
    pub parts_hash: &'a [u8],
    /// Time of the vote or proposal.
    pub timestamp: Timestamp,
    /// The chain's ID.
    pub chain_id: &'a str,
}

const PROPOSAL: u32 = 32;

/// Sign bytes of a vote (`Step::Prevote`, `Step::Precommit`) or proposal of the protobuf era (v0.34 to v2).
#[must_use]
pub fn sign_bytes(
    chain_id: &ChainId,
    step: Step,
    (height, round, pol_round): (i64, i64, i64),
    block_id: Option<&BlockId>,
    timestamp: Timestamp,
) -> SignBytes {
    sign_bytes_as(
        Form::Proto,
        chain_id,
        step,
        (height, round, pol_round),
        block_id,
        timestamp,
    )
}

/// Sign bytes of a vote or proposal in a given form.
#[must_use]
pub fn sign_bytes_as(
    form: Form,
    chain_id: &ChainId,
    step: Step,
    (height, round, pol_round): (i64, i64, i64),
    block_id: Option<&BlockId>,
    timestamp: Timestamp,
) -> SignBytes {
    let (hash, parts_total, parts_hash): (&[u8], u32, &[u8]) = match block_id {
        Some(id) => (&id.hash, id.parts_total, &id.parts_hash),
        None => (&[], 0, &[]),
    };
    let fields = Fields {
        type_number: type_number(step),
        height,
        round,
        pol_round,
        hash,
        parts_total,
        parts_hash,
        timestamp,
        chain_id: chain_id.as_str(),
    };
    encode_as(form, &fields)
}

/// Length-prefixed canonical vote or proposal in a given form.
#[must_use]
pub fn encode_as(form: Form, fields: &Fields<'_>) -> SignBytes {
    match form {
        Form::Proto => encode(fields),
        Form::AminoA | Form::AminoB => amino::encode(form, fields),
    }
}

/// The wire number of a step's message type.
#[must_use]
pub fn type_number(step: Step) -> u32 {
    match step {
        Step::Prevote => 1,
        Step::Precommit => 2,
        Step::Proposal => PROPOSAL,
    }
}

/// Length-prefixed `CanonicalVote` or `CanonicalProposal` in protobuf.
#[must_use]
pub fn encode(fields: &Fields<'_>) -> SignBytes {
    let mut body = Vec::with_capacity(256);
    if fields.type_number != 0 {
        body.push(0x08);
        put_varint(&mut body, u64::from(fields.type_number));
    }
    put_sfixed64(&mut body, 0x11, fields.height);
    put_sfixed64(&mut body, 0x19, fields.round);
    let is_proposal = fields.type_number == PROPOSAL;
    if is_proposal && fields.pol_round != 0 {
        body.push(0x20);
        put_varint(&mut body, fields.pol_round.cast_unsigned());
    }
    // A proposal has one field more before the block ID, so the tags behind it move up by one.
    let [block_tag, time_tag, chain_tag] = if is_proposal {
        [0x2a, 0x32, 0x3a]
    } else {
        [0x22, 0x2a, 0x32]
    };
    if !fields.hash.is_empty() || fields.parts_total != 0 || !fields.parts_hash.is_empty() {
        put_bytes(&mut body, block_tag, &canonical_block_id(fields));
    }
    let time_start = body.len();
    // Always written, even when empty: Go's field is not nullable.
    put_bytes(&mut body, time_tag, &canonical_timestamp(fields.timestamp));
    let time_len = body.len() - time_start;
    if !fields.chain_id.is_empty() {
        put_bytes(&mut body, chain_tag, fields.chain_id.as_bytes());
    }
    finished(Form::Proto, &body, (time_start, time_len), fields.timestamp)
}

/// Length-prefixed `CanonicalVoteExtension` (v0.38 and later).
#[must_use]
pub fn extension(chain_id: &ChainId, height: i64, round: i64, extension: &[u8]) -> Extension {
    // An extension may have 1 MiB: it is copied once, into memory of the right size.
    let mut before = Vec::with_capacity(12);
    if !extension.is_empty() {
        before.push(0x0a);
        put_varint(&mut before, extension.len() as u64);
    }
    let mut after = Vec::with_capacity(96);
    put_sfixed64(&mut after, 0x11, height);
    put_sfixed64(&mut after, 0x19, round);
    put_bytes(&mut after, 0x22, chain_id.as_str().as_bytes());
    let len = before.len() + extension.len() + after.len();
    let mut prefix = Vec::with_capacity(10);
    put_varint(&mut prefix, len as u64);
    let sign_bytes = [&prefix, &before, extension, &after].concat();
    Extension {
        sign_bytes: sign_bytes.into(),
        is_empty: extension.is_empty(),
    }
}

/// Celestia's raw bytes: prefix ‖ length ‖ `SignRawBytesRequest { chain_id, raw_bytes, unique_id }`.
///
/// `None` if one of the three is empty: the domain separation rests on all of them.
#[must_use]
pub fn raw_bytes(chain_id: &ChainId, raw_bytes: &[u8], unique_id: &str) -> Option<RawBytes> {
    if raw_bytes.is_empty() || unique_id.is_empty() {
        return None;
    }
    let mut body = Vec::with_capacity(raw_bytes.len() + unique_id.len() + 64);
    put_bytes(&mut body, 0x0a, chain_id.as_str().as_bytes());
    put_bytes(&mut body, 0x12, raw_bytes);
    put_bytes(&mut body, 0x1a, unique_id.as_bytes());
    let mut sign_bytes = RAW_BYTES_PREFIX.to_vec();
    put_varint(&mut sign_bytes, body.len() as u64);
    sign_bytes.extend_from_slice(&body);
    Some(RawBytes {
        sign_bytes: sign_bytes.into(),
        label: unique_id.chars().take(LABEL).collect(),
    })
}

/// The `SignBytesRequest` of v1 and v2, which has no domain of its own.
///
/// `None` if the value reads as anything that a vote, proposal, extension or heartbeat of any dialect could be signed as: such
/// a value would make the consensus key equivocate behind the guard's back. Celestia's raw bytes have their own door, too.
#[must_use]
pub fn bare_bytes(value: &[u8]) -> Option<RawBytes> {
    if value.is_empty() || passes_for_something_else(value) {
        return None;
    }
    Some(RawBytes {
        sign_bytes: value.into(),
        label: "SignBytes".to_owned(),
    })
}

/// The second extension of v2, as it is.
///
/// `None` where it could pass for something else, as in [`bare_bytes`]. An empty one passes for nothing.
#[must_use]
pub fn unprotected_extension(extension: &[u8]) -> Option<Unprotected> {
    if passes_for_something_else(extension) {
        return None;
    }
    Some(Unprotected {
        sign_bytes: extension.into(),
    })
}

/// Whether bytes without a domain of their own could be a vote, proposal, extension or heartbeat of any dialect, or Celestia's
/// raw bytes.
fn passes_for_something_else(bytes: &[u8]) -> bool {
    let passes = reads_as_protobuf(bytes) || bytes.starts_with(RAW_BYTES_PREFIX);
    passes && !cfg!(mutant = "no_raw_check")
}

/// The length prefix before a body whose timestamp lies at `start` and is `len` long.
fn finished(
    form: Form,
    body: &[u8],
    (start, len): (usize, usize),
    timestamp: Timestamp,
) -> SignBytes {
    let mut bytes = Vec::with_capacity(body.len() + 2);
    put_varint(&mut bytes, body.len() as u64);
    let prefix = bytes.len();
    bytes.extend_from_slice(body);
    SignBytes {
        form,
        bytes: bytes.into(),
        timestamp_at: (prefix + start, len),
        timestamp,
    }
}

/// The length of the varint that stands before a length-prefixed message.
pub(super) fn prefix_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1
}

/// Whether the bytes are a length-delimited protobuf message, which is what every canonical message is.
///
/// Wider than need be on purpose: amino's canonical forms have the same shape.
fn reads_as_protobuf(bytes: &[u8]) -> bool {
    let mut reader = Reader { bytes, at: 0 };
    let Some(len) = reader.varint() else {
        return false;
    };
    if usize::try_from(len).ok() != bytes.len().checked_sub(reader.at) {
        return false;
    }
    while reader.at < bytes.len() {
        let field = reader.varint().and_then(|tag| match tag & 7 {
            0 => reader.varint().map(|_| ()),
            1 => reader.take(8).map(|_| ()),
            2 => {
                let len = usize::try_from(reader.varint()?).ok()?;
                reader.take(len).map(|_| ())
            }
            5 => reader.take(4).map(|_| ()),
            _ => None,
        });
        if field.is_none() {
            return false;
        }
    }
    true
}

fn canonical_block_id(fields: &Fields<'_>) -> Vec<u8> {
    let mut parts = Vec::with_capacity(48);
    if fields.parts_total != 0 {
        parts.push(0x08);
        put_varint(&mut parts, u64::from(fields.parts_total));
    }
    if !fields.parts_hash.is_empty() {
        put_bytes(&mut parts, 0x12, fields.parts_hash);
    }
    let mut id = Vec::with_capacity(96);
    if !fields.hash.is_empty() {
        put_bytes(&mut id, 0x0a, fields.hash);
    }
    put_bytes(&mut id, 0x12, &parts);
    id
}

fn canonical_timestamp(timestamp: Timestamp) -> Vec<u8> {
    let mut time = Vec::with_capacity(16);
    if timestamp.seconds != 0 {
        time.push(0x08);
        put_varint(&mut time, timestamp.seconds.cast_unsigned());
    }
    if timestamp.nanos != 0 {
        time.push(0x10);
        put_varint(&mut time, i64::from(timestamp.nanos).cast_unsigned());
    }
    time
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_sfixed64(out: &mut Vec<u8>, tag: u8, value: i64) {
    if value != 0 {
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockId = BlockId {
        hash: [0x41; 32],
        parts_total: 1,
        parts_hash: [0x41; 32],
    };

    const FORMS: [(Form, Option<BlockId>); 6] = [
        (Form::Proto, Some(BLOCK)),
        (Form::Proto, None),
        (Form::AminoA, Some(BLOCK)),
        (Form::AminoA, None),
        (Form::AminoB, Some(BLOCK)),
        (Form::AminoB, None),
    ];

    fn chain() -> ChainId {
        ChainId::new("test_chain_id").expect("a chain ID")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn hex(bytes: &[u8]) -> String {
        String::from_utf8(subtle_encoding::hex::encode(bytes)).expect("ASCII")
    }

    #[test]
    fn a_proposal_encodes_as_the_original_signed_it() {
        let bytes = sign_bytes(
            &chain(),
            Step::Proposal,
            (10, 0, -1),
            Some(&BLOCK),
            at(1_700_000_000),
        );
        assert_eq!(
            hex(bytes.as_bytes()),
            "770820110a0000000000000020ffffffffffffffffff012a480a204141414141414141414141414141414141414141414141414141414141414141122408011220414141414141414141414141414141414141414141414141414141414141414132060880e2cfaa063a0d746573745f636861696e5f6964"
        );
    }

    #[test]
    fn a_nil_precommit_encodes_as_the_original_signed_it() {
        let bytes = sign_bytes(
            &chain(),
            Step::Precommit,
            (10, 0, 0),
            None,
            at(1_700_000_000),
        );
        assert_eq!(
            hex(bytes.as_bytes()),
            "220802110a000000000000002a060880e2cfaa06320d746573745f636861696e5f6964"
        );
    }

    #[test]
    fn only_the_timestamp_may_differ() {
        for (form, block) in FORMS {
            let make = |height, seconds| {
                let round = (height, 0, 0);
                sign_bytes_as(
                    form,
                    &chain(),
                    Step::Prevote,
                    round,
                    block.as_ref(),
                    at(seconds),
                )
            };
            assert!(make(10, 1).equal_but_for_timestamp(&make(10, 1_700_000_000)));
            assert!(make(10, 0).equal_but_for_timestamp(&make(10, 1_700_000_000)));
            assert!(!make(10, 1).equal_but_for_timestamp(&make(11, 1)));
        }
        let make = |form| sign_bytes_as(form, &chain(), Step::Prevote, (1, 0, 0), None, at(0));
        assert!(!make(Form::AminoA).equal_but_for_timestamp(&make(Form::AminoB)));
    }

    #[test]
    fn parsing_finds_what_encoding_wrote() {
        for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
            for timestamp in [at(0), at(1_700_000_000), Timestamp::GO_ZERO] {
                for (form, block) in FORMS {
                    let round = (10, 3, -1);
                    let bytes =
                        sign_bytes_as(form, &chain(), step, round, block.as_ref(), timestamp);
                    assert_eq!(parse(form, bytes.as_bytes()), Some(bytes));
                }
            }
        }
    }

    #[test]
    fn sign_bytes_tell_their_block_and_chain() {
        for (form, block) in FORMS {
            for (step, time) in [
                (Step::Proposal, at(1)),
                (Step::Prevote, at(1)),
                (Step::Precommit, at(0)),
            ] {
                let bytes = sign_bytes_as(form, &chain(), step, (10, 3, -1), block.as_ref(), time);
                let described = describe(&bytes).expect("sign bytes");
                assert_eq!(described.block_id, block, "{form:?} {step:?}");
                assert_eq!(described.chain_id, "test_chain_id");
            }
        }
    }

    #[test]
    fn bare_bytes_that_read_as_a_vote_are_none() {
        for (form, block) in FORMS {
            for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
                let bytes = sign_bytes_as(form, &chain(), step, (10, 0, 0), block.as_ref(), at(1));
                assert_eq!(bare_bytes(bytes.as_bytes()), None);
            }
        }
        let extension = extension(&chain(), 10, 0, b"anything");
        assert_eq!(bare_bytes(extension.sign_bytes()), None);
        let raw = raw_bytes(&chain(), b"hello", "p2p-1").expect("raw bytes");
        assert_eq!(bare_bytes(raw.sign_bytes()), None);
        let long = raw_bytes(&chain(), b"hello", &"x".repeat(5_000)).expect("raw bytes");
        assert_eq!(long.label().len(), LABEL);
        assert!(long.sign_bytes().len() > 5_000);
        assert!(bare_bytes(b"randao reveal of epoch 7").is_some());
        assert_eq!(unprotected_extension(raw.sign_bytes()), None);
        assert_eq!(unprotected_extension(extension.sign_bytes()), None);
        assert!(unprotected_extension(b"").is_some());
        assert_eq!(bare_bytes(b""), None);
    }
}
