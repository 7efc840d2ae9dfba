//! Which file is a key's record, where a chain has several keys.
//!
//! A record says whose it is, so that it is found by that and not by the order of a configuration: a key that is the chain's second
//! one today and its only one tomorrow keeps its record.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    crypto::PublicKey,
    privval::ChainId,
    protection::{
        convert, disk,
        store::file::{
            OpenError, Problem, at,
            error::while_doing,
            header::{HEADER_LEN, Header},
            modified_at, read_foreign,
        },
    },
};

/// Hex digits of an address.
const ADDRESS_LEN: usize = 40;

/// Where a key's record is looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordPath {
    /// A file of the key's own, or its chain's `state_file`.
    pub state_file: PathBuf,
    /// Whose that file is.
    pub whose: Whose,
    /// Whether the chain has other keys.
    pub one_of_several: bool,
}

/// Whose record a `state_file` is, as far as the configuration says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// The key's alone.
    Own,
    /// The chain's, and the key is the chain's first: it gets the file of a new chain.
    First,
    /// The chain's, and the key is one of the others.
    Later,
    /// Another key's.
    Other,
}

impl RecordPath {
    /// The file that is the key's record, or would be.
    ///
    /// For a key with a file of its own, that one. Else the chain's `state_file` where that says that it is this key's; else the one
    /// beside it with the key's address in its name, where there is one or where the `state_file` is another key's or left to the
    /// first key; else the `state_file`.
    ///
    /// # Errors
    /// `TwoRecords` where both are the key's; `Unowned` where the `state_file` is of one of several keys and does not say of which.
    pub fn find(&self, key: &PublicKey) -> Result<PathBuf, OpenError> {
        let state_file = &self.state_file;
        let beside = path_beside(state_file, key);
        match self.whose {
            Whose::Own => return Ok(state_file.clone()),
            Whose::Other => return Ok(beside),
            Whose::First | Whose::Later => {}
        }
        let is_beside = beside.symlink_metadata().is_ok();
        match owner(state_file) {
            Owner::Key(owner) if owner == *key => {
                if is_beside {
                    return Err(at(state_file, None, Problem::TwoRecords { beside }));
                }
                Ok(state_file.clone())
            }
            _ if is_beside => Ok(beside),
            Owner::Key(_) if self.one_of_several => Ok(beside),
            Owner::Unsaid if self.one_of_several => Err(at(state_file, None, Problem::Unowned)),
            Owner::NoFile if self.whose == Whose::Later => Ok(beside),
            // What is wrong with it is told by who opens it.
            Owner::Key(_) | Owner::Unsaid | Owner::NoFile | Owner::Unreadable => {
                Ok(state_file.clone())
            }
        }
    }

    /// Every record that stands there: the key's own file, or the chain's `state_file` and those beside it.
    #[must_use]
    pub fn all(&self) -> Vec<PathBuf> {
        let state_file = self.state_file.clone();
        if self.whose == Whose::Own {
            return vec![state_file];
        }
        let mut all = records_beside(&state_file);
        if all.is_empty() || state_file.symlink_metadata().is_ok() {
            all.insert(0, state_file);
        }
        all
    }

    /// What names the record in a command: its chain, and its key where that is one of several.
    #[must_use]
    pub fn as_typed(&self, chain: &ChainId, key: &PublicKey) -> String {
        if self.one_of_several {
            format!("{chain} --key {}", key.address_text())
        } else {
            chain.to_string()
        }
    }

    /// The error with all that its hint needs to name the record.
    #[must_use]
    pub fn told(&self, error: OpenError, chain: &ChainId, key: &PublicKey) -> OpenError {
        OpenError {
            chain: Some(chain.clone()),
            typed: Some(self.as_typed(chain, key)),
            ..error
        }
    }
}

/// Whose record a file is.
enum Owner {
    Key(PublicKey),
    /// Of a format that does not say it.
    Unsaid,
    NoFile,
    /// It cannot be read, or is damaged.
    Unreadable,
}

fn owner(path: &Path) -> Owner {
    let read = || {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ => while_doing("open")(error),
        })?;
        if let Some(bytes) = read_foreign(&file)? {
            let found = convert::read(&bytes, modified_at(&file)?).map_err(Problem::Unparsable)?;
            return Ok(found.key);
        }
        let page = disk::read_start(&file, HEADER_LEN).map_err(while_doing("read"))?;
        let (header, _) = Header::parse(&page).map_err(|_| Problem::Corrupt)?;
        Ok(Some(header.key))
    };
    match read() {
        Ok(Some(key)) => Owner::Key(key),
        Ok(None) => Owner::Unsaid,
        Err(Problem::Missing) => Owner::NoFile,
        Err(_) => Owner::Unreadable,
    }
}

/// `state.json` → `state-ADDRESS.json`
fn path_beside(state_file: &Path, key: &PublicKey) -> PathBuf {
    let mut name = state_file.file_stem().unwrap_or_default().to_owned();
    name.push("-");
    name.push(key.address_text());
    if let Some(extension) = state_file.extension() {
        name.push(".");
        name.push(extension);
    }
    state_file.with_file_name(name)
}

/// The files beside a chain's `state_file` that have its name with an address in it, in the order of their names.
fn records_beside(state_file: &Path) -> Vec<PathBuf> {
    let directory = match state_file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let is_one = |name: &Path| {
        let stem = name.file_stem().and_then(|stem| stem.to_str());
        let of_chain = state_file.file_stem().and_then(|stem| stem.to_str());
        let address = stem
            .zip(of_chain)
            .and_then(|(stem, of_chain)| stem.strip_prefix(of_chain)?.strip_prefix('-'));
        let is_hex = |digit: u8| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit);
        name.extension() == state_file.extension()
            && address.is_some_and(|a| a.len() == ADDRESS_LEN && a.bytes().all(is_hex))
    };
    // What cannot be listed has no records beside it; the one at the usual place tells what is wrong.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| PathBuf::from(entry.file_name()));
    let mut found: Vec<PathBuf> = names
        .filter(|name| is_one(name))
        .map(|name| state_file.with_file_name(name))
        .collect();
    found.sort();
    found
}
