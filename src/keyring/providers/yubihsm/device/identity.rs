//! What a device says of itself.

use super::{
    super::{command::Command, config::SerialNumber, error::DeviceError, object::Algorithm},
    Device,
};

/// DEVICE INFO.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceInfo {
    /// Firmware: major, minor, patch.
    pub firmware: (u8, u8, u8),
    /// Its serial number.
    pub serial: SerialNumber,
    /// Entries that its log holds.
    pub log_size: u8,
    /// Entries that are in its log.
    pub log_used: u8,
    /// What it can do, also what this version has no name for.
    pub algorithms: Vec<Algorithm>,
    /// The chip, from firmware 2.4 on.
    pub part: Option<String>,
}

impl DeviceInfo {
    /// Whether the firmware is this one or later.
    #[must_use]
    pub fn is_at_least(&self, major: u8, minor: u8) -> bool {
        (self.firmware.0, self.firmware.1) >= (major, minor)
    }

    /// The first page: version 3 ‖ serial number 4 ‖ log size 1 ‖ log used 1 ‖ algorithms, a byte each.
    pub(super) fn parse(page: &[u8]) -> Result<Self, DeviceError> {
        let malformed = DeviceError::Malformed {
            command: Command::DEVICE_INFO,
            what: "its length",
        };
        let Some((&[major, minor, patch, a, b, c, d, log_size, log_used], algorithms)) =
            page.split_first_chunk()
        else {
            return Err(malformed);
        };
        Ok(Self {
            firmware: (major, minor, patch),
            serial: SerialNumber(u32::from_be_bytes([a, b, c, d])),
            log_size,
            log_used,
            algorithms: algorithms.iter().copied().map(Algorithm).collect(),
            part: None,
        })
    }
}

/// GET STORAGE INFO.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StorageInfo {
    /// Objects that it can hold.
    pub total_records: u16,
    /// Objects that still fit.
    pub free_records: u16,
    /// Pages that it has.
    pub total_pages: u16,
    /// Pages that are free.
    pub free_pages: u16,
    /// Bytes of a page.
    pub page_size: u16,
}

impl Device {
    /// Asks the device anew who it is and how full its log is.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn device_info(&mut self) -> Result<DeviceInfo, DeviceError> {
        let mut info = DeviceInfo::parse(&self.command(Command::DEVICE_INFO, &[])?)?;
        info.part.clone_from(&self.info.part);
        self.info = info.clone();
        Ok(info)
    }

    /// How much room it has.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn storage_info(&mut self) -> Result<StorageInfo, DeviceError> {
        let command = Command::GET_STORAGE_INFO;
        let answer = self.command(command, &[])?;
        let bytes = <&[u8; 10]>::try_from(answer.as_slice()).map_err(|_| {
            let what = "its length";
            DeviceError::Malformed { command, what }
        })?;
        let [a, b, c, d, e, f, g, h, i, j] = *bytes;
        Ok(StorageInfo {
            total_records: u16::from_be_bytes([a, b]),
            free_records: u16::from_be_bytes([c, d]),
            total_pages: u16::from_be_bytes([e, f]),
            free_pages: u16::from_be_bytes([g, h]),
            page_size: u16::from_be_bytes([i, j]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_without_a_name_is_kept() {
        let page = [2, 3, 1, 0, 0x73, 0x35, 0xd5, 62, 7, 46, 200];
        let info = DeviceInfo::parse(&page).expect("a page");
        assert_eq!(info.serial.to_string(), "0007550421");
        assert_eq!(info.algorithms, [Algorithm::ED25519, Algorithm(200)]);
        assert!(info.is_at_least(2, 3) && !info.is_at_least(2, 4));
        assert!(DeviceInfo::parse(page.split_at(8).0).is_err());
    }
}
