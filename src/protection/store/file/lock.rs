//! One record, one process: the exclusive lock, and who holds it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::protection::store::file::error::{Problem, while_doing};

/// How often a file that is replaced under our hands is opened anew.
const ATTEMPTS: usize = 5;

/// How often the system's table of locks is read before a lock is said not to be there.
const READINGS: usize = 3;

/// Opens the file at `path` for reading and writing and locks it; the lock ends with the file's last handle.
///
/// The lock is on the file, not on its name. So the name is looked at again once the lock is held: had the file been
/// replaced in between, two processes would each hold a lock on "the" record.
pub(super) fn open_locked(path: &Path) -> Result<File, Problem> {
    for _ in 0..ATTEMPTS {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ => while_doing("open")(error),
        })?;
        if !file.metadata().map_err(while_doing("open"))?.is_file() {
            return Err(Problem::Unparsable("it is not a regular file".to_owned()));
        }
        let locked = lock(&file);
        // Whoever holds a file that has lost its name does not hold the record.
        if stands_at(&file, path).map_err(while_doing("open"))? {
            return locked.map(|()| file);
        }
    }
    Err(Problem::Replaced)
}

/// Locks an open file.
pub(super) fn lock(file: &File) -> Result<(), Problem> {
    if cfg!(mutant = "no_lock") {
        return Ok(());
    }
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Problem::Locked {
            holder: holder_of(file),
        },
        TryLockError::Error(source) => while_doing("lock")(source),
    })
}

/// Whether `path` leads to this very file.
pub(super) fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.metadata() {
        Ok(named) => Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The process that holds an exclusive lock on the file, where the system tells.
pub(super) fn holder_of(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    (0..READINGS).find_map(|_| holder_in(&read_table().ok()?, inode))
}

/// The system's table of locks.
///
/// The kernel lists as many locks as the buffer holds, and goes on by number at the next call: when locks come and go between two
/// calls, one is left out. A small first read, as the standard library's, would make it many calls; a long table takes several all
/// the same, so who does not find a lock looks again.
fn read_table() -> io::Result<String> {
    const ROOM: usize = 64 * 1024;
    let mut table = File::open("/proc/locks")?;
    let mut buffer = vec![0; ROOM];
    let mut bytes = Vec::new();
    loop {
        match table.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            read => bytes.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Reads lines like `1: FLOCK  ADVISORY  WRITE 10861 fe:00:5530561 0 EOF`.
///
/// The device is left out of the comparison: btrfs reports another one there than for the file itself.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let exclusive = words.next()? == "FLOCK" && words.nth(1)? == "WRITE";
        let holder = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
        let locked = words.next()?.rsplit(':').next()?.parse::<u64>().ok()?;
        (exclusive && locked == inode).then_some(holder)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_read_from_the_systems_table() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 fe:00:42 0 EOF\n\
                     2: FLOCK  ADVISORY  READ 6 fe:00:42 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fe:00:42 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fe:00:42 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 7 fe:00:42 0 EOF\n";
        assert_eq!(holder_in(locks, 42), Some(7));
        assert_eq!(holder_in(locks, 43), None);
        assert_eq!(holder_in("", 42), None);
    }
}
