//! A running provider over a YubiHSM2, for the tests of the provider and of its guests.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tmkms::{
    crypto::Signature,
    event::{Event, Sink},
    keyring::{
        Key, SignerError,
        providers::yubihsm::{
            Algorithm, Capabilities, Config, Device, Domains, Hsm, Label, NewObject,
        },
    },
    privval::{RawBytes, canonical},
    protection::RawPermit,
    shutdown::Shutdown,
};

use crate::{
    simulator::{Options, Simulator},
    target::{self, LONG, config, credentials, of},
};

pub const KEY: u16 = 0x7a01;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps what was told.
#[derive(Default)]
pub struct Told(Mutex<Vec<String>>);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        let text = match event {
            Event::Warning { subject, text } => format!("{subject}: {text}"),
            Event::Notice { text } => text.clone(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Told {
    pub fn count(&self, part: &str) -> usize {
        let told = self.0.lock().unwrap();
        told.iter().filter(|text| text.contains(part)).count()
    }
}

/// A provider over a device that has one Ed25519 key.
pub struct Running {
    pub hsm: Hsm,
    pub key: Key,
    pub told: Arc<Told>,
    pub shutdown: Shutdown,
}

impl Running {
    pub fn over(simulator: &Simulator) -> Self {
        Self::with(&config(of(simulator, LONG), 1, "password"))
    }

    pub fn with(config: &Config) -> Self {
        let (hsm, told, shutdown) = start(config);
        let key = hsm.key(KEY, PATIENCE).unwrap();
        Self {
            hsm,
            key,
            told,
            shutdown,
        }
    }

    pub fn sign(&self, text: &str) -> Result<Signature, SignerError> {
        let raw = raw(text);
        let permit = RawPermit::for_raw_bytes(&raw);
        let signature = self.key.signer.sign(permit.sign_bytes())?;
        let public = self.key.signer.public_key();
        assert!(public.verifies(raw.sign_bytes(), &signature), "{text}");
        Ok(signature)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

pub fn start(config: &Config) -> (Hsm, Arc<Told>, Shutdown) {
    let told = Arc::new(Told::default());
    let sink: Arc<dyn Sink> = told.clone();
    let shutdown = Shutdown::new();
    let hsm = Hsm::start(config, &sink, &shutdown).unwrap();
    (hsm, told, shutdown)
}

/// Bytes outside of consensus: they get their permit without a record.
pub fn raw(text: &str) -> RawBytes {
    canonical::bare_bytes(text.as_bytes()).unwrap()
}

pub fn new_key(capabilities: Capabilities) -> NewObject {
    NewObject {
        id: KEY,
        label: Label::new(target::LABEL),
        domains: Domains::ONE,
        capabilities,
    }
}

pub fn admin(simulator: &Simulator) -> Device {
    Device::open(&of(simulator, LONG), None, &credentials(1, "password")).unwrap()
}

pub fn with_key() -> Simulator {
    let simulator = Simulator::start(Options::default());
    let new = new_key(Capabilities::SIGN_EDDSA);
    let made = admin(&simulator).generate_asymmetric_key(&new, Algorithm::ED25519);
    made.unwrap();
    simulator
}

pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
