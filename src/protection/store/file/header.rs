//! The header of a record: whose it is, and which file. Written once, when the file is made.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{SystemTime, UNIX_EPOCH},
};

use subtle_encoding::base64;

use crate::{
    crypto::{Algorithm, PublicKey},
    key_file,
    privval::ChainId,
    protection::store::file::text::{Text, decimal},
};

/// How every record begins; the format's number follows.
pub(super) const MAGIC: &str = "tmkms state record, format ";

/// The format that this version writes, and the only one that it reads.
const FORMAT: u64 = 1;

/// What an operator who opens the file should know.
const ADVICE: &str = "\nwritten by tmkms while it signs: do not edit, copy or restore it; see `tmkms state --help`\n";

/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 4096;

/// The checksum at the header's end: `crc `, 8 hex digits, a newline.
const CRC_LEN: usize = 13;

/// Which file on its file system: a copy has another inode or was born at another time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    /// The inode number.
    pub(super) inode: u64,
    /// Seconds and nanoseconds since 1970, where the file system keeps them.
    pub(super) birth: Option<(u64, u32)>,
}

impl Identity {
    /// As the system tells it of an open file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        Self {
            inode: metadata.ino(),
            birth: metadata
                .created()
                .ok()
                .and_then(since_epoch)
                .map(|birth| (birth.as_secs(), birth.subsec_nanos())),
        }
    }

    /// Whether a file with the identity `now` is the one whose header says `self`.
    ///
    /// Where no birth time was recorded the inode decides alone. One that was recorded and can no longer be told is no match.
    pub(super) fn is_that_of(&self, now: &Self) -> bool {
        self.inode == now.inode && (self.birth.is_none() || self.birth == now.birth)
    }
}

/// What a header says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Header {
    /// The chain.
    pub(super) chain: ChainId,
    /// The key that the record is about.
    pub(super) key: PublicKey,
    /// The file that the header was written into.
    pub(super) identity: Identity,
}

/// Why a header cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum HeaderFault {
    /// The number of a format that this version does not know.
    NewerFormat(String),
    /// The checksum is wrong.
    Corrupt,
    /// Sound, but it says something that no header says.
    Unparsable,
}

impl Header {
    /// The header's bytes, and the checksum that every sector of the slots is bound to.
    pub(super) fn render(&self) -> (Box<[u8; HEADER_LEN]>, u32) {
        let mut page = Box::new([b' '; HEADER_LEN]);
        let (body, tail) = page.split_at_mut(HEADER_LEN - CRC_LEN);
        let mut text = Text::over(body);
        text.str(MAGIC).decimal(FORMAT).str(ADVICE);
        text.str("chain ").str(self.chain.as_str());
        text.str("\nkey ").str(self.key.algorithm().name()).str(" ");
        text.bytes(&base64::encode(self.key.as_bytes()));
        text.str("\ninode ").decimal(self.identity.inode);
        match self.identity.birth {
            None => text.str("\nborn unknown\n"),
            Some((seconds, nanos)) => text
                .str("\nborn ")
                .decimal(seconds)
                .str(" ")
                .decimal(u64::from(nanos))
                .str("\n"),
        };
        let crc = crc32fast::hash(body);
        Text::over(tail).str("crc ").hex32(crc).str("\n");
        (page, crc)
    }

    /// Reads what [`Header::render`] wrote, and nothing else.
    pub(super) fn parse(page: &[u8]) -> Result<(Self, u32), HeaderFault> {
        let format = page
            .strip_prefix(MAGIC.as_bytes())
            .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
            .ok_or(HeaderFault::Unparsable)?;
        if format != FORMAT.to_string().as_bytes() {
            let shown: String = String::from_utf8_lossy(format).chars().take(20).collect();
            return Err(HeaderFault::NewerFormat(shown));
        }
        let (body, tail) = page
            .split_at_checked(HEADER_LEN - CRC_LEN)
            .ok_or(HeaderFault::Corrupt)?;
        let crc = crc32fast::hash(body);
        let mut expected = [0; CRC_LEN];
        Text::over(&mut expected).str("crc ").hex32(crc).str("\n");
        if tail != expected {
            return Err(HeaderFault::Corrupt);
        }
        let header = Self::parse_body(body).ok_or(HeaderFault::Unparsable)?;
        // Whatever is not exactly what this version would have written was not understood.
        if header.render().0.as_slice() != page {
            return Err(HeaderFault::Unparsable);
        }
        Ok((header, crc))
    }

    fn parse_body(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let (_, text) = text.split_once(ADVICE)?;
        let mut lines = text.split('\n');
        let chain = ChainId::new(lines.next()?.strip_prefix("chain ")?).ok()?;
        let (algorithm, key) = lines.next()?.strip_prefix("key ")?.split_once(' ')?;
        let key = Algorithm::named(algorithm)?
            .public_key(&key_file::from_base64(key.as_bytes())?)
            .ok()?;
        let inode = decimal(lines.next()?.strip_prefix("inode ")?)?;
        let birth = match lines.next()?.strip_prefix("born ")? {
            "unknown" => None,
            time => {
                let (seconds, nanos) = time.split_once(' ')?;
                Some((decimal(seconds)?, u32::try_from(decimal(nanos)?).ok()?))
            }
        };
        Some(Self {
            chain,
            key,
            identity: Identity { inode, birth },
        })
    }
}
