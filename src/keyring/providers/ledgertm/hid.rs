//! A Ledger on this machine's USB, as a HID device.

use std::{
    ffi::CString,
    fmt,
    fs::{self, File, TryLockError},
    path::Path,
    time::{Duration, Instant},
};

use hidapi::{HidApi, HidDevice};

use crate::{
    keyring::providers::ledgertm::{
        config::Adapter,
        device::Link,
        error::LedgerError,
        packets::{self, PACKET, Pieces},
    },
    shutdown::Shutdown,
};

/// The maker's number.
const VENDOR: u16 = 0x2c97;

/// The interface that takes APDUs; the device has others, for security keys.
const USAGE_PAGE: u16 = 0xffa0;

/// A wait for the device is cut into slices, so that a shutdown is seen.
const SLICE: Duration = Duration::from_millis(100);

/// A Ledger that is plugged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    /// What it calls itself.
    pub product: String,
    /// The serial number that it shows by USB. Many models all show the same one.
    pub serial: String,
    /// The system's path of the device.
    pub path: String,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            product,
            serial,
            path,
        } = self;
        write!(f, "{product}, serial {serial}, path {path}")
    }
}

/// The Ledgers that are plugged in, locked ones and those with any app open too. Nothing is sent to them.
///
/// # Errors
/// `LedgerError::Listing` if the system does not tell.
pub fn attached() -> Result<Vec<Attached>, LedgerError> {
    let api = HidApi::new().map_err(|error| LedgerError::Listing {
        reason: error.to_string(),
    })?;
    let mut found: Vec<Attached> = api
        .device_list()
        .filter(|device| device.vendor_id() == VENDOR && device.usage_page() == USAGE_PAGE)
        .map(|device| Attached {
            product: text(device.product_string(), "Ledger"),
            serial: text(device.serial_number(), "unknown"),
            path: device.path().to_string_lossy().into_owned(),
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    // An interface with several usages is listed once for each.
    found.dedup();
    Ok(found)
}

/// The one that is meant.
///
/// # Errors
/// `NotFound` if there is none, `Several` if there are more and nothing tells them apart.
pub(super) fn choose(
    mut found: Vec<Attached>,
    serial: Option<&str>,
    path: Option<&str>,
) -> Result<Attached, LedgerError> {
    if let Some(serial) = serial {
        found.retain(|device| device.serial == serial);
    }
    if let Some(path) = path {
        // A udev rule may have given it a name of its own.
        let resolved = fs::canonicalize(path);
        let resolved = resolved.as_deref().unwrap_or(Path::new(path));
        found.retain(|device| Path::new(&device.path) == resolved);
    }
    if found.len() > 1 {
        let found = found.iter().map(ToString::to_string).collect();
        return Err(LedgerError::Several { found });
    }
    found.pop().ok_or_else(|| LedgerError::NotFound {
        wanted: Adapter::Hid {
            serial: serial.map(Into::into),
            path: path.map(Into::into),
        }
        .to_string(),
    })
}

/// An open device: packets in and out.
pub(super) struct Hid {
    channel: Channel,
    stop: Shutdown,
    /// Keeps other processes of ours away for as long as it is open.
    _lock: File,
}

impl Hid {
    pub(super) fn open(device: &Attached, stop: &Shutdown) -> Result<Self, LedgerError> {
        let path = &device.path;
        let failed = |reason: String| LedgerError::Open {
            path: path.clone(),
            reason,
        };
        let lock = File::open(path).map_err(|error| failed(error.to_string()))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::InUse { path: path.clone() },
            TryLockError::Error(error) => failed(error.to_string()),
        })?;
        let api = HidApi::new().map_err(|error| failed(error.to_string()))?;
        let c_path = CString::new(path.as_str()).map_err(|error| failed(error.to_string()))?;
        let device = api
            .open_path(&c_path)
            .map_err(|error| failed(error.to_string()))?;
        let mut channel = Channel(device);
        discard(&mut channel)?;
        Ok(Self {
            channel,
            stop: stop.clone(),
            _lock: lock,
        })
    }
}

impl Link for Hid {
    fn exchange(&mut self, command: &[u8], patience: Duration) -> Result<Vec<u8>, LedgerError> {
        exchange(&mut self.channel, command, patience, &self.stop)
    }
}

/// Packets of 64 bytes.
trait Packets {
    fn write(&mut self, packet: &[u8; PACKET]) -> Result<(), LedgerError>;

    /// `None` if none came in time.
    fn read(&mut self, patience: Duration) -> Result<Option<[u8; PACKET]>, LedgerError>;
}

fn exchange(
    packets: &mut impl Packets,
    command: &[u8],
    patience: Duration,
    stop: &Shutdown,
) -> Result<Vec<u8>, LedgerError> {
    for packet in packets::cut(command) {
        packets.write(&packet)?;
    }
    let start = Instant::now();
    let mut pieces = Pieces::default();
    loop {
        if stop.is_requested() {
            return Err(LedgerError::Stopping);
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(LedgerError::Silent {
                seconds: patience.as_secs(),
            });
        }
        if let Some(packet) = packets.read(left.min(SLICE))?
            && let Some(reply) = pieces.push(&packet)?
        {
            return Ok(reply);
        }
    }
}

/// What an earlier process asked for may still be answered: that is no answer to us.
fn discard(packets: &mut impl Packets) -> Result<(), LedgerError> {
    // The kernel keeps 64 reports.
    for _ in 0..64 {
        if packets.read(Duration::ZERO)?.is_none() {
            break;
        }
    }
    Ok(())
}

struct Channel(HidDevice);

impl Packets for Channel {
    fn write(&mut self, packet: &[u8; PACKET]) -> Result<(), LedgerError> {
        // Before a report without a number stands a zero.
        let report = [&[0][..], packet].concat();
        match self.0.write(&report) {
            Ok(count) if count == report.len() => Ok(()),
            Ok(count) => Err(LedgerError::Gone {
                reason: format!("it took {count} of {} bytes", report.len()),
            }),
            Err(error) => Err(gone(&error)),
        }
    }

    fn read(&mut self, patience: Duration) -> Result<Option<[u8; PACKET]>, LedgerError> {
        let mut packet = [0; PACKET];
        let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        match self.0.read_timeout(&mut packet, patience) {
            Ok(0) => Ok(None),
            Ok(PACKET) => Ok(Some(packet)),
            Ok(count) => Err(LedgerError::Garbled {
                what: format!("a packet of {count} bytes"),
            }),
            Err(error) => Err(gone(&error)),
        }
    }
}

fn gone(error: &hidapi::HidError) -> LedgerError {
    LedgerError::Gone {
        reason: error.to_string(),
    }
}

fn text(found: Option<&str>, otherwise: &str) -> String {
    let shown: String = found
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if shown.is_empty() {
        otherwise.to_owned()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A device that answers every whole command with the same bytes turned round, after as many empty reads.
    #[derive(Default)]
    struct Mirror {
        pieces: Pieces,
        replies: VecDeque<[u8; PACKET]>,
        empty_reads: u32,
        silent: bool,
    }

    impl Packets for Mirror {
        fn write(&mut self, packet: &[u8; PACKET]) -> Result<(), LedgerError> {
            if let Some(mut command) = self.pieces.push(packet)? {
                command.reverse();
                self.replies.extend(packets::cut(&command));
            }
            Ok(())
        }

        fn read(&mut self, _: Duration) -> Result<Option<[u8; PACKET]>, LedgerError> {
            if self.silent || self.empty_reads > 0 {
                self.empty_reads = self.empty_reads.saturating_sub(1);
                return Ok(None);
            }
            Ok(self.replies.pop_front())
        }
    }

    fn device(serial: &str, path: &str) -> Attached {
        Attached {
            product: "Nano S Plus".into(),
            serial: serial.into(),
            path: path.into(),
        }
    }

    #[test]
    fn a_command_goes_out_and_its_reply_comes_in_however_slowly() {
        let mut mirror = Mirror {
            empty_reads: 3,
            ..Mirror::default()
        };
        let command: Vec<u8> = (0..=255).collect();
        let patience = Duration::from_secs(5);
        let reply = exchange(&mut mirror, &command, patience, &Shutdown::new()).expect("a reply");
        assert!(reply.iter().rev().eq(&command));
    }

    #[test]
    fn a_device_that_says_nothing_is_not_waited_for_without_end() {
        let mut mirror = Mirror {
            silent: true,
            ..Mirror::default()
        };
        let patience = Duration::from_millis(5);
        let silent = exchange(&mut mirror, &[1], patience, &Shutdown::new());
        assert!(
            matches!(silent, Err(LedgerError::Silent { .. })),
            "{silent:?}"
        );
        let stop = Shutdown::new();
        stop.request();
        let stopped = exchange(&mut mirror, &[1], Duration::from_secs(60), &stop);
        assert!(matches!(stopped, Err(LedgerError::Stopping)), "{stopped:?}");
    }

    #[test]
    fn what_was_left_unread_is_no_reply() {
        let mut mirror = Mirror::default();
        mirror.replies.extend(packets::cut(&[1, 2, 3]));
        discard(&mut mirror).expect("nothing fails");
        let reply = exchange(
            &mut mirror,
            &[7, 8],
            Duration::from_secs(5),
            &Shutdown::new(),
        );
        assert_eq!(reply.expect("a reply"), [8, 7]);
    }

    #[test]
    fn one_of_several_is_chosen_by_serial_or_path_and_never_by_chance() {
        let both = || {
            vec![
                device("0001", "/dev/hidraw2"),
                device("0002", "/dev/hidraw5"),
            ]
        };
        let chosen = |serial, path| choose(both(), serial, path).map(|device| device.path);
        assert_eq!(chosen(Some("0002"), None).expect("one"), "/dev/hidraw5");
        assert_eq!(
            chosen(None, Some("/dev/hidraw2")).expect("one"),
            "/dev/hidraw2"
        );
        let error = chosen(None, None).expect_err("which?").to_string();
        assert!(
            error.contains("/dev/hidraw2") && error.contains("/dev/hidraw5"),
            "{error}"
        );
        let error = chosen(Some("0001"), Some("/dev/hidraw5")).expect_err("neither");
        assert_eq!(
            error.to_string(),
            "no Ledger was found (usb, serial 0001, path /dev/hidraw5)"
        );
        let same = vec![
            device("0001", "/dev/hidraw2"),
            device("0001", "/dev/hidraw5"),
        ];
        let error = choose(same, Some("0001"), None).expect_err("the same number");
        assert!(matches!(error, LedgerError::Several { .. }));
        let only = choose(vec![device("0001", "/dev/hidraw2")], None, None);
        assert_eq!(only.expect("the only one").serial, "0001");
    }
}
