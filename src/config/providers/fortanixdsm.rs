//! `[[providers.fortanixdsm]]`: known by name, and not served by this version.

use toml::de::{DeTable, DeValue};

use super::{Key, Place, Providers, Route};
use crate::{
    config::{
        Unbuilt,
        problem::Report,
        reader::{Located, Section},
    },
    keyring::providers::KeyType,
    privval::ChainId,
};

const NAME: &str = "[[providers.fortanixdsm]]";

pub(super) fn read<'t>(
    providers: &Section<'t>,
    found: &mut Providers<'t>,
    unbuilt: &mut Vec<Unbuilt>,
    report: &mut Report<'_>,
) {
    for (at, table) in providers.raw_tables("fortanixdsm", NAME, report) {
        let place = Place::Unbuilt(unbuilt.len());
        unbuilt.push(Unbuilt {
            section: NAME.to_owned(),
            line: report.line(at),
            chain_ids: Vec::new(),
        });
        for (at, entry) in entries(table) {
            let Some(route) = route(entry) else {
                continue;
            };
            found.keys.push(Key {
                at,
                section: NAME,
                route,
                key_type: key_type(entry),
                state_file: None,
                place: place.clone(),
            });
        }
    }
}

/// The keys that the section lists, as far as they can be made out.
fn entries<'t>(table: &'t DeTable<'t>) -> Vec<(usize, &'t DeTable<'t>)> {
    let Some(DeValue::Array(array)) = table.get("signing_keys").map(|value| value.get_ref()) else {
        return Vec::new();
    };
    let tables = array.iter().filter_map(|entry| match entry.get_ref() {
        DeValue::Table(table) => Some((entry.span().start, table)),
        _ => None,
    });
    tables.collect()
}

fn key_type(table: &DeTable<'_>) -> KeyType {
    match table.get("type").map(|value| value.get_ref().as_str()) {
        Some(Some("account")) => KeyType::Account,
        _ => KeyType::Consensus,
    }
}

/// Which chains a key is for. The section is refused later, so that nothing in it is an error here.
fn route<'t>(table: &'t DeTable<'t>) -> Option<Route<'t>> {
    let value = table.get("chain_ids")?;
    let DeValue::Array(ids) = value.get_ref() else {
        return None;
    };
    let ids = ids.iter().filter_map(|id| {
        Some(Located {
            value: ChainId::new(id.get_ref().as_str()?).ok()?,
            at: id.span().start,
        })
    });
    Some(Route::Chains(Located {
        value: ids.collect(),
        at: value.span().start,
    }))
}
