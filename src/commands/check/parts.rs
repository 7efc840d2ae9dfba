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
    config::Config,
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
    let mut keys = look_at_keys(config, findings);
    devices::look_at(config, &mut keys, findings);
    let mut holders = Holders::new();
    for chain in config
        .chains
        .iter()
        .filter(|chain| is_served(config, chain))
    {
        let holder = look_at_record(chain, keys.get(&chain.id), findings);
        holders.extend(holder.map(|holder| (chain.id.clone(), holder)));
        if let Some(hook) = &chain.state_hook {
            look_at_hook(chain, hook, findings);
        }
    }
    look_at_identities(config, findings);
    look_at_memory_limit(config, findings);
    holders
}

/// Whether `start` would open the chain. The others were told of by the configuration.
fn is_served(config: &Config, chain: &chain::Config) -> bool {
    let has_node = config
        .validators
        .iter()
        .any(|node| node.chain_id == chain.id);
    has_node && config.consensus_key(&chain.id).is_some()
}

/// Opens every key and shows its public half. Returns the consensus keys that could be opened, by chain.
fn look_at_keys(config: &Config, findings: &mut Findings) -> HashMap<ChainId, PublicKey> {
    let mut keys = HashMap::new();
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
                        keys.insert(id.clone(), key.signer.public_key().clone());
                    }
                }
                Err(error) => findings.failed("key: ", &error, key_hint(&error)),
            },
        }
    }
    keys
}

/// Reads a record without a lock. Returns the process that holds it.
fn look_at_record(
    chain: &chain::Config,
    key: Option<&PublicKey>,
    findings: &mut Findings,
) -> Option<u32> {
    let path = &chain.state_file;
    let snapshot = match file::inspect(path) {
        Ok(snapshot) => snapshot,
        Err(mut error) => {
            error.chain.get_or_insert_with(|| chain.id.clone());
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
