//! The running provider: a thread that owns the device, and signers that ask it.
//!
//! The thread keeps a session open, so that a signature never waits for one that could have been opened before. A request waits as
//! long as a node does for a reply, and is then answered with "not ready"; what has reached the device is carried on with, and
//! when the node asks again it gets the finished signature.

use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    crypto::{PublicKey, Signature},
    event::{self, Sink},
    keyring::{Key, Signer, SignerError, providers::ProviderError},
    protection::Permitted,
    shutdown::{Registration, Shutdown},
};

use super::{
    config::Config,
    inspection::{Inspected, Scheme},
    object::ObjectId,
    server::{self, Carry, NotCarried},
};

mod queue;
mod trouble;
mod worker;

use self::{
    queue::{Carried, Message, Queue},
    trouble::Trouble,
    worker::Worker,
};

/// As in the configuration's section name.
const NAME: &str = "yubihsm";

/// How long a request waits for the device: a node up to v0.33 gives up after 3 s.
const PATIENCE: Duration = Duration::from_millis(2_250);

/// A YubiHSM2 with an open session, kept by a thread of its own. The thread ends with the last clone of it and the last key
/// that it gave, or on shutdown.
#[derive(Clone)]
pub struct Hsm(Arc<Running>);

impl Hsm {
    /// Starts the thread, which opens the device now and whenever it comes back.
    ///
    /// # Errors
    /// `ProviderError::Unusable` if the connector server's address is taken, or the system has no thread to give.
    pub fn start(
        config: &Config,
        sink: &Arc<dyn Sink>,
        shutdown: &Shutdown,
    ) -> Result<Self, ProviderError> {
        let device = config.to_string();
        let unusable = |reason, hint| ProviderError::Unusable {
            device: device.clone(),
            reason,
            hint,
        };
        let queue = Arc::new(Queue::default());
        let stop = Shutdown::new();
        let registration = shutdown.on_request({
            let (stop, queue) = (stop.clone(), Arc::clone(&queue));
            move || end(&stop, &queue)
        });
        if let Some(config) = &config.connector_server {
            let carrier = Arc::new(Carrier(Arc::clone(&queue)));
            server::start(config.laddr, carrier, sink, &stop).map_err(|error| {
                let hint = "another program listens there, perhaps a yubihsm-connector: stop it, or give `connector_server` another `laddr`";
                unusable(
                    format!("its connector_server: {}", event::in_one_line(&error)),
                    Some(hint.into()),
                )
            })?;
        }
        let worker = Worker::new(config, Arc::clone(sink), Arc::clone(&queue));
        thread::Builder::new()
            .name(device.clone())
            .spawn(move || worker.run())
            .map_err(|error| unusable(format!("no thread for it: {error}"), None))?;
        Ok(Self(Arc::new(Running {
            queue,
            stop,
            device,
            _registration: registration,
        })))
    }

    /// A key of the device, once it is known to be there and to be usable; waits for that at most `patience`.
    ///
    /// # Errors
    /// `ProviderError::NotReady` while the device is away; `Unusable` for what no second try changes: no such key, a missing
    /// capability, a wrong password.
    pub fn key(&self, id: ObjectId, patience: Duration) -> Result<Key, ProviderError> {
        let inspected = self
            .0
            .queue
            .look(id, patience)
            .map_err(|trouble| trouble.into_provider_error(&self.0.device))?;
        Ok(Key {
            provider: NAME,
            signer: Arc::new(HsmSigner {
                running: Arc::clone(&self.0),
                id,
                inspected,
            }),
        })
    }

    /// Ends the thread, and waits until `deadline` for the session to be closed. Later requests are answered with "not ready".
    pub fn stop(&self, deadline: Instant) {
        end(&self.0.stop, &self.0.queue);
        self.0.queue.wait_for_the_end(deadline);
    }
}

impl fmt::Debug for Hsm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hsm").field(&self.0.device).finish()
    }
}

/// What keeps the thread alive.
struct Running {
    queue: Arc<Queue>,
    stop: Shutdown,
    device: String,
    _registration: Registration,
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&self.stop, &self.queue);
    }
}

fn end(stop: &Shutdown, queue: &Queue) {
    stop.request();
    queue.stop();
}

/// What the connector server brings is carried between signatures.
struct Carrier(Arc<Queue>);

impl Carry for Carrier {
    fn carry(&self, message: Vec<u8>, deadline: Instant) -> Result<Vec<u8>, NotCarried> {
        let (answer, answered) = mpsc::sync_channel(1);
        let carried = Carried {
            message,
            until: deadline,
            answer,
        };
        if !self.0.carry(carried) {
            return Err(NotCarried::Busy);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match answered.recv_timeout(left) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NotCarried::NoDevice),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(NotCarried::Timeout),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(NotCarried::NoDevice),
        }
    }

    fn has_device(&self) -> bool {
        self.0.is_open()
    }
}

/// One key of the device.
struct HsmSigner {
    running: Arc<Running>,
    id: ObjectId,
    inspected: Arc<Inspected>,
}

impl Signer for HsmSigner {
    fn public_key(&self) -> &PublicKey {
        &self.inspected.public_key
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        let message = Message {
            key: self.id,
            scheme: self.inspected.scheme,
            bytes: msg.as_bytes().into(),
        };
        let deadline = Instant::now() + PATIENCE;
        Ok(self.running.queue.sign(&message, deadline)?)
    }

    fn repeats_itself(&self) -> bool {
        self.inspected.scheme.repeats_itself()
    }
}
