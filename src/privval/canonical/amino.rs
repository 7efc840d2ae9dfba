//! The canonical forms of v0.26 to v0.33 (`protocol.md` 3.2): amino leaves out what is zero, also the Unix epoch.

use crate::privval::{
    Beat, ChainId, Form, Heartbeat, SignBytes,
    canonical::{
        Fields, PROPOSAL, canonical_timestamp, finished, put_bytes, put_sfixed64, put_varint,
    },
};

/// The wire number of a heartbeat's type.
const HEARTBEAT: u64 = 0x30;

/// Length-prefixed `CanonicalVote` or `CanonicalProposal` in amino. Votes up to v0.28 (form A) have the time before the block.
pub(super) fn encode(form: Form, fields: &Fields<'_>) -> SignBytes {
    let mut body = Vec::with_capacity(256);
    put_number(&mut body, 0x08, u64::from(fields.type_number));
    put_sfixed64(&mut body, 0x11, fields.height);
    put_sfixed64(&mut body, 0x19, fields.round);
    let time = canonical_timestamp(fields.timestamp);
    let block_id = canonical_block_id(fields);
    let mut timestamp_at = (0, 0);
    let mut put_time = |body: &mut Vec<u8>, tag| {
        let start = body.len();
        put_present(body, tag, &time);
        timestamp_at = (start, body.len() - start);
    };
    let chain_tag = if fields.type_number == PROPOSAL {
        put_sfixed64(&mut body, 0x21, fields.pol_round);
        put_present(&mut body, 0x2a, &block_id);
        put_time(&mut body, 0x32);
        0x3a
    } else {
        if form == Form::AminoA {
            put_time(&mut body, 0x22);
            put_present(&mut body, 0x2a, &block_id);
        } else {
            put_present(&mut body, 0x22, &block_id);
            put_time(&mut body, 0x2a);
        }
        0x32
    };
    put_present(&mut body, chain_tag, fields.chain_id.as_bytes());
    finished(form, &body, timestamp_at, fields.timestamp)
}

/// Sign bytes of a heartbeat of v0.26. Its type keeps it apart from every vote and proposal; round and sequence are varints.
#[must_use]
pub fn heartbeat(chain_id: &ChainId, beat: Beat) -> Heartbeat {
    let mut body = Vec::with_capacity(128);
    put_number(&mut body, 0x08, HEARTBEAT);
    put_sfixed64(&mut body, 0x11, beat.height);
    put_number(&mut body, 0x18, beat.round.cast_unsigned());
    put_number(&mut body, 0x20, beat.sequence.cast_unsigned());
    put_present(&mut body, 0x2a, &beat.validator_address);
    put_number(&mut body, 0x30, beat.validator_index.cast_unsigned());
    put_present(&mut body, 0x3a, chain_id.as_str().as_bytes());
    let mut sign_bytes = Vec::with_capacity(body.len() + 2);
    put_varint(&mut sign_bytes, body.len() as u64);
    sign_bytes.extend_from_slice(&body);
    Heartbeat {
        sign_bytes: sign_bytes.into(),
        beat,
    }
}

/// The hash of the parts stands before their number, other than on the wire.
fn canonical_block_id(fields: &Fields<'_>) -> Vec<u8> {
    let mut parts = Vec::with_capacity(48);
    put_present(&mut parts, 0x0a, fields.parts_hash);
    put_number(&mut parts, 0x10, u64::from(fields.parts_total));
    let mut id = Vec::with_capacity(96);
    put_present(&mut id, 0x0a, fields.hash);
    put_present(&mut id, 0x12, &parts);
    id
}

fn put_present(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes(out, tag, bytes);
    }
}

fn put_number(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value != 0 {
        out.push(tag);
        put_varint(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privval::canonical::bare_bytes;

    #[test]
    fn a_heartbeat_encodes_as_go_does_and_is_no_bare_bytes() {
        let chain = ChainId::new("test_chain_id").expect("a chain ID");
        let beat = Beat {
            height: 10,
            round: 1,
            sequence: 3,
            validator_address: vec![0x6a; 20],
            validator_index: 1,
        };
        let bytes = heartbeat(&chain, beat);
        let text = subtle_encoding::hex::encode(bytes.sign_bytes());
        let expected = "360830110a00000000000000180120032a146a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a30013a0d746573745f636861696e5f6964";
        assert_eq!(String::from_utf8(text).expect("ASCII"), expected);
        assert_eq!(bare_bytes(bytes.sign_bytes()), None);
    }
}
