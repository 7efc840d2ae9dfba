//! A slot: one state of the record in 4 KiB of text, and the rules by which one of two slots is believed.
//!
//! A power cut may leave any subset of a slot's 512-byte sectors behind. So each sector ends with the sequence number of its
//! write, the number of the slot that stood durably beside it at the time, and a checksum over all of it, its place in the
//! file and the header. That tells three things apart: a whole slot, a torn one (every checksum right, numbers mixed: that
//! write was never followed by a signature) and rot (a wrong checksum: what was lost may have been released).

use std::str;

use subtle_encoding::hex;

use crate::{
    privval::{BlockId, Form, Hrs, Step, canonical},
    protection::{
        rules::Record,
        store::file::{
            header::HEADER_LEN,
            text::{Text, decimal},
        },
    },
};

/// Bytes of a slot.
pub(super) const SLOT_LEN: usize = 4096;

/// What a disk writes as a whole.
const SECTOR_LEN: usize = 512;

/// Sectors of a slot.
const SECTORS: usize = SLOT_LEN / SECTOR_LEN;

/// `\n# `, 20 digits, a space, 20 digits, a space, 8 hex digits, a newline.
const TRAILER_LEN: usize = 54;

/// Text of one sector.
const PAYLOAD_LEN: usize = SECTOR_LEN - TRAILER_LEN;

/// Text of one slot.
const TEXT_LEN: usize = SECTORS * PAYLOAD_LEN;

/// A slot's bytes, aligned so that no write straddles a page.
#[repr(align(4096))]
pub(super) struct Page(pub(super) [u8; SLOT_LEN]);

/// Which of the two slots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    First,
    Second,
}

impl Place {
    /// Where it begins in the file.
    pub(super) fn offset(self) -> u64 {
        match self {
            Self::First => HEADER_LEN as u64,
            Self::Second => (HEADER_LEN + SLOT_LEN) as u64,
        }
    }

    /// The one that is not this.
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The number of its first sector, counted from the file's start.
    fn first_sector(self) -> u32 {
        match self {
            Self::First => 8,
            Self::Second => 16,
        }
    }
}

/// The numbers of one write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Numbers {
    /// Greater than that of every write before.
    pub(super) sequence: u64,
    /// That of the slot that was believed, and durable, when this was written.
    pub(super) beside: u64,
}

/// The record's text did not fit a slot. No sign bytes of any chain are that long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

/// Writes one state into `page`, which becomes the slot at `place`.
pub(super) fn render(
    page: &mut Page,
    record: &Record,
    numbers: Numbers,
    place: Place,
    header_crc: u32,
) -> Result<(), TooLong> {
    let mut buffer = [b' '; TEXT_LEN];
    let mut text = Text::over(&mut buffer);
    put_record(&mut text, record);
    if !text.fits() {
        return Err(TooLong);
    }
    let payloads = buffer.chunks_exact(PAYLOAD_LEN);
    let sectors = page.0.chunks_exact_mut(SECTOR_LEN);
    for ((number, sector), payload) in (place.first_sector()..).zip(sectors).zip(payloads) {
        let (head, trailer) = sector.split_at_mut(PAYLOAD_LEN);
        head.copy_from_slice(payload);
        put_trailer(head, trailer, numbers, number, header_crc);
    }
    Ok(())
}

/// What a slot turned out to be.
#[derive(Debug)]
pub(super) enum Slot {
    /// All of one write.
    Whole(Numbers, Box<Record>),
    /// Parts of several writes: the numbers of each sector.
    Torn(Vec<Numbers>),
    /// A checksum is wrong.
    Corrupt,
    /// All checksums are right, but the text is none that this version writes.
    Unparsable,
}

/// Reads the slot at `place`.
pub(super) fn parse(page: &[u8], place: Place, header_crc: u32) -> Slot {
    let mut text = Vec::with_capacity(TEXT_LEN);
    let mut numbers = Vec::with_capacity(SECTORS);
    for (number, sector) in (place.first_sector()..).zip(page.chunks(SECTOR_LEN)) {
        let Some((payload, trailer)) = sector.split_at_checked(PAYLOAD_LEN) else {
            return Slot::Corrupt;
        };
        let Some(of_sector) = parse_trailer(payload, trailer, number, header_crc) else {
            return Slot::Corrupt;
        };
        text.extend_from_slice(payload);
        numbers.push(of_sector);
    }
    let Some(first) = numbers
        .first()
        .copied()
        .filter(|_| numbers.len() == SECTORS)
    else {
        return Slot::Corrupt;
    };
    if numbers.iter().any(|other| *other != first) && !cfg!(mutant = "no_torn") {
        return Slot::Torn(numbers);
    }
    match parse_record(&text) {
        Some(record) => Slot::Whole(first, Box::new(record)),
        None => Slot::Unparsable,
    }
}

/// The state that is believed, and how to go on from it.
#[derive(Debug)]
pub(super) struct Believed {
    /// The state.
    pub(super) record: Record,
    /// Where it stands; the next write goes to the other place.
    pub(super) place: Place,
    /// Its sequence number.
    pub(super) sequence: u64,
    /// The greatest sequence number in the file, whole or torn.
    pub(super) greatest: u64,
    /// The other slot holds the remains of a write that was cut off.
    pub(super) survived_a_cut: bool,
}

/// Why neither slot is believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Disbelief {
    /// A wrong checksum.
    Corrupt,
    /// A text that this version does not write.
    Unparsable,
    /// Both slots are torn, or what is torn does not fit what is whole.
    Torn,
}

/// Decides between the two slots.
pub(super) fn choose(first: Slot, second: Slot) -> Result<Believed, Disbelief> {
    match (first, second) {
        (Slot::Whole(a, record), Slot::Whole(b, _)) if a.sequence > b.sequence => {
            Ok(believe(a, *record, Place::First, a.sequence, false))
        }
        (Slot::Whole(a, _), Slot::Whole(b, record)) if b.sequence > a.sequence => {
            Ok(believe(b, *record, Place::Second, b.sequence, false))
        }
        (Slot::Whole(a, record), Slot::Torn(torn)) => beside(a, *record, Place::First, &torn),
        (Slot::Torn(torn), Slot::Whole(b, record)) => beside(b, *record, Place::Second, &torn),
        (Slot::Corrupt, _) | (_, Slot::Corrupt) => Err(Disbelief::Corrupt),
        (Slot::Unparsable, _) | (_, Slot::Unparsable) => Err(Disbelief::Unparsable),
        _ => Err(Disbelief::Torn),
    }
}

/// Believes a whole slot beside a torn one, if the whole one is what the torn write relied on.
///
/// Each newer sector must say that it was written beside this very slot. Otherwise a state between the two was believed
/// once, perhaps released, and is gone: a disk that lost a write it had confirmed.
fn beside(
    whole: Numbers,
    record: Record,
    place: Place,
    torn: &[Numbers],
) -> Result<Believed, Disbelief> {
    let newer = |sector: &&Numbers| sector.sequence >= whole.sequence;
    let fits = torn
        .iter()
        .filter(newer)
        .all(|sector| sector.sequence > whole.sequence && sector.beside == whole.sequence);
    if !fits && !cfg!(mutant = "no_beside") {
        return Err(Disbelief::Torn);
    }
    let greatest = torn.iter().map(|sector| sector.sequence).max();
    let greatest = greatest.unwrap_or_default().max(whole.sequence);
    Ok(believe(whole, record, place, greatest, true))
}

fn believe(
    numbers: Numbers,
    record: Record,
    place: Place,
    greatest: u64,
    survived_a_cut: bool,
) -> Believed {
    Believed {
        record,
        place,
        sequence: numbers.sequence,
        greatest,
        survived_a_cut,
    }
}

fn put_trailer(payload: &[u8], trailer: &mut [u8], numbers: Numbers, sector: u32, header_crc: u32) {
    let mut text = Text::over(trailer);
    text.str("\n# ").decimal20(numbers.sequence);
    text.str(" ").decimal20(numbers.beside).str(" ");
    text.hex32(checksum(payload, numbers, sector, header_crc));
    text.str("\n");
}

/// The numbers of a sector; `None` if a single bit of it is not as it was written.
fn parse_trailer(payload: &[u8], trailer: &[u8], sector: u32, header_crc: u32) -> Option<Numbers> {
    let number = |from: usize| decimal(str::from_utf8(trailer.get(from..from + 20)?).ok()?);
    let numbers = Numbers {
        sequence: number(3)?,
        beside: number(24)?,
    };
    let mut expected = [0; TRAILER_LEN];
    put_trailer(payload, &mut expected, numbers, sector, header_crc);
    (trailer == expected || cfg!(mutant = "no_crc")).then_some(numbers)
}

/// Over the text, the numbers, the place and the header, so that no sector passes for another.
fn checksum(payload: &[u8], numbers: Numbers, sector: u32, header_crc: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(payload);
    hasher.update(&numbers.sequence.to_le_bytes());
    hasher.update(&numbers.beside.to_le_bytes());
    hasher.update(&sector.to_le_bytes());
    hasher.update(&header_crc.to_le_bytes());
    hasher.finalize()
}

fn put_record(text: &mut Text<'_>, record: &Record) {
    // No height or round below 0 gets into a record; one that did would not be read back.
    text.str("height ")
        .decimal(record.hrs.height.unsigned_abs());
    text.str("\nround ")
        .decimal(record.hrs.round.unsigned_abs());
    text.str(match record.hrs.step {
        Step::Proposal => "\nstep 0 proposal\nblock ",
        Step::Prevote => "\nstep 1 prevote\nblock ",
        Step::Precommit => "\nstep 2 precommit\nblock ",
    });
    match &record.block_id {
        None => text.str("none"),
        Some(block) => text
            .hex(&block.hash)
            .str(" ")
            .decimal(u64::from(block.parts_total))
            .str(" ")
            .hex(&block.parts_hash),
    };
    text.str("\nsigned at ");
    match record.signed_at {
        None => text.str("never"),
        Some(seconds) => text.decimal(seconds),
    };
    text.str("\nsign bytes ");
    match &record.sign_bytes {
        None => text.str("none"),
        Some(bytes) => text.str(bytes.form().name()).str(" ").hex(bytes.as_bytes()),
    };
    text.str("\n");
}

/// Reads what [`put_record`] wrote, and nothing else.
fn parse_record(bytes: &[u8]) -> Option<Record> {
    let text = str::from_utf8(bytes).ok()?;
    let mut lines = text.split('\n');
    let mut field = |name: &str| lines.next()?.strip_prefix(name);
    let height = i64::try_from(decimal(field("height ")?)?).ok()?;
    let round = i64::try_from(decimal(field("round ")?)?).ok()?;
    let step = match field("step ")? {
        "0 proposal" => Step::Proposal,
        "1 prevote" => Step::Prevote,
        "2 precommit" => Step::Precommit,
        _ => return None,
    };
    let block_id = match field("block ")? {
        "none" => None,
        block => Some(parse_block(block)?),
    };
    let signed_at = match field("signed at ")? {
        "never" => None,
        seconds => Some(decimal(seconds)?),
    };
    let sign_bytes = match field("sign bytes ")? {
        "none" => None,
        bytes => {
            let (form, bytes) = bytes.split_once(' ')?;
            let bytes = hex::decode(bytes).ok()?;
            Some(canonical::parse(Form::from_name(form)?, &bytes)?)
        }
    };
    let record = Record {
        hrs: Hrs {
            height,
            round,
            step,
        },
        block_id,
        sign_bytes,
        signed_at,
    };
    let mut again = [b' '; TEXT_LEN];
    put_record(&mut Text::over(&mut again), &record);
    (again == bytes).then_some(record)
}

fn parse_block(text: &str) -> Option<BlockId> {
    let mut words = text.split(' ');
    let hash = |word: &str| <[u8; 32]>::try_from(hex::decode(word).ok()?).ok();
    Some(BlockId {
        hash: hash(words.next()?)?,
        parts_total: u32::try_from(decimal(words.next()?)?).ok()?,
        parts_hash: hash(words.next()?)?,
    })
}
