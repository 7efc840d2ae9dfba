//! One device, as one authenticated session sees it.
//!
//! Every command ends within the device's patience, whatever hangs. A session whose command had no answer is given up: its counters
//! may differ from the device's, and nobody knows whether the command was done. Dropping a device closes its session; a session that is not
//! closed takes one of the device's 16 for 30 seconds.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use super::{
    command::Command,
    config::{Adapter, SerialNumber},
    error::{DeviceError, Lost, Status},
    object::ObjectId,
    scp03::{self, Hello, OVERHEAD, Session, StaticKeys},
    transport::{self, LONGEST, Transport},
};

mod identity;
mod keys;
mod log;
mod objects;

pub use self::{
    identity::{DeviceInfo, StorageInfo},
    keys::{PublicKeyBytes, WrapForm, Wrapped},
    log::{Audit, DeviceOption, LogEntries, LogEntry},
};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a device may take to erase itself.
const RESET: Duration = Duration::from_secs(10);
/// Bytes of a message before firmware 2.4.
const OLD_LIMIT: usize = 2048;

/// Who opens a session.
#[derive(Debug)]
pub struct Credentials {
    /// The authentication key's object ID.
    pub auth_key: ObjectId,
    /// Its keys.
    pub keys: StaticKeys,
}

/// A device with an open session.
pub struct Device {
    transport: Box<dyn Transport>,
    session: Session,
    alive: bool,
    auth_key: ObjectId,
    info: DeviceInfo,
    patience: Duration,
    limit: usize,
}

impl Device {
    /// Reaches the device, makes sure that it is the wanted one, and opens a session. Each of the three messages takes at most
    /// the adapter's time-out.
    ///
    /// # Errors
    /// `DeviceError`: no way to it, another device, a wrong password, no session left.
    pub fn open(
        adapter: &Adapter,
        serial: Option<SerialNumber>,
        credentials: &Credentials,
    ) -> Result<Self, DeviceError> {
        let transport = transport::connect(adapter, serial)?;
        let (Adapter::Usb { timeout } | Adapter::Http { timeout, .. }) = adapter;
        Self::open_over(transport, serial, credentials, *timeout).map_err(|(error, _)| error)
    }

    /// Opens a session over a way that is open already. `patience` is for each message, now and later.
    ///
    /// # Errors
    /// `DeviceError` as `open`, with the way to try it again with.
    #[allow(
        clippy::type_complexity,
        reason = "an error and what it came over, in one place"
    )]
    pub fn open_over(
        mut transport: Box<dyn Transport>,
        serial: Option<SerialNumber>,
        credentials: &Credentials,
        patience: Duration,
    ) -> Result<Self, (DeviceError, Box<dyn Transport>)> {
        match establish(transport.as_mut(), serial, credentials, patience) {
            Ok((session, info)) => Ok(Self {
                transport,
                session,
                alive: true,
                auth_key: credentials.auth_key,
                limit: if info.is_at_least(2, 4) {
                    LONGEST
                } else {
                    OLD_LIMIT
                },
                info,
                patience,
            }),
            Err(error) => Err((error, transport)),
        }
    }

    /// How long each later command may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Who the session belongs to.
    #[must_use]
    pub fn auth_key(&self) -> ObjectId {
        self.auth_key
    }

    /// What the device said of itself when the session was opened. (The use of its log may have changed.)
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Whether the session can still be used.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// How many messages the session has carried.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.session.messages()
    }

    /// Gets the same bytes back through the session.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn echo(&mut self, data: &[u8]) -> Result<Vec<u8>, DeviceError> {
        Ok(self.command(Command::ECHO, data)?.to_vec())
    }

    /// Carries another program's message as it is, and the answer to it. Other sessions are not disturbed, and nor is this one: a
    /// program whose session was forgotten does not know that its number is ours now, and the device ends a session whose message has
    /// a wrong MAC.
    ///
    /// # Errors
    /// `DeviceError::Transport`; this session is over then. It also is if the device gives its number to the other program.
    pub fn carry(&mut self, message: &[u8], deadline: Instant) -> Result<Vec<u8>, DeviceError> {
        if self.alive && self.session.is_named_by(message) {
            return Ok(scp03::invalid_session());
        }
        let answer = self.transport.exchange(message, deadline);
        let answer = answer.inspect_err(|_| self.alive = false)?;
        if self.session.is_given_away_by(message, &answer) {
            self.alive = false;
        }
        Ok(answer)
    }

    /// Lets the device's light blink for some seconds, so that a person finds it.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn blink(&mut self, seconds: u8) -> Result<(), DeviceError> {
        self.quiet(Command::BLINK_DEVICE, &[seconds])
    }

    /// Random bytes from the device, at most 2,021 in one call on every firmware.
    ///
    /// # Errors
    /// `DeviceError`; `get-pseudo-random` is needed.
    pub fn random(&mut self, count: u16) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        let command = Command::GET_PSEUDO_RANDOM;
        let bytes = self.command(command, &count.to_be_bytes())?;
        if bytes.len() != usize::from(count) {
            let what = "another number of bytes than was asked for";
            return Err(DeviceError::Malformed { command, what });
        }
        Ok(bytes)
    }

    /// Erases everything in the device: afterwards it has the factory's authentication key 1, with the password `password`, and
    /// nothing else. It restarts, so a new session needs a new way to it, which takes a moment.
    ///
    /// # Errors
    /// `DeviceError`; `reset-device` is needed.
    pub fn reset(mut self) -> Result<(), DeviceError> {
        self.patience = self.patience.max(RESET);
        let result = self.quiet(Command::RESET_DEVICE, &[]);
        self.alive = false;
        match result {
            // It may be gone before its answer is through.
            Err(DeviceError::Transport(error)) if error.is_transient() => Ok(()),
            result => result,
        }
    }

    /// Closes the session, as dropping does, and says whether that worked.
    ///
    /// # Errors
    /// `DeviceError`; the device forgets the session after 30 s then.
    pub fn close(mut self) -> Result<(), DeviceError> {
        let result = self.quiet(Command::CLOSE_SESSION, &[]);
        self.alive = false;
        result
    }

    /// Gives the way to the device back, with the session closed.
    #[must_use]
    pub fn into_transport(mut self) -> Box<dyn Transport> {
        self.farewell();
        std::mem::replace(&mut self.transport, Box::new(NoWay))
    }

    /// Sends a command through the session and gives the answer's payload.
    fn command(
        &mut self,
        command: Command,
        payload: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        let deadline = Instant::now() + self.patience;
        self.command_until(command, payload, deadline)
    }

    fn command_until(
        &mut self,
        command: Command,
        payload: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        if !self.alive {
            let reason = Lost::Earlier;
            return Err(DeviceError::SessionLost { reason });
        }
        let found = payload.len() + 3 + OVERHEAD;
        let limit = self.limit;
        // Yubico's client keeps one byte free.
        if found >= limit {
            return Err(DeviceError::TooLong {
                command,
                found,
                limit,
            });
        }
        let message = self.session.wrap(command, payload);
        // Until the answer is understood, nobody knows where the chain of MACs stands.
        self.alive = false;
        let answer = self.transport.exchange(&message, deadline)?;
        let payload = self.session.unwrap(command, &answer)?;
        if let Err(status @ Status::SessionFailed) = payload {
            let reason = Lost::Status(status);
            return Err(DeviceError::SessionLost { reason });
        }
        self.alive = true;
        payload.map_err(|status| DeviceError::Refused {
            command,
            status,
            auth_key: self.auth_key,
        })
    }

    /// A command whose answer has no payload.
    fn quiet(&mut self, command: Command, payload: &[u8]) -> Result<(), DeviceError> {
        if self.command(command, payload)?.is_empty() {
            return Ok(());
        }
        let what = "bytes where none belong";
        Err(DeviceError::Malformed { command, what })
    }

    fn farewell(&mut self) {
        if self.alive {
            let deadline = Instant::now() + FAREWELL.min(self.patience);
            // If it does not get through, the device forgets the session by itself.
            let _ = self.command_until(Command::CLOSE_SESSION, &[], deadline);
            self.alive = false;
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.farewell();
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("serial", &self.info.serial)
            .field("auth_key", &self.auth_key)
            .field("alive", &self.alive)
            .finish_non_exhaustive()
    }
}

/// What is left in a device whose way was taken.
struct NoWay;

impl Transport for NoWay {
    fn exchange(&mut self, _: &[u8], _: Instant) -> Result<Vec<u8>, super::error::TransportError> {
        Err(super::error::TransportError::Gone)
    }
}

/// Asks a device who it is, which needs no session.
///
/// # Errors
/// `DeviceError::Transport` if it cannot be reached.
pub fn identify(
    transport: &mut dyn Transport,
    patience: Duration,
) -> Result<DeviceInfo, DeviceError> {
    let mut ask = |payload: &[u8]| -> Result<Result<Vec<u8>, Status>, DeviceError> {
        let message = scp03::message(Command::DEVICE_INFO, payload);
        let answer = transport.exchange(&message, Instant::now() + patience)?;
        let payload = scp03::plain_answer(Command::DEVICE_INFO, &answer)?;
        Ok(payload.map(<[u8]>::to_vec))
    };
    let refused = |status| DeviceError::Refused {
        command: Command::DEVICE_INFO,
        status,
        auth_key: 0,
    };
    let mut info = DeviceInfo::parse(&ask(&[])?.map_err(refused)?)?;
    if info.is_at_least(2, 4) {
        // A part number that is not told is no reason to do without the device.
        info.part = ask(&[1])?
            .ok()
            .map(|part| String::from_utf8_lossy(&part).replace(char::is_control, ""));
    }
    Ok(info)
}

fn establish(
    transport: &mut dyn Transport,
    serial: Option<SerialNumber>,
    credentials: &Credentials,
    patience: Duration,
) -> Result<(Session, DeviceInfo), DeviceError> {
    let info = identify(transport, patience)?;
    if let Some(wanted) = serial.filter(|wanted| *wanted != info.serial) {
        return Err(DeviceError::WrongDevice {
            found: info.serial,
            wanted,
        });
    }
    let mut challenge = [0; 8];
    OsRng
        .try_fill_bytes(&mut challenge)
        .map_err(DeviceError::Random)?;
    let hello = Hello::new(credentials.auth_key, challenge);
    let answer = transport.exchange(&hello.message(), Instant::now() + patience)?;
    let opening = hello.answered(&answer, &credentials.keys);
    if let (Err(DeviceError::WrongPassword { .. }), Some(farewell)) =
        (&opening, scp03::abandon(&answer))
    {
        // Else the half-open session would hold its slot until it expires. What comes back changes nothing.
        let _ = transport.exchange(&farewell, Instant::now() + patience.min(FAREWELL));
    }
    let (mut session, opening) = opening?;
    let answer = transport.exchange(&opening, Instant::now() + patience)?;
    session.opened(&answer, credentials.auth_key)?;
    Ok((session, info))
}
