//! `[[chain]]`.

use std::time::Duration;

use toml::de::DeValue;

use super::{
    problem::Report,
    reader::{Located, Section},
    suggest,
};
use crate::{keyring::format::KeyFormat, privval::ChainId};

const NAME: &str = "[[chain]]";

pub(super) const KEYS: &[&str] = &[
    "id",
    "key_format",
    "sign_extensions",
    "state_file",
    "state_hook",
    "strict_rounds",
];

pub(super) const HOOK_KEYS: &[&str] = &["cmd", "timeout_secs", "fail_closed"];

const KEY_FORMATS: &[&str] = &["bech32", "cosmos-json", "hex"];
const KEY_FORMAT_EXAMPLE: &str = "{ type = \"bech32\", account_key_prefix = \"cosmospub\", consensus_key_prefix = \"cosmosvalconspub\" }";
const HOOK_EXAMPLE: &str = "{ cmd = [\"/path/to/program\", \"argument\"] }";
const CMD_EXAMPLE: &str = "[\"/path/to/program\", \"argument\"]";

/// The longest that a state hook may be given, in seconds.
const MAX_HOOK_SECS: i64 = 3_600;

/// One `[[chain]]` as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Chain<'t> {
    pub(super) at: usize,
    pub(super) id: Located<ChainId>,
    pub(super) key_format: Option<KeyFormat>,
    /// As it is written, with its place.
    pub(super) sign_extensions: Option<Located<bool>>,
    pub(super) state_file: Option<Located<&'t str>>,
    pub(super) state_hook: Option<Hook>,
    pub(super) strict_rounds: bool,
}

/// `state_hook` without the directory that it is run in.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) cmd: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) fail_closed: bool,
}

pub(super) fn read<'t>(root: &Section<'t>, report: &mut Report<'_>) -> Vec<Chain<'t>> {
    let sections = root.tables("chain", NAME, KEYS, report);
    sections
        .iter()
        .filter_map(|section| chain(section, report))
        .collect()
}

/// A chain ID, or an error.
pub(super) fn chain_id(
    text: Located<&str>,
    key: &str,
    report: &mut Report<'_>,
) -> Option<Located<ChainId>> {
    match ChainId::new(text.value) {
        Ok(id) => Some(text.map(|_| id)),
        Err(reason) => {
            let what = format!("`{key}`: {} is no chain ID", suggest::quoted(text.value));
            report.error(text.at, what).remedy(reason.to_string());
            None
        }
    }
}

fn chain<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Chain<'t>> {
    let id = section.required_string("id", "\"cosmoshub-4\"", report);
    let id = id.and_then(|id| chain_id(id, "id", report));
    let key_format = key_format(section, report);
    let state_file = section.string("state_file", "\"state/cosmoshub-4.json\"", report);
    let sign_extensions = section.boolean("sign_extensions", report);
    let strict_rounds = section.boolean("strict_rounds", report);
    let state_hook = hook(section, report);
    Some(Chain {
        at: section.at,
        id: id?,
        key_format,
        sign_extensions,
        state_file,
        state_hook,
        strict_rounds: strict_rounds.is_some_and(|flag| flag.value),
    })
}

fn key_format(section: &Section<'_>, report: &mut Report<'_>) -> Option<KeyFormat> {
    const KEYS: &[&str] = &["type", "account_key_prefix", "consensus_key_prefix"];
    let format = section.table("key_format", "key_format", KEYS, KEY_FORMAT_EXAMPLE, report)?;
    let kind = format.required_string("type", "\"bech32\"", report)?;
    match kind.value {
        "bech32" => {
            let account = prefix(&format, "account_key_prefix", "\"cosmospub\"", report);
            let consensus = prefix(
                &format,
                "consensus_key_prefix",
                "\"cosmosvalconspub\"",
                report,
            );
            Some(KeyFormat::Bech32 {
                account_key_prefix: account?,
                consensus_key_prefix: consensus?,
            })
        }
        "cosmos-json" | "hex" => {
            for key in ["account_key_prefix", "consensus_key_prefix"] {
                if let Some(at) = format.key_position(key) {
                    let what = format!("`{key}` means nothing with type \"{}\"", kind.value);
                    report
                        .error(at, what)
                        .remedy("remove it, or write type = \"bech32\"");
                }
            }
            Some(match kind.value {
                "hex" => KeyFormat::Hex,
                _ => KeyFormat::CosmosJson,
            })
        }
        other => {
            let what = format!("unknown `type` {} in key_format", suggest::quoted(other));
            report
                .error(kind.at, what)
                .remedy(suggest::for_value(other, KEY_FORMATS));
            None
        }
    }
}

/// A human-readable part as BIP 173 allows it, in lower case (mixed case is no bech32, and upper case is nobody's).
fn prefix(
    section: &Section<'_>,
    key: &str,
    example: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let text = section.required_string(key, example, report)?;
    let allowed = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
    if text.value.len() > 83 || !text.value.bytes().all(allowed) {
        let what = format!(
            "`{key}`: {} is no bech32 prefix",
            suggest::quoted(text.value)
        );
        report
            .error(text.at, what)
            .remedy(format!("1 to 83 lower-case characters, such as {example}"));
        return None;
    }
    Some(text.value.to_owned())
}

fn hook(section: &Section<'_>, report: &mut Report<'_>) -> Option<Hook> {
    let hook = section.table("state_hook", "state_hook", HOOK_KEYS, HOOK_EXAMPLE, report)?;
    let timeout = hook.integer("timeout_secs", 1..=MAX_HOOK_SECS, "5", report);
    let fail_closed = hook.boolean("fail_closed", report);
    let Some(list) = hook.list("cmd", CMD_EXAMPLE, report) else {
        if hook.position_of("cmd").is_none() {
            hook.missing("cmd", CMD_EXAMPLE, report);
        }
        return None;
    };
    let mut cmd = Vec::new();
    for item in &list.value {
        match argument(item.value) {
            Some(text) => cmd.push(text),
            None => report
                .error(item.at, "an element of `cmd` in state_hook is no string")
                .remedy(format!("write: cmd = {CMD_EXAMPLE}")),
        }
    }
    let named = list.value.first().map(|item| argument(item.value));
    if named.is_none_or(|program| program.is_some_and(|program| program.is_empty())) {
        report
            .error(list.at, "`cmd` in state_hook names no program")
            .remedy(format!("write: cmd = {CMD_EXAMPLE}"));
    }
    Some(Hook {
        cmd,
        timeout: Duration::from_secs(timeout.map_or(5, |secs| secs.value.unsigned_abs())),
        fail_closed: fail_closed.is_none_or(|flag| flag.value),
    })
}

/// An argument: a string, or the only form that the original could read, `{ Unix = [bytes] }`.
fn argument(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Table(table) if table.len() == 1 => {
            let DeValue::Array(bytes) = table.get("Unix")?.get_ref() else {
                return None;
            };
            let bytes = bytes.iter().map(|byte| match byte.get_ref() {
                DeValue::Integer(byte) => u8::from_str_radix(byte.as_str(), byte.radix()).ok(),
                _ => None,
            });
            String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
        }
        _ => None,
    }
}
