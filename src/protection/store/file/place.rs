//! Putting a new file at a name, so that the name leads to all of it or to what was there before.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rand_core::{OsRng, RngCore};
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};

use crate::protection::store::file::{
    error::{Problem, while_doing},
    lock,
};

/// The most names that are tried for the original of a conversion.
const MOST_ORIGINALS: u32 = 1_000;

/// A new file beside its later place, under a name that nobody else uses. Removed again unless it gets there.
pub(super) struct Draft {
    /// The file, locked, mode 0600.
    pub(super) file: File,
    draft: PathBuf,
    placed: bool,
}

impl Draft {
    /// Makes an empty, locked file in the directory of `path`.
    pub(super) fn beside(path: &Path) -> Result<Self, Problem> {
        let mut suffix = [0; 8];
        OsRng.fill_bytes(&mut suffix);
        let name = path.file_name().ok_or_else(|| {
            Problem::Unparsable("the path does not end with a file name".to_owned())
        })?;
        let mut draft = std::ffi::OsString::from(".");
        draft.push(name);
        draft.push(format!(".{:016x}.new", u64::from_le_bytes(suffix)));
        let draft = path.with_file_name(draft);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(while_doing("create"))?;
        let draft = Self {
            file,
            draft,
            placed: false,
        };
        // Locked before it has its name, so that no other process gets in between.
        lock::lock(&draft.file)?;
        Ok(draft)
    }

    /// Syncs the file and gives it the name `path`, if nothing has that name.
    pub(super) fn place_new(mut self, path: &Path) -> Result<(), Problem> {
        self.file.sync_all().map_err(while_doing("sync"))?;
        rename_to_new(&self.draft, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Problem::Exists,
            _ => while_doing("create")(error),
        })?;
        self.placed = true;
        sync_directory_of(path).map_err(while_doing("sync the directory of"))
    }

    /// Syncs the file and gives it the name `path`, which another file loses in the same instant.
    pub(super) fn replace(mut self, path: &Path) -> Result<File, Problem> {
        self.file.sync_all().map_err(while_doing("sync"))?;
        fs::rename(&self.draft, path).map_err(while_doing("replace"))?;
        self.placed = true;
        sync_directory_of(path).map_err(while_doing("sync the directory of"))?;
        let file = self.file.try_clone().map_err(while_doing("open"))?;
        if lock::stands_at(&file, path).map_err(while_doing("open"))? {
            Ok(file)
        } else {
            Err(Problem::Replaced)
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing more can be done about a draft that cannot be removed; its name says what it is.
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// Gives the file at `path` a second, lasting name: `FILE.before-conversion`, or with the first free number behind it.
///
/// The name that it already has from a conversion that was cut off is used again.
pub(super) fn keep_original(path: &Path) -> Result<PathBuf, Problem> {
    let original = fs::metadata(path).map_err(while_doing("open"))?;
    for name in original_names(path) {
        match fs::hard_link(path, &name) {
            Ok(()) => {
                sync_directory_of(path).map_err(while_doing("sync the directory of"))?;
                return Ok(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if is_same_file(&name, &original) {
                    return Ok(name);
                }
            }
            Err(error) => return Err(while_doing("keep the original of")(error)),
        }
    }
    Err(while_doing("keep the original of")(
        io::ErrorKind::AlreadyExists.into(),
    ))
}

/// How many names the file has that [`keep_original`] did not give it: 1 when nobody else uses it.
pub(super) fn foreign_names(path: &Path) -> io::Result<u64> {
    let original = fs::metadata(path)?;
    let mut names = original.nlink();
    if names > 1 {
        let kept = original_names(path).filter(|name| is_same_file(name, &original));
        names -= kept.count().min(1) as u64;
    }
    Ok(names)
}

/// Makes a directory's entries durable.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    if cfg!(mutant = "no_directory_sync") {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}

fn original_names(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(".before-conversion");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    };
    (1..=MOST_ORIGINALS).map(name)
}

fn is_same_file(name: &Path, original: &fs::Metadata) -> bool {
    fs::symlink_metadata(name)
        .is_ok_and(|named| (named.dev(), named.ino()) == (original.dev(), original.ino()))
}

/// Renames without replacing: in one step where the file system can, else by a second name and the first one's removal.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        done => Ok(done?),
    }
}
