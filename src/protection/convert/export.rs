//! A record in the words of other signers.

use std::fmt::Write;

use crate::{
    privval::{BlockId, Hrs, Step},
    protection::rules::Record,
};

/// The formats that a record can be written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The state file of tmkms 0.7 to 0.15.
    Tmkms,
    /// `priv_validator_state.json` of CometBFT and of Tendermint since v0.34.
    Cometbft,
}

/// Writes a record so that its reader signs nothing that the record forbids.
#[must_use]
pub fn export(record: &Record, format: Format) -> String {
    match format {
        Format::Tmkms => tmkms(record),
        Format::Cometbft => cometbft(record),
    }
}

/// `{"height":"10","round":"0","step":1,"block_id":{"hash":"…","parts":{"total":1,"hash":"…"}}}`, no newline.
fn tmkms(record: &Record) -> String {
    let mut hrs = told(record);
    let known = record.sign_bytes.is_some() || record.block_id.is_some();
    if !known && hrs.height > 0 && hrs.round < i64::from(i32::MAX) {
        // The original would sign nil at the very place that the file names. Where the record does not say what was
        // signed, the place after it is named: the next round's proposal, which is never nil.
        hrs = Hrs {
            round: hrs.round + 1,
            step: Step::Proposal,
            ..hrs
        };
    }
    let block = record.block_id.as_ref();
    format!(
        r#"{{"height":"{}","round":"{}","step":{},"block_id":{{"hash":"{}","parts":{{"total":{},"hash":"{}"}}}}}}"#,
        hrs.height,
        hrs.round,
        hrs.step as u8,
        block.map_or_else(String::new, |block| hex(&block.hash)),
        block.map_or(0, |block: &BlockId| block.parts_total),
        block.map_or_else(String::new, |block| hex(&block.parts_hash)),
    )
}

/// Two spaces of indent, steps from 1; without a signature its reader refuses a repeat, so the sign bytes are left out too.
fn cometbft(record: &Record) -> String {
    let hrs = told(record);
    let step = if hrs.height == 0 {
        0
    } else {
        hrs.step as u8 + 1
    };
    format!(
        "{{\n  \"height\": \"{}\",\n  \"round\": {},\n  \"step\": {step}\n}}",
        hrs.height, hrs.round
    )
}

/// The others say "never" by zeros, and know no round above an int32's.
fn told(record: &Record) -> Hrs {
    let Hrs {
        height,
        round,
        step,
    } = record.hrs;
    if height == 0 {
        return Hrs {
            height,
            round: 0,
            step: Step::Proposal,
        };
    }
    Hrs {
        height,
        round: round.min(i64::from(i32::MAX)),
        step,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02X}");
        digits
    })
}
