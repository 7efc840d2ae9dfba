//! The audit log: 62 entries, a chain of digests, and what is logged.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

use super::codes::{Code, INSUFFICIENT_PERMISSIONS, INVALID_DATA, LOG_FULL, command, option};

/// How many entries the device keeps.
pub const CAPACITY: usize = 62;

/// Field value for "no object".
pub const NONE: u16 = 0xffff;

/// What one command is remembered by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    pub command: u8,
    pub length: u16,
    pub session_key: u16,
    pub target: u16,
    pub second: u16,
    /// The response's command byte, or the error code.
    pub result: u8,
    pub tick: u32,
}

/// One line of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    pub number: u16,
    pub event: Event,
    pub digest: [u8; 16],
}

impl Entry {
    /// The 32 bytes of the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.data();
        bytes.extend(self.digest);
        bytes
    }

    fn data(&self) -> Vec<u8> {
        let Event {
            command,
            length,
            session_key,
            target,
            second,
            result,
            tick,
        } = self.event;
        let mut bytes = self.number.to_be_bytes().to_vec();
        bytes.push(command);
        for number in [length, session_key, target, second] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.push(result);
        bytes.extend(tick.to_be_bytes());
        bytes
    }
}

/// The log and the options that rule it.
pub struct Audit {
    pub force: u8,
    pub commands: BTreeMap<u8, u8>,
    entries: VecDeque<Entry>,
    next: u16,
    last_digest: [u8; 16],
    unlogged_boots: u16,
    unlogged_logins: u16,
}

impl Audit {
    /// A device fresh from a reset: one entry of ones, audit off.
    pub fn new(seed: [u8; 16]) -> Self {
        let mut audit = Self {
            force: option::OFF,
            commands: command::AUDITABLE
                .iter()
                .map(|c| (*c, option::OFF))
                .collect(),
            entries: VecDeque::new(),
            next: 1,
            last_digest: seed,
            unlogged_boots: 0,
            unlogged_logins: 0,
        };
        audit.push(Event {
            command: 0xff,
            length: NONE,
            session_key: NONE,
            target: NONE,
            second: NONE,
            result: 0xff,
            tick: u32::MAX,
        });
        audit
    }

    pub fn used(&self) -> usize {
        self.entries.len()
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Power came on.
    pub fn boot(&mut self) {
        if self.is_stuck() {
            self.unlogged_boots = self.unlogged_boots.saturating_add(1);
            return;
        }
        self.push(Event {
            command: 0,
            length: 0,
            session_key: NONE,
            target: 0,
            second: 0,
            result: 0,
            tick: 0,
        });
    }

    /// Whether this command may run: under force audit not when its entry would find no room.
    pub fn admit(&self, command: u8) -> Result<(), Code> {
        if self.is_stuck() && self.is_logged(command) && !always_allowed(command) {
            return Err(LOG_FULL);
        }
        Ok(())
    }

    /// Remembers a command that has run, where it is to be remembered.
    pub fn note(&mut self, event: Event) {
        if !self.is_logged(event.command) {
            return;
        }
        if !self.is_stuck() {
            self.push(event);
        } else if event.command == command::AUTHENTICATE_SESSION {
            self.unlogged_logins = self.unlogged_logins.saturating_add(1);
        }
    }

    /// The payload of GET LOG ENTRIES.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.unlogged_boots.to_be_bytes().to_vec();
        bytes.extend(self.unlogged_logins.to_be_bytes());
        bytes.push(u8::try_from(self.entries.len()).expect("at most 62"));
        bytes.extend(self.entries.iter().flat_map(Entry::to_bytes));
        bytes
    }

    /// The auditor has all entries up to this number.
    pub fn consume(&mut self, index: u16) -> Result<(), Code> {
        let known = self.entries.iter().position(|entry| entry.number == index);
        let read = known.ok_or(INVALID_DATA)? + 1;
        self.entries.drain(..read);
        self.unlogged_boots = 0;
        self.unlogged_logins = 0;
        Ok(())
    }

    /// Fills the log up, as busy hours do.
    pub fn fill(&mut self) {
        while self.entries.len() < CAPACITY {
            self.push(Event {
                command: command::ECHO,
                length: 0,
                session_key: 1,
                target: NONE,
                second: NONE,
                result: command::ECHO | 0x80,
                tick: 0,
            });
        }
    }

    pub fn set_force(&mut self, value: u8) -> Result<(), Code> {
        self.force = changed(self.force, value)?;
        Ok(())
    }

    pub fn set_command(&mut self, command: u8, value: u8) -> Result<(), Code> {
        let current = self.commands.get_mut(&command).ok_or(INVALID_DATA)?;
        *current = changed(*current, value)?;
        Ok(())
    }

    fn is_stuck(&self) -> bool {
        self.force != option::OFF && self.entries.len() >= CAPACITY
    }

    /// Yubico's guide says that force audit logs every command and command audit the ones named. The envelope is no command, and reading
    /// the log must not fill it.
    fn is_logged(&self, command: u8) -> bool {
        let forced = self.force != option::OFF
            && !matches!(
                command,
                command::SESSION_MESSAGE | command::GET_LOG_ENTRIES | command::DEVICE_INFO
            );
        forced
            || self
                .commands
                .get(&command)
                .is_some_and(|value| *value != option::OFF)
    }

    fn push(&mut self, event: Event) {
        if self.entries.len() >= CAPACITY {
            self.entries.pop_front();
        }
        let mut entry = Entry {
            number: self.next,
            event,
            digest: [0; 16],
        };
        let digest = Sha256::new()
            .chain_update(entry.data())
            .chain_update(self.last_digest)
            .finalize();
        entry.digest.copy_from_slice(&digest[..16]);
        self.last_digest = entry.digest;
        self.next = self.next.wrapping_add(1);
        self.entries.push_back(entry);
    }
}

/// An auditor can always come in, read and make room; and leave.
fn always_allowed(command: u8) -> bool {
    matches!(
        command,
        command::CREATE_SESSION
            | command::AUTHENTICATE_SESSION
            | command::CLOSE_SESSION
            | command::GET_LOG_ENTRIES
            | command::SET_LOG_INDEX
            | command::DEVICE_INFO
    )
}

fn changed(current: u8, value: u8) -> Result<u8, Code> {
    if value > option::FIXED {
        Err(INVALID_DATA)
    } else if current == option::FIXED && value != option::FIXED {
        Err(INSUFFICIENT_PERMISSIONS)
    } else {
        Ok(value)
    }
}
