//! `[[providers.yubihsm]]`: which device, how to reach it, as whom, and which of its keys sign for which chains.

use std::{
    env,
    ffi::OsString,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use zeroize::Zeroizing;

use crate::{
    key_file::{self, KeyFileError},
    keyring::providers::KeyType,
    privval::ChainId,
};

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// `[[providers.yubihsm]]`: one device and the keys in it. Clones share the one copy of a password.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it is reached.
    pub adapter: Adapter,
    /// Which device it must be; without it the only one that the adapter reaches.
    pub serial_number: Option<SerialNumber>,
    /// Who opens sessions.
    pub auth: Auth,
    /// The keys that are used; may be empty, then the device serves the command line only.
    pub keys: Vec<KeyConfig>,
    /// A connector for others while `start` holds the device.
    pub connector_server: Option<ConnectorServer>,
}

impl fmt::Display for Config {
    /// For messages: `YubiHSM 0123456789 (usb)`, `YubiHSM (tcp://127.0.0.1:12345)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.serial_number {
            Some(serial) => write!(f, "YubiHSM {serial} ({})", self.adapter),
            None => write!(f, "YubiHSM ({})", self.adapter),
        }
    }
}

/// `adapter` of a YubiHSM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Adapter {
    /// Plugged in here.
    Usb {
        /// How long one command may take.
        timeout: Duration,
    },
    /// Behind a yubihsm-connector, or the `connector_server` of a tmkms.
    Http {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port, 12345 unless the connector was told another.
        port: u16,
        /// How long one command may take, connecting included.
        timeout: Duration,
    },
}

impl fmt::Display for Adapter {
    /// For messages, as it is written in the file: `usb`, `tcp://127.0.0.1:12345`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usb { .. } => f.write_str("usb"),
            Self::Http { host, port, .. } if host.contains(':') => {
                write!(f, "tcp://[{host}]:{port}")
            }
            Self::Http { host, port, .. } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// The serial number of a YubiHSM, which its case shows without the zeros in front.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SerialNumber(pub u32);

impl FromStr for SerialNumber {
    type Err = NotASerialNumber;

    /// 1 to 10 decimal digits; zeros in front may be left out.
    fn from_str(text: &str) -> Result<Self, NotASerialNumber> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > 10 || !digits {
            return Err(NotASerialNumber);
        }
        text.parse().map(Self).map_err(|_| NotASerialNumber)
    }
}

impl fmt::Display for SerialNumber {
    /// 10 decimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// Not 1 to 10 digits, or more than 32 bits hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a serial number has 10 digits, such as 0123456789")]
pub struct NotASerialNumber;

/// `auth`: the authentication key that sessions are opened with.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The object ID of the authentication key.
    pub key: u16,
    /// Where its password comes from.
    pub password: PasswordSource,
}

/// Where a password comes from. It is read when a session is about to be opened, not before.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// `password`: it stands in the configuration.
    Inline(Arc<Password>),
    /// `password_file`: for nobody else than its owner, as key files are.
    File(PathBuf),
    /// `password_env`: the name of an environment variable.
    Variable(String),
    /// `password_credential`: the name of a credential that systemd passes (`LoadCredential=`, `LoadCredentialEncrypted=`).
    Credential(String),
}

impl PasswordSource {
    /// Reads the password; white space at its end is no part of it, as files end with a line end.
    ///
    /// # Errors
    /// `PasswordError` if there is none, it is empty or no text, or others can read its file.
    pub fn read(&self) -> Result<Arc<Password>, PasswordError> {
        self.read_with(|name| env::var_os(name))
    }

    fn read_with(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Arc<Password>, PasswordError> {
        let password = match self {
            Self::Inline(password) => return Ok(password.clone()),
            Self::File(path) => text(&key_file::read(path)?),
            Self::Variable(name) => {
                let value =
                    variable(name).ok_or_else(|| PasswordError::NotSet { name: name.clone() })?;
                let value = Zeroizing::new(value.into_encoded_bytes());
                text(&value)
            }
            Self::Credential(name) => {
                let directory = variable(CREDENTIALS_DIRECTORY)
                    .ok_or_else(|| PasswordError::NoCredentials { name: name.clone() })?;
                let path = Path::new(&directory).join(name);
                text(&key_file::read_credential(&path)?)
            }
        };
        let password = password.ok_or_else(|| PasswordError::Unusable {
            source_name: self.to_string(),
        })?;
        Ok(Arc::new(password))
    }
}

impl fmt::Display for PasswordSource {
    /// For messages: what it is called, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("the configuration"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Credential(name) => write!(f, "the credential {name}"),
        }
    }
}

/// The password of an authentication key. It is wiped when the last user drops it, and no message shows it.
pub struct Password(Zeroizing<String>);

impl Password {
    /// A password as it was typed or read.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The password, for the derivation of session keys.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Its file could not be read, or others can.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// There is no such environment variable.
    #[error("the environment variable {name}, which should hold the password, is not set")]
    NotSet {
        /// The variable.
        name: String,
    },
    /// Not started by systemd with a credential.
    #[error("there is no credential {name}: the service manager passed none")]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// Empty, or no UTF-8.
    #[error("{source_name} holds no password")]
    Unusable {
        /// What was read.
        source_name: String,
    },
}

impl PasswordError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(KeyFileError::Io { path, source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Some(format!(
                    "write the password into it, for nobody else to read: (umask 077; cat > {})",
                    path.display()
                ))
            }
            Self::File(error) => error.hint(),
            Self::NotSet { name } => Some(format!("export {name}, or write password_file")),
            Self::NoCredentials { name } => Some(format!(
                "in the unit: LoadCredential={name}:/path/to/file; by hand: systemd-run -p LoadCredential=…"
            )),
            Self::Unusable { .. } => Some("write the password on one line".into()),
        }
    }
}

/// One of `keys`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyConfig {
    /// The chains that it signs for.
    pub chain_ids: Vec<ChainId>,
    /// The object ID of the asymmetric key.
    pub key: u16,
    /// What it is used for. Its algorithm is the device's to tell: an Ed25519 or secp256k1 consensus key, a secp256k1 account key.
    pub key_type: KeyType,
    /// The file that is this key's record alone; `None`: it is found by the chain's `state_file`.
    pub state_file: Option<PathBuf>,
}

/// `connector_server`: what a yubihsm-connector serves, so that other programs can use the device while `start` holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectorServer {
    /// Where it listens; a loopback address, since HTTP has no password of its own.
    pub laddr: SocketAddr,
    /// `cli`: `tmkms yubihsm …` on this machine goes through it; `None`: it takes the adapter.
    pub cli: Option<CommandLine>,
}

/// `cli` of a connector server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CommandLine {
    /// The authentication key of `tmkms yubihsm …`, whose password is asked for; `None`: as in `auth`.
    pub auth_key: Option<u16>,
}

/// A password from the bytes that hold it.
fn text(bytes: &[u8]) -> Option<Password> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    (!text.is_empty()).then(|| Password(Zeroizing::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn serial_numbers_are_read_as_the_case_or_the_usb_shows_them_and_nothing_else_is() {
        for text in ["0123456789", "123456789", "000123456789"] {
            let read = text.parse::<SerialNumber>();
            assert_eq!(read.is_ok(), text.len() <= 10, "{text}");
        }
        let serial: SerialNumber = "7550054".parse().expect("seven digits");
        assert_eq!(serial.to_string(), "0007550054");
        for text in ["", "9876543210", "+123456789", "12345678a0", "１２３"] {
            assert_eq!(
                text.parse::<SerialNumber>(),
                Err(NotASerialNumber),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_is_read_from_a_file_a_variable_or_a_credential() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("hsm-password");
        fs::write(&path, "s3cret words \n").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("chmod");
        let here = directory.path().as_os_str().to_owned();
        let variable = |name: &str| match name {
            "HSM_PASSWORD" => Some("s3cret words".into()),
            CREDENTIALS_DIRECTORY => Some(here.clone()),
            _ => None,
        };
        for source in [
            PasswordSource::File(path.clone()),
            PasswordSource::Variable("HSM_PASSWORD".into()),
            PasswordSource::Credential("hsm-password".into()),
            PasswordSource::Inline(Arc::new(Password::new(Zeroizing::new(
                "s3cret words".into(),
            )))),
        ] {
            let password = source.read_with(variable).expect("is there");
            assert_eq!(password.expose_secret(), "s3cret words");
            assert!(!format!("{source:?} {source} {password:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_no_password_is_told_with_a_remedy() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("password");
        fs::write(&path, "\n").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let empty = PasswordSource::File(path.clone()).read();
        assert!(matches!(empty, Err(PasswordError::Unusable { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let open = PasswordSource::File(path).read().expect_err("too open");
        assert!(open.hint().expect("a hint").starts_with("chmod 600 "));
        let nothing = |_: &str| None;
        for source in [
            PasswordSource::Variable("HSM_PASSWORD".into()),
            PasswordSource::Credential("hsm-password".into()),
        ] {
            let error = source.read_with(nothing).expect_err("is not there");
            assert!(error.hint().is_some(), "{error}");
        }
    }
}
