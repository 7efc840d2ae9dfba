//! The report of a set-up: who did it, where, when and with what. It lies in the device and, if the operator likes, in a file.

use rand_core::{OsRng, RngCore};
use serde::Serialize;

use crate::keyring::providers::yubihsm::SerialNumber;

/// In the fields and the version of the original's report, so that what reads one reads the other.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    version: u8,
    uuid: String,
    device_serial_number: String,
    hostname: Option<String>,
    username: Option<String>,
    date: String,
    software: String,
}

impl Report {
    /// `date`: RFC 3339.
    ///
    /// # Errors
    /// The system's, if it gives no random numbers.
    pub fn new(
        serial: SerialNumber,
        hostname: Option<String>,
        username: Option<String>,
        date: &str,
    ) -> Result<Self, rand_core::Error> {
        Ok(Self {
            version: 1,
            uuid: uuid()?,
            device_serial_number: serial.to_string(),
            hostname,
            username,
            date: date.to_owned(),
            software: concat!("tmkms ", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }

    /// One line, without a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can always be written")
    }
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> Result<String, rand_core::Error> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes)?;
    let random = u128::from_be_bytes(bytes);
    let version = random & !(0xf << 76) | 0x4 << 76;
    let variant = version & !(0x3 << 62) | 0x2 << 62;
    let mut text = format!("{variant:032x}");
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_fields_of_the_original() {
        let serial = SerialNumber(7_550_054);
        let date = "2026-11-25T07:45:24Z";
        let report =
            Report::new(serial, Some("signer".into()), None, date).expect("random numbers");
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        let text = |field: &str| json.get(field).and_then(|value| value.as_str());
        assert_eq!(
            json.get("version").and_then(|value| value.as_u64()),
            Some(1)
        );
        assert_eq!(text("device_serial_number"), Some("0007550054"));
        assert_eq!(text("hostname"), Some("signer"));
        assert_eq!(text("username"), None);
        assert_eq!(text("date"), Some(date));
        let software = text("software").expect("text");
        assert!(software.starts_with("tmkms "));
    }

    #[test]
    fn an_identifier_is_a_random_one_of_version_4() {
        let (one, two) = (uuid().expect("random"), uuid().expect("random"));
        assert_ne!(one, two);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes().get(14), Some(&b'4'));
        assert!(matches!(
            one.as_bytes().get(19),
            Some(b'8' | b'9' | b'a' | b'b')
        ));
    }
}
