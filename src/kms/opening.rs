//! Opening what a plan names: identity keys, keys, records, chains.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    chain::{self, Chain, Failed, GuardedKey, NotOpen, Served, Waiting},
    client::{self, Client},
    codec::{node::Node, proto},
    config::{ChainKey, ConsensusKey},
    connection::{Address, Identity, IdentityError},
    event::{self, Event, Sink},
    keyring::{
        Key,
        format::format_key,
        providers::{
            ProviderError,
            ledgertm::{self, Ledger},
            softsign,
            yubihsm::{self, Hsm},
        },
    },
    kms::{ChainPlan, Plan},
    protection::{
        Guard,
        hook::{self, HookError},
        store::file::{FileStore, OpenError},
    },
    shutdown::Shutdown,
};

mod candidates;

use self::candidates::{Candidates, Choice, Found, KeySource, is_named};

/// Everything that `start` needs, opened and locked.
#[derive(Debug)]
pub struct Kms {
    /// The nodes to serve.
    pub clients: Vec<Client>,
    /// Chains that could not be opened, with the reason.
    pub failed: Vec<(String, Error)>,
    /// The devices whose sessions are to be closed at the end.
    pub hsms: Vec<Hsm>,
}

impl Kms {
    /// Opens the soft keys and their records; chains that fail are in `failed`. Devices are started, and their chains are opened
    /// by their clients' threads, so that nobody waits for a device but its own chains.
    ///
    /// `looked` is dropped when every device was looked for once, a bounded time after the threads were started.
    #[must_use]
    pub fn open(
        plan: &Plan<'_>,
        sink: &Arc<dyn Sink>,
        shutdown: &Shutdown,
        looked: Looked,
    ) -> Self {
        let mut opened = Opened::new(sink, shutdown, looked);
        let mut kms = Self {
            clients: Vec::new(),
            failed: Vec::new(),
            hsms: Vec::new(),
        };
        // Devices come up while the rest is opened.
        for key in plan.chains.iter().flat_map(|chain| &chain.keys) {
            if !matches!(key.key, ConsensusKey::Softsign(_)) {
                // What cannot be started is told below, with the chain that needs it.
                let _ = opened.key_source(key.key);
            }
        }
        for (index, device) in &plan.served_hsms {
            if let Err(error) = opened.hsm(*index, device)
                && !plan.uses_hsm(*index)
            {
                // Where a chain uses it, the chain says so.
                let text = with_hint(&error, error.hint());
                let subject = device.to_string();
                sink.tell(&Event::Warning { subject, text });
            }
        }
        for chain in &plan.chains {
            match open_clients(chain, &mut opened, sink, shutdown) {
                Ok(clients) => kms.clients.extend(clients),
                Err(error) => kms.failed.push((chain.chain.id.to_string(), error)),
            }
        }
        kms.hsms = opened.hsms.into_values().collect();
        kms
    }
}

/// Something that is dropped when every device was looked for once.
pub type Looked = Arc<dyn Send + Sync>;

/// How long after a start a chain is said to wait for its device.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// How long each later try waits for an answer; long enough for a device that has come to be asked for a key, and short enough
/// for a shutdown.
const LATER_LOOK: Duration = Duration::from_millis(500);

/// How long after one reason for a wait another one is told.
const NEWS: Duration = Duration::from_secs(10);

/// Keys, devices and identities that several chains share, each opened or started once.
struct Opened<'a> {
    sink: &'a Arc<dyn Sink>,
    shutdown: &'a Shutdown,
    looked: Looked,
    /// Until when devices are waited for.
    devices_by: Instant,
    keys: HashMap<&'a Path, Key>,
    ledgers: HashMap<usize, Ledger>,
    hsms: HashMap<usize, Hsm>,
    identities: HashMap<&'a Path, Arc<Identity>>,
}

impl<'a> Opened<'a> {
    fn new(sink: &'a Arc<dyn Sink>, shutdown: &'a Shutdown, looked: Looked) -> Self {
        Self {
            sink,
            shutdown,
            looked,
            devices_by: Instant::now() + FIRST_LOOK,
            keys: HashMap::new(),
            ledgers: HashMap::new(),
            hsms: HashMap::new(),
            identities: HashMap::new(),
        }
    }

    /// The key that a chain's nodes mean.
    fn choose(&mut self, plan: &ChainPlan<'a>) -> Result<Choice, Error> {
        let mut candidates = Candidates {
            devices: Vec::new(),
            names: plan.names.iter().map(|name| (*name).clone()).collect(),
            failed: None,
        };
        for ChainKey { key, record } in &plan.keys {
            match self.key_source(*key) {
                Ok(KeySource::Open(key)) if is_named(&key, &candidates.names) => {
                    let record = record.clone();
                    return Ok(Choice::Made(Found { key, record }));
                }
                Ok(KeySource::Open(_)) => {}
                Ok(KeySource::Device(ask)) => candidates.devices.push((ask, record.clone())),
                Err(error) => candidates.failed = candidates.failed.or(Some(error)),
            }
        }
        if candidates.devices.is_empty() {
            return Err(candidates.why_none());
        }
        Ok(Choice::Open(candidates))
    }

    /// Where a key comes from. What is shared by several chains is opened or started here.
    fn key_source(&mut self, key: ConsensusKey<'a>) -> Result<KeySource, Error> {
        let devices_by = self.devices_by;
        let patience = move || {
            let left = devices_by.saturating_duration_since(Instant::now());
            left.max(LATER_LOOK)
        };
        match key {
            ConsensusKey::Softsign(config) => Ok(KeySource::Open(self.soft_key(config)?)),
            ConsensusKey::YubiHsm { index, device, key } => {
                let (hsm, id) = (self.hsm(index, device)?, key.key);
                Ok(KeySource::Device(Box::new(move || hsm.key(id, patience()))))
            }
            ConsensusKey::Ledger { index, device } => {
                let ledger = self.ledger(index, device)?;
                Ok(KeySource::Device(Box::new(move || ledger.key(patience()))))
            }
        }
    }

    fn soft_key(&mut self, config: &'a softsign::Config) -> Result<Key, ProviderError> {
        let path = config.path.as_path();
        if let Some(key) = self.keys.get(path) {
            return Ok(key.clone());
        }
        let key = softsign::open(config)?;
        self.keys.insert(path, key.clone());
        Ok(key)
    }

    fn ledger(&mut self, index: usize, config: &ledgertm::Config) -> Result<Ledger, Error> {
        if let Some(ledger) = self.ledgers.get(&index) {
            return Ok(ledger.clone());
        }
        let started = Ledger::start(&config.adapter, self.sink, self.shutdown);
        let ledger = started.map_err(Error::Thread)?;
        self.ledgers.insert(index, ledger.clone());
        Ok(ledger)
    }

    fn hsm(&mut self, index: usize, config: &yubihsm::Config) -> Result<Hsm, ProviderError> {
        if let Some(hsm) = self.hsms.get(&index) {
            return Ok(hsm.clone());
        }
        let hsm = Hsm::start(config, self.sink, self.shutdown)?;
        self.hsms.insert(index, hsm.clone());
        Ok(hsm)
    }
}

fn open_clients<'a>(
    plan: &ChainPlan<'a>,
    opened: &mut Opened<'a>,
    sink: &Arc<dyn Sink>,
    shutdown: &Shutdown,
) -> Result<Vec<Client>, Error> {
    let mut identities = Vec::with_capacity(plan.validators.len());
    for validator in &plan.validators {
        identities.push(open_identity(validator, opened, sink)?);
    }
    let chain = match opened.choose(plan)? {
        Choice::Made(found) => open_chain(plan.chain, found, sink.as_ref())?.into(),
        Choice::Open(devices) => wait_for(plan.chain, devices, sink, opened.looked.clone()),
    };
    let clients = plan.validators.iter().zip(identities);
    Ok(clients
        .map(|(validator, identity)| Client {
            config: (*validator).clone(),
            chain: chain.clone(),
            identity,
            codec: Box::new(Node::new(
                &codec_options(plan.chain, validator),
                validator.protocol,
            )),
            sink: sink.clone(),
            shutdown: shutdown.clone(),
        })
        .collect())
}

/// A chain that its clients' threads open when its key is there.
fn wait_for(
    config: &chain::Config,
    candidates: Candidates,
    sink: &Arc<dyn Sink>,
    looked: Looked,
) -> Served {
    let mut later = Later {
        config: config.clone(),
        candidates,
        sink: sink.clone(),
        looked: Some(looked),
        since: Instant::now(),
        told: None,
    };
    let open = move || {
        let opened = later.try_open();
        later.looked = None;
        opened
    };
    Served::Waiting(Arc::new(Waiting::new(Box::new(open))))
}

/// A chain whose key is in a device.
struct Later {
    config: chain::Config,
    candidates: Candidates,
    sink: Arc<dyn Sink>,
    /// Until the first try has ended.
    looked: Option<Looked>,
    since: Instant,
    /// Why it waits, as it was told last, and when.
    told: Option<(String, Instant)>,
}

impl Later {
    fn try_open(&mut self) -> Result<Chain, NotOpen> {
        let failed = match self.candidates.ask() {
            Ok(found) => match open_chain(&self.config, found, self.sink.as_ref()) {
                Ok(chain) => {
                    self.tell_open();
                    return Ok(chain);
                }
                Err(error) => error,
            },
            Err(Error::Key(error)) if error.is_transient() => {
                self.tell_waiting(&error);
                return Err(NotOpen::NotYet);
            }
            Err(error) => error,
        };
        self.sink.tell(&Event::Stopped {
            chain: self.config.id.to_string(),
            reason: format!("not served: {}", failed.with_hint()),
        });
        Err(NotOpen::Failed(Failed {
            reason: event::in_one_line(&failed),
            hint: failed.hint(),
        }))
    }

    /// Says that the wait is over, if there was one.
    fn tell_open(&self) {
        if self.told.is_some() {
            let (id, waited) = (&self.config.id, self.since.elapsed().as_secs());
            let text = format!("chain {id}: its key is there after {waited} s, it is served now");
            notice(self.sink.as_ref(), text);
        }
    }

    /// Says why the chain waits, if that is not what was said last.
    fn tell_waiting(&mut self, error: &ProviderError) {
        let text = with_hint(error, error.hint());
        let is_news = self.told.as_ref().is_none_or(|(told, at)| {
            // A device that fails in turns, now so and now so, is told of now and then.
            text != *told && at.elapsed() > NEWS
        });
        if is_news {
            self.sink.tell(&Event::Warning {
                subject: format!("chain {}", self.config.id),
                text: format!("not served until its key is there: {text}"),
            });
            self.told = Some((text, Instant::now()));
        }
    }
}

fn open_chain(config: &chain::Config, found: Found, sink: &dyn Sink) -> Result<Chain, Error> {
    let Found { key, record } = found;
    let public_key = key.signer.public_key().clone();
    let shown = format_key(&public_key, config.key_format.as_ref());
    notice(
        sink,
        format!(
            "[keyring:{}] added consensus {} key: {shown}",
            key.provider,
            public_key.algorithm()
        ),
    );
    let store = record
        .find(&public_key)
        .and_then(|path| FileStore::open(&path, &config.id, &public_key))
        .map_err(|error| record.told(error, &config.id, &public_key))?;
    for note in store.notes {
        notice(sink, format!("chain {}: {note}", config.id));
    }
    let mut store = store.store;
    if let Some(hook) = &config.state_hook {
        run_hook(hook, &mut store, config, sink)?;
    }
    let consensus = GuardedKey {
        key,
        guard: Guard::new(store),
    };
    Ok(Chain::new(
        config.id.clone(),
        consensus,
        config.strict_rounds,
    ))
}

fn run_hook(
    config: &hook::Config,
    store: &mut FileStore,
    chain: &chain::Config,
    sink: &dyn Sink,
) -> Result<(), Error> {
    match hook::run(config) {
        Ok(height) => {
            if let Some(note) = store.raise_from_hook(height)? {
                notice(sink, format!("chain {}: {note}", chain.id));
            }
            Ok(())
        }
        Err(error) if config.fail_closed => Err(error.into()),
        Err(error) => {
            sink.tell(&Event::Warning {
                subject: format!("chain {}", chain.id),
                text: format!(
                    "state_hook failed, going on without it (fail_closed = false): {}",
                    event::in_one_line(&error)
                ),
            });
            Ok(())
        }
    }
}

fn open_identity<'a>(
    validator: &'a client::Config,
    opened: &mut Opened<'a>,
    sink: &Arc<dyn Sink>,
) -> Result<Option<Arc<Identity>>, Error> {
    let (Address::Tcp { .. } | Address::Noise { .. }, Some(path)) =
        (&validator.addr, validator.secret_key.as_deref())
    else {
        return Ok(None);
    };
    let told = |identity: Arc<Identity>| {
        if let Address::Noise { .. } = validator.addr {
            let who = identity.libp2p_id();
            notice(
                sink.as_ref(),
                format!("KMS peer ID for {}: {who}", validator.addr),
            );
        }
        Ok(Some(identity))
    };
    if let Some(identity) = opened.identities.get(path) {
        return told(identity.clone());
    }
    let (identity, created) = Identity::load_or_create(path)?;
    if created {
        notice(
            sink.as_ref(),
            format!("created the identity key {}", path.display()),
        );
    }
    notice(
        sink.as_ref(),
        format!("KMS node ID: {}", identity.peer_id()),
    );
    let identity = Arc::new(identity);
    opened.identities.insert(path, identity.clone());
    told(identity)
}

fn codec_options(chain: &chain::Config, validator: &client::Config) -> proto::Options {
    proto::Options {
        chain_id: chain.id.clone(),
        sign_extensions: chain.sign_extensions,
        v2: validator.protocol.is_some_and(|pin| pin.spelling == "v2"),
        raw: if validator.sign_bytes {
            proto::Raw::SignBytes
        } else if validator.sign_raw_bytes.is_empty() {
            proto::Raw::Refuse
        } else {
            proto::Raw::Celestia {
                prefixes: validator.sign_raw_bytes.clone(),
            }
        },
    }
}

fn with_hint(error: &dyn std::error::Error, hint: Option<String>) -> String {
    let text = event::in_one_line(error);
    match hint {
        Some(hint) => format!("{text} (hint: {hint})"),
        None => text,
    }
}

fn notice(sink: &dyn Sink, text: String) {
    sink.tell(&Event::Notice { text });
}

/// Why a chain is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its key.
    #[error(transparent)]
    Key(#[from] ProviderError),
    /// Its record.
    #[error(transparent)]
    Record(#[from] OpenError),
    /// Its identity key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// None of its keys is the one that its nodes name.
    #[error("no key of the chain is the one that `public_key` of its [[validator]] names: {names}")]
    NoSuchKey {
        /// The names, as they are written.
        names: String,
    },
    /// Its device's thread.
    #[error("cannot start a thread for the device")]
    Thread(#[source] io::Error),
    /// Its state hook did not answer.
    #[error("state_hook failed")]
    Hook(#[from] HookError),
}

impl Error {
    /// The error with its causes and its hint, in one line.
    #[must_use]
    pub fn with_hint(&self) -> String {
        with_hint(self, self.hint())
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Key(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::NoSuchKey { .. } => {
                Some("`tmkms check` prints the keys of each chain".to_owned())
            }
            Self::Thread(_) => None,
            Self::Hook(_) => Some(
                "run the command by hand; `fail_closed = false` starts without it, at the risk that it was to cover".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
