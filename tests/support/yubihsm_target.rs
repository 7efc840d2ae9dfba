//! The device that a test runs against: the simulator, or the real one that `TMKMS_TEST_YUBIHSM` names (`usb` or `http://host:port`).
//!
//! `TMKMS_TEST_YUBIHSM_SERIAL` tells it from others. A test that erases runs on a real device only where `TMKMS_TEST_YUBIHSM_ERASE` is its
//! serial number too. All of them use authentication key 1 with the factory's password; what they store there they delete.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

use std::{
    env,
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tmkms::keyring::providers::yubihsm::{
    Adapter, Auth, Config, Credentials, Device, DeviceError, Filter, Label, Password,
    PasswordSource, SerialNumber, StaticKeys,
};
use zeroize::Zeroizing;

use crate::simulator::{Options, Simulator};

/// A real device has sixteen sessions, and one program on its USB.
static REAL: Mutex<()> = Mutex::new(());

/// The label of everything that a test stores.
pub const LABEL: &str = "tmkms test";

/// How long one command may take where nothing is to go wrong.
pub const LONG: Duration = Duration::from_secs(5);

/// A device, and how it is reached.
pub struct Target {
    pub adapter: Adapter,
    pub serial: Option<SerialNumber>,
    pub simulator: Option<Simulator>,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Target {
    /// The simulator, or the real device if one is named.
    pub fn any() -> Self {
        let Ok(named) = env::var("TMKMS_TEST_YUBIHSM") else {
            return Self::simulated(Simulator::start(Options::default()));
        };
        let adapter = match named.strip_prefix("http://") {
            None => Adapter::Usb { timeout: LONG },
            Some(address) => {
                let (host, port) = address.trim_end_matches('/').rsplit_once(':').unwrap();
                http(host, port.parse().unwrap(), LONG)
            }
        };
        let target = Self {
            adapter,
            serial: env::var("TMKMS_TEST_YUBIHSM_SERIAL")
                .ok()
                .map(|serial| serial.parse().unwrap()),
            simulator: None,
            _alone: Some(REAL.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        target.clean();
        target
    }

    /// Deletes what a test that failed has left.
    fn clean(&self) {
        let mut device = self.open();
        let left = Filter {
            label: Some(Label::new(LABEL)),
            ..Filter::default()
        };
        for entry in device.list_objects(&left).unwrap() {
            device.delete_object(entry.id, entry.object_type).unwrap();
        }
    }

    /// As `any`, but a real device only if it may be erased.
    pub fn to_be_erased() -> Option<Self> {
        let target = Self::any();
        if target.simulator.is_some() {
            return Some(target);
        }
        let serial = target.open().info().serial;
        let allowed = env::var("TMKMS_TEST_YUBIHSM_ERASE").unwrap_or_default();
        if allowed.parse() == Ok(serial) {
            return Some(target);
        }
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: TMKMS_TEST_YUBIHSM_ERASE is not {serial}, nothing is erased"
        );
        None
    }

    /// A simulator that was prepared.
    pub fn simulated(simulator: Simulator) -> Self {
        Self {
            adapter: of(&simulator, LONG),
            serial: None,
            simulator: Some(simulator),
            _alone: None,
        }
    }

    pub fn open(&self) -> Device {
        self.try_open("password").unwrap()
    }

    pub fn try_open(&self, password: &str) -> Result<Device, DeviceError> {
        Device::open(&self.adapter, self.serial, &credentials(1, password))
    }
}

/// How a simulator is reached.
pub fn of(simulator: &Simulator, timeout: Duration) -> Adapter {
    let address = simulator.addr();
    http(&address.ip().to_string(), address.port(), timeout)
}

pub fn http(host: &str, port: u16, timeout: Duration) -> Adapter {
    Adapter::Http {
        host: host.to_owned(),
        port,
        timeout,
    }
}

pub fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.to_owned()))
}

pub fn credentials(auth_key: u16, text: &str) -> Credentials {
    Credentials {
        auth_key,
        keys: StaticKeys::from_password(&password(text)),
    }
}

/// A section of the configuration for it.
pub fn config(adapter: Adapter, auth_key: u16, text: &str) -> Config {
    Config {
        adapter,
        serial_number: None,
        auth: Auth {
            key: auth_key,
            password: PasswordSource::Inline(Arc::new(password(text))),
        },
        keys: Vec::new(),
        connector_server: None,
    }
}
