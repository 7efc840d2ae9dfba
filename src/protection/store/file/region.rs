//! The region behind the slots: the last signature of a key that cannot make it again.
//!
//! It is written between the signature and the reply and never synced: to lose it costs a vote, never a conflict. So there is no
//! damage here that matters, only a region that says something about the state that stands, or one that does not.

use std::str;

use subtle_encoding::hex;

use crate::{
    crypto::{PublicKey, Signature},
    protection::{
        rules::Record,
        store::file::{
            header::HEADER_LEN,
            slot::{SLOT_LEN, TooLong},
            text::Text,
        },
    },
};

/// Bytes of the region. The longest signature of any scheme that is known to come has 3,309 bytes, and is written in hex.
pub(super) const REGION_LEN: usize = 8192;

/// Where it begins in the file.
pub(super) const REGION_AT: usize = HEADER_LEN + 2 * SLOT_LEN;

/// The checksum at its end: `crc `, 8 hex digits, a newline.
const CRC_LEN: usize = 13;

/// The line before the signature's.
const SIGNED: &str = "\nsignature ";

/// Writes the signature over the sign bytes of `record`, which is state number `sequence`.
pub(super) fn render(
    record: &Record,
    sequence: u64,
    signature: &[u8],
    header_crc: u32,
) -> Result<Vec<u8>, TooLong> {
    let mut region = vec![b' '; REGION_LEN];
    let (body, tail) = region.split_at_mut(REGION_LEN - CRC_LEN);
    let mut text = Text::over(body);
    text.str("of state ").decimal(sequence);
    put_place(&mut text, record);
    text.str(SIGNED).hex(signature).str("\n");
    if !text.fits() {
        return Err(TooLong);
    }
    let crc = checksum(body, header_crc);
    Text::over(tail).str("crc ").hex32(crc).str("\n");
    Ok(region)
}

/// The signature that a region holds of `record`, if it is one: whole, of this very state, and sound.
pub(super) fn read(
    region: &[u8],
    record: &Record,
    key: &PublicKey,
    header_crc: u32,
) -> Option<Signature> {
    let sign_bytes = record.sign_bytes.as_ref()?;
    // Most records have an empty one.
    let rest = region.strip_prefix(b"of state ")?;
    let (body, tail) = region.split_at_checked(REGION_LEN - CRC_LEN)?;
    let mut expected = [0; CRC_LEN];
    let crc = checksum(body, header_crc);
    Text::over(&mut expected).str("crc ").hex32(crc).str("\n");
    if tail != expected {
        return None;
    }
    // The number of the state says when it was written. It does not bind: a state gets a new one at every start.
    let at = rest.iter().position(|byte| *byte == b'\n')?;
    let mut place = [0; 64];
    let mut text = Text::over(&mut place);
    put_place(&mut text, record);
    text.str(SIGNED);
    let unused = text.left();
    let place = place.get(..place.len() - unused)?;
    let signature = rest.get(at..)?.strip_prefix(place)?;
    let end = signature.iter().position(|byte| *byte == b'\n')?;
    let signature = key.signature(&hex::decode(signature.get(..end)?).ok()?)?;
    key.verifies(sign_bytes.as_bytes(), &signature)
        .then_some(signature)
}

fn put_place(text: &mut Text<'_>, record: &Record) {
    let hrs = record.hrs;
    text.str("\nat ").decimal(hrs.height.unsigned_abs());
    text.str("/").decimal(hrs.round.unsigned_abs());
    text.str("/").decimal(u64::from(hrs.step as u8));
}

fn checksum(body: &[u8], header_crc: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(&header_crc.to_le_bytes());
    hasher.finalize()
}
