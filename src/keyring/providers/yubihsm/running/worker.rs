//! The thread that owns a device: opens it, keeps its session, does what is asked, and starts again after whatever happens.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};

use crate::{
    crypto::Signature,
    event::{self, Event, Sink},
};

use super::{
    super::{
        config::{Adapter, Config, PasswordSource, SerialNumber},
        device::{Credentials, Device},
        error::DeviceError,
        inspection::{self, KeyProblem, Scheme},
        object::ObjectId,
        scp03::StaticKeys,
        transport::{self, Transport},
    },
    queue::{Carried, Job, Message, Queue, Session, Wanted},
    trouble::Trouble,
};

/// A device forgets a session after 30 s without a command. Half of that leaves time for a second try; more often would be more
/// lines in the log of a device that logs everything.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The waits between two tries to open it, from the first to the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The wait when only a change of configuration or device can help: each try is a line in the device's log.
const HOPELESS: Duration = Duration::from_secs(15);

/// How often one message may break a session before it is given up: others wait.
const TRIES: u8 = 3;

/// Messages after which a session is renewed, as the original did.
const RENEW: u64 = 1 << 20;

/// What there is of the way to the device.
enum Link {
    Nothing,
    /// Reached, without a session.
    Way(Box<dyn Transport>),
    Open(Box<Device>),
}

pub(super) struct Worker {
    name: String,
    adapter: Adapter,
    serial: Option<SerialNumber>,
    auth_key: ObjectId,
    password: PasswordSource,
    /// Made of the password once, since that takes a moment and the password may be gone later.
    credentials: Option<Credentials>,
    sink: Arc<dyn Sink>,
    queue: Arc<Queue>,
    link: Link,
    /// When the session carried something last.
    used: Instant,
    retry_at: Instant,
    retry_wait: Duration,
    down_since: Option<Instant>,
    told: Option<String>,
}

impl Worker {
    pub(super) fn new(config: &Config, sink: Arc<dyn Sink>, queue: Arc<Queue>) -> Self {
        let now = Instant::now();
        Self {
            name: config.to_string(),
            adapter: config.adapter.clone(),
            serial: config.serial_number,
            auth_key: config.auth.key,
            password: config.auth.password.clone(),
            credentials: None,
            sink,
            queue,
            link: Link::Nothing,
            used: now,
            retry_at: now,
            retry_wait: BACK_OFF.0,
            down_since: None,
            told: None,
        }
    }

    pub(super) fn run(mut self) {
        // Told even if this thread panics, so that nobody waits for it.
        let _ended = Ended(Arc::clone(&self.queue));
        while !self.queue.is_stopped() {
            // A panic costs the session and not the chains: the next round begins with nothing.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work())) {
                self.crashed(event::panic_text(panic.as_ref()));
            }
        }
        // The device is dropped, and so its session closed, before anybody is told of the end.
        self.link = Link::Nothing;
    }

    /// What there is to do next.
    fn work(&mut self) {
        self.tend();
        let (session, due) = match &self.link {
            Link::Open(_) => (Session::Open, self.used + KEEP_ALIVE),
            Link::Nothing | Link::Way(_) => (Session::Closed, self.retry_at),
        };
        let limit = due.saturating_duration_since(Instant::now());
        match self.queue.next(limit, session) {
            Some(Job::Sign(wanted)) => self.sign(wanted),
            Some(Job::Look(id)) => self.look(id),
            Some(Job::Carry(carried)) => self.carry(carried),
            None => {}
        }
    }

    /// What was being done is not done; who waits for it asks again.
    fn crashed(&mut self, said: &str) {
        let trouble = Trouble::passing(&format!("internal crash: {said}"));
        self.close();
        self.retry_at = Instant::now() + BACK_OFF.1;
        self.queue.dropped(trouble.clone());
        self.tell(&trouble);
    }

    /// Opens a session, or keeps it, when it is time to.
    fn tend(&mut self) {
        match &mut self.link {
            Link::Open(device) if device.messages() >= RENEW => {
                self.close();
                self.open();
            }
            Link::Open(device) if self.used.elapsed() >= KEEP_ALIVE => {
                let answered = device.echo(&[0]);
                self.used = Instant::now();
                if let Err(error) = answered {
                    self.failed(&error);
                }
            }
            Link::Open(_) => {}
            Link::Nothing | Link::Way(_) => {
                if self.retry_at <= Instant::now() {
                    self.open();
                }
            }
        }
    }

    fn open(&mut self) {
        match self.try_open() {
            Ok(device) => {
                let info = device.info();
                let (major, minor, patch) = info.firmware;
                let text = format!(
                    "{}: session open with authentication key 0x{:04x}, serial number {}, firmware {major}.{minor}.{patch}",
                    self.name, self.auth_key, info.serial
                );
                // The device that was opened first, and no other from now on: its keys are the ones that were read.
                self.serial = Some(info.serial);
                self.link = Link::Open(Box::new(device));
                self.used = Instant::now();
                self.retry_wait = BACK_OFF.0;
                self.told = None;
                self.queue.opened();
                let text = match self.down_since.take() {
                    Some(since) => format!("{text}, after {:.1} s", since.elapsed().as_secs_f32()),
                    None => text,
                };
                self.sink.tell(&Event::Notice { text });
            }
            Err(error) => {
                self.down_since.get_or_insert_with(Instant::now);
                let trouble = Trouble::from(&error);
                let wait = if trouble.transient {
                    self.retry_wait
                } else {
                    HOPELESS
                };
                self.retry_at = Instant::now() + with_jitter(wait);
                self.retry_wait = (self.retry_wait * 2).min(BACK_OFF.1);
                self.tell(&trouble);
                self.queue.troubled(trouble);
            }
        }
    }

    fn try_open(&mut self) -> Result<Device, DeviceError> {
        let transport = match std::mem::replace(&mut self.link, Link::Nothing) {
            Link::Way(transport) => transport,
            Link::Nothing | Link::Open(_) => transport::connect(&self.adapter, self.serial)?,
        };
        let credentials = match self.credentials.take() {
            Some(credentials) => credentials,
            None => Credentials {
                auth_key: self.auth_key,
                keys: StaticKeys::from_password(&*self.password.read()?),
            },
        };
        let patience = patience(&self.adapter);
        match Device::open_over(transport, self.serial, &credentials, patience) {
            Ok(device) => {
                self.credentials = Some(credentials);
                Ok(device)
            }
            Err((error, transport)) => {
                // A wrong password is read anew: the operator may have corrected its file.
                if !matches!(error, DeviceError::WrongPassword { .. }) {
                    self.credentials = Some(credentials);
                }
                if matches!(
                    error,
                    DeviceError::WrongPassword { .. } | DeviceError::NoSession { .. }
                ) {
                    self.link = Link::Way(transport);
                }
                Err(error)
            }
        }
    }

    fn sign(&mut self, mut wanted: Wanted) {
        let Link::Open(device) = &mut self.link else {
            self.queue.put_back(wanted);
            return;
        };
        let outcome = signature(device, &wanted.message);
        self.used = Instant::now();
        match outcome {
            Ok(signature) => {
                self.told = None;
                self.queue.finish(wanted.message, Ok(signature));
            }
            Err(error) => {
                self.failed(&error);
                let again = matches!(self.link, Link::Nothing) && wanted.tries + 1 < TRIES;
                if again && wanted.until > Instant::now() {
                    wanted.tries += 1;
                    self.queue.put_back(wanted);
                } else {
                    self.queue
                        .finish(wanted.message, Err(Trouble::from(&error)));
                }
            }
        }
    }

    fn look(&mut self, id: ObjectId) {
        let Link::Open(device) = &mut self.link else {
            self.queue.look_again(id);
            return;
        };
        let outcome = inspection::inspect(device, id);
        self.used = Instant::now();
        if let Err(KeyProblem::Device(error)) = &outcome {
            self.failed(error);
            if matches!(self.link, Link::Nothing) {
                self.queue.look_again(id);
                return;
            }
        }
        self.queue
            .looked(id, outcome.map_err(|problem| Trouble::from(&problem)));
    }

    /// Another program's message. Its sessions are its own: what goes wrong with it says nothing about ours.
    fn carry(&mut self, carried: Carried) {
        let until = carried.until.min(Instant::now() + patience(&self.adapter));
        let answer = match &mut self.link {
            Link::Open(device) => device.carry(&carried.message, until),
            Link::Way(transport) => transport
                .exchange(&carried.message, until)
                .map_err(DeviceError::from),
            Link::Nothing => transport::connect(&self.adapter, self.serial)
                .and_then(|mut transport| {
                    let answer = transport.exchange(&carried.message, until)?;
                    self.link = Link::Way(transport);
                    Ok(answer)
                })
                .map_err(DeviceError::from),
        };
        let lost = matches!(&self.link, Link::Open(device) if !device.is_alive());
        // An answer that comes later would be taken for the next one's.
        if answer.is_err() || lost {
            self.close();
        }
        // Nobody there any more is nobody's fault.
        let _ = carried
            .answer
            .try_send(answer.map_err(|error| Trouble::from(&error)));
    }

    /// After an error of the open device: another session, if this one is over.
    fn failed(&mut self, error: &DeviceError) {
        let trouble = Trouble::from(error);
        let over = !matches!(&self.link, Link::Open(device) if device.is_alive());
        self.tell(&trouble);
        if over {
            self.close();
            self.queue.troubled(trouble);
        }
    }

    /// Gives the session and the way to the device up; both are opened again at once.
    fn close(&mut self) {
        self.link = Link::Nothing;
        self.down_since.get_or_insert_with(Instant::now);
        self.retry_at = Instant::now();
        self.retry_wait = BACK_OFF.0;
    }

    /// Warns, if that is not what was said last.
    fn tell(&mut self, trouble: &Trouble) {
        let text = trouble.to_string();
        if self.told.as_ref() != Some(&text) {
            self.sink.tell(&Event::Warning {
                subject: self.name.clone(),
                text: text.clone(),
            });
            self.told = Some(text);
        }
    }
}

/// Says that nobody works on the queue any more.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended();
    }
}

fn signature(device: &mut Device, message: &Message) -> Result<Signature, DeviceError> {
    match message.scheme {
        Scheme::Ed25519 => device
            .sign_eddsa(message.key, &message.bytes)
            .map(Signature::Ed25519),
        Scheme::Secp256k1 => device
            .sign_ecdsa(message.key, &Sha256::digest(&message.bytes).into())
            .map(Signature::Secp256k1),
    }
}

fn patience(adapter: &Adapter) -> Duration {
    let (Adapter::Usb { timeout } | Adapter::Http { timeout, .. }) = adapter;
    *timeout
}

/// From three quarters to five quarters of it, so that several devices behind one connector do not ask together.
fn with_jitter(wait: Duration) -> Duration {
    let mut random = [0; 1];
    // Without random numbers there is no jitter, and no harm.
    let _ = OsRng.try_fill_bytes(&mut random);
    wait * 3 / 4 + wait * u32::from(random[0]) / 512
}
