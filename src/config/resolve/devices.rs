//! Devices: which is which, and what they can be known not to do.

use super::{
    files::{Files, Role},
    keys,
};
use crate::{
    codec::Family,
    config::{
        Draft,
        chains::Chain,
        paths::Places,
        problem::Report,
        providers::{
            Key, Place,
            ledgertm::Ledger,
            yubihsm::{Hsm, PasswordAt},
        },
        reader::Located,
        validators::Validator,
    },
    keyring::providers::{
        ledgertm::{self, limits},
        yubihsm::{self, Adapter, Auth, KeyConfig, PasswordSource},
    },
    privval::ChainId,
};

/// `[[providers.yubihsm]]`.
pub(super) fn yubihsm(
    hsms: &[Hsm<'_>],
    keys: &[Key<'_>],
    places: &Places,
    files: &mut Files,
    report: &mut Report<'_>,
) -> Vec<yubihsm::Config> {
    let mut configs = Vec::new();
    for (index, hsm) in hsms.iter().enumerate() {
        let password = match &hsm.password {
            PasswordAt::Inline(password) => PasswordSource::Inline(password.clone()),
            PasswordAt::File(written) => {
                let path = places.locate("password_file", *written, report);
                files.add(Role::Password, "", written.at, &path);
                PasswordSource::File(path)
            }
            PasswordAt::Variable(name) => PasswordSource::Variable((*name).to_owned()),
            PasswordAt::Credential(name) => PasswordSource::Credential((*name).to_owned()),
        };
        let mut of_device = Vec::new();
        for key in keys {
            match key.place {
                Place::Hsm { device, key: id } if device == index => of_device.push(KeyConfig {
                    chain_ids: chain_ids(key),
                    key: id,
                    key_type: key.key_type,
                    state_file: keys::state_file(key, places, files, report),
                }),
                _ => {}
            }
        }
        configs.push(yubihsm::Config {
            adapter: hsm.adapter.value.clone(),
            serial_number: hsm.serial_number.map(|serial| serial.value),
            auth: Auth {
                key: hsm.auth_key,
                password,
            },
            keys: of_device,
            connector_server: hsm.connector_server.as_ref().map(|s| s.value.clone()),
        });
    }
    configs
}

/// `[[providers.ledgertm]]`.
pub(super) fn ledgertm(
    ledgers: &[Ledger],
    keys: &[Key<'_>],
    places: &Places,
    files: &mut Files,
    report: &mut Report<'_>,
) -> Vec<ledgertm::Config> {
    let mut configs = Vec::new();
    for (index, ledger) in ledgers.iter().enumerate() {
        let key = keys
            .iter()
            .find(|key| matches!(key.place, Place::Ledger { device } if device == index));
        configs.push(ledgertm::Config {
            chain_ids: key.map(chain_ids).unwrap_or_default(),
            adapter: ledger.adapter.clone(),
            state_file: key.and_then(|key| keys::state_file(key, places, files, report)),
        });
    }
    configs
}

fn chain_ids(key: &Key<'_>) -> Vec<ChainId> {
    key.chains().iter().map(|id| id.value.clone()).collect()
}

/// Two sections that could lead to one device: sessions and settings would be made twice, and a key would have two masters.
pub(super) fn check(draft: &Draft<'_>, report: &mut Report<'_>) {
    for (index, hsm) in draft.hsms.iter().enumerate() {
        let mut earlier = draft.hsms.iter().take(index);
        if let Some((first, confusion)) =
            earlier.find_map(|other| Some((other, confused(other, hsm)?)))
        {
            let line = report.line(first.at);
            report
                .error(
                    hsm.at,
                    format!("{} (the first is in line {line})", confusion.what),
                )
                .remedy(confusion.hint);
        }
    }
    for (index, ledger) in draft.ledgers.iter().enumerate() {
        let mut earlier = draft.ledgers.iter().take(index);
        if let Some(first) = earlier.find(|other| could_be_one(&other.adapter, &ledger.adapter)) {
            let line = report.line(first.at);
            report
                .error(
                    ledger.at,
                    format!("two [[providers.ledgertm]] that could be one device (the first is in line {line})"),
                )
                .remedy("add to both: serial = \"…\" or path = \"…\", as `tmkms ledger detect` prints them; one section takes several chain_ids");
        }
    }
    check_servers(draft, report);
}

/// Why two sections could lead to one device.
struct Confusion {
    what: &'static str,
    hint: &'static str,
}

fn confused(a: &Hsm<'_>, b: &Hsm<'_>) -> Option<Confusion> {
    const ONE_SECTION: &str = "put the keys of both sections into one";
    let serials = (
        a.serial_number.map(|serial| serial.value),
        b.serial_number.map(|serial| serial.value),
    );
    let places = (place(&a.adapter.value), place(&b.adapter.value));
    match (serials, places) {
        ((Some(a), Some(b)), _) if a == b => Some(Confusion {
            what: "two [[providers.yubihsm]] with one serial number",
            hint: ONE_SECTION,
        }),
        (_, (Some(a), Some(b))) if a == b => Some(Confusion {
            what: "two [[providers.yubihsm]] with one connector, which serves one device",
            hint: ONE_SECTION,
        }),
        // Two serial numbers, or two connectors.
        ((Some(_), Some(_)), _) | (_, (Some(_), Some(_))) => None,
        // A connector on another machine has a device of that machine.
        (_, (Some((host, _)), None) | (None, Some((host, _)))) if !is_here(&host) => None,
        _ => Some(Confusion {
            what: "two [[providers.yubihsm]] that could be one device",
            hint: "add to both: serial_number = \"…\", as `tmkms yubihsm detect` prints it",
        }),
    }
}

/// Host and port of a connector.
fn place(adapter: &Adapter) -> Option<(String, u16)> {
    match adapter {
        Adapter::Usb { .. } => None,
        Adapter::Http { host, port, .. } => Some((super::plain(host), *port)),
    }
}

fn is_here(host: &str) -> bool {
    let literal = host.parse::<std::net::IpAddr>();
    host == "localhost" || literal.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

fn could_be_one(a: &ledgertm::Adapter, b: &ledgertm::Adapter) -> bool {
    use ledgertm::Adapter;

    match (a, b) {
        (
            Adapter::Hid { serial, path },
            Adapter::Hid {
                serial: other_serial,
                path: other_path,
            },
        ) => {
            let differ =
                |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
            !differ(serial, other_serial) && !differ(path, other_path)
        }
        (Adapter::Tcp { .. }, Adapter::Tcp { .. }) => a == b,
        _ => false,
    }
}

/// Each connector server has an address of its own, and one of them at most is for the command line.
fn check_servers(draft: &Draft<'_>, report: &mut Report<'_>) {
    let servers = || {
        let servers = draft.hsms.iter().map(|hsm| &hsm.connector_server);
        servers.flatten()
    };
    for (index, server) in servers().enumerate() {
        let Located { value, at } = server;
        let mut earlier = servers().take(index);
        if let Some(first) = earlier.find(|other| other.value.laddr == value.laddr) {
            let line = report.line(first.at);
            report
                .error(
                    *at,
                    format!(
                        "two connector servers at {} (the first is in line {line})",
                        value.laddr
                    ),
                )
                .remedy("give each a port of its own");
        }
    }
    for hsm in &draft.hsms {
        let Some(server) = &hsm.connector_server else {
            continue;
        };
        let listens = (
            server.value.laddr.ip().to_string(),
            server.value.laddr.port(),
        );
        if place(&hsm.adapter.value) == Some(listens) {
            report
                .error(
                    server.at,
                    "`laddr` is the address of the connector that `adapter` dials",
                )
                .remedy("give the connector_server another port; with a connector of its own the device needs no second one");
        }
    }
}

/// What is known beforehand of the chains that a Ledger signs for.
pub(super) fn limits_of_ledgers(draft: &Draft<'_>, report: &mut Report<'_>) {
    let ledger_keys = || {
        let keys = draft.keys.iter();
        keys.filter(|key| matches!(key.place, Place::Ledger { .. }))
    };
    for key in ledger_keys() {
        if let [_, second, ..] = key.chains() {
            let what = "a Ledger's app keeps one height and round for all chains: the chain that is behind gets no signature";
            report
                .warning(second.at, what)
                .remedy("give each chain a Ledger of its own");
        }
    }
    for id in ledger_keys().flat_map(Key::chains) {
        length_for_a_ledger(id, report);
        let chain = draft.chains.iter().find(|chain| chain.id.value == id.value);
        if !has_old_nodes_only(draft, &id.value) {
            extensions_of_a_ledger(id, chain, report);
        }
    }
    for chain in &draft.chains {
        let Some(Located { value: false, at }) = chain.sign_extensions else {
            continue;
        };
        let mut of_ledgers = ledger_keys().flat_map(Key::chains);
        if !of_ledgers.any(|id| id.value == chain.id.value) {
            let what = "`sign_extensions = false` leaves vote extensions unsigned: a chain that uses them rejects such votes";
            report.warning(at, what).remedy(
                "remove the line: extensions are signed exactly where the node asks for it",
            );
        }
    }
}

fn length_for_a_ledger(id: &Located<ChainId>, report: &mut Report<'_>) {
    let fit = limits::chain_id(&id.value);
    let Some(hint) = fit.hint() else {
        return;
    };
    let what = format!("{}: {fit}", id.value);
    if fit.is_refused() {
        report.error(id.at, what).remedy(hint);
    } else {
        report.warning(id.at, what).remedy(hint);
    }
}

/// Whether every node of a chain is said to be older than vote extensions.
fn has_old_nodes_only(draft: &Draft<'_>, chain: &ChainId) -> bool {
    let mut nodes = draft.validators.iter().filter(|node| {
        let named = node.chain.id();
        named.is_some_and(|id| id.value == *chain)
    });
    let is_old = |node: &Validator<'_>| {
        let pin = node.protocol;
        pin.is_some_and(|pin| pin.family != Family::Protobuf)
    };
    nodes.clone().next().is_some() && nodes.all(is_old)
}

/// The app signs no vote extensions, so that `sign_extensions = false` is right for it where it is wrong for other keys.
fn extensions_of_a_ledger(
    id: &Located<ChainId>,
    chain: Option<&Chain<'_>>,
    report: &mut Report<'_>,
) {
    match chain.and_then(|chain| chain.sign_extensions) {
        Some(Located { value: false, .. }) => {}
        Some(Located { value: true, at }) => report
            .error(
                at,
                format!(
                    "`sign_extensions`: the key of {} is in a Ledger, which signs no vote extensions",
                    id.value
                ),
            )
            .remedy("a chain that uses them needs a YubiHSM or a key file; for any other write: sign_extensions = false"),
        None => {
            let (at, add) = match chain {
                Some(chain) => (chain.at, "add: sign_extensions = false"),
                None => (id.at, "add a [[chain]] with sign_extensions = false"),
            };
            report
                .warning(
                    at,
                    format!(
                        "the key of {} is in a Ledger, which signs no vote extensions: an empty one is left out, and a precommit with any other is refused",
                        id.value
                    ),
                )
                .remedy(format!(
                    "where the chain does without vote extensions {add} (nodes before v0.38 and from v0.38.11 on take such votes)"
                ));
        }
    }
}
