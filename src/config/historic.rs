//! What configurations of tmkms 0.0.1 to 0.12 say in other words, and what can no longer mean anything.

use std::path::PathBuf;

use super::{
    Draft,
    problem::Report,
    providers::Route,
    reader::{Located, Section},
    suggest,
    validators::{self, ChainRef},
};
use crate::{
    connection::{Access, Address},
    privval::ChainId,
};

const CONNECTION: &str = "[validator.connection]";

/// 0.0.1: one identity key for all validators, `[secret-connection] secret-key-path`.
pub(super) fn secret_connection<'t>(
    root: &Section<'t>,
    report: &mut Report<'_>,
) -> Option<Located<&'t str>> {
    let example = "{ secret-key-path = \"secrets/kms-identity.key\" }";
    const KEYS: &[&str] = &["secret-key-path"];
    let section = root.table(
        "secret-connection",
        "[secret-connection]",
        KEYS,
        example,
        report,
    )?;
    section.required_string("secret-key-path", validators::SECRET_KEY_EXAMPLE, report)
}

/// 0.8 to 0.12: the transaction signer. Nothing in a validator node's protocol can stand for it.
pub(super) fn tx_signer(root: &Section<'_>, report: &mut Report<'_>) {
    if let Some(at) = root.key_position("tx_signer") {
        report
            .error(at, "[[tx_signer]]: transactions are no longer signed (the original dropped it in 0.13)")
            .remedy("remove the section and its account key; sign transactions with the chain's own command-line client");
    }
}

/// 0.0.1: `addr = "host"` and `port = 26657`.
pub(super) fn host_and_port(
    section: &Section<'_>,
    host: Located<&str>,
    report: &mut Report<'_>,
) -> Option<Located<Address>> {
    let port = section.integer("port", 1..=i64::from(u16::MAX), "26658", report)?;
    tcp(host, port, section.name, report)
}

/// 0.1: the sub-table `[validator.connection]`; gives the address and the path of the identity key.
///
/// `None` if the section cannot be used; what is wrong is in the report then.
#[expect(
    clippy::type_complexity,
    reason = "the two things that the sub-table held, used in one place"
)]
pub(super) fn connection<'t>(
    validator: &Section<'t>,
    report: &mut Report<'_>,
) -> Option<(Option<Located<Address>>, Option<Located<&'t str>>)> {
    const KEYS: &[&str] = &["type", "addr", "port", "secret_key_path", "socket_path"];
    for key in ["addr", "port"] {
        if let Some(at) = validator.key_position(key) {
            report
                .error(at, format!("`{key}` stands beside {CONNECTION}, which has its own"))
                .remedy("keep addr = \"tcp://host:port\" and secret_key in [[validator]], and remove the sub-table");
            return None;
        }
    }
    let section = validator.table("connection", CONNECTION, KEYS, "{ type = \"tcp\" }", report)?;
    let kind = section.required_string("type", "\"tcp\"", report)?;
    match kind.value {
        "tcp" => {
            section.unwanted("socket_path", "tcp", report);
            let host = section.required_string("addr", "\"127.0.0.1\"", report);
            let key = section.string("secret_key_path", validators::SECRET_KEY_EXAMPLE, report);
            if section.position_of("port").is_none() {
                section.missing("port", "26658", report);
            }
            let port = section.integer("port", 1..=i64::from(u16::MAX), "26658", report)?;
            Some((tcp(host?, port, CONNECTION, report), key))
        }
        "unix" => {
            for key in ["addr", "port", "secret_key_path"] {
                section.unwanted(key, "unix", report);
            }
            let path = section.required_string("socket_path", "\"/path/to/socket\"", report)?;
            report
                .warning(path.at, "tmkms 0.1 bound this socket and waited for the node, so that is done here")
                .remedy("nodes from v0.34 on bind it themselves: write addr = \"unix:///path/to/socket\" to dial it");
            Some((
                Some(path.map(|path| Address::UnixListen(PathBuf::from(path), Access::default()))),
                None,
            ))
        }
        other => {
            let what = format!("unknown `type` {} in {CONNECTION}", suggest::quoted(other));
            report
                .error(kind.at, what)
                .remedy(suggest::for_value(other, &["tcp", "unix"]));
            None
        }
    }
}

/// An address from a bare host and a port.
fn tcp(
    host: Located<&str>,
    port: Located<i64>,
    section: &str,
    report: &mut Report<'_>,
) -> Option<Located<Address>> {
    let bare = host.value.strip_prefix("tcp://").unwrap_or(host.value);
    let text = if bare.contains(':') && !bare.starts_with('[') {
        format!("tcp://[{bare}]:{}", port.value)
    } else {
        format!("tcp://{bare}:{}", port.value)
    };
    let text = Located {
        value: text.as_str(),
        at: host.at,
    };
    validators::parsed(text, section, report)
}

/// The chain of each validator. 0.0.1 had none: it is that of the only `[[chain]]`, or the one that all keys are for.
pub(super) fn chains_of_validators(
    draft: &Draft<'_>,
    report: &mut Report<'_>,
) -> Vec<Option<Located<ChainId>>> {
    let mut chains = Vec::new();
    for validator in &draft.validators {
        if let ChainRef::Id(id) = &validator.chain {
            chains.push(Some(id.clone()));
            continue;
        }
        let Some(id) = only_chain(draft) else {
            report
                .error(validator.at, "`chain_id` is missing in [[validator]]")
                .remedy("add: chain_id = \"…\", the node's chain ID");
            chains.push(None);
            continue;
        };
        let what = format!(
            "`chain_id` is missing in [[validator]]: taken to be {id}, which the key is for"
        );
        report
            .warning(validator.at, what)
            .remedy(format!("add: chain_id = \"{id}\""));
        chains.push(Some(Located {
            value: id,
            at: validator.at,
        }));
    }
    chains
}

fn only_chain(draft: &Draft<'_>) -> Option<ChainId> {
    let mut ids: Vec<ChainId> = draft.chains.iter().map(|c| c.id.value.clone()).collect();
    if ids.is_empty() {
        for key in &draft.keys {
            match &key.route {
                Route::Chains(list) => ids.extend(list.value.iter().map(|id| id.value.clone())),
                Route::Label(label) => ids.push(ChainId::new(label.value).ok()?),
                Route::Every => {}
            }
        }
    }
    let first = ids.first()?.clone();
    ids.iter().all(|id| *id == first).then_some(first)
}

/// Turns `id` into chain IDs. While there was one keyring for all validators it was a label, which usually was the chain's
/// ID: the only key of a file signs for every validator, of several keys each signs for the chain that it is named after.
pub(super) fn route_labels(
    draft: &mut Draft<'_>,
    validators: &[Option<Located<ChainId>>],
    report: &mut Report<'_>,
) {
    let only = draft.keys.len() == 1;
    let mut served: Vec<&ChainId> = Vec::new();
    for id in validators.iter().flatten() {
        if !served.contains(&&id.value) {
            served.push(&id.value);
        }
    }
    for key in &mut draft.keys {
        let Route::Label(label) = key.route else {
            continue;
        };
        let matches = served.iter().any(|id| id.as_str() == label.value)
            || draft
                .chains
                .iter()
                .any(|c| c.id.value.as_str() == label.value);
        if only && !matches && !served.is_empty() {
            let names: Vec<String> = served.iter().map(|id| format!("\"{id}\"")).collect();
            let what = format!(
                "`id`: no validator's chain is called {}; as the only key it signs for {}",
                suggest::quoted(label.value),
                names.join(", ")
            );
            report.warning(label.at, what).remedy(format!(
                "write instead of id: chain_ids = [{}]",
                names.join(", ")
            ));
            let ids = served.iter().map(|id| Located {
                value: (*id).clone(),
                at: label.at,
            });
            key.route = Route::Chains(label.map(|_| ids.collect()));
            continue;
        }
        match ChainId::new(label.value) {
            Ok(id) => {
                let id = Located {
                    value: id,
                    at: label.at,
                };
                key.route = Route::Chains(label.map(|_| vec![id]));
            }
            Err(_) => report
                .error(
                    label.at,
                    format!("`id`: {} is no chain ID", suggest::quoted(label.value)),
                )
                .remedy(
                    "write instead of id: chain_ids = [\"…\"], the chains that the key signs for",
                ),
        }
    }
}
