//! Records of other formats: the original tmkms's of every era, CometBFT's `FilePV`, and the many that copied the latter.
//!
//! Reading never lowers a floor: what can be read two ways is read as the higher.

use serde_json::error::Category;
use subtle_encoding::hex;

use crate::{
    crypto::PublicKey,
    privval::{BlockId, ChainId, Form, Hrs, SignBytes, Step, canonical},
    protection::rules::Record,
};

mod export;
mod json;

pub use self::export::{Format, export};

use self::json::{BlockField, Fields, File};

/// What a file of another format says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The floor.
    pub record: Record,
    /// What the format is called, for an operator.
    pub format: &'static str,
    /// The chain, where the file tells.
    pub chain: Option<ChainId>,
    /// The public key, where the file tells.
    pub key: Option<PublicKey>,
    /// The file holds a private key as well (`priv_validator.json` of v0.26 and v0.27).
    pub holds_key: bool,
}

/// Reads a file that was last written at Unix time `modified_at`, in seconds.
///
/// # Errors
/// What an operator should know about a file that is in no known format.
pub fn read(bytes: &[u8], modified_at: u64) -> Result<Found, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| {
        let why = reason(&error);
        format!("neither a record of tmkms nor a JSON state file ({why})")
    })?;
    let fields = file.fields()?;
    let era = Era::of(&fields);
    let height = fields.height;
    let hrs = Hrs {
        height,
        round: fields.round,
        step: era.step(fields.step)?,
    };
    let sign_bytes = match &fields.sign_bytes {
        Some(text) => sign_bytes(text)?,
        None => None,
    };
    let described = sign_bytes.as_ref().and_then(canonical::describe);
    let chain = described.and_then(|bytes| ChainId::new(bytes.chain_id).ok());
    let block_id = match &fields.block {
        BlockField::Absent => described.and_then(|bytes| bytes.block_id),
        BlockField::Nil | BlockField::HashOnly => None,
        BlockField::Whole(block) => Some(*block),
    };
    // Height 0 is how every format says "never"; such a file sets no floor, and its age says nothing.
    let record = if height == 0 {
        Record::never_signed()
    } else {
        Record {
            hrs,
            block_id,
            sign_bytes,
            signed_at: Some(modified_at),
        }
    };
    Ok(Found {
        record,
        format: era.name(),
        chain,
        key: fields.key,
        holds_key: fields.holds_key,
    })
}

/// Why a file is not read, without a word of what it holds: it may be long, and it may be a key.
fn reason(error: &serde_json::Error) -> String {
    match error.classify() {
        // The parser's own sentences about JSON quote nothing.
        Category::Syntax | Category::Eof | Category::Io => error.to_string(),
        Category::Data => format!(
            "a value of another kind than expected at line {} column {}",
            error.line(),
            error.column()
        ),
    }
}

/// Whose numbers the steps are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Era {
    /// tmkms: 0, 1, 2 since 0.7; 3 for a proposal and 6 for any vote before.
    Tmkms,
    /// `FilePV`: 1, 2, 3.
    FilePv,
    /// The single file of v0.26 and v0.27, with the steps of `FilePV`.
    PrivValidator,
    /// Either of the first two.
    Unknown,
}

impl Era {
    fn of(fields: &Fields) -> Self {
        let signed = fields.sign_bytes.is_some() || fields.has_signature;
        let with_block = fields.block != BlockField::Absent;
        if fields.single_file {
            Self::PrivValidator
        } else if with_block && !signed {
            Self::Tmkms
        } else if !with_block && (signed || fields.round_is_an_int32) {
            Self::FilePv
        } else {
            Self::Unknown
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tmkms => "the state file of the original tmkms",
            Self::FilePv => "CometBFT's priv_validator_state.json",
            Self::PrivValidator => "Tendermint's priv_validator.json",
            Self::Unknown => "a JSON state file",
        }
    }

    fn step(self, number: i64) -> Result<Step, String> {
        let tmkms = match number {
            // The original took negative steps, though nothing wrote them: below a proposal, so read as one.
            ..=0 | 3 => Some(Step::Proposal),
            1 => Some(Step::Prevote),
            // 6 was a prevote or a precommit.
            2 | 6 => Some(Step::Precommit),
            _ => None,
        };
        let file_pv = match number {
            // 0 comes before the proposal.
            0 | 1 => Some(Step::Proposal),
            2 => Some(Step::Prevote),
            3 => Some(Step::Precommit),
            _ => None,
        };
        let step = match self {
            Self::Tmkms => tmkms,
            Self::FilePv | Self::PrivValidator => file_pv,
            Self::Unknown => tmkms.max(file_pv),
        };
        step.ok_or_else(|| format!("no version has a step {number}"))
    }
}

/// Sign bytes in hex. Those of Tendermint before v0.34 are in a form that is not compared: then only the floor counts.
fn sign_bytes(text: &str) -> Result<Option<SignBytes>, String> {
    let bytes = hex::decode(text.to_ascii_lowercase())
        .map_err(|_| "its sign bytes are not hex digits".to_owned())?;
    // A record has room for every vote and proposal there is; these would be none.
    const LONGEST: usize = 1024;
    if bytes.len() > LONGEST {
        return Err(format!("its sign bytes are longer than {LONGEST} bytes"));
    }
    Ok(canonical::parse(Form::Proto, &bytes))
}

#[cfg(test)]
mod tests;
