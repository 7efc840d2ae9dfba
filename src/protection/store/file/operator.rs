//! The operator's hands: look at a record, raise it, take over another one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    crypto::PublicKey,
    privval::ChainId,
    protection::{
        convert, disk,
        rules::Record,
        store::file::{
            self, FileStore, OpenError, Opened, Problem, RECORD_LEN, at, check_owner,
            error::while_doing,
            header::{Header, Identity},
            lock,
        },
    },
};

/// How often a record that is being written to is read again before it is called damaged.
const READINGS: usize = 20;

/// What a record says, without opening it for signing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The record's real place, symbolic links resolved.
    pub path: PathBuf,
    /// The state.
    pub record: Record,
    /// What the format is called, if `start` will convert it first; `None` for a record of this version.
    pub converts_from: Option<&'static str>,
    /// The chain, where the file tells.
    pub chain: Option<ChainId>,
    /// The key, where the file tells.
    pub key: Option<PublicKey>,
    /// How many writes the record has seen, where the file tells.
    pub sequence: Option<u64>,
    /// The process that holds the record, where the system tells.
    pub holder: Option<u32>,
}

impl Snapshot {
    /// Whether `start` would accept the record for this chain and key.
    ///
    /// # Errors
    /// `WrongChain`, `WrongKey`.
    pub fn belongs_to(&self, chain: &ChainId, key: &PublicKey) -> Result<(), OpenError> {
        check_owner(self.chain.as_ref(), self.key.as_ref(), chain, Some(key))
            .map_err(|problem| at(&self.path, Some(chain), problem))
    }
}

/// Reads a record without a lock, also while `start` writes it.
///
/// # Errors
/// Whatever would keep `start` from using it, but for a lock and for its owner.
pub fn inspect(path: &Path) -> Result<Snapshot, OpenError> {
    inspect_file(path).map_err(|problem| at(path, None, problem))
}

/// What an operator's command did to a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The state before; `None` if there was no record.
    pub before: Option<Record>,
    /// The state now, durably; never lower.
    pub after: Record,
    /// What happened besides.
    pub notes: Vec<String>,
}

/// Raises the record at `path` to `floor`, if that is higher than what stands there.
///
/// The key is only needed for a record that has to be converted first; where it is given it is checked.
///
/// # Errors
/// As for [`FileStore::open`], `Locked` while `start` runs among them.
pub fn raise(
    path: &Path,
    chain: &ChainId,
    key: Option<&PublicKey>,
    floor: &Record,
) -> Result<Change, OpenError> {
    FileStore::open_as(path, chain, key)
        .and_then(|opened| raise_opened(opened, floor))
        .map_err(|problem| at(path, Some(chain), problem))
}

/// Takes over what `source` says: a state file of any tmkms, of CometBFT or of a signer that writes the same, a record of
/// this version, or a copy of one. Makes the record where there is none; never lowers one.
///
/// `source` may be `path` itself, when the record in its place is a copy.
///
/// # Errors
/// As for [`FileStore::open`]; those of the source name it.
pub fn import(
    path: &Path,
    chain: &ChainId,
    key: &PublicKey,
    source: &Path,
) -> Result<Change, OpenError> {
    let taken =
        read_source(source, chain, key).map_err(|problem| at(source, Some(chain), problem))?;
    import_record(path, chain, key, taken).map_err(|problem| at(path, Some(chain), problem))
}

fn import_record(
    path: &Path,
    chain: &ChainId,
    key: &PublicKey,
    taken: Source,
) -> Result<Change, Problem> {
    let Source { record, file } = taken;
    let is_source = file.stands_where(path).map_err(while_doing("open"))?;
    // Held to the end, so that the source's signer cannot start meanwhile, but not against ourselves.
    let _held = (!is_source).then_some(file);
    match FileStore::open_as(path, chain, Some(key)) {
        Ok(opened) => raise_opened(opened, &record),
        Err(Problem::Missing) => {
            file::draft(path, chain, key, &record)?.place_new(path)?;
            Ok(Change {
                before: None,
                after: record,
                notes: Vec::new(),
            })
        }
        Err(Problem::Copied) => take_over_copy(path, chain, key, record),
        Err(problem) => Err(problem),
    }
}

/// Replaces the copy of a record by a record that is no lower than the copy and the source.
fn take_over_copy(
    path: &Path,
    chain: &ChainId,
    key: &PublicKey,
    record: Record,
) -> Result<Change, Problem> {
    let path = fs::canonicalize(path).map_err(while_doing("open"))?;
    let file = lock::open_locked(&path)?;
    let copy = read_own(&file)?;
    check_owner(
        Some(&copy.header.chain),
        Some(&copy.header.key),
        chain,
        Some(key),
    )?;
    let before = copy.record;
    let after = if record.hrs > before.hrs {
        record
    } else {
        before.clone()
    };
    // The copy's lock lasts until the new file, with its own lock on, has taken the name.
    file::draft(&path, chain, key, &after)?.replace(&path)?;
    drop(file);
    Ok(Change {
        before: Some(before),
        after,
        notes: vec![format!("{} is now a record of its own", path.display())],
    })
}

fn raise_opened(opened: Opened, floor: &Record) -> Result<Change, Problem> {
    let Opened { mut store, notes } = opened;
    let before = store.record().clone();
    if floor.hrs > before.hrs {
        store.advance(floor.clone()).map_err(while_doing("write"))?;
    }
    Ok(Change {
        before: Some(before),
        after: store.record().clone(),
        notes,
    })
}

/// What `import` takes, and the file it comes from, locked.
struct Source {
    record: Record,
    file: Locked,
}

/// The lock on a source.
struct Locked(File);

impl Locked {
    /// Whether `path` leads to the source.
    fn stands_where(&self, path: &Path) -> io::Result<bool> {
        lock::stands_at(&self.0, path)
    }
}

fn read_source(path: &Path, chain: &ChainId, key: &PublicKey) -> Result<Source, Problem> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        _ => while_doing("open")(error),
    })?;
    lock::lock(&file)?;
    let record = match file::read_foreign(&file)? {
        Some(bytes) => {
            let modified_at = file::modified_at(&file)?;
            let found = convert::read(&bytes, modified_at).map_err(Problem::Unparsable)?;
            check_owner(found.chain.as_ref(), found.key.as_ref(), chain, Some(key))?;
            found.record
        }
        None => {
            let own = read_own(&file)?;
            check_owner(
                Some(&own.header.chain),
                Some(&own.header.key),
                chain,
                Some(key),
            )?;
            own.record
        }
    };
    Ok(Source {
        record,
        file: Locked(file),
    })
}

/// A record of this version as it stands in a file, whether or not it is a copy.
struct Own {
    header: Header,
    record: Record,
    sequence: u64,
}

fn read_own(file: &File) -> Result<Own, Problem> {
    let bytes = disk::read_start(file, RECORD_LEN + 1).map_err(while_doing("read"))?;
    let (header, header_crc) = file::read_header(&bytes)?;
    let believed = file::read_slots(&bytes, header_crc)?;
    Ok(Own {
        header,
        record: believed.record,
        sequence: believed.sequence,
    })
}

fn inspect_file(path: &Path) -> Result<Snapshot, Problem> {
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        _ => while_doing("open")(error),
    };
    let path = fs::canonicalize(path).map_err(missing)?;
    let file = File::open(&path).map_err(missing)?;
    let holder = lock::holder_of(&file);
    if let Some(bytes) = file::read_foreign(&file)? {
        let modified_at = file::modified_at(&file)?;
        let found = convert::read(&bytes, modified_at).map_err(Problem::Unparsable)?;
        if found.holds_key {
            return Err(Problem::HoldsKey);
        }
        return Ok(Snapshot {
            path,
            record: found.record,
            converts_from: Some(found.format),
            chain: found.chain,
            key: found.key,
            sequence: None,
            holder,
        });
    }
    let own = read_own_while_written(&file)?;
    let metadata = file.metadata().map_err(while_doing("open"))?;
    if !own.header.identity.is_that_of(&Identity::of(&metadata)) {
        return Err(Problem::Copied);
    }
    Ok(Snapshot {
        path,
        record: own.record,
        converts_from: None,
        chain: Some(own.header.chain),
        key: Some(own.header.key),
        sequence: Some(own.sequence),
        holder,
    })
}

/// A reader may catch a write half-way, which looks like damage; real damage is still there a moment later.
fn read_own_while_written(file: &File) -> Result<Own, Problem> {
    for _ in 1..READINGS {
        match read_own(file) {
            Err(Problem::Corrupt | Problem::Torn | Problem::Unparsable(_)) => {
                thread::sleep(Duration::from_millis(1));
            }
            settled => return settled,
        }
    }
    read_own(file)
}
