//! Amino's fields, written as a node up to v0.33 writes them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the fuzzer, and neither uses all of it"
)]

/// The fields of a struct, in ascending order: what is zero is left out.
#[derive(Debug, Default)]
pub struct Fields(pub Vec<u8>);

pub fn fields() -> Fields {
    Fields::default()
}

impl Fields {
    pub fn number(mut self, field: u8, value: i64) -> Self {
        if value != 0 {
            self.0.push(field << 3);
            prost::encoding::encode_varint(value.cast_unsigned(), &mut self.0);
        }
        self
    }

    pub fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.0.push(field << 3 | 2);
            prost::encoding::encode_varint(value.len() as u64, &mut self.0);
            self.0.extend_from_slice(value);
        }
        self
    }
}

/// A `BlockID` on the wire.
pub fn block_id(hash: &[u8], total: i64, parts_hash: &[u8]) -> Vec<u8> {
    let parts = fields().number(1, total).bytes(2, parts_hash);
    fields().bytes(1, hash).bytes(2, &parts.0).0
}

pub fn time(seconds: i64, nanos: i64) -> Vec<u8> {
    fields().number(1, seconds).number(2, nanos).0
}

/// A registered message with one field: `prefix ‖ 0a ‖ length ‖ body`.
pub fn message(prefix: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    out.push(0x0a);
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}
