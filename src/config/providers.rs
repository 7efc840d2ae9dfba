//! `[providers]`: where the keys are.

use toml::de::{DeTable, DeValue};

use super::{
    Unbuilt, chains,
    problem::Report,
    reader::{Located, Section},
    suggest,
};
use crate::{
    keyring::providers::softsign::{FileFormat, KeyType},
    privval::ChainId,
};

pub(super) const KEYS: &[&str] = &["softsign", "yubihsm", "ledgertm", "fortanixdsm"];

/// `id` is of 0.0.1 to 0.4.
pub(super) const SOFTSIGN_KEYS: &[&str] = &["chain_ids", "key_type", "key_format", "path", "id"];

const SOFTSIGN: &str = "[[providers.softsign]]";

/// Providers that this build does not have: key and section name, and the list within the section that holds its keys.
const UNBUILT: [(&str, &str, Option<&str>); 3] = [
    ("yubihsm", "[[providers.yubihsm]]", Some("keys")),
    ("ledgertm", "[[providers.ledgertm]]", None),
    (
        "fortanixdsm",
        "[[providers.fortanixdsm]]",
        Some("signing_keys"),
    ),
];

/// One key of any provider.
#[derive(Clone, Debug)]
pub(super) struct Key<'t> {
    /// Where its section or entry begins.
    pub(super) at: usize,
    pub(super) section: &'static str,
    pub(super) route: Route<'t>,
    pub(super) key_type: KeyType,
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
    },
    /// In the section with this index in the list of unbuilt ones.
    Unbuilt(usize),
}

pub(super) fn read<'t>(
    root: &Section<'t>,
    unbuilt: &mut Vec<Unbuilt>,
    report: &mut Report<'_>,
) -> Vec<Key<'t>> {
    let example = "a table: write [[providers.softsign]]";
    let Some(providers) = root.table("providers", "[providers]", KEYS, example, report) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    for section in providers.tables("softsign", SOFTSIGN, SOFTSIGN_KEYS, report) {
        keys.extend(softsign(&section, report));
    }
    for (key, name, list) in UNBUILT {
        for (at, table) in providers.raw_tables(key, name, report) {
            let index = unbuilt.len();
            unbuilt.push(Unbuilt {
                section: name.to_owned(),
                line: report.line(at),
                chain_ids: Vec::new(),
            });
            let key = |at, table, route| Key {
                at,
                section: name,
                route,
                key_type: device_key_type(table),
                place: Place::Unbuilt(index),
            };
            match list {
                Some(list) => keys.extend(
                    entries(table, list)
                        .into_iter()
                        .filter_map(|(at, entry)| Some(key(at, entry, device_route(entry)?))),
                ),
                None => keys.push(key(at, table, device_route(table).unwrap_or(Route::Every))),
            }
        }
    }
    keys
}

fn softsign<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Key<'t>> {
    let route = route(section, report);
    let path = section.required_string("path", "\"secrets/consensus.key\"", report);
    let key_type = match section.string("key_type", "\"consensus\"", report) {
        None => Some(KeyType::Consensus),
        Some(Located { value, at }) => match value {
            "consensus" => Some(KeyType::Consensus),
            "account" => Some(KeyType::Account),
            other => unknown_value("key_type", other, &["consensus", "account"], at, report),
        },
    };
    let written = section.string("key_format", "\"base64\"", report);
    let format = written.and_then(|Located { value, at }| match value {
        "base64" => Some(FileFormat::Base64),
        "json" => Some(FileFormat::Json),
        "raw" => Some(FileFormat::Raw),
        other => unknown_value("key_format", other, &["base64", "json", "raw"], at, report),
    });
    if let (Some(KeyType::Account), Some(FileFormat::Json), Some(at)) =
        (key_type, format, written.map(|written| written.at))
    {
        report
            .error(at, "`key_format`: an account key cannot be in a JSON file")
            .remedy("write: key_format = \"base64\"");
    }
    Some(Key {
        at: section.at,
        section: SOFTSIGN,
        route: route?,
        key_type: key_type?,
        place: Place::File {
            path: path?,
            format,
        },
    })
}

fn route<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Route<'t>> {
    let example = "[\"cosmoshub-4\"]";
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
    let Some(list) = section.strings("chain_ids", example, report) else {
        if section.position_of("chain_ids").is_none() {
            section.missing("chain_ids", example, report);
        }
        return None;
    };
    if list.value.is_empty() {
        let what = format!(
            "`chain_ids` in {} is empty: the key would sign for no chain",
            section.name
        );
        report
            .error(list.at, what)
            .remedy(format!("write: chain_ids = {example}"));
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

fn unknown_value<T>(
    key: &str,
    value: &str,
    known: &[&str],
    at: usize,
    report: &mut Report<'_>,
) -> Option<T> {
    let what = format!("unknown `{key}` {} in {SOFTSIGN}", suggest::quoted(value));
    report
        .error(at, what)
        .remedy(suggest::for_value(value, known));
    None
}

/// The keys that a device section lists, as far as they can be made out.
fn entries<'t>(table: &'t DeTable<'t>, list: &str) -> Vec<(usize, &'t DeTable<'t>)> {
    let Some(DeValue::Array(array)) = table.get(list).map(|value| value.get_ref()) else {
        return Vec::new();
    };
    let tables = array.iter().filter_map(|entry| match entry.get_ref() {
        DeValue::Table(table) => Some((entry.span().start, table)),
        _ => None,
    });
    tables.collect()
}

fn device_key_type(table: &DeTable<'_>) -> KeyType {
    match table.get("type").map(|value| value.get_ref().as_str()) {
        Some(Some("account")) => KeyType::Account,
        _ => KeyType::Consensus,
    }
}

/// Which chains a device's key is for. The section is refused later, so that nothing in it is an error here.
fn device_route<'t>(table: &'t DeTable<'t>) -> Option<Route<'t>> {
    let located = |value: &'t toml::Spanned<DeValue<'t>>| Located {
        value: value.get_ref(),
        at: value.span().start,
    };
    if let Some(Located {
        value: DeValue::String(label),
        at,
    }) = table.get("id").map(located)
    {
        return Some(Route::Label(Located {
            value: label.as_ref(),
            at,
        }));
    }
    let Some(Located {
        value: DeValue::Array(ids),
        at,
    }) = table.get("chain_ids").map(located)
    else {
        return None;
    };
    let ids = ids.iter().filter_map(|id| {
        let id = located(id);
        let chain_id = ChainId::new(id.value.as_str()?).ok()?;
        Some(id.map(|_| chain_id))
    });
    Some(Route::Chains(Located {
        value: ids.collect(),
        at,
    }))
}
