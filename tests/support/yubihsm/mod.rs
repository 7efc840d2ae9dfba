//! A YubiHSM2 behind a connector, for tests: real SCP03, real HTTP, the device's rules enforced, and its troubles on demand.
//!
//! ```ignore
//! let hsm = Simulator::start(Options::default());
//! dial(&hsm.url());                            // http://127.0.0.1:PORT, authentication key 1, password `password`
//! hsm.fault_on(command::SIGN_EDDSA, Fault::SessionLost);
//! hsm.device().audit.fill();
//! ```
//!
//! Facts are from Yubico's Python client and documentation. Where they are silent, `docs/yubihsm-hardware.md` says what was assumed.
//! Yubico's client and the `yubihsm` crate prove it in `tests/yubihsm_simulator.rs`.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

pub mod audit;
pub mod codes;
mod commands;
mod connector;
pub mod device;
pub mod fault;
mod fields;
pub mod object;
pub mod session;
pub mod words;
mod wrap;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use connector::{Connector, Shared, lock};
pub use device::Device;
pub use fault::Fault;
use fault::Faults;

/// What kind of device, and where.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub serial: u32,
    /// Major, minor, patch. From 2.4 on a device has a second page of information and longer messages.
    pub firmware: [u8; 3],
    /// 0 takes any.
    pub port: u16,
    /// How long the device takes for each message. A real one signs in about 5 ms over 1 ms of USB.
    pub latency: Duration,
    /// How long the device is away from the bus after a reset. A real one takes some seconds to be enumerated again.
    pub reset_takes: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            serial: 12_345_678,
            firmware: [2, 4, 1],
            port: 0,
            latency: Duration::ZERO,
            reset_takes: Duration::ZERO,
        }
    }
}

/// A device with its connector. Both end when it is dropped.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    connector: Mutex<Option<Connector>>,
}

impl Simulator {
    /// A device as it comes from the factory.
    pub fn start(options: Options) -> Self {
        let mut device = Device::new(options.serial, options.firmware);
        device.reset_takes = options.reset_takes;
        Self::with_device(device, options)
    }

    /// A device that was prepared before.
    pub fn with_device(device: Device, options: Options) -> Self {
        let shared = Arc::new(Shared {
            device: Mutex::new(device),
            faults: Mutex::new(Faults::default()),
            latency: options.latency,
        });
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let connector =
            Connector::start(wanted, Arc::clone(&shared)).expect("the connector can listen");
        Self {
            addr: connector.addr(),
            shared,
            connector: Mutex::new(Some(connector)),
        }
    }

    /// Where the connector listens; it stays the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ten digits, as it is printed on the device and stands in a configuration.
    pub fn serial(&self) -> String {
        format!("{:010}", self.device().serial)
    }

    /// The device's state. While this is held no message is answered.
    pub fn device(&self) -> MutexGuard<'_, Device> {
        lock(&self.shared.device)
    }

    /// Happens to the next message.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).add(None, 0, fault);
    }

    /// Happens to the next message that asks for `command`, within a session or in clear.
    pub fn fault_on(&self, command: u8, fault: Fault) {
        lock(&self.shared.faults).add(Some(command), 0, fault);
    }

    /// Happens to the message that comes after `count` others.
    pub fn fault_after(&self, count: usize, fault: Fault) {
        lock(&self.shared.faults).add(None, count, fault);
    }

    /// How many faults wait for their message.
    pub fn faults_left(&self) -> usize {
        lock(&self.shared.faults).waiting()
    }

    /// Faults that wait will not happen.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Pulls the device out: the connector says `NO_DEVICE` and answers 500.
    pub fn unplug(&self) {
        lock(&self.shared.faults).unplugged = true;
    }

    /// Puts it back: its objects are there, its sessions are gone.
    pub fn plug(&self) {
        self.device().power_on();
        lock(&self.shared.faults).unplugged = false;
    }

    /// Ends the connector; connections are cut, new ones refused. The device keeps its power and its sessions.
    pub fn stop_connector(&self) {
        lock(&self.connector).take();
    }

    /// Starts the connector again, on the same port and in front of the same device.
    pub fn restart_connector(&self) {
        let mut connector = lock(&self.connector);
        connector.take();
        let started = Connector::start(self.addr, Arc::clone(&self.shared));
        *connector = Some(started.expect("the connector can listen again"));
    }

    /// Cuts every connection that is open now.
    pub fn drop_connections(&self) {
        if let Some(connector) = &*lock(&self.connector) {
            connector.drop_connections();
        }
    }
}
