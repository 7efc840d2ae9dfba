//! Keys, records, identity keys and hooks of a configuration.

use std::{
    collections::{HashMap, HashSet},
    env,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    process::{Resource, getrlimit},
};

use crate::{
    chain,
    commands::{
        check::{Findings, devices},
        failure::key_hint,
    },
    config::{ChainKey, Config, ConsensusKey},
    connection::{Address, Identity},
    crypto::PublicKey,
    keyring::{
        format::format_key,
        providers::softsign::{self, KeyType},
    },
    kms::Plan,
    privval::ChainId,
    protection::{
        hook,
        store::file::{self, OpenError, Problem},
    },
};

/// Bytes of memory that a soft key locks.
const LOCKED_PER_KEY: u64 = 4_096;

/// The keys that could be opened, to see which they are.
pub(super) struct Seen<'a>(Vec<(ConsensusKey<'a>, PublicKey)>);

impl<'a> Seen<'a> {
    pub(super) fn add(&mut self, key: ConsensusKey<'a>, public_key: &PublicKey) {
        self.0.push((key, public_key.clone()));
    }

    fn get(&self, key: ConsensusKey<'_>) -> Option<&PublicKey> {
        let mut seen = self.0.iter();
        seen.find_map(|(other, public_key)| other.is(key).then_some(public_key))
    }
}

/// Who holds each chain's record, where somebody does.
pub(super) type Holders = HashMap<ChainId, u32>;

/// Looks at all parts, in the order of the file.
pub(super) fn look_at(config: &Config, findings: &mut Findings) -> Holders {
    for warning in &config.warnings {
        findings.warning(warning.to_string(), warning.hint.clone());
    }
    if let Err(problems) = Plan::resolve(config) {
        for problem in problems {
            findings.error(problem.to_string(), Some(problem.hint()));
        }
    }
    let mut seen = look_at_keys(config, findings);
    devices::look_at(config, &mut seen, findings);
    let mut holders = Holders::new();
    for chain in &config.chains {
        let keys = config.consensus_keys(chain);
        // The others were told of by the configuration.
        let is_served = has_node(config, chain) && !keys.is_empty();
        if !is_served {
            continue;
        }
        look_at_names(config, chain, &keys, &seen, findings);
        for key in keys {
            let holder = look_at_record(chain, &key, seen.get(key.key), findings);
            holders.extend(holder.map(|holder| (chain.id.clone(), holder)));
        }
        if let Some(hook) = &chain.state_hook {
            look_at_hook(chain, hook, findings);
        }
    }
    look_at_identities(config, findings);
    look_at_memory_limit(config, findings);
    holders
}

fn has_node(config: &Config, chain: &chain::Config) -> bool {
    let mut nodes = config.validators.iter();
    nodes.any(|node| node.chain_id == chain.id)
}

/// Whether each node names a key that the chain has. One that could not be opened may be it, and was told of.
fn look_at_names(
    config: &Config,
    chain: &chain::Config,
    keys: &[ChainKey<'_>],
    seen: &Seen<'_>,
    findings: &mut Findings,
) {
    let opened: Vec<&PublicKey> = keys.iter().filter_map(|key| seen.get(key.key)).collect();
    let nodes = config.validators.iter();
    for node in nodes.filter(|node| node.chain_id == chain.id) {
        let Some(name) = &node.public_key else {
            continue;
        };
        if opened.len() == keys.len() && !opened.iter().any(|key| name.names(key)) {
            findings.error(
                format!(
                    "`public_key` of [[validator]] {} names no key of {}: {name}",
                    node.addr, chain.id
                ),
                Some("write one of the keys above".into()),
            );
        }
    }
}

/// Opens every key and shows its public half. Returns the consensus keys that could be opened.
fn look_at_keys<'a>(config: &'a Config, findings: &mut Findings) -> Seen<'a> {
    let mut seen = Seen(Vec::new());
    for soft in &config.softsign {
        let path = soft.path.display();
        match soft.key_type {
            KeyType::Account => match softsign::look_at_account(soft) {
                Ok(_) => findings.warning(format!("account key {path} signs nothing"), None),
                Err(error) => findings.failed("account key: ", &error, error.hint()),
            },
            KeyType::Consensus => match softsign::open(soft) {
                Ok(key) => {
                    for id in &soft.chain_ids {
                        let chain = config.chains.iter().find(|chain| chain.id == *id);
                        let format = chain.and_then(|chain| chain.key_format.as_ref());
                        let shown = format_key(key.signer.public_key(), format);
                        findings.ok(format!("key {path} for {id}: {shown}"));
                    }
                    seen.add(ConsensusKey::Softsign(soft), key.signer.public_key());
                }
                Err(error) => findings.failed("key: ", &error, key_hint(&error)),
            },
        }
    }
    seen
}

/// Reads a record without a lock. Returns the process that holds it.
fn look_at_record(
    chain: &chain::Config,
    ChainKey { record, .. }: &ChainKey<'_>,
    key: Option<&PublicKey>,
    findings: &mut Findings,
) -> Option<u32> {
    let path = match key {
        Some(key) => record.find(key),
        None => match record.all().as_slice() {
            [only] => Ok(only.clone()),
            // Which one it is only the key tells, and why it does not was told.
            _ => return None,
        },
    };
    let snapshot = match path.and_then(|path| file::inspect(&path)) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let error = match key {
                Some(key) => record.told(error, &chain.id, key),
                None => OpenError {
                    chain: Some(chain.id.clone()),
                    ..error
                },
            };
            findings.failed("", &error, error.hint());
            return None;
        }
    };
    if let Some(Err(error)) = key.map(|key| snapshot.belongs_to(&chain.id, key)) {
        findings.failed("", &error, error.hint());
        return snapshot.holder;
    }
    let hrs = snapshot.record.hrs;
    let state = match hrs.height {
        0 => "has never signed".to_owned(),
        _ => format!("stands at height/round/step {hrs}"),
    };
    let holder = match snapshot.holder {
        Some(holder) => format!(", in use by process {holder}"),
        None => String::new(),
    };
    let name = format!("record {} of {}", snapshot.path.display(), chain.id);
    match snapshot.converts_from {
        Some(format) => findings.warning(
            format!("{name} {state}{holder}; start will convert it from {format}"),
            Some("the original is kept beside it".into()),
        ),
        None => findings.ok(format!("{name} {state}{holder}")),
    }
    if let Err(error) = access(&snapshot.path, Access::WRITE_OK) {
        let error = OpenError {
            path: snapshot.path.clone(),
            chain: Some(chain.id.clone()),
            typed: None,
            problem: Problem::Io {
                doing: "write",
                source: error.into(),
            },
        };
        findings.failed("", &error, error.hint());
    }
    snapshot.holder
}

/// Whether the hook's program is there; it is not run.
fn look_at_hook(chain: &chain::Config, hook: &hook::Config, findings: &mut Findings) {
    let Some(program) = hook.cmd.first() else {
        return;
    };
    let found = if program.contains('/') {
        is_program(&hook.directory.join(program))
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| is_program(&directory.join(program)))
    };
    let what = format!("state_hook of {}: {program}", chain.id);
    if found {
        findings.ok(what);
    } else if hook.fail_closed {
        findings.error(format!("{what} is no program that can be run"), None);
    } else {
        findings.warning(
            format!("{what} is no program that can be run, and fail_closed is off"),
            None,
        );
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Reads the identity keys that exist; the others will be made by `start`.
fn look_at_identities(config: &Config, findings: &mut Findings) {
    let mut seen = HashSet::<&PathBuf>::new();
    for validator in &config.validators {
        let (Address::Tcp { .. } | Address::Noise { .. }, Some(path)) =
            (&validator.addr, &validator.secret_key)
        else {
            continue;
        };
        if !seen.insert(path) {
            continue;
        }
        let shown = path.display();
        if path.symlink_metadata().is_err() {
            match path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                Some(parent) if !parent.is_dir() => findings.error(
                    format!("identity key {shown} cannot be made: there is no directory for it"),
                    Some(format!("mkdir -m 700 {}", parent.display())),
                ),
                _ => findings.ok(format!("identity key {shown} will be made by start")),
            }
            continue;
        }
        match Identity::load_or_create(path) {
            Ok((identity, _)) => findings.ok(format!(
                "identity key {shown}: node ID {}, peer ID {}",
                identity.peer_id(),
                identity.libp2p_id()
            )),
            Err(error) => findings.failed("identity key: ", &error, error.hint()),
        }
    }
}

fn look_at_memory_limit(config: &Config, findings: &mut Findings) {
    let keys = u64::try_from(config.softsign.len()).unwrap_or(u64::MAX);
    let needed = keys.saturating_mul(LOCKED_PER_KEY);
    if getrlimit(Resource::Memlock)
        .current
        .is_some_and(|limit| limit < needed)
    {
        findings.warning(
            "keys in memory may be swapped out: the limit of locked memory is too low",
            Some(format!(
                "allow {needed} bytes or more: LimitMEMLOCK= in the unit, or `ulimit -l`"
            )),
        );
    }
}
