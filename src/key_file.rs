//! Files that hold secrets: read only when nobody else can read them, created once and never overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use subtle_encoding::base64;
use zeroize::Zeroizing;

/// The largest file that can be a key file, in bytes. (A packed ML-DSA-65 key in JSON has about 8 KiB.)
const MAX_LEN: u64 = 64 * 1024;

/// The bytes that standard base64 stands for, in memory that is wiped; padding may be left out. `None` if it is no base64.
///
/// The one way in: the library's decoder panics on padding that stands where a group of four begins.
#[must_use]
pub fn from_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (digits, _) = text.split_at(text.len() - padding);
    let sound = !digits.contains(&b'=')
        && digits.len() % 4 != 1
        && (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)));
    sound
        .then(|| base64::decode(text).ok().map(Zeroizing::new))
        .flatten()
}

/// Reads a secret file whole, into memory that is wiped.
///
/// # Errors
/// `KeyFileError` if the file is missing, over 64 KiB, readable or writable by group or others, or owned by somebody else
/// than the user or root.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    read_unless(0o077, path)
}

/// Reads a secret that the service manager passes in a directory of its own, into memory that is wiped.
///
/// systemd lets the service's user in with an access control list, whose mask shows as the group's right to read.
///
/// # Errors
/// `KeyFileError` as in [`read`], but the group may read the file.
pub fn read_credential(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    read_unless(0o037, path)
}

/// Reads a file none of whose permission bits is a `forbidden` one.
fn read_unless(forbidden: u32, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let at = |source| KeyFileError::io("read", path, source);
    // A pipe that nobody writes to would be waited for without end.
    let without_waiting = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(without_waiting)
        .open(path)
        .map_err(at)?;
    let metadata = file.metadata().map_err(at)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.into() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(KeyFileError::Permissions {
            path: path.into(),
            mode,
        });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(KeyFileError::Owner {
            path: path.into(),
            owner,
        });
    }
    if metadata.len() > MAX_LEN {
        return Err(KeyFileError::TooLong { path: path.into() });
    }
    // Full capacity at once: a growing vector would leave unwiped copies behind.
    let capacity = usize::try_from(MAX_LEN).expect("64 KiB fit") + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    (&mut file)
        .take(MAX_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(at)?;
    if bytes.len() >= capacity {
        return Err(KeyFileError::TooLong { path: path.into() });
    }
    Ok(bytes)
}

/// Creates a secret file with mode 0600, synced with its directory.
///
/// # Errors
/// `KeyFileError::Exists` if anything is there already; it is left as it is.
pub fn create(path: &Path, secret: &[u8]) -> Result<(), KeyFileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = fs::metadata(parent).map_err(|e| KeyFileError::io("look into", parent, e))?;
    let world_writable = directory.mode() & 0o002 != 0 && directory.mode() & 0o1000 == 0;
    if world_writable {
        return Err(KeyFileError::OpenDirectory {
            path: parent.into(),
        });
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.into() },
            _ => KeyFileError::io("create", path, source),
        })?;
    let written = file
        .write_all(secret)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(parent)?.sync_all());
    written.map_err(|source| {
        // Half a key helps nobody, and would stand in the way of the next try.
        let _ = fs::remove_file(path);
        KeyFileError::io("write", path, source)
    })
}

/// Why a key file was not read or not created.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done: `read`, `create`, `write`, `look into`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, socket or device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Group or others have access.
    #[error("{} has mode {mode:04o}: others than its owner can read or write it", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{} belongs to user {owner}, who could change it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner's user ID.
        owner: u32,
    },
    /// Longer than any key.
    #[error("{} is longer than any key file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Anybody could replace a file in that directory.
    #[error("everybody may write to the directory {}", path.display())]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
    },
}

impl KeyFileError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Permissions { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Owner { path, .. } => Some(format!("chown \"$(id -u)\" {}", path.display())),
            Self::Exists { .. } => {
                Some("nothing was changed; choose another path, or move the old file away".into())
            }
            Self::OpenDirectory { path } => Some(format!("chmod o-w {}", path.display())),
            Self::Io { .. } | Self::NotAFile { .. } | Self::TooLong { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn base64_is_read_with_and_without_padding_and_nothing_makes_it_panic() {
        let decoded = |text: &str| from_base64(text.as_bytes()).map(|bytes| bytes.to_vec());
        assert_eq!(decoded(""), Some(vec![]));
        assert_eq!(decoded("AAEC"), Some(vec![0, 1, 2]));
        assert_eq!(decoded("AAE="), Some(vec![0, 1]));
        assert_eq!(decoded("AAE"), Some(vec![0, 1]));
        assert_eq!(decoded("AA=="), Some(vec![0]));
        for broken in [
            "A", "=", "==", "====", "A===", "AAAA=", "AAAA====", "AA=", "AA=A", "=AAA", "AAECA",
            "AAE=\n",
        ] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_created_file_is_for_its_owner_and_reads_back() {
        let dir = directory();
        let path = dir.path().join("key");
        create(&path, b"secret").expect("creates");
        let mode = fs::metadata(&path).expect("exists").mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(read(&path).expect("reads").as_slice(), b"secret");
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let dir = directory();
        let path = dir.path().join("key");
        create(&path, b"first").expect("creates");
        let error = create(&path, b"second").expect_err("is there");
        assert!(matches!(error, KeyFileError::Exists { .. }));
        assert_eq!(read(&path).expect("reads").as_slice(), b"first");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_chmod_line() {
        let dir = directory();
        let path = dir.path().join("key");
        create(&path, b"secret").expect("creates");
        for mode in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            let error = read(&path).expect_err("too open");
            assert!(error.hint().expect("a hint").starts_with("chmod 600 "));
        }
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_no_key_file_and_is_not_waited_for() {
        let dir = directory();
        let path = dir.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &path, FileType::Fifo, mode, 0).expect("a pipe");
        let error = read(&path).expect_err("a pipe");
        assert!(matches!(error, KeyFileError::NotAFile { .. }), "{error}");
    }

    #[test]
    fn a_credential_may_show_the_mask_of_its_access_control_list() {
        let dir = directory();
        let path = dir.path().join("credential");
        create(&path, b"secret").expect("creates");
        for (mode, read) in [(0o440, true), (0o400, true), (0o444, false), (0o460, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            assert_eq!(read_credential(&path).is_ok(), read, "{mode:o}");
        }
    }

    #[test]
    fn a_world_writable_directory_gets_no_key() {
        let dir = directory();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let error = create(&dir.path().join("key"), b"x").expect_err("open to all");
        assert!(matches!(error, KeyFileError::OpenDirectory { .. }));
    }
}
