//! The device: its state, the frames in clear, and the sixteen sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    audit::{Audit, Event, NONE},
    codes::{
        AUTHENTICATION_FAILED, Code, INVALID_COMMAND, INVALID_DATA, INVALID_SESSION,
        OBJECT_NOT_FOUND, Reply, SESSIONS_FULL, WRONG_LENGTH, algorithm, capability, command, kind,
        origin,
    },
    commands::{self, After},
    fields::{Fields, frame, unframe},
    object::{Object, Secret, label, random},
    session::{Session, StaticKeys, Who},
};

/// How many sessions there can be at once.
pub const SLOTS: usize = 16;

/// How many objects a device holds.
pub const OBJECTS: usize = 256;

/// A YubiHSM2, from its USB port inwards.
pub struct Device {
    pub serial: u32,
    /// Major, minor, patch.
    pub firmware: [u8; 3],
    pub objects: Vec<Object>,
    pub audit: Audit,
    /// Algorithms that are switched off.
    pub disabled: BTreeSet<u8>,
    /// A session is forgotten when it was not used for as long.
    pub session_expiry: Duration,
    /// How long the device is away from the bus after a reset.
    pub reset_takes: Duration,
    /// Lists begin with an object of a type that no client knows.
    pub list_begins_with_unknown: bool,
    /// GET PUBLIC KEY answers with another key.
    pub false_public_keys: bool,
    /// Answers the next command within a session with this code, instead of running it.
    pub fail_next: Option<Code>,
    /// Answers these commands with these codes until they are taken out.
    pub refused: BTreeMap<u8, Code>,
    /// Every command that was asked for since the start, in clear or within a session; messages and their envelopes only by their
    /// contents.
    pub asked: Vec<u8>,
    sequences: BTreeMap<(u8, u16), u8>,
    sessions: [Option<Session>; SLOTS],
    started: Instant,
    skipped: Duration,
    booted: Duration,
    away_until: Duration,
}

impl Device {
    /// As it comes from the factory.
    pub fn new(serial: u32, firmware: [u8; 3]) -> Self {
        let mut device = Self {
            serial,
            firmware,
            objects: Vec::new(),
            audit: Audit::new(random()),
            disabled: BTreeSet::new(),
            session_expiry: Duration::from_secs(30),
            reset_takes: Duration::ZERO,
            list_begins_with_unknown: false,
            false_public_keys: false,
            fail_next: None,
            refused: BTreeMap::new(),
            asked: Vec::new(),
            sequences: BTreeMap::new(),
            sessions: Default::default(),
            started: Instant::now(),
            skipped: Duration::ZERO,
            booted: Duration::ZERO,
            away_until: Duration::ZERO,
        };
        device.reset();
        device
    }

    /// Back to the factory's state: one authentication key, with the password `password`.
    pub fn reset(&mut self) {
        self.objects.clear();
        self.sequences.clear();
        self.disabled.clear();
        self.audit = Audit::new(random());
        self.store(Object {
            id: 1,
            kind: kind::AUTHENTICATION_KEY,
            algorithm: algorithm::AES128_YUBICO_AUTHENTICATION,
            domains: 0xffff,
            capabilities: capability::ALL,
            delegated: capability::ALL,
            sequence: 0,
            origin: origin::IMPORTED,
            label: label("DEFAULT AUTHKEY CHANGE THIS ASAP"),
            secret: Secret::Authentication(StaticKeys::from_password("password")),
        });
        self.power_on();
    }

    /// The plug is in: whatever was only in memory is gone.
    pub fn power_on(&mut self) {
        self.sessions = Default::default();
        self.booted = self.now();
        self.audit.boot();
    }

    /// A message from the bus, and what goes back.
    pub fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let command = message.first().copied().unwrap_or_default();
        match self.run(message) {
            Ok(frame) => frame,
            Err(code) => {
                self.note(
                    command,
                    message.len().saturating_sub(3),
                    NONE,
                    [NONE; 2],
                    &Err(code),
                );
                frame(command::ERROR, &[code.0])
            }
        }
    }

    /// The longest message that the device takes and gives.
    pub fn message_limit(&self) -> usize {
        if self.is_24() { 3_136 } else { 2_048 }
    }

    /// Firmware 2.4 or later.
    pub fn is_24(&self) -> bool {
        self.firmware >= [2, 4, 0]
    }

    /// What a message asks for, seen through its session's encryption.
    pub fn command_of(&self, message: &[u8]) -> u8 {
        let outer = message.first().copied().unwrap_or_default();
        if outer != command::SESSION_MESSAGE {
            return outer;
        }
        let session = message
            .get(3)
            .and_then(|id| self.sessions.get(usize::from(*id)))
            .and_then(Option::as_ref);
        let inner = session.and_then(|session| session.peek(message));
        inner
            .and_then(|inner| inner.first().copied())
            .unwrap_or(outer)
    }

    /// Forgets the session that this message belongs to.
    pub fn lose_session_of(&mut self, message: &[u8]) {
        if let Some(slot) = message
            .get(3)
            .and_then(|id| self.sessions.get_mut(usize::from(*id)))
        {
            *slot = None;
        }
    }

    /// Forgets every session.
    pub fn lose_sessions(&mut self) {
        self.sessions = Default::default();
    }

    /// Another client opens that many sessions, or as many as there is room for, and leaves them.
    pub fn occupy(&mut self, count: usize) {
        let now = self.now();
        let free = self.sessions.iter_mut().filter(|slot| slot.is_none());
        for slot in free.take(count) {
            let who = Who {
                key: 1,
                domains: 0xffff,
                capabilities: 0,
                delegated: 0,
            };
            let keys = StaticKeys::from_bytes(random());
            *slot = Some(Session::new(who, &keys, random(), random(), now));
        }
    }

    /// How many sessions are in use.
    pub fn open_sessions(&mut self) -> usize {
        self.expire();
        self.sessions.iter().flatten().count()
    }

    /// It is coming back from a reset, and not on the bus yet.
    pub fn is_away(&self) -> bool {
        self.now() < self.away_until
    }

    /// Lets time pass for the device.
    pub fn skip(&mut self, time: Duration) {
        self.skipped += time;
    }

    /// How often `command` was asked for.
    pub fn count(&self, command: u8) -> usize {
        self.asked.iter().filter(|asked| **asked == command).count()
    }

    /// The object of that type with that number, whatever its domains.
    pub fn object(&self, kind: u8, id: u16) -> Option<&Object> {
        self.objects
            .iter()
            .find(|object| object.kind == kind && object.id == id)
    }

    /// Puts an object in, with the sequence number that is its turn.
    pub fn store(&mut self, mut object: Object) {
        let sequence = self.sequences.entry((object.kind, object.id)).or_default();
        object.sequence = *sequence;
        *sequence = sequence.wrapping_add(1);
        self.objects.push(object);
        self.objects.sort_by_key(|object| (object.id, object.kind));
    }

    /// The algorithms of this firmware.
    pub fn algorithms(&self) -> impl Iterator<Item = u8> {
        1..=algorithm::LAST[usize::from(self.is_24())]
    }

    /// Remembers a command in the audit log.
    pub fn note(
        &mut self,
        command: u8,
        length: usize,
        key: u16,
        [target, second]: [u16; 2],
        result: &Reply,
    ) {
        let since = self.now().saturating_sub(self.booted).as_millis();
        self.audit.note(Event {
            command,
            length: u16::try_from(length).unwrap_or(u16::MAX),
            session_key: key,
            target,
            second,
            result: match result {
                Ok(_) => command | 0x80,
                Err(code) => code.0,
            },
            tick: u32::try_from(since).unwrap_or(u32::MAX),
        });
    }

    fn now(&self) -> Duration {
        self.started.elapsed() + self.skipped
    }

    fn expire(&mut self) {
        let now = self.now();
        for slot in &mut self.sessions {
            let idle = slot
                .as_ref()
                .map(|session| now.saturating_sub(session.last_used));
            if idle.is_some_and(|idle| idle >= self.session_expiry) {
                *slot = None;
            }
        }
    }

    /// Outer errors are in clear; those of a command within a session are sealed like any answer.
    fn run(&mut self, message: &[u8]) -> Reply {
        if message.len() > self.message_limit() {
            return Err(WRONG_LENGTH);
        }
        let (command, payload) = unframe(message)?;
        self.expire();
        if command == command::SESSION_MESSAGE {
            return self.session_message(message, payload);
        }
        self.asked.push(command);
        self.audit.admit(command)?;
        let (reply, target) = match command {
            command::ECHO => (payload.to_vec(), NONE),
            command::DEVICE_INFO => (self.info(payload)?, NONE),
            command::CREATE_SESSION => self.create_session(payload)?,
            command::AUTHENTICATE_SESSION => self.authenticate(message, payload)?,
            _ => return Err(INVALID_COMMAND),
        };
        self.note(
            command,
            payload.len(),
            NONE,
            [target, NONE],
            &Ok(Vec::new()),
        );
        Ok(frame(command | 0x80, &reply))
    }

    /// DEVICE INFO, its first page and from firmware 2.4 on its second, the part number.
    pub fn info(&self, payload: &[u8]) -> Reply {
        match payload {
            [] | [0] => {}
            [1] if self.is_24() => return Ok(b"78CLUFX5000P".to_vec()),
            [_] if self.is_24() => return Err(INVALID_DATA),
            _ => return Err(WRONG_LENGTH),
        }
        let mut info = self.firmware.to_vec();
        info.extend(self.serial.to_be_bytes());
        let used = u8::try_from(self.audit.used()).expect("at most 62");
        info.extend([62, used]);
        info.extend(self.algorithms());
        Ok(info)
    }

    fn create_session(&mut self, payload: &[u8]) -> Result<(Vec<u8>, u16), Code> {
        let mut fields = Fields::new(payload);
        let (id, host_challenge) = (fields.u16()?, fields.bytes()?);
        fields.end()?;
        let key = self
            .object(kind::AUTHENTICATION_KEY, id)
            .ok_or(OBJECT_NOT_FOUND)?;
        let Secret::Authentication(keys) = &key.secret else {
            return Err(OBJECT_NOT_FOUND);
        };
        let who = Who {
            key: id,
            domains: key.domains,
            capabilities: key.capabilities,
            delegated: key.delegated,
        };
        let card_challenge = random();
        let session = Session::new(who, keys, host_challenge, card_challenge, self.now());
        let free = self
            .sessions
            .iter()
            .position(Option::is_none)
            .ok_or(SESSIONS_FULL)?;
        let mut reply = vec![u8::try_from(free).expect("sixteen at most")];
        reply.extend(card_challenge);
        reply.extend(session.card_cryptogram());
        self.sessions[free] = Some(session);
        Ok((reply, id))
    }

    fn authenticate(&mut self, message: &[u8], payload: &[u8]) -> Result<(Vec<u8>, u16), Code> {
        if payload.len() != 17 {
            return Err(WRONG_LENGTH);
        }
        let slot = self.slot(payload)?;
        let mut session = slot.take().ok_or(INVALID_SESSION)?;
        if session.authenticated {
            *slot = Some(session);
            return Err(INVALID_SESSION);
        }
        if !session.authenticate(message) {
            return Err(AUTHENTICATION_FAILED);
        }
        let key = session.who.key;
        *slot = Some(session);
        Ok((Vec::new(), key))
    }

    fn session_message(&mut self, message: &[u8], payload: &[u8]) -> Reply {
        let now = self.now();
        let slot = self.slot(payload)?;
        if !slot.as_ref().is_some_and(|session| session.authenticated) {
            return Err(INVALID_SESSION);
        }
        let mut session = slot.take().ok_or(INVALID_SESSION)?;
        // Whatever cannot be opened ends the session: it stays taken out of its slot.
        let inner = session.open(message)?;
        session.last_used = now;
        let (response, after) = self.inner(&inner, &session.who);
        let sealed = session.seal(payload[0], &response);
        match after {
            After::Keep => self.sessions[usize::from(payload[0])] = Some(session),
            After::Close => {}
            After::Reset => {
                self.reset();
                self.away_until = now + self.reset_takes;
            }
        }
        Ok(sealed)
    }

    /// A command within a session, and its response frame.
    fn inner(&mut self, message: &[u8], who: &Who) -> (Vec<u8>, After) {
        let (command, payload) = match unframe(message) {
            Ok(parts) => parts,
            Err(code) => return (frame(command::ERROR, &[code.0]), After::Keep),
        };
        self.asked.push(command);
        if let Err(code) = self.audit.admit(command) {
            return (frame(command::ERROR, &[code.0]), After::Keep);
        }
        let planned = self
            .fail_next
            .take()
            .or(self.refused.get(&command).copied());
        let reply = match planned {
            Some(code) => Err(code),
            None => commands::run(self, command, payload, who),
        };
        let subjects = commands::subjects(command, payload, &reply);
        self.note(command, payload.len(), who.key, subjects, &reply);
        let after = match (&reply, command) {
            (Ok(_), command::CLOSE_SESSION) => After::Close,
            (Ok(_), command::RESET_DEVICE) => After::Reset,
            _ => After::Keep,
        };
        let response = match reply {
            Ok(payload) => frame(command | 0x80, &payload),
            Err(code) => frame(command::ERROR, &[code.0]),
        };
        (response, after)
    }

    fn slot(&mut self, payload: &[u8]) -> Result<&mut Option<Session>, Code> {
        let id = payload.first().ok_or(WRONG_LENGTH)?;
        self.sessions
            .get_mut(usize::from(*id))
            .ok_or(INVALID_SESSION)
    }
}
