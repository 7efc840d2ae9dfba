//! An emulator's way of taking APDUs: by tcp, each after its length.

use std::time::Duration;

use crate::{
    connection::ByteStream,
    keyring::providers::ledgertm::{apdu, device::Link, error::LedgerError},
    shutdown::Shutdown,
};

/// How long connecting and sending may take.
const QUICK: Duration = Duration::from_secs(2);

/// A connection to an emulator.
pub(super) struct Emulator {
    stream: ByteStream,
}

impl Emulator {
    pub(super) fn connect(host: &str, port: u16, stop: &Shutdown) -> Result<Self, LedgerError> {
        let stream = ByteStream::connect(host, port, QUICK, stop)?;
        Ok(Self { stream })
    }
}

impl Link for Emulator {
    /// A length of four bytes, big endian, before either; the reply's leaves out the status word.
    fn exchange(&mut self, command: &[u8], patience: Duration) -> Result<Vec<u8>, LedgerError> {
        // What is sent is an APDU of at most 260 bytes.
        let length = u32::try_from(command.len()).unwrap_or(u32::MAX);
        let message = [&length.to_be_bytes()[..], command].concat();
        self.stream.send(&message, QUICK)?;
        let mut length = [0; 4];
        self.stream.receive(&mut length, patience)?;
        let length = u32::from_be_bytes(length);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= apdu::MAX_REPLY - 2)
            .ok_or_else(|| LedgerError::Garbled {
                what: format!("a reply of {length} bytes"),
            })?;
        let mut reply = vec![0; length + 2];
        self.stream.receive(&mut reply, QUICK)?;
        Ok(reply)
    }
}
