//! The public half of a chain's key, for commands that look at it and leave it alone.

use crate::{
    commands::{Failure, failure::key_hint},
    config::ConsensusKey,
    crypto::PublicKey,
    keyring::providers::{
        ledgertm::{self, LedgerError},
        softsign,
        yubihsm::{self, Adapter, Credentials, Device, DeviceError, StaticKeys, TransportError},
    },
    shutdown::Shutdown,
};

/// Opens the key only to see which one it is.
///
/// # Errors
/// `Failure` with its hint if it is not there or not to be used.
pub(super) fn public_key(key: ConsensusKey<'_>) -> Result<PublicKey, Failure> {
    match key {
        ConsensusKey::Softsign(config) => {
            let opened = softsign::open(config);
            let key = opened.map_err(|error| Failure::of(&error).maybe_hint(key_hint(&error)))?;
            Ok(key.signer.public_key().clone())
        }
        ConsensusKey::YubiHsm { device, key, .. } => {
            let name = format!("cannot see key {:#06x} in {device}", key.key);
            let mut session = open_yubihsm(device).map_err(|error| {
                let failure = Failure::new(name.clone()).caused_by(&error);
                failure.maybe_hint(error.hint())
            })?;
            let inspected = yubihsm::inspect(&mut session, key.key).map_err(|problem| {
                let failure = Failure::new(name).caused_by(&problem);
                failure.maybe_hint(problem.hint())
            })?;
            Ok(inspected.public_key)
        }
        ConsensusKey::Ledger { device, .. } => {
            let failed = |error: LedgerError| {
                Failure::new(format!(
                    "cannot see the key in the Ledger ({})",
                    device.adapter
                ))
                .caused_by(&error)
                .maybe_hint(error.hint())
            };
            let opened = ledgertm::Device::open(&device.adapter, &Shutdown::new());
            opened
                .and_then(|mut device| device.app().and_then(|_| device.public_key()))
                .map_err(failed)
        }
    }
}

/// Opens a session as the configuration says: by the adapter, or where another process has the device, by the connector server
/// that it may be serving.
///
/// # Errors
/// `DeviceError`.
pub(super) fn open_yubihsm(config: &yubihsm::Config) -> Result<Device, DeviceError> {
    let credentials = Credentials {
        auth_key: config.auth.key,
        keys: StaticKeys::from_password(&*config.auth.password.read()?),
    };
    let opened = Device::open(&config.adapter, config.serial_number, &credentials);
    match (opened, &config.connector_server) {
        (Err(DeviceError::Transport(TransportError::Busy { .. })), Some(server)) => {
            let (Adapter::Usb { timeout } | Adapter::Http { timeout, .. }) = config.adapter;
            let adapter = Adapter::Http {
                host: server.laddr.ip().to_string(),
                port: server.laddr.port(),
                timeout,
            };
            Device::open(&adapter, config.serial_number, &credentials)
        }
        (opened, _) => opened,
    }
}
