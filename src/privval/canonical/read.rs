//! Reading canonical bytes back: what a state record needs to know of them.

use crate::privval::{
    BlockId, Form, SignBytes, Timestamp,
    canonical::{PROPOSAL, prefix_len},
};

/// Finds the timestamp in sign bytes that come from a state record.
///
/// `None` when the bytes are no canonical vote or proposal of that form.
#[must_use]
pub fn parse(form: Form, bytes: &[u8]) -> Option<SignBytes> {
    let mut reader = Reader { bytes, at: 0 };
    let len = reader.varint()?;
    if usize::try_from(len).ok()? != bytes.len().checked_sub(reader.at)? {
        return None;
    }
    let mut tags = Tags::of_vote(form);
    let mut found = None;
    // Where a timestamp would stand that amino leaves out.
    let mut absent = None;
    while reader.at < bytes.len() {
        let start = reader.at;
        let tag = reader.varint()?;
        if tag > tags.time && absent.is_none() {
            absent = Some(start);
        }
        match tag & 7 {
            0 => {
                let value = reader.varint()?;
                if tag == 0x08 && value == u64::from(PROPOSAL) {
                    tags = Tags::OF_PROPOSAL;
                }
            }
            1 => {
                reader.take(8)?;
            }
            2 => {
                let len = usize::try_from(reader.varint()?).ok()?;
                let body = reader.take(len)?;
                if tag == tags.time {
                    if found.is_some() {
                        return None;
                    }
                    found = Some((start, reader.at - start, parse_timestamp(body)?));
                }
            }
            _ => return None,
        }
    }
    let (start, len, timestamp) = match (found, form) {
        (Some(found), _) => found,
        // Nothing says "the Unix epoch" in amino.
        (None, Form::AminoA | Form::AminoB) => (absent.unwrap_or(bytes.len()), 0, EPOCH),
        (None, Form::Proto) => return None,
    };
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
    let mut described = Described {
        block_id: None,
        chain_id: "",
    };
    let body = sign_bytes.bytes.get(prefix_len(&sign_bytes.bytes)..)?;
    let is_proposal = body.starts_with(&[0x08, PROPOSAL.to_le_bytes()[0]]);
    let tags = if is_proposal {
        Tags::OF_PROPOSAL
    } else {
        Tags::of_vote(sign_bytes.form)
    };
    let mut reader = Reader { bytes: body, at: 0 };
    while reader.at < body.len() {
        match reader.field()? {
            (tag, Field::Bytes(id)) if tag == tags.block => {
                described.block_id = parse_block_id(sign_bytes.form, id)?;
            }
            (tag, Field::Bytes(id)) if tag == tags.chain => {
                described.chain_id = std::str::from_utf8(id).ok()?;
            }
            _ => {}
        }
    }
    Some(described)
}

const EPOCH: Timestamp = Timestamp {
    seconds: 0,
    nanos: 0,
};

/// Where the fields stand that differ from form to form.
struct Tags {
    block: u64,
    time: u64,
    chain: u64,
}

impl Tags {
    /// The same in every form.
    const OF_PROPOSAL: Self = Self {
        block: 0x2a,
        time: 0x32,
        chain: 0x3a,
    };

    fn of_vote(form: Form) -> Self {
        let (block, time) = match form {
            Form::Proto | Form::AminoB => (0x22, 0x2a),
            Form::AminoA => (0x2a, 0x22),
        };
        Self {
            block,
            time,
            chain: 0x32,
        }
    }
}

fn parse_timestamp(body: &[u8]) -> Option<Timestamp> {
    let mut reader = Reader { bytes: body, at: 0 };
    let mut timestamp = EPOCH;
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
fn parse_block_id(form: Form, body: &[u8]) -> Option<Option<BlockId>> {
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
    // Amino's canonical form has the two the other way around.
    let (total_tag, hash_tag) = match form {
        Form::Proto => (0x08, 0x12),
        Form::AminoA | Form::AminoB => (0x10, 0x0a),
    };
    while reader.at < parts.len() {
        match reader.field()? {
            (tag, Field::Varint(value)) if tag == total_tag => total = value,
            (tag, Field::Bytes(bytes)) if tag == hash_tag => parts_hash = bytes,
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

enum Field<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// A place within bytes.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn varint(&mut self) -> Option<u64> {
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

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}
