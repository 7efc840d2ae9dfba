//! The record as a file: a header, two slots, one aligned write and one sync an update (`protection.md`, "The record").
//!
//! ```text
//! 0      header: chain, key, the file's own inode and time of birth, checksum       4 KiB, written once
//! 4096   slot                                                                       4 KiB
//! 8192   slot                                                                       4 KiB
//! 12288  the last signature of a key that cannot repeat itself                       8 KiB, else spaces
//! ```

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use crate::{
    crypto::{PublicKey, Signature},
    privval::{ChainId, Hrs, SignBytes},
    protection::{
        convert,
        disk::{self, Disk},
        rules::{self, Record, Verdict},
        store::{Candidate, Claim, KeepError, Recorded, Store, StoreError, sealed},
        unix_now,
    },
};

mod error;
mod header;
mod lock;
mod of_key;
mod operator;
mod place;
mod region;
mod slot;
mod text;

pub use self::{
    error::{OpenError, Problem},
    of_key::{RecordPath, Whose},
    operator::{Change, Snapshot, import, inspect, raise},
};

use self::{
    error::while_doing,
    header::{HEADER_LEN, Header, HeaderFault, Identity, MAGIC},
    region::{REGION_AT, REGION_LEN},
    slot::{Believed, Disbelief, Numbers, Page, Place, SLOT_LEN},
};

/// Bytes of a record.
const RECORD_LEN: usize = REGION_AT + REGION_LEN;

/// The longest file that is looked at in search of a record of another format, in bytes.
const LONGEST_FOREIGN: usize = 64 * 1024;

/// Makes the record of a key at `path`, durably, mode 0600.
///
/// # Errors
/// `Exists` if anything has that name, be it a symbolic link to nowhere; `Io`.
pub fn create(
    path: &Path,
    chain: &ChainId,
    key: &PublicKey,
    record: &Record,
) -> Result<(), OpenError> {
    let make = || {
        if path.symlink_metadata().is_ok() {
            return Err(Problem::Exists);
        }
        draft(path, chain, key, record)?.place_new(path)
    };
    make().map_err(|problem| at(path, Some(chain), problem))
}

/// An opened record.
#[derive(Debug)]
pub struct Opened {
    /// The record, locked until it is dropped.
    pub store: FileStore,
    /// What an operator may like to know: a conversion, a write that a power cut had torn.
    pub notes: Vec<String>,
}

/// A record on a disk, locked for as long as this lives.
pub struct FileStore<D = File> {
    disk: D,
    path: PathBuf,
    chain: Option<ChainId>,
    header_crc: u32,
    record: Record,
    /// Where `record` stands.
    place: Place,
    sequence: u64,
    page: Box<Page>,
    /// The signature over the sign bytes of `record`, for a key that cannot make it again.
    kept: Option<Box<Signature>>,
    /// A write or sync failed: what the disk holds is unknown.
    in_doubt: bool,
}

impl FileStore {
    /// Opens, locks and, where need be, converts the record at `path`, then writes its state anew, so that the first permit
    /// rests on what the disk holds and not on what the system remembers.
    ///
    /// # Errors
    /// `OpenError`; the record is left as it was found, unlocked.
    pub fn open(path: &Path, chain: &ChainId, key: &PublicKey) -> Result<Opened, OpenError> {
        Self::open_as(path, chain, Some(key)).map_err(|problem| at(path, Some(chain), problem))
    }

    fn open_as(path: &Path, chain: &ChainId, key: Option<&PublicKey>) -> Result<Opened, Problem> {
        // The real name, so that a conversion replaces the record and not a symbolic link to it.
        let path = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ => while_doing("open")(error),
        })?;
        let mut file = lock::open_locked(&path)?;
        let mut notes = Vec::new();
        if let Some(bytes) = read_foreign(&file)? {
            let key = key.ok_or(Problem::NotConverted)?;
            let (converted, note) = convert_in_place(&path, &file, &bytes, chain, key)?;
            notes.push(note);
            // The old file's lock ends here, after the new file got its name with its own lock on.
            file = converted;
        }
        let metadata = file.metadata().map_err(while_doing("open"))?;
        let identity = Identity::of(&metadata);
        let (store, survived_a_cut) = Self::resume(file, &path, chain, key, identity)?;
        if survived_a_cut {
            notes.push(format!(
                "{}: the last write was cut off before it was confirmed; nothing was signed on it",
                path.display()
            ));
        }
        Ok(Opened { store, notes })
    }
}

impl<D: Disk> FileStore<D> {
    /// Reads a record from an open, locked disk and writes its state anew. Also says whether a torn write was found.
    fn resume(
        mut disk: D,
        path: &Path,
        chain: &ChainId,
        key: Option<&PublicKey>,
        identity: Identity,
    ) -> Result<(Self, bool), Problem> {
        // A process that was killed may have left writes behind that no disk has yet. They must all get there before
        // anything is written over the slot that was durable beside them.
        if !cfg!(mutant = "no_first_sync") {
            disk.sync().map_err(while_doing("sync"))?;
        }
        disk.forget_cache();
        let bytes = disk::read_start(&disk, RECORD_LEN + 1).map_err(while_doing("read"))?;
        let (header, header_crc) = read_header(&bytes)?;
        check_owner(Some(&header.chain), Some(&header.key), chain, key)?;
        if !header.identity.is_that_of(&identity) && !cfg!(mutant = "no_copy_check") {
            return Err(Problem::Copied);
        }
        let believed = read_slots(&bytes, header_crc)?;
        let survived_a_cut = believed.survived_a_cut;
        let Believed {
            record,
            place,
            sequence,
            greatest,
            ..
        } = believed;
        let region = bytes.get(REGION_AT..).unwrap_or_default();
        let kept = region::read(region, &record, &header.key, header_crc).map(Box::new);
        let mut store = Self {
            disk,
            path: path.to_owned(),
            chain: Some(header.chain),
            header_crc,
            record,
            place,
            sequence,
            page: Box::new(Page([b' '; SLOT_LEN])),
            kept: None,
            in_doubt: false,
        };
        if !cfg!(mutant = "no_open_write") {
            let numbers = Numbers {
                sequence: greatest.saturating_add(1),
                beside: sequence,
            };
            let record = store.record.clone();
            store.write(record, numbers).map_err(while_doing("write"))?;
        }
        store.kept = kept;
        Ok((store, survived_a_cut))
    }

    /// The record as it stands, durably.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Where the record lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Raises the floor to the height that a state hook told, durably. A note if that changes nothing.
    ///
    /// # Errors
    /// `Jump` if the height is further ahead than any request may be, `Io`; the record must not be used after that.
    pub fn raise_from_hook(&mut self, height: i64) -> Result<Option<String>, OpenError> {
        let now = unix_now();
        let floor = Record::floor_at_height(height, now);
        if floor.hrs <= self.record.hrs {
            return Ok(Some(format!(
                "the state hook's height {height} is not above the record's {}",
                self.record.hrs
            )));
        }
        let limit = self.record.height_limit(now);
        let raised = if height > limit {
            Err(Problem::Jump {
                height,
                last: self.record.hrs.height,
                limit,
            })
        } else {
            self.advance(floor).map_err(while_doing("write"))
        };
        match raised {
            Ok(()) => Ok(None),
            Err(problem) => Err(at(&self.path, self.chain.as_ref(), problem)),
        }
    }

    /// Makes `record` the state, durably. It must be greater than the one that stands.
    fn advance(&mut self, record: Record) -> io::Result<()> {
        let numbers = Numbers {
            sequence: self.sequence.saturating_add(1),
            beside: self.sequence,
        };
        self.write(record, numbers)
    }

    /// One write over the older slot, one sync. After a failure nothing is known, and nothing is written any more.
    fn write(&mut self, record: Record, numbers: Numbers) -> io::Result<()> {
        if self.in_doubt {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.in_doubt = !cfg!(mutant = "no_stop");
        let place = self.place.other();
        slot::render(&mut self.page, &record, numbers, place, self.header_crc)
            .map_err(|slot::TooLong| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if !self.disk.is_linked()? {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the file was deleted or replaced while it was in use",
            ));
        }
        if !cfg!(mutant = "no_write") {
            disk::write_whole(&mut self.disk, &self.page.0, place.offset())?;
        }
        if !cfg!(mutant = "no_sync") {
            self.disk.sync()?;
        }
        self.record = record;
        self.kept = None;
        self.place = place;
        self.sequence = numbers.sequence;
        self.in_doubt = false;
        Ok(())
    }
}

impl<D: Disk> FileStore<D> {
    /// One write and no sync; the next one of a slot takes it along.
    fn write_region(&mut self, signature: &Signature) -> io::Result<()> {
        if cfg!(mutant = "no_keep") {
            return Ok(());
        }
        let bytes = signature.as_bytes();
        let region = region::render(&self.record, self.sequence, bytes, self.header_crc)
            .map_err(|slot::TooLong| io::Error::from(io::ErrorKind::FileTooLarge))?;
        disk::write_whole(&mut self.disk, &region, REGION_AT as u64)
    }
}

impl<D: Disk> sealed::Sealed for FileStore<D> {}

impl<D: Disk> Store for FileStore<D> {
    fn claim(&mut self, candidate: &Candidate<'_>) -> Result<Claim, StoreError> {
        if self.in_doubt {
            return Err(StoreError::Stopped);
        }
        let Candidate { msg, policy, now } = *candidate;
        match rules::judge(&self.record, msg, policy, now) {
            Verdict::Advance => match self.advance(Record::after(msg, now)) {
                Ok(()) => Ok(Claim::Granted),
                Err(source) => Err(StoreError::InDoubt {
                    path: self.path.clone(),
                    source,
                }),
            },
            Verdict::Repeat(sign_bytes) => Ok(Claim::Recorded(Recorded {
                sign_bytes,
                signature: self.kept.as_deref().cloned(),
            })),
            Verdict::Refuse(refusal) => Ok(Claim::Refused(refusal)),
        }
    }

    fn keep(
        &mut self,
        hrs: Hrs,
        sign_bytes: &SignBytes,
        signature: &Signature,
    ) -> Result<(), KeepError> {
        let stands = self.record.hrs == hrs && self.record.sign_bytes.as_ref() == Some(sign_bytes);
        if self.in_doubt || !stands {
            return Ok(());
        }
        self.kept = Some(Box::new(signature.clone()));
        self.write_region(signature).map_err(|source| KeepError {
            path: self.path.clone(),
            source,
        })
    }
}

impl<D> fmt::Debug for FileStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("path", &self.path)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// The whole of a new record: state 1 and the same again as state 2.
fn lay_out(
    chain: &ChainId,
    key: &PublicKey,
    identity: Identity,
    record: &Record,
) -> Result<Vec<u8>, slot::TooLong> {
    let header = Header {
        chain: chain.clone(),
        key: key.clone(),
        identity,
    };
    let (header, header_crc) = header.render();
    let mut bytes = header.to_vec();
    let mut page = Page([b' '; SLOT_LEN]);
    for (place, sequence) in [(Place::First, 1), (Place::Second, 2)] {
        let numbers = Numbers {
            sequence,
            beside: sequence - 1,
        };
        slot::render(&mut page, record, numbers, place, header_crc)?;
        bytes.extend_from_slice(&page.0);
    }
    bytes.resize(RECORD_LEN, b' ');
    Ok(bytes)
}

/// A new record under a draft's name, written but not yet synced.
fn draft(
    path: &Path,
    chain: &ChainId,
    key: &PublicKey,
    record: &Record,
) -> Result<place::Draft, Problem> {
    let mut draft = place::Draft::beside(path)?;
    let metadata = draft.file.metadata().map_err(while_doing("create"))?;
    let bytes = lay_out(chain, key, Identity::of(&metadata), record)
        .map_err(|slot::TooLong| while_doing("create")(io::ErrorKind::FileTooLarge.into()))?;
    disk::write_whole(&mut draft.file, &bytes, 0).map_err(while_doing("write"))?;
    Ok(draft)
}

/// The content of a file that is no record of ours; `None` for one that is, or once was before it was cut off.
fn read_foreign(file: &File) -> Result<Option<Vec<u8>>, Problem> {
    let bytes = disk::read_start(file, LONGEST_FOREIGN + 1).map_err(while_doing("read"))?;
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    let ours = bytes.iter().zip(MAGIC.as_bytes()).all(|(a, b)| a == b);
    if ours {
        return Ok(None);
    }
    if bytes.len() > LONGEST_FOREIGN {
        return Err(Problem::Unparsable(format!(
            "it is longer than {LONGEST_FOREIGN} bytes"
        )));
    }
    Ok(Some(bytes))
}

/// Replaces a record of another format by one of ours with the same state; the original stays beside it.
fn convert_in_place(
    path: &Path,
    file: &File,
    bytes: &[u8],
    chain: &ChainId,
    key: &PublicKey,
) -> Result<(File, String), Problem> {
    let found = convert::read(bytes, modified_at(file)?).map_err(Problem::Unparsable)?;
    check_owner(found.chain.as_ref(), found.key.as_ref(), chain, Some(key))?;
    if found.holds_key {
        return Err(Problem::HoldsKey);
    }
    let names = place::foreign_names(path).map_err(while_doing("open"))?;
    if names > 1 {
        return Err(Problem::SeveralNames(names));
    }
    let draft = draft(path, chain, key, &found.record)?;
    let original = place::keep_original(path)?;
    let converted = draft.replace(path)?;
    let note = format!(
        "{}: converted from {} at height/round/step {}; the original is kept as {}",
        path.display(),
        found.format,
        found.record.hrs,
        original.display()
    );
    Ok((converted, note))
}

/// Unix time, in seconds, at which a file was last written.
fn modified_at(file: &File) -> Result<u64, Problem> {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let modified = modified.map_err(while_doing("read"))?;
    Ok(modified
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs()))
}

fn read_header(bytes: &[u8]) -> Result<(Header, u32), Problem> {
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    let page = bytes.get(..HEADER_LEN).unwrap_or(bytes);
    let read = Header::parse(page);
    if let Err(HeaderFault::NewerFormat(format)) = read {
        return Err(Problem::NewerFormat(format));
    }
    // Only now: a later format may have another length.
    if bytes.len() < RECORD_LEN {
        return Err(Problem::Truncated(bytes.len() as u64));
    }
    if bytes.len() > RECORD_LEN {
        return Err(Problem::Unparsable("it is longer than a record".to_owned()));
    }
    read.map_err(|fault| match fault {
        HeaderFault::NewerFormat(format) => Problem::NewerFormat(format),
        HeaderFault::Corrupt => Problem::Corrupt,
        HeaderFault::Unparsable => Problem::Unparsable("its header says nothing known".to_owned()),
    })
}

fn read_slots(bytes: &[u8], header_crc: u32) -> Result<Believed, Problem> {
    let slots = bytes.get(HEADER_LEN..).unwrap_or_default();
    let (first, rest) = slots.split_at_checked(SLOT_LEN).unwrap_or_default();
    let second = rest.get(..SLOT_LEN).unwrap_or_default();
    let believed = slot::choose(
        slot::parse(first, Place::First, header_crc),
        slot::parse(second, Place::Second, header_crc),
    );
    believed.map_err(|disbelief| match disbelief {
        Disbelief::Corrupt => Problem::Corrupt,
        Disbelief::Torn => Problem::Torn,
        Disbelief::Unparsable => {
            Problem::Unparsable("one of its states says something unknown".to_owned())
        }
    })
}

/// Whether what a file says of its owner, as far as it says anything, fits the chain and its key.
fn check_owner(
    found_chain: Option<&ChainId>,
    found_key: Option<&PublicKey>,
    chain: &ChainId,
    key: Option<&PublicKey>,
) -> Result<(), Problem> {
    if let Some(found) = found_chain.filter(|found| *found != chain) {
        return Err(Problem::WrongChain {
            found: found.to_string(),
        });
    }
    match (found_key, key) {
        (Some(found), Some(key)) if found != key => Err(wrong_key(found, key)),
        _ => Ok(()),
    }
}

fn wrong_key(found: &PublicKey, expected: &PublicKey) -> Problem {
    let shown = |key: &PublicKey| {
        String::from_utf8_lossy(&subtle_encoding::base64::encode(key.as_bytes())).into_owned()
    };
    Problem::WrongKey {
        found: shown(found),
        expected: shown(expected),
    }
}

fn at(path: &Path, chain: Option<&ChainId>, problem: Problem) -> OpenError {
    OpenError {
        path: path.to_owned(),
        chain: chain.cloned(),
        typed: None,
        problem,
    }
}

#[cfg(test)]
mod tests;
