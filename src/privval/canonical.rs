//! Canonical encodings: what a node hashes in its head when it verifies a signature (`protocol.md` 3, Go's `types/canonical.go`).

use crate::privval::{BlockId, ChainId, Extension, Form, RawBytes, SignBytes, Step, Timestamp};

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
    let (hash, parts_total, parts_hash): (&[u8], u32, &[u8]) = match block_id {
        Some(id) => (&id.hash, id.parts_total, &id.parts_hash),
        None => (&[], 0, &[]),
    };
    encode(&Fields {
        type_number: type_number(step),
        height,
        round,
        pol_round,
        hash,
        parts_total,
        parts_hash,
        timestamp,
        chain_id: chain_id.as_str(),
    })
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
    let mut bytes = Vec::with_capacity(body.len() + 2);
    put_varint(&mut bytes, body.len() as u64);
    let prefix = bytes.len();
    bytes.extend_from_slice(&body);
    SignBytes {
        form: Form::Proto,
        bytes: bytes.into(),
        timestamp_at: (prefix + time_start, time_len),
        timestamp: fields.timestamp,
    }
}

/// Finds the timestamp in sign bytes that come from a state record.
///
/// `None` when the bytes are no canonical vote or proposal of that form.
#[must_use]
pub fn parse(form: Form, bytes: &[u8]) -> Option<SignBytes> {
    let Form::Proto = form;
    let mut reader = Reader { bytes, at: 0 };
    let len = reader.varint()?;
    if usize::try_from(len).ok()? != bytes.len().checked_sub(reader.at)? {
        return None;
    }
    let mut time_tag = 0x2a;
    let mut found = None;
    while reader.at < bytes.len() {
        let start = reader.at;
        let tag = reader.varint()?;
        match tag & 7 {
            0 => {
                let value = reader.varint()?;
                if tag == 0x08 && value == u64::from(PROPOSAL) {
                    time_tag = 0x32;
                }
            }
            1 => {
                reader.take(8)?;
            }
            2 => {
                let len = usize::try_from(reader.varint()?).ok()?;
                let body = reader.take(len)?;
                if tag == time_tag {
                    if found.is_some() {
                        return None;
                    }
                    found = Some((start, reader.at - start, parse_timestamp(body)?));
                }
            }
            _ => return None,
        }
    }
    let (start, len, timestamp) = found?;
    Some(SignBytes {
        form,
        bytes: bytes.into(),
        timestamp_at: (start, len),
        timestamp,
    })
}

/// What sign bytes say, as far as a record's reader wants to know it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Described<'a> {
    /// The block voted for or proposed; `None` for nil, or for a block ID that is not complete.
    pub block_id: Option<BlockId>,
    /// The chain ID, empty if there is none.
    pub chain_id: &'a str,
}

/// Reads the block and the chain out of sign bytes.
///
/// `None` when a field is not what it is in a canonical vote or proposal.
#[must_use]
pub fn describe(sign_bytes: &SignBytes) -> Option<Described<'_>> {
    let Form::Proto = sign_bytes.form;
    let mut described = Described {
        block_id: None,
        chain_id: "",
    };
    let body = sign_bytes.bytes.get(prefix_len(&sign_bytes.bytes)..)?;
    let is_proposal = body.starts_with(&[0x08, PROPOSAL.to_le_bytes()[0]]);
    let (block_tag, chain_tag) = if is_proposal {
        (0x2a, 0x3a)
    } else {
        (0x22, 0x32)
    };
    let mut reader = Reader { bytes: body, at: 0 };
    while reader.at < body.len() {
        match reader.field()? {
            (tag, Field::Bytes(id)) if tag == block_tag => {
                described.block_id = parse_block_id(id)?;
            }
            (tag, Field::Bytes(id)) if tag == chain_tag => {
                described.chain_id = std::str::from_utf8(id).ok()?;
            }
            _ => {}
        }
    }
    Some(described)
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
        label: unique_id.to_owned(),
    })
}

/// The `SignBytesRequest` of v1 and v2, which has no domain of its own.
///
/// `None` if the value reads as anything that a vote, proposal or extension could be signed as: such a value would make
/// the consensus key equivocate behind the guard's back.
#[must_use]
pub fn bare_bytes(value: &[u8]) -> Option<RawBytes> {
    if value.is_empty() || reads_as_protobuf(value) {
        return None;
    }
    Some(RawBytes {
        sign_bytes: value.into(),
        label: "SignBytes".to_owned(),
    })
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

fn parse_timestamp(body: &[u8]) -> Option<Timestamp> {
    let mut reader = Reader { bytes: body, at: 0 };
    let mut timestamp = Timestamp {
        seconds: 0,
        nanos: 0,
    };
    while reader.at < body.len() {
        match reader.varint()? {
            0x08 => timestamp.seconds = reader.varint()?.cast_signed(),
            0x10 => timestamp.nanos = i32::try_from(reader.varint()?.cast_signed()).ok()?,
            _ => return None,
        }
    }
    Some(timestamp)
}

/// The inner `None` is a block ID that is not complete.
fn parse_block_id(body: &[u8]) -> Option<Option<BlockId>> {
    let (mut hash, mut parts): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader { bytes: body, at: 0 };
    while reader.at < body.len() {
        match reader.field()? {
            (0x0a, Field::Bytes(bytes)) => hash = bytes,
            (0x12, Field::Bytes(bytes)) => parts = bytes,
            _ => return None,
        }
    }
    let (mut total, mut parts_hash): (u64, &[u8]) = (0, &[]);
    let mut reader = Reader {
        bytes: parts,
        at: 0,
    };
    while reader.at < parts.len() {
        match reader.field()? {
            (0x08, Field::Varint(value)) => total = value,
            (0x12, Field::Bytes(bytes)) => parts_hash = bytes,
            _ => return None,
        }
    }
    let complete = || {
        Some(BlockId {
            hash: hash.try_into().ok()?,
            parts_total: u32::try_from(total).ok()?,
            parts_hash: parts_hash.try_into().ok()?,
        })
    };
    Some(complete())
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

enum Field<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A tag and its value.
    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Fixed
            }
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            _ => return None,
        };
        Some((tag, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
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
        let make = |height, seconds| {
            sign_bytes(
                &chain(),
                Step::Prevote,
                (height, 0, 0),
                Some(&BLOCK),
                at(seconds),
            )
        };
        assert!(make(10, 1).equal_but_for_timestamp(&make(10, 1_700_000_000)));
        assert!(make(10, 0).equal_but_for_timestamp(&make(10, 1_700_000_000)));
        assert!(!make(10, 1).equal_but_for_timestamp(&make(11, 1)));
    }

    #[test]
    fn parsing_finds_what_encoding_wrote() {
        for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
            for timestamp in [at(0), at(1_700_000_000), Timestamp::GO_ZERO] {
                let bytes = sign_bytes(&chain(), step, (10, 3, -1), Some(&BLOCK), timestamp);
                assert_eq!(parse(Form::Proto, bytes.as_bytes()), Some(bytes));
            }
        }
    }

    #[test]
    fn sign_bytes_tell_their_block_and_chain() {
        for (step, block) in [
            (Step::Proposal, Some(BLOCK)),
            (Step::Prevote, Some(BLOCK)),
            (Step::Prevote, None),
        ] {
            let bytes = sign_bytes(&chain(), step, (10, 3, -1), block.as_ref(), at(1));
            let described = describe(&bytes).expect("sign bytes");
            assert_eq!(described.block_id, block);
            assert_eq!(described.chain_id, "test_chain_id");
        }
    }

    #[test]
    fn bare_bytes_that_read_as_a_vote_are_none() {
        let vote = sign_bytes(&chain(), Step::Prevote, (10, 0, 0), None, at(1));
        assert_eq!(bare_bytes(vote.as_bytes()), None);
        assert!(bare_bytes(b"randao reveal of epoch 7").is_some());
    }
}
