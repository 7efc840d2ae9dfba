//! The system's USB, by libusb, which is built in. Only the wanted device is opened, and none is ever reset.

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, Instant},
};

use rusb::{Context, DeviceHandle, UsbContext};

use super::{
    super::{config::SerialNumber, error::TransportError},
    LONGEST, Transport,
};

/// Yubico, and its HSM.
const VENDOR: u16 = 0x1050;
const PRODUCT: u16 = 0x0030;

const CONFIGURATION: u8 = 1;
const INTERFACE: u8 = 0;
/// Bulk endpoints, out and in.
const OUT: u8 = 0x01;
const IN: u8 = 0x81;
/// A message that fills its last packet is ended by an empty one.
const PACKET: usize = 64;
/// How long it takes to see that nothing old waits to be read.
const DRAIN: Duration = Duration::from_millis(10);
/// How long a device may take to tell its serial number.
const DESCRIPTOR: Duration = Duration::from_millis(500);

/// A YubiHSM that is plugged in here.
#[derive(Debug)]
pub struct Attached {
    /// USB bus.
    pub bus: u8,
    /// Address on the bus.
    pub address: u8,
    /// Firmware, as the USB descriptor has it: major and minor.
    pub firmware: (u8, u8),
    /// Its serial number, or why it cannot be read.
    pub serial: Result<SerialNumber, TransportError>,
    device: rusb::Device<Context>,
}

/// Every YubiHSM that is plugged in here. None is disturbed: a serial number comes from what the kernel read when it was
/// plugged in, and only where there is no such thing from the device.
///
/// # Errors
/// `NoUsb` on a system that shows no USB devices; `Usb` for what else it says.
pub fn detect() -> Result<Vec<Attached>, TransportError> {
    let context = context()?;
    let devices = context.devices().map_err(TransportError::Usb)?;
    let mut found = Vec::new();
    for device in devices.iter() {
        let Ok(descriptor) = device.device_descriptor() else {
            continue;
        };
        if (descriptor.vendor_id(), descriptor.product_id()) != (VENDOR, PRODUCT) {
            continue;
        }
        let version = descriptor.device_version();
        found.push(Attached {
            bus: device.bus_number(),
            address: device.address(),
            firmware: (version.major(), version.minor()),
            serial: serial_number(&device, &descriptor),
            device,
        });
    }
    Ok(found)
}

/// An open device.
pub struct Usb {
    handle: DeviceHandle<Context>,
    bus: u8,
    address: u8,
    /// The last exchange failed, and its answer may still come.
    stale: bool,
}

impl Usb {
    /// Opens the device with this serial number, or the only one that is plugged in.
    ///
    /// # Errors
    /// `TransportError` that says which are there instead, that this user may not open it, or that another program holds it.
    pub fn open(wanted: Option<SerialNumber>) -> Result<Self, TransportError> {
        let mut attached = detect()?;
        let serials = attached.iter_mut().map(|one| {
            // Told below if it decides.
            std::mem::replace(&mut one.serial, Err(TransportError::NoDevice))
        });
        let chosen = choose(serials.collect(), wanted)?;
        let Attached {
            bus,
            address,
            device,
            ..
        } = attached.swap_remove(chosen);
        let at = |error| cause(error, bus, address);
        let handle = device.open().map_err(at)?;
        // Setting the configuration that is set already would be a small reset.
        if handle.active_configuration().map_err(at)? != CONFIGURATION {
            handle.set_active_configuration(CONFIGURATION).map_err(at)?;
        }
        handle.claim_interface(INTERFACE).map_err(at)?;
        Ok(Self {
            handle,
            bus,
            address,
            stale: true,
        })
    }

    fn transfer(&mut self, message: &[u8], deadline: Instant) -> Result<Vec<u8>, rusb::Error> {
        let mut answer = vec![0; 4 * 1024];
        if self.stale {
            // Nothing to read is what is hoped for.
            let _ = self.handle.read_bulk(IN, &mut answer, DRAIN);
        }
        self.stale = true;
        let sent = self.handle.write_bulk(OUT, message, left(deadline)?)?;
        if sent != message.len() {
            return Err(rusb::Error::Io);
        }
        if sent.is_multiple_of(PACKET) {
            self.handle.write_bulk(OUT, &[], left(deadline)?)?;
        }
        let count = self.handle.read_bulk(IN, &mut answer, left(deadline)?)?;
        if count > 3 + LONGEST {
            return Err(rusb::Error::Overflow);
        }
        answer.truncate(count);
        self.stale = false;
        Ok(answer)
    }
}

impl Transport for Usb {
    fn exchange(&mut self, message: &[u8], deadline: Instant) -> Result<Vec<u8>, TransportError> {
        let limit = deadline.saturating_duration_since(Instant::now());
        self.transfer(message, deadline)
            .map_err(|error| match error {
                rusb::Error::Timeout => TransportError::Timeout { limit },
                error => cause(error, self.bus, self.address),
            })
    }
}

impl Drop for Usb {
    fn drop(&mut self) {
        // It fails only when the device is gone, and then nobody holds it.
        let _ = self.handle.release_interface(INTERFACE);
    }
}

impl fmt::Debug for Usb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Usb(bus {} device {})", self.bus, self.address)
    }
}

/// Which of several devices with these serial numbers is meant.
fn choose(
    serials: Vec<Result<SerialNumber, TransportError>>,
    wanted: Option<SerialNumber>,
) -> Result<usize, TransportError> {
    let known = serials.iter().filter_map(|serial| serial.as_ref().ok());
    let found: Vec<SerialNumber> = known.copied().collect();
    let Some(wanted) = wanted else {
        return match serials.len() {
            0 => Err(TransportError::NoDevice),
            1 => Ok(0),
            _ => Err(TransportError::Ambiguous { found }),
        };
    };
    let is_wanted = |one: &Result<_, _>| one.as_ref().ok() == Some(&wanted);
    if let Some(at) = serials.iter().position(is_wanted) {
        return Ok(at);
    }
    // One that does not say who it is could be the wanted one, so that is the error to tell.
    match serials.into_iter().find_map(Result::err) {
        Some(error) => Err(error),
        None if found.is_empty() => Err(TransportError::NoDevice),
        None => Err(TransportError::NotAmong { wanted, found }),
    }
}

fn context() -> Result<Context, TransportError> {
    // Without it libusb says only "other error".
    if !Path::new("/dev/bus/usb").exists() {
        return Err(TransportError::NoUsb);
    }
    Context::new().map_err(TransportError::Usb)
}

fn serial_number(
    device: &rusb::Device<Context>,
    descriptor: &rusb::DeviceDescriptor,
) -> Result<SerialNumber, TransportError> {
    if let Some(serial) = kernels_serial_number(device) {
        return Ok(serial);
    }
    let at = |error| cause(error, device.bus_number(), device.address());
    let handle = device.open().map_err(at)?;
    let languages = handle.read_languages(DESCRIPTOR).map_err(at)?;
    let language = languages
        .first()
        .ok_or_else(|| at(rusb::Error::BadDescriptor))?;
    handle
        .read_serial_number_string(*language, descriptor, DESCRIPTOR)
        .map_err(at)?
        .trim()
        .parse()
        .map_err(|_| at(rusb::Error::BadDescriptor))
}

/// What the kernel read when the device was plugged in: anybody may see it, and nothing has to be opened.
fn kernels_serial_number(device: &rusb::Device<Context>) -> Option<SerialNumber> {
    let ports = device.port_numbers().ok()?;
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let name = format!("{}-{}", device.bus_number(), ports.join("."));
    let path = Path::new("/sys/bus/usb/devices").join(name).join("serial");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn left(deadline: Instant) -> Result<Duration, rusb::Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    // Zero would mean "for ever" to libusb.
    if left < Duration::from_millis(1) {
        return Err(rusb::Error::Timeout);
    }
    Ok(left)
}

fn cause(error: rusb::Error, bus: u8, address: u8) -> TransportError {
    match error {
        rusb::Error::Access => TransportError::Access { bus, address },
        rusb::Error::Busy => TransportError::Busy { bus, address },
        rusb::Error::NoDevice | rusb::Error::NotFound => TransportError::Gone,
        error => TransportError::Usb(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SerialNumber = SerialNumber(1);
    const TWO: SerialNumber = SerialNumber(2);

    #[test]
    fn the_wanted_device_is_chosen_or_it_is_said_why_not() {
        let chosen = |serials: &[SerialNumber], wanted| {
            choose(serials.iter().copied().map(Ok).collect(), wanted)
        };
        assert!(matches!(chosen(&[ONE], None), Ok(0)));
        assert!(matches!(chosen(&[ONE, TWO], Some(TWO)), Ok(1)));
        assert!(matches!(chosen(&[], None), Err(TransportError::NoDevice)));
        let error = chosen(&[ONE, TWO], None).expect_err("which of them?");
        assert_eq!(
            error.to_string(),
            "several YubiHSMs are plugged in: 0000000001, 0000000002"
        );
        let error = chosen(&[ONE], Some(TWO)).expect_err("another");
        assert_eq!(
            error.to_string(),
            "no YubiHSM 0000000002 is plugged in, only 0000000001"
        );
    }

    #[test]
    fn a_device_that_may_not_be_asked_who_it_is_could_be_the_wanted_one() {
        let access = || TransportError::Access { bus: 1, address: 7 };
        let error = choose(vec![Ok(ONE), Err(access())], Some(TWO)).expect_err("no access");
        assert!(matches!(error, TransportError::Access { .. }));
        let chosen = choose(vec![Err(access()), Ok(TWO)], Some(TWO));
        assert!(matches!(chosen, Ok(1)));
        // The only one is opened, and says then that it may not be.
        assert!(matches!(choose(vec![Err(access())], None), Ok(0)));
    }
}
