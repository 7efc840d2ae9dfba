//! The audit log and the device's options.

use sha2::{Digest, Sha256};

use super::{
    super::{command::Command, error::DeviceError, object::ObjectId},
    Device,
};

/// A device option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceOption {
    /// Whether a full log stops everything that would have to be logged. One `Audit`.
    ForceAudit = 0x01,
    /// Which commands are logged. Pairs of command and `Audit`.
    CommandAudit = 0x03,
    /// Which algorithms are on. Pairs of algorithm and 0 or 1.
    AlgorithmToggle = 0x04,
    /// Whether the device is in FIPS mode. One byte.
    FipsMode = 0x05,
}

/// A setting of an audit option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audit {
    /// Off.
    Off = 0x00,
    /// On.
    On = 0x01,
    /// On, and only a reset turns it off.
    Fixed = 0x02,
}

/// GET LOG ENTRIES.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntries {
    /// Boots that did not fit into a full log.
    pub unlogged_boots: u16,
    /// Sessions that did not fit into a full log.
    pub unlogged_authentications: u16,
    /// The entries, the oldest first.
    pub entries: Vec<LogEntry>,
}

/// One entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// Its number, which wraps around.
    pub number: u16,
    /// What was asked.
    pub command: Command,
    /// How many bytes the command had.
    pub length: u16,
    /// The session's authentication key.
    pub session_key: ObjectId,
    /// The object that it was about.
    pub target_key: ObjectId,
    /// A second object.
    pub second_key: ObjectId,
    /// The answer's number, or the status.
    pub result: u8,
    /// The device's clock.
    pub tick: u32,
    /// The start of SHA-256 over this entry's 16 bytes and the previous digest.
    pub digest: [u8; 16],
    bytes: [u8; 16],
}

impl LogEntry {
    /// Bytes of an entry.
    const LEN: usize = 32;

    /// Whether this entry comes right after `previous`, and neither was changed since.
    #[must_use]
    pub fn follows(&self, previous: &Self) -> bool {
        let digest = Sha256::new()
            .chain_update(self.bytes)
            .chain_update(previous.digest)
            .finalize();
        self.number == previous.number.wrapping_add(1) && digest.starts_with(&self.digest)
    }

    /// number 2 ‖ command 1 ‖ length 2 ‖ session key 2 ‖ target key 2 ‖ second key 2 ‖ result 1 ‖ tick 4 ‖ digest 16
    fn parse(entry: &[u8; Self::LEN]) -> Self {
        let (mut bytes, mut digest) = ([0; 16], [0; 16]);
        let (first, second) = entry.split_at(16);
        bytes.copy_from_slice(first);
        digest.copy_from_slice(second);
        let [n, u, command, l, e, s, k, t, a, o, b, result, w, x, y, z] = bytes;
        Self {
            number: u16::from_be_bytes([n, u]),
            command: Command(command),
            length: u16::from_be_bytes([l, e]),
            session_key: u16::from_be_bytes([s, k]),
            target_key: u16::from_be_bytes([t, a]),
            second_key: u16::from_be_bytes([o, b]),
            result,
            tick: u32::from_be_bytes([w, x, y, z]),
            digest,
            bytes,
        }
    }
}

impl Device {
    /// Reads the log. Entries stay until `set_log_index` frees them.
    ///
    /// # Errors
    /// `DeviceError`; `get-log-entries` is needed.
    pub fn log_entries(&mut self) -> Result<LogEntries, DeviceError> {
        let command = Command::GET_LOG_ENTRIES;
        let answer = self.command(command, &[])?;
        let malformed = |what| DeviceError::Malformed { command, what };
        let (&[a, b, c, d, count], rest) =
            answer.split_first_chunk().ok_or(malformed("its length"))?;
        let (entries, rest) = rest.as_chunks();
        if entries.len() != usize::from(count) || !rest.is_empty() {
            return Err(malformed("another number of entries than it says"));
        }
        Ok(LogEntries {
            unlogged_boots: u16::from_be_bytes([a, b]),
            unlogged_authentications: u16::from_be_bytes([c, d]),
            entries: entries.iter().map(LogEntry::parse).collect(),
        })
    }

    /// Frees the log up to this entry, itself included.
    ///
    /// # Errors
    /// `DeviceError`; `get-log-entries` is needed.
    pub fn set_log_index(&mut self, number: u16) -> Result<(), DeviceError> {
        self.quiet(Command::SET_LOG_INDEX, &number.to_be_bytes())
    }

    /// Reads an option.
    ///
    /// # Errors
    /// `DeviceError`; `get-option` is needed.
    pub fn get_option(&mut self, option: DeviceOption) -> Result<Vec<u8>, DeviceError> {
        let value = self.command(Command::GET_OPTION, &[option as u8])?;
        Ok(value.to_vec())
    }

    /// Sets an option.
    ///
    /// # Errors
    /// `DeviceError`; `set-option` is needed.
    pub fn set_option(&mut self, option: DeviceOption, value: &[u8]) -> Result<(), DeviceError> {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let mut payload = vec![option as u8];
        payload.extend_from_slice(&length.to_be_bytes());
        payload.extend_from_slice(value);
        self.quiet(Command::SET_OPTION, &payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_was_changed_does_not_follow() {
        let mut first = [0; 32];
        first.split_at_mut(16).1.fill(0xaa);
        let mut second = [0; 32];
        let (bytes, digest) = second.split_at_mut(16);
        bytes.copy_from_slice(&[
            0, 1, 0x6a, 0, 9, 0, 4, 0x23, 0x2a, 0xff, 0xff, 0xea, 0, 0, 0, 7,
        ]);
        let hash = Sha256::new().chain_update(&*bytes).chain_update([0xaa; 16]);
        digest.copy_from_slice(hash.finalize().split_at(16).0);
        let (one, two) = (LogEntry::parse(&first), LogEntry::parse(&second));
        assert!(two.follows(&one) && !one.follows(&two));
        assert_eq!(
            (two.command.to_string().as_str(), two.tick),
            ("sign eddsa", 7)
        );
        second.split_at_mut(12).1.split_at_mut(1).0.fill(1);
        assert!(!LogEntry::parse(&second).follows(&one));
    }
}
