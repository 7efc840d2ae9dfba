//! `[[providers.ledgertm]]`: which Ledger, and for which chains.

use std::{fmt, path::PathBuf};

use crate::privval::ChainId;

/// `[[providers.ledgertm]]`: one Ledger. Its app has one key, at a fixed derivation path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The chains that its key signs for; where the file names none (0.4 could not), every chain of the file.
    pub chain_ids: Vec<ChainId>,
    /// How it is reached.
    pub adapter: Adapter,
    /// The file that is this key's record alone; `None`: it is found by the chain's `state_file`.
    pub state_file: Option<PathBuf>,
}

/// `adapter` of a Ledger, with what tells it from others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Adapter {
    /// By USB, as a HID device. Without `serial` and `path` the only one that is plugged in.
    Hid {
        /// The serial number that the device shows by USB, as `tmkms ledger detect` prints it.
        serial: Option<String>,
        /// The system's path of the device, as `tmkms ledger detect` prints it: `/dev/hidraw0`.
        path: Option<String>,
    },
    /// An emulator (Speculos) that takes APDUs by TCP.
    Tcp {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port, 9999 for Speculos.
        port: u16,
    },
}

impl fmt::Display for Adapter {
    /// For messages: `usb`, `usb, serial 0001`, `usb, path /dev/hidraw0`, `tcp://127.0.0.1:9999`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hid { serial, path } => {
                f.write_str("usb")?;
                if let Some(serial) = serial {
                    write!(f, ", serial {serial}")?;
                }
                if let Some(path) = path {
                    write!(f, ", path {path}")?;
                }
                Ok(())
            }
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_named_by_what_tells_it_from_others() {
        let hid = |serial: Option<&str>, path: Option<&str>| Adapter::Hid {
            serial: serial.map(Into::into),
            path: path.map(Into::into),
        };
        assert_eq!(hid(None, None).to_string(), "usb");
        assert_eq!(hid(Some("0001"), None).to_string(), "usb, serial 0001");
        assert_eq!(
            hid(None, Some("/dev/hidraw3")).to_string(),
            "usb, path /dev/hidraw3"
        );
        let tcp = |host: &str| Adapter::Tcp {
            host: host.into(),
            port: 9_999,
        };
        assert_eq!(tcp("127.0.0.1").to_string(), "tcp://127.0.0.1:9999");
        assert_eq!(tcp("::1").to_string(), "tcp://[::1]:9999");
    }
}
