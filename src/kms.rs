//! From configuration to running parts: every cross-reference is resolved once, then keys, records and chains are opened.
//!
//! [`Plan::resolve`] looks only at the configuration; an error there means that nothing starts. [`Kms::open`] touches files; a
//! chain whose key or record cannot be opened is not served, and the others are.

use crate::{
    chain, client,
    config::{ChainKey, Config, ConsensusKey},
    keyring::{key_name::KeyName, providers::yubihsm},
};

mod opening;

pub use self::opening::{Error, Kms, Looked};

/// A configuration whose cross-references all lead somewhere.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Every chain that has a validator; once for each key that its validators name.
    pub chains: Vec<ChainPlan<'a>>,
    /// Every YubiHSM that others are to reach through this process, with its place in the configuration.
    pub served_hsms: Vec<(usize, &'a yubihsm::Config)>,
    /// What an operator should know: chains without a validator, keys without a chain.
    pub warnings: Vec<String>,
}

/// One chain, one of its keys, and the nodes that this key signs for.
#[derive(Debug)]
pub struct ChainPlan<'a> {
    /// The chain.
    pub chain: &'a chain::Config,
    /// The keys that it can be, at least one. Which it is shows when they are open.
    pub keys: Vec<ChainKey<'a>>,
    /// What the nodes call the key, where they say it: all of it must be true. At least one name where there are several keys.
    pub names: Vec<&'a KeyName>,
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
            served_hsms: config
                .yubihsm
                .iter()
                .enumerate()
                .filter(|(_, device)| device.connector_server.is_some())
                .collect(),
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

    /// Whether a chain's key is in the YubiHSM at this place of the configuration.
    fn uses_hsm(&self, place: usize) -> bool {
        let mut keys = self.chains.iter().flat_map(|chain| &chain.keys);
        keys.any(|key| matches!(key.key, ConsensusKey::YubiHsm { index, .. } if index == place))
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
        let keys = config.consensus_keys(chain);
        match keys.len() {
            // A chain whose key is in a provider that this build lacks is told of as that.
            0 if !config.unbuilt.is_empty() => {}
            0 => problems.push(Problem::NoKey {
                chain: chain.id.to_string(),
            }),
            1 => self.chains.push(ChainPlan {
                chain,
                keys,
                names: validators
                    .iter()
                    .filter_map(|validator| validator.public_key.as_ref())
                    .collect(),
                validators,
            }),
            _ => self.resolve_several(chain, &keys, &validators, problems),
        }
    }

    /// A chain with several keys: each validator says which is its own.
    fn resolve_several(
        &mut self,
        chain: &'a chain::Config,
        keys: &[ChainKey<'a>],
        validators: &[&'a client::Config],
        problems: &mut Vec<Problem>,
    ) {
        let first = self.chains.len();
        for validator in validators {
            let Some(name) = &validator.public_key else {
                problems.push(Problem::WhichKey {
                    chain: chain.id.to_string(),
                    keys: keys.len(),
                    validator: validator.addr.to_string(),
                });
                continue;
            };
            let (_, plans) = self.chains.split_at_mut(first);
            let known = plans
                .iter_mut()
                .find(|plan| plan.names.iter().any(|known| known.meets(name)));
            match known {
                // Two connections with one key share its record.
                Some(plan) => {
                    plan.names.push(name);
                    plan.validators.push(validator);
                }
                None => self.chains.push(ChainPlan {
                    chain,
                    keys: keys.to_vec(),
                    names: vec![name],
                    validators: vec![validator],
                }),
            }
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
    /// A chain with several keys and a node that names none of them.
    #[error(
        "chain {chain} has {keys} keys, and [[validator]] {validator} does not say which of them it signs with"
    )]
    WhichKey {
        /// The chain.
        chain: String,
        /// How many keys it has.
        keys: usize,
        /// The node.
        validator: String,
    },
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
            Self::WhichKey { .. } => {
                "add: public_key = \"…\", as `tmkms check` prints it; or take all keys but one out"
                    .into()
            }
            Self::NoKey { chain } => {
                format!("add [[providers.softsign]] with `chain_ids = [\"{chain}\"]` and `path`")
            }
        }
    }
}
