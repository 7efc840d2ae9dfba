//! Every cross-reference, resolved once: chains, keys, validators and files.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use self::files::{Files, Role};
use super::{
    Config, Draft, chains, historic,
    paths::{self, Places},
    problem::Report,
    reader::Located,
    suggest,
    validators::{self, Validator},
};
use crate::{chain, client, connection::Address, privval::ChainId, protection::hook};

mod devices;
mod files;
mod keys;

/// Everything that the sections mean together. What is wrong is in the report; the result is used only if nothing is.
pub(super) fn resolve(mut draft: Draft<'_>, places: &Places, report: &mut Report<'_>) -> Config {
    let validator_chains = historic::chains_of_validators(&draft, report);
    historic::route_labels(&mut draft, &validator_chains, report);
    let registered = chain_ids(&draft, &validator_chains, report);
    keys::route_ledgers(&mut draft.keys, &registered, report);
    check_references(&draft, &validator_chains, &registered, report);
    keys::check(&draft, &validator_chains, &registered, report);
    check_addresses(&draft.validators, places, report);
    devices::check(&draft, report);
    devices::limits_of_ledgers(&draft, report);

    let mut files = Files::default();
    let chains = chain_configs(&draft, &registered, places, &mut files, report);
    let softsign = keys::softsign(&draft.keys, places, &mut files, report);
    let yubihsm = devices::yubihsm(&draft.hsms, &draft.keys, places, &mut files, report);
    let ledgertm = devices::ledgertm(&draft.ledgers, &draft.keys, places, &mut files, report);
    let unbuilt = keys::unbuilt(draft.unbuilt, &draft.keys);
    let mut validators = Vec::new();
    for (validator, chain_id) in draft.validators.into_iter().zip(&validator_chains) {
        if let Some(chain_id) = chain_id {
            let chain_id = chain_id.value.clone();
            validators.push(client_config(
                validator, chain_id, places, &mut files, report,
            ));
        }
    }
    files.check(report);
    if validators.is_empty() {
        report
            .warning(0, "there is no [[validator]]: nothing would be served")
            .remedy("add: [[validator]] with addr and chain_id");
    }
    Config {
        path: PathBuf::from(report.path()),
        chains,
        validators,
        softsign,
        yubihsm,
        ledgertm,
        unbuilt,
        warnings: Vec::new(),
    }
}

/// `[[chain]]`, or where there is none the chains that are mentioned: the validators' first, then the keys'.
fn chain_ids(
    draft: &Draft<'_>,
    validators: &[Option<Located<ChainId>>],
    report: &mut Report<'_>,
) -> Vec<ChainId> {
    let mut ids: Vec<ChainId> = Vec::new();
    for chain in &draft.chains {
        if ids.contains(&chain.id.value) {
            report
                .error(
                    chain.id.at,
                    format!("chain {} stands in two [[chain]] sections", chain.id.value),
                )
                .remedy("keep one of them; several validators may share a chain");
        } else {
            ids.push(chain.id.value.clone());
        }
    }
    if draft.chains.is_empty() {
        let keys = draft.keys.iter().flat_map(|key| key.chains().iter());
        for id in validators.iter().flatten().chain(keys) {
            if !ids.contains(&id.value) {
                ids.push(id.value.clone());
            }
        }
    }
    ids
}

fn check_references(
    draft: &Draft<'_>,
    validators: &[Option<Located<ChainId>>],
    registered: &[ChainId],
    report: &mut Report<'_>,
) {
    let mut unregistered = |id: &Located<ChainId>, who: &str| {
        if registered.contains(&id.value) {
            return;
        }
        let known: Vec<&str> = registered.iter().map(ChainId::as_str).collect();
        let hint = match suggest::closest(id.value.as_str(), &known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add: [[chain]] with id = \"{}\"", id.value),
        };
        report
            .error(id.at, format!("{who} an unregistered chain: {}", id.value))
            .remedy(hint);
    };
    for id in validators.iter().flatten() {
        unregistered(id, "[[validator]] of");
    }
    for key in &draft.keys {
        for id in key.chains() {
            unregistered(id, "key for");
        }
    }
    for chain in &draft.chains {
        let served = |id: &Option<Located<ChainId>>| {
            id.as_ref().is_some_and(|id| id.value == chain.id.value)
        };
        if !validators.is_empty() && !validators.iter().any(served) {
            report
                .warning(
                    chain.at,
                    format!(
                        "chain {} has no [[validator]]: nothing is signed for it",
                        chain.id.value
                    ),
                )
                .remedy("add a [[validator]], or remove what is there for this chain");
        }
    }
}

/// Two sessions with one listener would only throw each other out; and of nodes up to v0.33 nothing but the address tells for which
/// chain they ask.
fn check_addresses(validators: &[Validator<'_>], places: &Places, report: &mut Report<'_>) {
    let place = |address: &Address| match address {
        Address::Tcp { host, port, .. } | Address::Noise { host, port, .. } => {
            Place::Port(plain(host), *port)
        }
        Address::Unix(path) | Address::UnixListen(path, _) => {
            let path = places.config_directory.join(path);
            Place::Socket(paths::identity(&path))
        }
    };
    let mut seen: HashMap<Place, usize> = HashMap::new();
    for validator in validators {
        let address = &validator.addr;
        match seen.get(&place(&address.value)) {
            Some(first) => {
                let line = report.line(*first);
                let what = format!(
                    "two validators at one address: {} (the first is in line {line})",
                    suggest::quoted(&address.value.to_string())
                );
                report
                    .error(address.at, what)
                    .remedy("a node takes one signer: remove one section, or correct its addr");
            }
            None => {
                seen.insert(place(&address.value), address.at);
            }
        }
    }
}

/// Where a node is met, however it is written.
#[derive(Eq, Hash, PartialEq)]
enum Place {
    Port(String, u16),
    Socket(paths::Identity),
}

/// A host in one spelling. Where a name leads is not asked here.
fn plain(host: &str) -> String {
    let name = host.trim_end_matches('.').to_lowercase();
    match name.as_str() {
        "localhost" => Ipv4Addr::LOCALHOST.to_string(),
        name => match name.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().to_string(),
            Err(_) => name.to_owned(),
        },
    }
}

fn chain_configs(
    draft: &Draft<'_>,
    registered: &[ChainId],
    places: &Places,
    files: &mut Files,
    report: &mut Report<'_>,
) -> Vec<chain::Config> {
    let mut configs = Vec::new();
    for id in registered {
        let section = draft.chains.iter().find(|chain| chain.id.value == *id);
        let default_name = format!("{id}_priv_validator_state.json");
        // Without a section the chain's first mention is where a problem with its file is shown.
        let at = section.map_or_else(|| first_mention(draft, id), |chain| chain.id.at);
        let written = section
            .and_then(|chain| chain.state_file)
            .unwrap_or(Located {
                value: &default_name,
                at,
            });
        let state_file = places.locate("state_file", written, report);
        files.add(Role::State, id.as_str(), written.at, &state_file);
        configs.push(chain::Config {
            id: id.clone(),
            key_format: section.and_then(|chain| chain.key_format.clone()),
            state_file,
            state_hook: section
                .and_then(|chain| chain.state_hook.clone())
                .map(|hook| hook_config(hook, places)),
            sign_extensions: section
                .and_then(|chain| chain.sign_extensions)
                .is_none_or(|flag| flag.value),
            strict_rounds: section.is_some_and(|chain| chain.strict_rounds),
        });
    }
    configs
}

fn hook_config(hook: chains::Hook, places: &Places) -> hook::Config {
    hook::Config {
        cmd: hook.cmd,
        timeout: hook.timeout,
        fail_closed: hook.fail_closed,
        directory: places.config_directory.clone(),
    }
}

fn first_mention(draft: &Draft<'_>, id: &ChainId) -> usize {
    let validators = draft.validators.iter().filter_map(|v| v.chain.id());
    let keys = draft.keys.iter().flat_map(|key| key.chains().iter());
    let mut mentions = validators.chain(keys);
    mentions
        .find(|mention| mention.value == *id)
        .map_or(0, |mention| mention.at)
}

fn client_config(
    validator: Validator<'_>,
    chain_id: ChainId,
    places: &Places,
    files: &mut Files,
    report: &mut Report<'_>,
) -> client::Config {
    let Located { value: addr, at } = validator.addr;
    let needs_identity = match addr {
        Address::Tcp { .. } => Some("tcp"),
        Address::Noise { .. } => Some("noise"),
        Address::Unix(_) | Address::UnixListen(..) => None,
    };
    let addr = match addr {
        Address::Unix(path) => Address::Unix(socket(path, at, places, report)),
        Address::UnixListen(path, access) => {
            Address::UnixListen(socket(path, at, places, report), access)
        }
        addr @ (Address::Tcp { .. } | Address::Noise { .. }) => addr,
    };
    if let (Some(scheme), None) = (needs_identity, validator.secret_key) {
        report
            .error(
                at,
                format!("`secret_key` is missing: a {scheme} connection needs an identity key"),
            )
            .remedy(format!(
                "add: secret_key = {} (the file is created when it is missing)",
                validators::SECRET_KEY_EXAMPLE
            ));
    }
    let secret_key = validator.secret_key.map(|written| {
        let path = places.locate("secret_key", written, report);
        files.add(Role::Identity, chain_id.as_str(), written.at, &path);
        path
    });
    client::Config {
        addr,
        chain_id,
        reconnect: validator.reconnect,
        public_key: validator.public_key,
        protocol: validator.protocol,
        timeout: validator.timeout,
        secret_key,
        max_height: validator.max_height,
        sign_raw_bytes: validator.sign_raw_bytes,
        sign_bytes: validator.sign_bytes,
    }
}

/// The longest path that a socket can have, in bytes.
const SOCKET_PATH: usize = 107;

/// The absolute path of a socket.
fn socket(path: PathBuf, at: usize, places: &Places, report: &mut Report<'_>) -> PathBuf {
    let path = located_socket(path, at, places, report);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH {
        let what = format!("`addr`: a path of {length} bytes, and a socket's has {SOCKET_PATH}");
        report
            .error(at, what)
            .remedy("move the socket to a shorter path, like /run/tmkms/node.sock");
    }
    path
}

fn located_socket(path: PathBuf, at: usize, places: &Places, report: &mut Report<'_>) -> PathBuf {
    let Some(written) = path.to_str().filter(|_| path.is_relative()) else {
        return path;
    };
    let located = places.locate("addr", Located { value: written, at }, report);
    if let Some((_, rest)) = written.split_once('/') {
        let what = format!(
            "`addr`: a relative socket path, taken as {}",
            located.display()
        );
        report.warning(at, what).remedy(format!(
            "the original took it as /{rest}: write the full path after unix://"
        ));
    }
    located
}
