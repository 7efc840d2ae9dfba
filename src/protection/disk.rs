//! The seam between the record and the disk: every call that can fail between a request and its permit.
//!
//! One real disk, [`File`]; the others are simulated and exist in tests only.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
};

/// An open, locked record.
pub trait Disk: Send {
    /// Reads up to `buffer.len()` bytes that start at `offset`; how many were read, 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes `bytes` at `offset`; how many were written. Nothing is durable before [`Disk::sync`].
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Returns when everything written so far would survive a power cut.
    ///
    /// # Errors
    /// What the system says; nothing is known then about what was written, not even after a later success.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether the record still has a name: a file that was deleted or replaced would be written in vain, since the next
    /// start reads another one.
    ///
    /// # Errors
    /// What the system says.
    fn is_linked(&self) -> io::Result<bool>;

    /// Forgets what is cached, as far as the system allows, so that the next read tells what the disk holds. (After a
    /// failed write-back Linux keeps a page as if it had been written.)
    fn forget_cache(&self);
}

impl Disk for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        // `File::sync_data` would try again for as long as it is interrupted, which no bound limits.
        Ok(rustix::fs::fdatasync(&*self)?)
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() > 0)
    }

    fn forget_cache(&self) {
        // A hint to the kernel: where it is refused, the write at open still replaces whatever the cache made up.
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Writes all of `bytes` by one call.
///
/// # Errors
/// What the system says, or `WriteZero` when less was written. Not even an interruption is retried: what stands there is
/// unknown, and the record is read again at the next start.
pub(super) fn write_whole(disk: &mut impl Disk, bytes: &[u8], offset: u64) -> io::Result<()> {
    let written = disk.write_at(bytes, offset)?;
    if written == bytes.len() || cfg!(mutant = "no_length") {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("{written} of {} bytes were written", bytes.len()),
        ))
    }
}

/// Reads up to `limit` bytes from the start; fewer only if the file is shorter.
///
/// # Errors
/// What the system says.
pub(super) fn read_start(disk: &impl Disk, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // No read returns more than it was asked for; each returns at least one byte or ends the loop.
        match disk.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
