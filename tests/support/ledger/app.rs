//! The app "Tendermint Validator" as its users know it, written from the outside (`devices.md` 3): APDUs in, APDUs out.

use ed25519_dalek::{Signer, SigningKey};

/// Seed of the simulated device's key.
const SEED: [u8; 32] = [0x4c; 32];

const CLASS: u8 = 0x56;
const FIRMWARE_CLASS: u8 = 0xb0;

const MAX_CONTENT: usize = 127;

/// What the screen shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Screen {
    /// The app that signs votes.
    Validator,
    /// Another app.
    OtherApp,
    /// No app.
    Dashboard,
    /// The PIN pad.
    Locked,
    /// The PIN pad of a firmware that says it with this word.
    LockedAs(u16),
}

/// What becomes of a command.
#[derive(Debug)]
pub enum Verdict {
    /// A reply, status word last.
    Reply(Vec<u8>),
    /// The first vote since the app was opened: a person is asked.
    Ask(Vote),
    /// Signed without asking.
    Sign(Vote),
}

/// What the app reads of a vote or proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vote {
    /// 1 prevote, 2 precommit, 32 proposal.
    pub kind: u8,
    pub height: i64,
    pub round: u8,
    bytes: Vec<u8>,
}

/// The app's memory, all of it lost when it is closed.
pub struct App {
    key: SigningKey,
    last: Option<Vote>,
    buffer: Vec<u8>,
    next_chunk: u8,
}

impl Default for App {
    fn default() -> Self {
        Self {
            key: SigningKey::from_bytes(&SEED),
            last: None,
            buffer: Vec::new(),
            next_chunk: 1,
        }
    }
}

impl App {
    /// The app, just opened, on a device with another phrase.
    pub fn with_seed(seed: [u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(&seed),
            ..Self::default()
        }
    }

    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The app is closed and opened again.
    pub fn forget(&mut self) {
        *self = Self::with_seed(self.key.to_bytes());
    }

    /// What the device does with a command, whatever is on its screen.
    pub fn command(&mut self, screen: Screen, apdu: &[u8]) -> Verdict {
        let &[class, instruction, p1, p2, length, ref data @ ..] = apdu else {
            return status(0x6700);
        };
        if usize::from(length) != data.len() {
            return status(0x6700);
        }
        match (screen, class) {
            (Screen::Locked, _) => status(0x5515),
            (Screen::LockedAs(word), _) => status(word),
            (_, FIRMWARE_CLASS) => app_name(screen, instruction),
            (Screen::Validator, CLASS) => match instruction {
                // Mode, major, minor, patch, and whether the device is locked.
                0x00 => reply(&[0, 0, 9, 13, 0]),
                0x01 => reply(&self.public_key()),
                0x02 => self.chunk(p1, p2, data),
                _ => status(0x6d00),
            },
            _ => status(0x6e00),
        }
    }

    /// Signs what [`App::command`] gave, and remembers it.
    pub fn sign(&mut self, vote: Vote) -> Vec<u8> {
        let mut bytes = self.key.sign(&vote.bytes).to_bytes().to_vec();
        bytes.extend([0x90, 0x00]);
        self.last = Some(vote);
        bytes
    }

    fn chunk(&mut self, index: u8, count: u8, data: &[u8]) -> Verdict {
        if index == 1 {
            self.buffer.clear();
            self.next_chunk = 1;
        }
        if index != self.next_chunk || index > count || count == 0 {
            return status(0x6984);
        }
        self.buffer.extend_from_slice(data);
        self.next_chunk = self.next_chunk.wrapping_add(1);
        if index < count {
            return status(0x9000);
        }
        let bytes = std::mem::take(&mut self.buffer);
        if bytes.is_empty() {
            return status(0x6982);
        }
        let vote = match parse(&bytes) {
            Ok(vote) => vote,
            Err(code) => return Verdict::Reply(vec![code, 0x69, 0x84]),
        };
        match &self.last {
            None => Verdict::Ask(vote),
            Some(last) if may_follow(last, &vote) => Verdict::Sign(vote),
            Some(_) => status(0x6985),
        }
    }
}

/// A greater height or round passes; at the same ones a prevote only after a proposal, a precommit unless the last was one.
fn may_follow(last: &Vote, vote: &Vote) -> bool {
    let (before, now) = ((last.height, last.round), (vote.height, vote.round));
    if now != before {
        return now > before;
    }
    match vote.kind {
        1 => last.kind == 32,
        2 => last.kind != 2,
        _ => false,
    }
}

/// The app reads type, height and round, and leaves the rest.
fn parse(bytes: &[u8]) -> Result<Vote, u8> {
    let (&length, content) = bytes.split_first().ok_or(1)?;
    if content.len() > MAX_CONTENT || usize::from(length) != content.len() {
        return Err(2);
    }
    let &[0x08, kind @ (1 | 2 | 32), ref rest @ ..] = content else {
        return Err(3);
    };
    let mut rest = rest;
    let mut number = |tag: u8| -> Result<i64, u8> {
        let Some(after) = rest.strip_prefix(&[tag]) else {
            return Ok(0);
        };
        let (value, after) = after.split_first_chunk::<8>().ok_or(4)?;
        rest = after;
        Ok(i64::from_le_bytes(*value))
    };
    let height = number(0x11)?;
    let round = u8::try_from(number(0x19)?).map_err(|_| 5)?;
    if height < 0 {
        return Err(6);
    }
    Ok(Vote {
        kind,
        height,
        round,
        bytes: bytes.to_vec(),
    })
}

fn app_name(screen: Screen, instruction: u8) -> Verdict {
    if instruction != 0x01 {
        return status(0x6d00);
    }
    let (name, version) = match screen {
        Screen::Validator => ("Tendermint Validator", "0.9.13"),
        Screen::OtherApp => ("Cosmos", "2.35.9"),
        Screen::Dashboard | Screen::Locked | Screen::LockedAs(_) => ("BOLOS", "1.1.1"),
    };
    let mut data = vec![1];
    for text in [name, version] {
        data.push(u8::try_from(text.len()).unwrap());
        data.extend_from_slice(text.as_bytes());
    }
    data.extend([1, 0]);
    reply(&data)
}

fn reply(data: &[u8]) -> Verdict {
    Verdict::Reply([data, &[0x90, 0x00]].concat())
}

fn status(word: u16) -> Verdict {
    Verdict::Reply(word.to_be_bytes().to_vec())
}
