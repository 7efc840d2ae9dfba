//! Replies: a node up to v0.33 replaces its whole vote, proposal or heartbeat with the one that comes back, so that every field
//! goes back as it came (`protocol.md` 2.3, 4.4).

use crate::{
    codec::{
        amino::{Layout, names},
        judged::PROPOSE,
    },
    crypto::PublicKey,
    privval::{BlockId, Form, Hrs, Step, Timestamp, canonical},
    protection::{SignedHeartbeat, SignedMsg},
};

/// A public key as the registered type that nodes know it by: its prefix, its length, the key. `None` for a key that is younger
/// than these nodes.
pub(super) fn public_key(key: &PublicKey) -> Option<Vec<u8>> {
    let mut registered = key.algorithm().facts().amino?.to_vec();
    put_varint(&mut registered, key.as_bytes().len() as u64);
    registered.extend_from_slice(key.as_bytes());
    Some(registered)
}

/// A message with one submessage, which stands even where it is empty: Go's field is a pointer.
pub(super) fn message(prefix: names::Prefix, tag: u8, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&prefix);
    out.push(tag);
    put_varint(out, body.len() as u64);
    out.extend_from_slice(body);
}

/// An error. Its presence is all that a node looks at.
pub(super) fn error(prefix: names::Prefix, code: i32, description: &str, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(description.len() + 8);
    put_number(&mut body, 0x08, i64::from(code));
    put_bytes(&mut body, 0x12, description.as_bytes());
    message(prefix, 0x12, &body, out);
}

/// A vote or proposal as it was signed: on a repeat, with the recorded timestamp.
pub(super) fn signed(signed: &SignedMsg, out: &mut Vec<u8>) {
    let msg = signed.msg();
    let Hrs {
        height,
        round,
        step,
    } = msg.hrs;
    let block_id = block_id(msg.block_id.as_ref());
    let time = timestamp(signed.timestamp());
    let signature = signed.signature().as_bytes();
    let mut body = Vec::with_capacity(256);
    if step == Step::Proposal {
        put_number(&mut body, 0x08, i64::from(PROPOSE));
        put_number(&mut body, 0x10, height);
        put_number(&mut body, 0x18, round);
        put_number(&mut body, 0x20, msg.pol_round);
        put_bytes(&mut body, 0x2a, &block_id);
        put_bytes(&mut body, 0x32, &time);
        put_bytes(&mut body, 0x3a, signature);
        return message(names::SIGNED_PROPOSAL_RESPONSE, 0x0a, &body, out);
    }
    let (four, five) = match layout(msg.sign_bytes.form()) {
        Layout::TimeFirst => (&time, &block_id),
        Layout::BlockFirst => (&block_id, &time),
    };
    let echo = signed.echo();
    put_number(&mut body, 0x08, i64::from(canonical::type_number(step)));
    put_number(&mut body, 0x10, height);
    put_number(&mut body, 0x18, round);
    put_bytes(&mut body, 0x22, four);
    put_bytes(&mut body, 0x2a, five);
    put_bytes(&mut body, 0x32, &echo.validator_address);
    put_number(&mut body, 0x38, echo.validator_index);
    put_bytes(&mut body, 0x42, signature);
    message(names::SIGNED_VOTE_RESPONSE, 0x0a, &body, out);
}

/// A signed heartbeat.
pub(super) fn heartbeat(signed: &SignedHeartbeat, out: &mut Vec<u8>) {
    let beat = signed.beat();
    let mut body = Vec::with_capacity(128);
    put_bytes(&mut body, 0x0a, &beat.validator_address);
    put_number(&mut body, 0x10, beat.validator_index);
    put_number(&mut body, 0x18, beat.height);
    put_number(&mut body, 0x20, beat.round);
    put_number(&mut body, 0x28, beat.sequence);
    put_bytes(&mut body, 0x32, signed.signature().as_bytes());
    message(names::SIGNED_HEARTBEAT_RESPONSE, 0x0a, &body, out);
}

/// The sign bytes were made for the layout in which the vote came.
fn layout(form: Form) -> Layout {
    match form {
        Form::AminoA => Layout::TimeFirst,
        Form::AminoB | Form::Proto => Layout::BlockFirst,
    }
}

fn block_id(id: Option<&BlockId>) -> Vec<u8> {
    let Some(id) = id else {
        return Vec::new();
    };
    let mut parts = Vec::with_capacity(48);
    put_number(&mut parts, 0x08, i64::from(id.parts_total));
    put_bytes(&mut parts, 0x12, &id.parts_hash);
    let mut body = Vec::with_capacity(96);
    put_bytes(&mut body, 0x0a, &id.hash);
    put_bytes(&mut body, 0x12, &parts);
    body
}

fn timestamp(timestamp: Timestamp) -> Vec<u8> {
    let mut body = Vec::with_capacity(16);
    put_number(&mut body, 0x08, timestamp.seconds);
    put_number(&mut body, 0x10, i64::from(timestamp.nanos));
    body
}

/// Amino leaves out what is zero.
fn put_number(out: &mut Vec<u8>, tag: u8, value: i64) {
    if value != 0 {
        out.push(tag);
        put_varint(out, value.cast_unsigned());
    }
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, out);
}
