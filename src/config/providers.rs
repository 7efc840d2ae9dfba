//! `[providers]`: where the keys are.

use super::{
    Unbuilt, chains,
    problem::Report,
    reader::{Located, Section},
    suggest,
};
use crate::{
    crypto::Algorithm,
    keyring::providers::{KeyType, softsign::FileFormat},
    privval::ChainId,
};

pub(super) mod fortanixdsm;
pub(super) mod ledgertm;
pub(super) mod softsign;
pub(super) mod yubihsm;

pub(super) const KEYS: &[&str] = &["softsign", "yubihsm", "ledgertm", "fortanixdsm"];

/// `state_file` of a key.
const STATE_FILE_EXAMPLE: &str = "\"state/cosmoshub-4-new-key.json\"";
const CHAIN_IDS_EXAMPLE: &str = "[\"cosmoshub-4\"]";

/// What the sections below `[providers]` say.
#[derive(Debug, Default)]
pub(super) struct Providers<'t> {
    /// The keys of all of them.
    pub(super) keys: Vec<Key<'t>>,
    /// `[[providers.yubihsm]]`
    pub(super) hsms: Vec<yubihsm::Hsm<'t>>,
    /// `[[providers.ledgertm]]`
    pub(super) ledgers: Vec<ledgertm::Ledger>,
}

/// One key of any provider.
#[derive(Clone, Debug)]
pub(super) struct Key<'t> {
    /// Where its section or entry begins.
    pub(super) at: usize,
    pub(super) section: &'static str,
    pub(super) route: Route<'t>,
    pub(super) key_type: KeyType,
    /// A record of the key's own.
    pub(super) state_file: Option<Located<&'t str>>,
    pub(super) place: Place<'t>,
}

impl Key<'_> {
    /// The chains that the key names; none while they are still a label.
    pub(super) fn chains(&self) -> &[Located<ChainId>] {
        match &self.route {
            Route::Chains(list) => &list.value,
            Route::Label(_) | Route::Every => &[],
        }
    }
}

/// Which chains a key is for.
#[derive(Clone, Debug)]
pub(super) enum Route<'t> {
    /// `chain_ids`, with the place of the list.
    Chains(Located<Vec<Located<ChainId>>>),
    /// `id`, of the versions that had one keyring for everything and no chains.
    Label(Located<&'t str>),
    /// A Ledger of 0.4 named neither.
    Every,
}

/// Where a key is kept.
#[derive(Clone, Debug)]
pub(super) enum Place<'t> {
    File {
        path: Located<&'t str>,
        format: Option<FileFormat>,
        /// What a consensus key must be.
        scheme: Option<Algorithm>,
    },
    /// In the device with this index in the list of YubiHSMs, under this object ID.
    Hsm { device: usize, key: u16 },
    /// In the device with this index in the list of Ledgers.
    Ledger { device: usize },
    /// In the section with this index in the list of unbuilt ones.
    Unbuilt(usize),
}

impl Place<'_> {
    /// Whether two places are one, as far as the words of the file tell.
    pub(super) fn is(&self, other: &Place<'_>) -> bool {
        match (self, other) {
            (Self::File { path: a, .. }, Place::File { path: b, .. }) => a.value == b.value,
            (
                Self::Hsm { device, key },
                Place::Hsm {
                    device: other_device,
                    key: other_key,
                },
            ) => device == other_device && key == other_key,
            _ => false,
        }
    }
}

pub(super) fn read<'t>(
    root: &Section<'t>,
    unbuilt: &mut Vec<Unbuilt>,
    report: &mut Report<'_>,
) -> Providers<'t> {
    let example = "a table: write [[providers.softsign]]";
    let mut found = Providers::default();
    let Some(providers) = root.table("providers", "[providers]", KEYS, example, report) else {
        return found;
    };
    softsign::read(&providers, &mut found, report);
    yubihsm::read(&providers, &mut found, report);
    ledgertm::read(&providers, &mut found, report);
    fortanixdsm::read(&providers, &mut found, unbuilt, report);
    found
}

/// `chain_ids` or the older `id`, one of which must be there.
fn route<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Route<'t>> {
    let neither = ["id", "chain_ids"].map(|key| section.position_of(key)) == [None, None];
    if neither {
        section.missing("chain_ids", CHAIN_IDS_EXAMPLE, report);
        return None;
    }
    route_if_any(section, report)
}

/// `chain_ids` or the older `id`; none if neither is there, or what is there cannot be used.
fn route_if_any<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Route<'t>> {
    if let Some(label) = section.string("id", "\"cosmoshub-4\"", report) {
        if section.position_of("chain_ids").is_some() {
            let what = format!("`id` and `chain_ids` stand together in {}", section.name);
            report.error(label.at, what).remedy("remove id");
            return None;
        }
        return Some(Route::Label(label));
    }
    if section.position_of("id").is_some() {
        return None;
    }
    let list = section.strings("chain_ids", CHAIN_IDS_EXAMPLE, report)?;
    if list.value.is_empty() {
        let what = format!(
            "`chain_ids` in {} is empty: the key would sign for no chain",
            section.name
        );
        report
            .error(list.at, what)
            .remedy(format!("write: chain_ids = {CHAIN_IDS_EXAMPLE}"));
    }
    let ids = list
        .value
        .into_iter()
        .filter_map(|id| chains::chain_id(id, "chain_ids", report));
    Some(Route::Chains(Located {
        value: ids.collect(),
        at: list.at,
    }))
}

/// `"consensus"`, which it is where nothing is written, or `"account"`; none after an error.
fn key_type(section: &Section<'_>, key: &str, report: &mut Report<'_>) -> Option<KeyType> {
    let Some(written) = section.string(key, "\"consensus\"", report) else {
        return section
            .position_of(key)
            .is_none()
            .then_some(KeyType::Consensus);
    };
    match written.value {
        "consensus" => Some(KeyType::Consensus),
        "account" => Some(KeyType::Account),
        _ => unknown_value(section, key, written, &["consensus", "account"], report),
    }
}

fn unknown_value<T>(
    section: &Section<'_>,
    key: &str,
    written: Located<&str>,
    known: &[&str],
    report: &mut Report<'_>,
) -> Option<T> {
    let value = suggest::quoted(written.value);
    let what = format!("unknown `{key}` {value} in {}", section.name);
    report
        .error(written.at, what)
        .remedy(suggest::for_value(written.value, known));
    None
}

/// Host and port of `tcp://host:port`, of something that is dialled and is no node.
fn host_and_port(
    section: &Section<'_>,
    key: &str,
    example: &str,
    report: &mut Report<'_>,
) -> Option<Located<(String, u16)>> {
    use crate::connection::Address;

    let written = section.required_string(key, example, report)?;
    // Other programs name a connector by its URL.
    let bare = written.value.strip_prefix("http://");
    match Address::parse(bare.unwrap_or(written.value)) {
        Ok(Address::Tcp {
            peer_id: None,
            host,
            port,
        }) => Some(written.map(|_| (host, port))),
        Ok(_) => {
            let what = format!(
                "`{key}` in {}: {} is no tcp://host:port",
                section.name,
                suggest::quoted(written.value)
            );
            report
                .error(written.at, what)
                .remedy(format!("write: {key} = {example}"));
            None
        }
        Err(error) => {
            let reason = suggest::printable(&error.to_string());
            report
                .error(written.at, format!("`{key}` in {}: {reason}", section.name))
                .remedy(format!("write: {key} = {example}"));
            None
        }
    }
}
