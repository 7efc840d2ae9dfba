//! The running provider: a thread that owns the device, and signers that ask it.
//!
//! A request waits for the device as long as a node waits for a reply, and is then answered with "not ready". What has reached
//! the device is carried on with; when the node asks again it gets the finished signature.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    crypto::{PublicKey, Signature},
    event::{self, Event, Sink},
    keyring::{
        Key, Signer, SignerError,
        providers::{
            ProviderError,
            ledgertm::{
                NAME,
                config::Adapter,
                device::{App, Device},
                error::LedgerError,
                limits,
            },
            watched::Watched,
        },
    },
    protection::Permitted,
    shutdown::{Registration, Shutdown},
};

/// How long a request waits for the device: a node up to v0.33 gives up after 3 s.
const PATIENCE: Duration = Duration::from_millis(2_250);

/// How long a person may take. The device goes on asking for as long as it likes, so that giving up early would only lose the
/// answer; it is a bound on a device that has died without a sign.
const PERSON: Duration = Duration::from_secs(12 * 3_600);

/// A signature that took longer was confirmed by a person, which is told.
const CONFIRMED: Duration = Duration::from_secs(2);

/// How often an idle device is looked at, so that a lock or another app is seen before the next vote.
const LOOK: Duration = Duration::from_secs(5);

/// The waits between two tries to open it, from the first to the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// A device that was open for so long is one that works: what befalls it then is news.
const STEADY: Duration = Duration::from_secs(10);

/// How many finished requests are remembered. A node asks again for the last one; two nodes for one each.
const REMEMBERED: usize = 8;

/// A Ledger that is kept open by a thread of its own. The thread ends with the last clone of it and the last key that it
/// gave, or on shutdown.
#[derive(Clone)]
pub struct Ledger(Arc<Running>);

impl Ledger {
    /// Starts the thread, which opens the device now and whenever it comes back.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(adapter: &Adapter, sink: &Arc<dyn Sink>, shutdown: &Shutdown) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let stop = Shutdown::new();
        let registration = shutdown.on_request({
            let (stop, shared) = (stop.clone(), Arc::clone(&shared));
            move || shared.stop(&stop)
        });
        let worker = Worker {
            adapter: adapter.clone(),
            sink: Arc::clone(sink),
            shared: Arc::clone(&shared),
            stop: stop.clone(),
        };
        thread::Builder::new()
            .name(format!("{NAME} {adapter}"))
            .spawn(move || worker.run())?;
        Ok(Self(Arc::new(Running {
            shared,
            stop,
            device: adapter.to_string(),
            _registration: registration,
        })))
    }

    /// The device's key, as soon as the device is open; waits for that at most `patience`.
    ///
    /// # Errors
    /// `ProviderError::NotReady` while it is not there, is locked or has another app open; `Unusable` for what no second try
    /// changes.
    pub fn key(&self, patience: Duration) -> Result<Key, ProviderError> {
        let deadline = Instant::now() + patience;
        let mut state = self.0.shared.lock();
        loop {
            if let Some(public_key) = state.public_key.clone() {
                return Ok(Key {
                    provider: NAME,
                    signer: Arc::new(LedgerSigner {
                        running: Arc::clone(&self.0),
                        public_key,
                    }),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match &state.absent {
                Some(error) if left.is_zero() || !error.is_transient() => {
                    return Err(error.clone().into_provider_error(&self.0.device));
                }
                None if left.is_zero() => {
                    return Err(ProviderError::NotReady {
                        device: format!("{NAME} {}", self.0.device),
                        reason: "it is just being opened".into(),
                        hint: None,
                    });
                }
                _ => {}
            }
            state = self.0.shared.wait(state, left);
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.0.device).finish()
    }
}

/// What keeps the thread alive.
struct Running {
    shared: Arc<Shared>,
    stop: Shutdown,
    device: String,
    _registration: Registration,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop(&self.stop);
    }
}

/// The device's key.
struct LedgerSigner {
    running: Arc<Running>,
    public_key: PublicKey,
}

impl Signer for LedgerSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        let bytes = msg.as_bytes();
        limits::fits(bytes).map_err(|error| SignerError::Final {
            reason: error.to_string(),
        })?;
        self.running.shared.sign(bytes, PATIENCE)
    }

    /// The app answers an identical request with a refusal.
    fn repeats_itself(&self) -> bool {
        false
    }

    fn signs_extensions(&self) -> bool {
        false
    }
}

/// What signers and the thread tell each other.
type Shared = Watched<State>;

#[derive(Default)]
struct State {
    /// The key of the device that was opened first; never another one.
    public_key: Option<PublicKey>,
    is_open: bool,
    /// Why it is not open, once that was tried.
    absent: Option<LedgerError>,
    /// Asked and not yet at the device, oldest first.
    waiting: VecDeque<Arc<[u8]>>,
    at_device: Option<Arc<[u8]>>,
    /// The newest is the last.
    finished: VecDeque<Finished>,
    stopped: bool,
}

struct Finished {
    bytes: Arc<[u8]>,
    outcome: Result<Signature, String>,
    at: Instant,
    /// A refusal is told once; asked again, so is the device.
    told: bool,
}

impl Shared {
    fn stop(&self, stop: &Shutdown) {
        stop.request();
        self.change(|state| state.stopped = true);
    }

    /// A signer's side: waits for the signature of these bytes.
    fn sign(&self, bytes: &[u8], patience: Duration) -> Result<Signature, SignerError> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(outcome) = state.take_finished(bytes, start) {
                return outcome.map_err(|reason| SignerError::Final { reason });
            }
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() || state.stopped {
                let reason = state.why_not(bytes);
                // What has not reached the device is withdrawn: by the time that it would, the chain has moved on.
                state.waiting.retain(|waiting| **waiting != *bytes);
                return Err(SignerError::Transient { reason });
            }
            if state.enqueue(bytes) {
                self.wake();
            }
            state = self.wait(state, left);
        }
    }

    /// The thread's side: the next bytes to sign. `None` after `limit`, or when it is time to stop.
    fn next(&self, limit: Duration) -> Option<Arc<[u8]>> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            let left = limit.saturating_sub(start.elapsed());
            if state.stopped || left.is_zero() {
                return None;
            }
            if let Some(bytes) = state.waiting.pop_front() {
                state.at_device = Some(Arc::clone(&bytes));
                return Some(bytes);
            }
            state = self.wait(state, left);
        }
    }
}

impl State {
    /// The outcome for these bytes, if it is known and still worth telling to somebody who asked at `asked`.
    fn take_finished(&mut self, bytes: &[u8], asked: Instant) -> Option<Result<Signature, String>> {
        let finished = self
            .finished
            .iter_mut()
            .rev()
            .find(|finished| *finished.bytes == *bytes)?;
        if finished.outcome.is_err() && finished.told && finished.at < asked {
            return None;
        }
        finished.told = true;
        Some(finished.outcome.clone())
    }

    /// False if the bytes wait already or are being signed.
    fn enqueue(&mut self, bytes: &[u8]) -> bool {
        let is_known = self
            .at_device
            .iter()
            .chain(&self.waiting)
            .any(|b| **b == *bytes);
        if !is_known {
            self.waiting.push_back(bytes.into());
        }
        !is_known
    }

    /// Why these bytes are not signed yet. The same words for as long as the reason stays, so that it is told once.
    fn why_not(&self, bytes: &[u8]) -> String {
        let waits = "the Ledger waits for a person to confirm on the device";
        match (&self.at_device, &self.absent) {
            _ if self.stopped => "tmkms is stopping".into(),
            (Some(at_device), _) if **at_device == *bytes => waits.into(),
            (Some(_), _) => format!("{waits} what it was asked before"),
            (None, Some(error)) if !self.is_open => with_hint(error),
            _ => "the Ledger is not ready yet".into(),
        }
    }

    fn finish(&mut self, bytes: Arc<[u8]>, outcome: Result<Signature, String>) {
        self.at_device = None;
        self.finished.retain(|finished| finished.bytes != bytes);
        if self.finished.len() == REMEMBERED {
            self.finished.pop_front();
        }
        self.finished.push_back(Finished {
            bytes,
            outcome,
            at: Instant::now(),
            told: false,
        });
    }
}

/// The thread that owns the device.
struct Worker {
    adapter: Adapter,
    sink: Arc<dyn Sink>,
    shared: Arc<Shared>,
    stop: Shutdown,
}

impl Worker {
    fn run(self) {
        let (first, longest) = BACK_OFF;
        let mut wait = first;
        // The failure told last: the same one again and again is told once.
        let mut told = String::new();
        // A device that fails soon after it was opened, always in the same way, is not told of each time that it is back.
        let mut is_flapping = false;
        while !self.stop.is_requested() {
            let mut was_open = None;
            // A panic costs the device's connection and not the chain: the next round begins with nothing.
            let ended = catch_unwind(AssertUnwindSafe(|| {
                let (device, app) = match self.open() {
                    Ok(opened) => opened,
                    Err(error) => return error,
                };
                was_open = Some(Instant::now());
                if !is_flapping {
                    self.tell_open(&device, &app);
                }
                self.serve(device)
            }));
            let error = ended.unwrap_or_else(|panic| LedgerError::Crashed {
                said: event::panic_text(panic.as_ref()).to_owned(),
            });
            if self.stop.is_requested() {
                break;
            }
            if was_open.is_some_and(|since| since.elapsed() > STEADY) {
                (wait, told) = (first, String::new());
            }
            let text = error.to_string();
            // Until the device was open once, the chain that waits for it says why.
            if self.shared.lock().public_key.is_some() {
                is_flapping = was_open.is_some() && text == told;
                if text != told {
                    self.warn(&error);
                    told = text;
                }
            }
            self.shared.change(|state| {
                state.is_open = false;
                state.at_device = None;
                state.absent = Some(error);
            });
            if self.stop.wait(wait) {
                break;
            }
            wait = (wait * 2).min(longest);
        }
        self.shared.change(|state| state.stopped = true);
    }

    /// Opens the device and makes sure of the app and the key.
    fn open(&self) -> Result<(Device, App), LedgerError> {
        let mut device = Device::open(&self.adapter, &self.stop)?;
        let app = device.app()?;
        let public_key = device.public_key()?;
        let is_same = self.shared.change(|state| {
            let known = state.public_key.get_or_insert_with(|| public_key.clone());
            let is_same = *known == public_key;
            state.is_open = is_same;
            is_same
        });
        if !is_same {
            return Err(LedgerError::OtherKey);
        }
        Ok((device, app))
    }

    /// Signs what is asked until the device fails.
    fn serve(&self, mut device: Device) -> LedgerError {
        loop {
            let Some(bytes) = self.shared.next(LOOK) else {
                if self.stop.is_requested() {
                    return LedgerError::Stopping;
                }
                match device.app() {
                    Ok(_) => continue,
                    Err(error) => return error,
                }
            };
            let start = Instant::now();
            let outcome = match self.sign(&mut device, &bytes) {
                Err(error) if error.is_transient() => return error,
                Err(error) => Err(with_hint(&error)),
                Ok(signature) => Ok(signature),
            };
            self.shared.change(|state| state.finish(bytes, outcome));
            let took = start.elapsed();
            if took > CONFIRMED {
                self.notice(format!("the device answered after {} s", took.as_secs()));
            }
        }
    }

    fn sign(&self, device: &mut Device, bytes: &[u8]) -> Result<Signature, LedgerError> {
        let signature = device.sign(bytes, PERSON)?;
        let key = self.shared.lock().public_key.clone();
        // It is verified again before it leaves; what is kept must be right as well.
        if key.is_some_and(|key| key.verifies(bytes, &signature)) {
            Ok(signature)
        } else {
            Err(LedgerError::BadSignature)
        }
    }

    fn tell_open(&self, device: &Device, app: &App) {
        self.notice(format!(
            "opened {}: {app}; the first vote after the app was opened is confirmed on the device",
            device.name()
        ));
    }

    fn notice(&self, text: String) {
        self.sink.tell(&Event::Notice {
            text: format!("[keyring:{NAME}] {text}"),
        });
    }

    fn warn(&self, error: &LedgerError) {
        self.sink.tell(&Event::Warning {
            subject: format!("{NAME} {}", self.adapter),
            text: with_hint(error),
        });
    }
}

/// As the node and the log are told it.
fn with_hint(error: &LedgerError) -> String {
    match error.hint() {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    }
}
