//! `[[providers.ledgertm]]`.

use super::{
    Key, Place, Providers, Route, STATE_FILE_EXAMPLE, host_and_port, route_if_any, unknown_value,
};
use crate::{
    config::{
        problem::Report,
        reader::{Located, Section},
    },
    keyring::providers::{KeyType, ledgertm::Adapter},
};

/// `id` is of 0.4.
pub(in crate::config) const KEYS: &[&str] =
    &["chain_ids", "adapter", "serial", "path", "state_file", "id"];

pub(in crate::config) const ADAPTER_KEYS: &[&str] = &["type", "addr"];

pub(in crate::config) const NAME: &str = "[[providers.ledgertm]]";
pub(in crate::config) const ADAPTER: &str = "`adapter` of [[providers.ledgertm]]";

const ADAPTER_EXAMPLE: &str = "{ type = \"hid\" }";
const EMULATOR_EXAMPLE: &str = "\"tcp://127.0.0.1:9999\"";

/// A section; its key stands among the other keys.
#[derive(Debug)]
pub(in crate::config) struct Ledger {
    pub(in crate::config) at: usize,
    pub(in crate::config) adapter: Adapter,
}

pub(super) fn read<'t>(
    providers: &Section<'t>,
    found: &mut Providers<'t>,
    report: &mut Report<'_>,
) {
    for section in providers.tables("ledgertm", NAME, KEYS, report) {
        let named = ["id", "chain_ids"].map(|key| section.position_of(key)) != [None, None];
        let route = if named {
            route_if_any(&section, report)
        } else {
            Some(Route::Every)
        };
        let state_file = section.string("state_file", STATE_FILE_EXAMPLE, report);
        let device = found.ledgers.len();
        let (Some(route), Some(ledger)) = (route, ledger(&section, report)) else {
            continue;
        };
        found.ledgers.push(ledger);
        found.keys.push(Key {
            at: section.at,
            section: NAME,
            route,
            key_type: KeyType::Consensus,
            state_file,
            place: Place::Ledger { device },
        });
    }
}

fn ledger(section: &Section<'_>, report: &mut Report<'_>) -> Option<Ledger> {
    let serial = choice(section, "serial", "\"0001\"", report);
    let path = choice(section, "path", "\"/dev/hidraw0\"", report);
    let table = section.table("adapter", ADAPTER, ADAPTER_KEYS, ADAPTER_EXAMPLE, report);
    if table.is_none() && section.position_of("adapter").is_some() {
        return None;
    }
    let emulator = match table {
        None => None,
        Some(table) => {
            let kind = table.required_string("type", "\"hid\"", report)?;
            match kind.value {
                "hid" => {
                    table.unwanted("addr", "hid", report);
                    None
                }
                "tcp" => Some(host_and_port(&table, "addr", EMULATOR_EXAMPLE, report)?),
                _ => return unknown_value(&table, "type", kind, &["hid", "tcp"], report),
            }
        }
    };
    let adapter = match emulator {
        None => Adapter::Hid { serial, path },
        Some(Located {
            value: (host, port),
            ..
        }) => {
            for key in ["serial", "path"] {
                section.unwanted(key, "tcp", report);
            }
            Adapter::Tcp { host, port }
        }
    };
    Some(Ledger {
        at: section.at,
        adapter,
    })
}

/// What tells a device from others, if it is named.
fn choice(
    section: &Section<'_>,
    key: &str,
    example: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    section.position_of(key)?;
    let text = section.required_string(key, example, report)?;
    Some(text.value.to_owned())
}
