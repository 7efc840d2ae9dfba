//! The two ways to a device: the system's USB, and a connector's HTTP. Neither looks into a message.

use std::time::Instant;

use super::{
    config::{Adapter, SerialNumber},
    error::TransportError,
};

pub mod http;
pub mod usb;

/// The longest payload of any firmware, in bytes (2.4 and later; 2,048 before).
pub const LONGEST: usize = 3136;

/// A way to one device.
pub trait Transport: Send {
    /// Sends one message and gives the answer to it, both within `deadline`. After an error the next call starts afresh.
    ///
    /// # Errors
    /// `TransportError`; whether the device did what it was asked is not known then.
    fn exchange(&mut self, message: &[u8], deadline: Instant) -> Result<Vec<u8>, TransportError>;
}

/// The way that an adapter describes. USB is opened here, HTTP with the first message.
///
/// # Errors
/// `TransportError` if the device is not plugged in, or is held by another program.
pub fn connect(
    adapter: &Adapter,
    serial: Option<SerialNumber>,
) -> Result<Box<dyn Transport>, TransportError> {
    Ok(match adapter {
        Adapter::Usb { .. } => Box::new(usb::Usb::open(serial)?),
        Adapter::Http { host, port, .. } => Box::new(http::Http::new(host.clone(), *port)),
    })
}
