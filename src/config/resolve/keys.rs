//! Which key signs for which chain.

use std::{collections::HashMap, path::PathBuf};

use super::files::{Files, Role};
use crate::{
    config::{
        Draft, Unbuilt,
        paths::Places,
        problem::Report,
        providers::{Key, Place, Route},
        reader::Located,
    },
    keyring::providers::{KeyType, softsign},
    privval::ChainId,
};

/// How many chains a message names.
const MOST_NAMES: usize = 10;

/// A Ledger of 0.4 named no chain, since there was one keyring for all of them: its key signs for every chain that no other
/// key is for.
pub(super) fn route_ledgers(keys: &mut [Key<'_>], registered: &[ChainId], report: &mut Report<'_>) {
    let taken: Vec<ChainId> = keys
        .iter()
        .filter(|key| key.key_type == KeyType::Consensus)
        .flat_map(|key| key.chains().iter().map(|id| id.value.clone()))
        .collect();
    let free: Vec<&ChainId> = registered.iter().filter(|id| !taken.contains(id)).collect();
    for key in keys {
        if !matches!(key.route, Route::Every) {
            continue;
        }
        let mut names: Vec<String> = free.iter().map(|id| format!("\"{id}\"")).collect();
        if names.len() > MOST_NAMES {
            names.truncate(MOST_NAMES);
            names.push("…".to_owned());
        }
        let names = names.join(", ");
        if free.is_empty() {
            report
                .warning(
                    key.at,
                    format!("{} signs for no chain: each has another key", key.section),
                )
                .remedy("remove it, or name its chains: chain_ids = [\"…\"]");
        } else {
            report
                .warning(
                    key.at,
                    format!(
                        "`chain_ids` is missing in {}: it signs for {names}",
                        key.section
                    ),
                )
                .remedy(format!("add: chain_ids = [{names}]"));
        }
        let at = key.at;
        let ids = free.iter().map(|id| Located {
            value: (*id).clone(),
            at,
        });
        key.route = Route::Chains(Located {
            value: ids.collect(),
            at,
        });
    }
}

/// A consensus key for every chain that is validated, and none twice.
pub(super) fn check(
    draft: &Draft<'_>,
    validators: &[Option<Located<ChainId>>],
    registered: &[ChainId],
    report: &mut Report<'_>,
) {
    let mut holders: HashMap<&ChainId, Vec<&Key<'_>>> = HashMap::new();
    for key in &draft.keys {
        let ids = key.chains();
        for (index, id) in ids.iter().enumerate() {
            if ids
                .iter()
                .take(index)
                .any(|earlier| earlier.value == id.value)
            {
                report
                    .error(
                        id.at,
                        format!("chain {} stands twice in one list", id.value),
                    )
                    .remedy("remove one of them");
            } else if key.key_type == KeyType::Consensus {
                same_key(holders.entry(&id.value).or_default(), key, id, report);
            }
        }
    }
    let held = |id: &ChainId| holders.contains_key(id) || !registered.contains(id);
    check_validators_have_keys(draft, validators, held, report);
}

/// Tells once of every validated chain that no key is for.
fn check_validators_have_keys(
    draft: &Draft<'_>,
    validators: &[Option<Located<ChainId>>],
    held: impl Fn(&ChainId) -> bool,
    report: &mut Report<'_>,
) {
    // A device section whose keys could not be made out may hold the key; it is refused on its own.
    let unclear = draft.unbuilt.iter().enumerate().any(|(index, section)| {
        let of_section = |key: &Key<'_>| matches!(key.place, Place::Unbuilt(i) if i == index);
        section.section.starts_with("[[providers.") && !draft.keys.iter().any(of_section)
    });
    if unclear {
        return;
    }
    let mut told: Vec<&ChainId> = Vec::new();
    for (validator, id) in draft.validators.iter().zip(validators) {
        let Some(Located { value: id, .. }) = id else {
            continue;
        };
        if held(id) || told.contains(&id) {
            continue;
        }
        told.push(id);
        let hint = format!(
            "[[providers.softsign]] with chain_ids = [\"{id}\"] and path = \"secrets/{id}-consensus.key\""
        );
        if draft.keys.is_empty() {
            let at = draft.providers_at.unwrap_or(validator.at);
            report
                .error(
                    at,
                    format!("no key is configured for chain {id}: there is no provider section"),
                )
                .remedy(format!("add: {hint}"));
        } else {
            report
                .error(validator.at, format!("no key is configured for chain {id}"))
                .remedy(format!(
                    "add \"{id}\" to the chain_ids of its key, or add: {hint}"
                ));
        }
    }
}

/// Complains of a key that a chain has already; else adds it.
fn same_key<'k>(
    holders: &mut Vec<&'k Key<'k>>,
    key: &'k Key<'k>,
    id: &Located<ChainId>,
    report: &mut Report<'_>,
) {
    let first = holders.iter().find(|other| other.place.is(&key.place));
    if let Some(first) = first {
        let line = report.line(first.at);
        let what = format!(
            "the same key again for chain {} (the first is in {}, line {line})",
            id.value, first.section
        );
        report.error(id.at, what).remedy("remove one of the two");
    }
    holders.push(key);
}

/// The record of a key's own, where it has one.
pub(super) fn state_file(
    key: &Key<'_>,
    places: &Places,
    files: &mut Files,
    report: &mut Report<'_>,
) -> Option<PathBuf> {
    let written = key.state_file?;
    if key.chains().len() > 1 {
        let what = format!(
            "`state_file` in {} of a key for several chains: each needs a record of its own",
            key.section
        );
        report
            .error(written.at, what)
            .remedy("remove it: the records are found by the state_file of each [[chain]]");
    }
    let path = places.locate("state_file", written, report);
    let chain = key.chains().first().map_or("", |id| id.value.as_str());
    files.add(Role::StateOfKey, chain, written.at, &path);
    Some(path)
}

/// `[[providers.softsign]]`.
pub(super) fn softsign(
    keys: &[Key<'_>],
    places: &Places,
    files: &mut Files,
    report: &mut Report<'_>,
) -> Vec<softsign::Config> {
    let mut configs = Vec::new();
    for key in keys {
        let Place::File {
            path,
            format,
            scheme,
        } = &key.place
        else {
            continue;
        };
        let ids: Vec<ChainId> = key.chains().iter().map(|id| id.value.clone()).collect();
        let located = places.locate("path", *path, report);
        if let Some(first) = ids.first() {
            files.add(Role::Key, first.as_str(), path.at, &located);
        }
        let state_file = state_file(key, places, files, report);
        configs.push(softsign::Config {
            chain_ids: ids,
            key_type: key.key_type,
            scheme: *scheme,
            key_format: *format,
            path: located,
            state_file,
        });
    }
    configs
}

/// The unbuilt sections, each with the chains that its keys are for.
pub(super) fn unbuilt(mut sections: Vec<Unbuilt>, keys: &[Key<'_>]) -> Vec<Unbuilt> {
    for (index, section) in sections.iter_mut().enumerate() {
        for key in keys {
            if !matches!(key.place, Place::Unbuilt(i) if i == index) {
                continue;
            }
            for id in key.chains() {
                if !section.chain_ids.contains(&id.value) {
                    section.chain_ids.push(id.value.clone());
                }
            }
        }
    }
    sections.sort_by_key(|section| section.line);
    sections
}
