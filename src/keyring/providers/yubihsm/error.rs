//! What a device, and the way to it, can answer instead of what was asked.

use std::{fmt, io, time::Duration};

use crate::connection::ConnectionError;

use super::{
    capability::Capabilities,
    command::Command,
    config::{PasswordError, SerialNumber},
    object::ObjectId,
};

/// The device's status codes, as Yubico's client names them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// 0x01
    InvalidCommand,
    /// 0x02
    InvalidData,
    /// 0x03: the session is not one of the device's.
    InvalidSession,
    /// 0x04
    AuthenticationFailed,
    /// 0x05: all 16 sessions are taken.
    SessionsFull,
    /// 0x06
    SessionFailed,
    /// 0x07
    StorageFailed,
    /// 0x08
    WrongLength,
    /// 0x09: a capability or a domain is missing.
    InsufficientPermissions,
    /// 0x0a: the audit log is full and the device is told to do nothing unlogged.
    LogFull,
    /// 0x0b
    ObjectNotFound,
    /// 0x0c
    InvalidId,
    /// 0x0e
    SshCaConstraintViolation,
    /// 0x0f
    InvalidOtp,
    /// 0x10
    DemoMode,
    /// 0x11
    ObjectExists,
    /// 0x12
    AlgorithmDisabled,
    /// 0xff
    Unexecuted,
    /// Any other.
    Unknown(u8),
}

/// The codes with their names in words.
const STATUSES: [(u8, Status, &str); 18] = [
    (0x01, Status::InvalidCommand, "invalid command"),
    (0x02, Status::InvalidData, "invalid data"),
    (0x03, Status::InvalidSession, "invalid session"),
    (0x04, Status::AuthenticationFailed, "authentication failed"),
    (0x05, Status::SessionsFull, "sessions full"),
    (0x06, Status::SessionFailed, "session failed"),
    (0x07, Status::StorageFailed, "storage failed"),
    (0x08, Status::WrongLength, "wrong length"),
    (
        0x09,
        Status::InsufficientPermissions,
        "insufficient permissions",
    ),
    (0x0a, Status::LogFull, "log full"),
    (0x0b, Status::ObjectNotFound, "object not found"),
    (0x0c, Status::InvalidId, "invalid id"),
    (
        0x0e,
        Status::SshCaConstraintViolation,
        "ssh ca constraint violation",
    ),
    (0x0f, Status::InvalidOtp, "invalid otp"),
    (0x10, Status::DemoMode, "demo mode"),
    (0x11, Status::ObjectExists, "object exists"),
    (0x12, Status::AlgorithmDisabled, "algorithm disabled"),
    (0xff, Status::Unexecuted, "command unexecuted"),
];

impl Status {
    /// The status with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        STATUSES
            .iter()
            .find(|(known, _, _)| *known == code)
            .map_or(Self::Unknown(code), |(_, status, _)| *status)
    }
}

/// `log full (0x0a)`; a code without a name as `status 0x42`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Unknown(code) = self {
            return write!(f, "status 0x{code:02x}");
        }
        match STATUSES.iter().find(|(_, status, _)| status == self) {
            Some((code, _, name)) => write!(f, "{name} (0x{code:02x})"),
            None => f.write_str("unknown status"),
        }
    }
}

/// Why a device did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The way to the device failed. Whether it did what it was asked is not known, and the session is given up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// There is no password to open a session with.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The device answered, and it was a no. The session lives on.
    #[error("{command}: {status}")]
    Refused {
        /// What it was asked.
        command: Command,
        /// What it said.
        status: Status,
        /// Who asked.
        auth_key: ObjectId,
    },
    /// The device opens no session.
    #[error("no session with authentication key 0x{auth_key:04x}: {status}")]
    NoSession {
        /// The authentication key.
        auth_key: ObjectId,
        /// What the device said.
        status: Status,
    },
    /// The password is not the authentication key's.
    #[error("the password is not that of authentication key 0x{auth_key:04x}")]
    WrongPassword {
        /// The authentication key.
        auth_key: ObjectId,
    },
    /// The device does not know the session any more, or is not the one that it was opened with.
    #[error("the session is lost: {reason}")]
    SessionLost {
        /// How it showed.
        reason: Lost,
    },
    /// Another device than the configured one answers.
    #[error("the device has serial number {found}, wanted is {wanted}")]
    WrongDevice {
        /// Its serial number.
        found: SerialNumber,
        /// `serial_number`.
        wanted: SerialNumber,
    },
    /// An answer that no device gives.
    #[error("{command}: the answer is not one that a YubiHSM gives: {what}")]
    Malformed {
        /// What was asked.
        command: Command,
        /// What is wrong.
        what: &'static str,
    },
    /// More than the device takes at once.
    #[error("{command}: {found} bytes are more than the {limit} that this device takes")]
    TooLong {
        /// What was to be asked.
        command: Command,
        /// The message's length.
        found: usize,
        /// What the device takes.
        limit: usize,
    },
    /// The system gives no random numbers.
    #[error("the system's random numbers cannot be read")]
    Random(#[source] rand_core::Error),
}

/// How it shows that a session is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// The device said so, outside of the session.
    Status(Status),
    /// The answer's MAC is wrong.
    Mac,
    /// The answer belongs to another session.
    Number,
    /// An earlier command of this session had no answer, and counters may differ now.
    Earlier,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the device says {status}"),
            Self::Mac => f.write_str("the MAC of an answer is wrong"),
            Self::Number => f.write_str("an answer belongs to another session"),
            Self::Earlier => f.write_str("an earlier command had no answer"),
        }
    }
}

impl DeviceError {
    /// The status that the device gave, inside of a session or while opening one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } | Self::NoSession { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the device may have done what it was asked: what came back, if anything, does not tell.
    #[must_use]
    pub fn leaves_it_open(&self) -> bool {
        matches!(
            self,
            Self::Transport(_) | Self::SessionLost { .. } | Self::Malformed { .. }
        )
    }

    /// Whether the same may succeed later without anybody changing the configuration or the device's objects.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::SessionLost { .. } | Self::Random(_) => true,
            Self::Refused { status, .. } => matches!(
                status,
                Status::LogFull | Status::StorageFailed | Status::Unexecuted
            ),
            Self::NoSession { status, .. } => !matches!(
                status,
                Status::ObjectNotFound | Status::InvalidId | Status::InvalidCommand
            ),
            // An answer that was garbled once need not be the next time.
            Self::Malformed { .. } => true,
            Self::Password(_)
            | Self::WrongPassword { .. }
            | Self::WrongDevice { .. }
            | Self::TooLong { .. } => false,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Transport(error) => error.hint(),
            Self::Password(error) => error.hint(),
            Self::Refused {
                command,
                status,
                auth_key,
            } => refused_hint(*command, *status, *auth_key),
            Self::NoSession { auth_key, status } => Some(match status {
                Status::SessionsFull => "all 16 sessions of the device are taken: end programs that hold one, or wait 30 s after one that died".into(),
                Status::ObjectNotFound | Status::InvalidId => format!(
                    "the device has no authentication key 0x{auth_key:04x}: check `auth.key`; after a reset only key 1 is there"
                ),
                _ => return None,
            }),
            Self::WrongPassword { auth_key } => Some(format!(
                "check the password of authentication key {auth_key} (0x{auth_key:04x}); the factory's is `password`, of key 1"
            )),
            Self::WrongDevice { .. } => {
                Some("check `serial_number`, and which device the connector serves; one that replaces another while tmkms runs is used after a restart".into())
            }
            Self::TooLong { command: Command::SIGN_EDDSA, .. } => Some(
                "a vote extension of this length cannot be signed with an Ed25519 key in this device, see docs/yubihsm.md".into(),
            ),
            Self::SessionLost { .. } | Self::Malformed { .. } | Self::TooLong { .. } | Self::Random(_) => None,
        }
    }
}

fn refused_hint(command: Command, status: Status, auth_key: ObjectId) -> Option<String> {
    Some(match status {
        Status::InsufficientPermissions => permissions_hint(command, auth_key),
        Status::LogFull => "the audit log is full and the device does nothing unlogged: as the auditor read it (`yubihsm-shell -a get-logs`) and free it (`-a set-log-index`), see docs/yubihsm.md".into(),
        Status::ObjectNotFound => format!(
            "no such object, or authentication key 0x{auth_key:04x} shares no domain with it: `tmkms yubihsm keys list`"
        ),
        Status::ObjectExists => "choose another id, or delete the object that has it".into(),
        Status::StorageFailed => "the device's storage is full or failing".into(),
        Status::AlgorithmDisabled => "the algorithm is switched off in the device's options".into(),
        _ => return None,
    })
}

/// What the device can have meant: it does not say whose permissions do not suffice.
fn permissions_hint(command: Command, auth_key: ObjectId) -> String {
    let who = format!("authentication key 0x{auth_key:04x}");
    let needed = command.needs();
    match command {
        _ if needed == Capabilities::NONE => {
            format!("{who} lacks a capability for it, or shares no domain with the object")
        }
        Command::SIGN_EDDSA | Command::SIGN_ECDSA => {
            format!("{who} and the object both need the capability {needed} and a domain in common")
        }
        Command::EXPORT_WRAPPED => format!(
            "{who} and the wrap key both need the capability {needed}, the object needs exportable-under-wrap, and what it may do must be among the wrap key's delegated capabilities"
        ),
        Command::IMPORT_WRAPPED => format!(
            "{who} and the wrap key both need the capability {needed}, and what the object may do must be among the wrap key's delegated capabilities"
        ),
        Command::PUT_ASYMMETRIC_KEY
        | Command::GENERATE_ASYMMETRIC_KEY
        | Command::PUT_AUTHENTICATION_KEY
        | Command::PUT_WRAP_KEY
        | Command::PUT_OPAQUE => format!(
            "{who} needs the capability {needed}, and what the new object may do must be among its delegated capabilities and domains"
        ),
        _ => format!("{who} needs the capability {needed}"),
    }
}

/// Why a message or its answer did not get through.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The connector does not answer at all, or broke off.
    #[error("cannot reach the connector")]
    Connector(#[from] ConnectionError),
    /// The connector hung up before it had answered.
    #[error("the connector hung up without an answer")]
    HungUp,
    /// No answer in time. What was asked may have been done.
    #[error("no answer within {} ms", limit.as_nanos().div_ceil(1_000_000))]
    Timeout {
        /// How long it was waited.
        limit: Duration,
    },
    /// The connector answers with an HTTP error: it reaches no device.
    #[error("the connector answers with HTTP status {code}")]
    HttpStatus {
        /// The status code.
        code: u16,
    },
    /// Not a connector.
    #[error("the answer is not one of a connector: {what}")]
    NotAConnector {
        /// What is wrong.
        what: &'static str,
    },
    /// This system has no USB, or shows none to this process.
    #[error("no USB here: /dev/bus/usb does not exist")]
    NoUsb,
    /// No YubiHSM is plugged in.
    #[error("no YubiHSM is plugged in")]
    NoDevice,
    /// The wanted one is not plugged in; others are.
    #[error("no YubiHSM {wanted} is plugged in, only {}", list(found))]
    NotAmong {
        /// `serial_number`.
        wanted: SerialNumber,
        /// The ones that are.
        found: Vec<SerialNumber>,
    },
    /// Several are plugged in, and nothing says which one is meant.
    #[error("several YubiHSMs are plugged in: {}", list(found))]
    Ambiguous {
        /// Their serial numbers.
        found: Vec<SerialNumber>,
    },
    /// Permissions of the device file.
    #[error("the YubiHSM on bus {bus} device {address} may not be opened by this user")]
    Access {
        /// USB bus.
        bus: u8,
        /// Address on the bus.
        address: u8,
    },
    /// Another process holds the interface.
    #[error("another program holds the YubiHSM on bus {bus} device {address}")]
    Busy {
        /// USB bus.
        bus: u8,
        /// Address on the bus.
        address: u8,
    },
    /// The device was pulled.
    #[error("the YubiHSM was unplugged")]
    Gone,
    /// Anything else that the system's USB says.
    #[error("USB")]
    Usb(#[source] rusb::Error),
    /// The system cannot be asked.
    #[error("the system's devices cannot be read")]
    Io(#[source] io::Error),
}

fn list(serials: &[SerialNumber]) -> String {
    let serials: Vec<_> = serials.iter().map(ToString::to_string).collect();
    serials.join(", ")
}

impl TransportError {
    /// Whether it may be otherwise later without a new configuration.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Ambiguous { .. } | Self::NotAConnector { .. })
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Connector(_) => {
                "is the connector running, and does `adapter` name its address? (`curl http://ADDR/connector/status`)"
            }
            Self::HttpStatus { .. } => {
                "the connector runs but reaches no device: is it plugged in, is another program holding it? (`curl http://ADDR/connector/status`)"
            }
            Self::NotAConnector { .. } => "`adapter` must name a yubihsm-connector",
            Self::NoUsb => "pass the device into the container (`--device /dev/bus/usb`), or use `adapter = { type = \"http\", … }`",
            Self::NoDevice | Self::Gone => "plug it in; `lsusb -d 1050:0030` shows it",
            Self::NotAmong { .. } => "plug it in, or correct `serial_number`",
            Self::Ambiguous { .. } => "write `serial_number` of the one that is meant",
            Self::Access { .. } => "install the udev rule in contrib/, and plug the device in again",
            Self::Busy { .. } => {
                "stop the other program (a yubihsm-connector, another tmkms), or use its connector with `adapter = { type = \"http\", … }`"
            }
            Self::HungUp | Self::Timeout { .. } | Self::Usb(_) | Self::Io(_) => return None,
        }
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_named_with_its_number() {
        assert_eq!(Status::from_code(0x0a).to_string(), "log full (0x0a)");
        assert_eq!(Status::from_code(0x42).to_string(), "status 0x42");
        for (code, status, name) in STATUSES {
            assert_eq!(Status::from_code(code), status);
            assert_eq!(status.to_string(), format!("{name} (0x{code:02x})"));
        }
    }

    #[test]
    fn one_time_out_is_always_told_in_the_same_words() {
        // What is left of a second when it is looked at: a warning that differs is told again.
        for nanos in [999_999_880, 999_957_456, 999_000_001, 1_000_000_000] {
            let limit = Duration::from_nanos(nanos);
            let told = TransportError::Timeout { limit }.to_string();
            assert_eq!(told, "no answer within 1000 ms");
        }
    }

    #[test]
    fn a_missing_capability_is_named() {
        let error = DeviceError::Refused {
            command: Command::SIGN_EDDSA,
            status: Status::InsufficientPermissions,
            auth_key: 4,
        };
        assert_eq!(
            error.to_string(),
            "sign eddsa: insufficient permissions (0x09)"
        );
        assert!(error.hint().expect("a hint").contains("sign-eddsa"));
        assert!(!error.is_transient() && !error.leaves_it_open());
    }
}
