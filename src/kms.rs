//! From configuration to running parts: every cross-reference is resolved once, then keys, records and chains are opened.
//!
//! [`Plan::resolve`] looks only at the configuration; an error there means that nothing starts. [`Kms::open`] touches files; a
//! chain whose key or record cannot be opened is not served, and the others are.

use std::{collections::HashMap, path::Path, sync::Arc};

use crate::{
    chain::{self, Chain, GuardedKey},
    client::{self, Client},
    codec::proto::{self, Proto},
    config::Config,
    connection::{Address, Identity, IdentityError},
    event::{self, Event, Sink},
    keyring::{
        Key,
        format::format_key,
        providers::softsign::{self, KeyType, ProviderError},
    },
    protection::{
        Guard,
        hook::{self, HookError},
        store::file::{FileStore, OpenError},
    },
    shutdown::Shutdown,
};

/// A configuration whose cross-references all lead somewhere.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Every chain that has a validator, with its one key.
    pub chains: Vec<ChainPlan<'a>>,
    /// What an operator should know: chains without a validator, keys without a chain.
    pub warnings: Vec<String>,
}

/// One chain, its key and the nodes that it is served to.
#[derive(Debug)]
pub struct ChainPlan<'a> {
    /// The chain.
    pub chain: &'a chain::Config,
    /// Its consensus key.
    pub key: &'a softsign::Config,
    /// Its nodes, at least one.
    pub validators: Vec<&'a client::Config>,
}

impl<'a> Plan<'a> {
    /// Resolves every cross-reference.
    ///
    /// # Errors
    /// All problems found, at least one.
    pub fn resolve(config: &'a Config) -> Result<Self, Vec<Problem>> {
        let mut problems: Vec<Problem> = config
            .unbuilt
            .iter()
            .map(|unbuilt| Problem::Unbuilt {
                what: unbuilt.to_string(),
                hint: unbuilt.hint(),
            })
            .collect();
        if config.validators.is_empty() {
            problems.push(Problem::NoValidator);
        }
        let mut plan = Self {
            chains: Vec::new(),
            warnings: Vec::new(),
        };
        for chain in &config.chains {
            plan.resolve_chain(config, chain, &mut problems);
        }
        if problems.is_empty() {
            Ok(plan)
        } else {
            Err(problems)
        }
    }

    fn resolve_chain(
        &mut self,
        config: &'a Config,
        chain: &'a chain::Config,
        problems: &mut Vec<Problem>,
    ) {
        let validators: Vec<_> = config
            .validators
            .iter()
            .filter(|validator| validator.chain_id == chain.id)
            .collect();
        if validators.is_empty() {
            let text = format!("chain {} has no [[validator]] and is not served", chain.id);
            self.warnings.push(text);
            return;
        }
        // The configuration was refused if a chain had two.
        let key = config
            .softsign
            .iter()
            .find(|key| key.key_type == KeyType::Consensus && key.chain_ids.contains(&chain.id));
        match key {
            Some(key) => self.chains.push(ChainPlan {
                chain,
                key,
                validators,
            }),
            // A chain whose key is in a provider that this build lacks is told of as that.
            None if config.unbuilt.is_empty() => problems.push(Problem::NoKey {
                chain: chain.id.to_string(),
            }),
            None => {}
        }
    }
}

/// What does not fit together in a configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A section that this build knows by name only.
    #[error("{what}")]
    Unbuilt {
        /// The section and its line.
        what: String,
        /// What the operator can do about it.
        hint: String,
    },
    /// Nobody to serve.
    #[error("there is no [[validator]]: nobody would be served")]
    NoValidator,
    /// A chain with a node and without a key.
    #[error("chain {chain} has no consensus key")]
    NoKey {
        /// The chain.
        chain: String,
    },
}

impl Problem {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unbuilt { hint, .. } => hint.clone(),
            Self::NoValidator => "add a [[validator]] section with `addr` and `chain_id`".into(),
            Self::NoKey { chain } => {
                format!("add [[providers.softsign]] with `chain_ids = [\"{chain}\"]` and `path`")
            }
        }
    }
}

/// Everything that `start` needs, opened and locked.
#[derive(Debug)]
pub struct Kms {
    /// The nodes to serve.
    pub clients: Vec<Client>,
    /// Chains that could not be opened, with the reason.
    pub failed: Vec<(String, Error)>,
}

impl Kms {
    /// Opens keys and records; chains that fail are in `failed` and were told to the sink.
    #[must_use]
    pub fn open(plan: &Plan<'_>, sink: &Arc<dyn Sink>, shutdown: &Shutdown) -> Self {
        let mut opened = Opened::default();
        let mut kms = Self {
            clients: Vec::new(),
            failed: Vec::new(),
        };
        for chain in &plan.chains {
            match open_clients(chain, &mut opened, sink, shutdown) {
                Ok(clients) => kms.clients.extend(clients),
                Err(error) => kms.failed.push((chain.chain.id.to_string(), error)),
            }
        }
        kms
    }
}

/// Keys and identities that several chains share, each opened once.
#[derive(Default)]
struct Opened<'a> {
    keys: HashMap<&'a Path, Key>,
    identities: HashMap<&'a Path, Arc<Identity>>,
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
    let chain = Arc::new(open_chain(plan, opened, sink.as_ref())?);
    let clients = plan.validators.iter().zip(identities);
    Ok(clients
        .map(|(validator, identity)| Client {
            config: (*validator).clone(),
            chain: chain.clone(),
            identity,
            codec: Box::new(Proto::new(codec_options(plan.chain, validator))),
            sink: sink.clone(),
            shutdown: shutdown.clone(),
        })
        .collect())
}

fn open_chain<'a>(
    plan: &ChainPlan<'a>,
    opened: &mut Opened<'a>,
    sink: &dyn Sink,
) -> Result<Chain, Error> {
    let path = plan.key.path.as_path();
    let key = match opened.keys.get(path) {
        Some(key) => key.clone(),
        None => {
            let key = softsign::open(plan.key)?;
            opened.keys.insert(path, key.clone());
            key
        }
    };
    let public_key = key.signer.public_key().clone();
    let shown = format_key(&public_key, plan.chain.key_format.as_ref());
    notice(
        sink,
        format!(
            "[keyring:{}] added consensus {} key: {shown}",
            key.provider,
            public_key.algorithm()
        ),
    );
    let store = FileStore::open(&plan.chain.state_file, &plan.chain.id, &public_key)?;
    for note in store.notes {
        notice(sink, format!("chain {}: {note}", plan.chain.id));
    }
    let mut store = store.store;
    if let Some(config) = &plan.chain.state_hook {
        run_hook(config, &mut store, plan.chain, sink)?;
    }
    let consensus = GuardedKey {
        key,
        guard: Guard::new(store),
    };
    let id = plan.chain.id.clone();
    Ok(Chain::new(id, consensus, plan.chain.strict_rounds))
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
    let (Address::Tcp { .. }, Some(path)) = (&validator.addr, validator.secret_key.as_deref())
    else {
        return Ok(None);
    };
    if let Some(identity) = opened.identities.get(path) {
        return Ok(Some(identity.clone()));
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
    Ok(Some(identity))
}

fn codec_options(chain: &chain::Config, validator: &client::Config) -> proto::Options {
    proto::Options {
        chain_id: chain.id.clone(),
        sign_extensions: chain.sign_extensions,
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
    /// Its state hook did not answer.
    #[error("state_hook failed")]
    Hook(#[from] HookError),
}

impl Error {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Key(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Hook(_) => Some(
                "run the command by hand; `fail_closed = false` starts without it, at the risk that it was to cover".into(),
            ),
        }
    }
}
