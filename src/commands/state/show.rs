//! `tmkms state show`: records for people and for scripts.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::json;
use subtle_encoding::hex;

use crate::{
    application::logging::Timestamp,
    chain,
    commands::{
        Failure, output,
        state::target::{find_chain, records},
    },
    config::Config,
    keyring::{format::format_key, key_name::KeyName},
    privval::Step,
    protection::{
        Record,
        store::file::{self, Snapshot},
    },
};

/// Shows the records of one chain or all; those that cannot be read are told last, as a failure.
pub(super) fn run(
    config: &Config,
    chain: Option<&str>,
    key: Option<&KeyName>,
    as_json: bool,
) -> Result<(), Failure> {
    let chains: Vec<&chain::Config> = match chain {
        Some(id) => vec![find_chain(config, id)?],
        None => config.chains.iter().collect(),
    };
    let mut text = String::new();
    let mut failures = Vec::new();
    for chain in chains {
        for path in records(config, chain) {
            match file::inspect(&path) {
                Ok(snapshot) if !is_of(&snapshot, key) => {}
                Ok(snapshot) if as_json => {
                    let line = to_json(chain, &snapshot);
                    text.push_str(&format!("{line}\n"));
                }
                Ok(snapshot) => {
                    let gap = if text.is_empty() { "" } else { "\n" };
                    text.push_str(&format!("{gap}{}", to_text(chain, &snapshot)));
                }
                Err(mut error) => {
                    error.chain.get_or_insert_with(|| chain.id.clone());
                    failures.push(Failure::from(error));
                }
            }
        }
    }
    if let Some(key) = key {
        if !text.is_empty() {
            // What cannot be read is another key's.
            failures.clear();
        } else if failures.is_empty() {
            failures.push(Failure::new(format!("there is no record of the key {key}")));
        }
    }
    output(&text)?;
    failures
        .into_iter()
        .reduce(Failure::and)
        .map_or(Ok(()), Err)
}

/// Whether a record is the one that is asked for.
fn is_of(snapshot: &Snapshot, key: Option<&KeyName>) -> bool {
    let owner = snapshot.key.as_ref();
    key.is_none_or(|name| owner.is_some_and(|owner| name.names(owner)))
}

/// What a record forbids, in half a sentence.
pub(super) fn floor(record: &Record) -> String {
    let hrs = record.hrs;
    if hrs.height == 0 {
        "has never signed".into()
    } else if record.sign_bytes.is_some() {
        format!("last signed at height/round/step {hrs}")
    } else if *record == Record::floor_at(hrs, record.signed_at.unwrap_or_default())
        && hrs == Record::floor_at_height(hrs.height, 0).hrs
    {
        format!("signs nothing at or below height {}", hrs.height)
    } else {
        format!("signs nothing at or below height/round/step {hrs}")
    }
}

fn to_text(chain: &chain::Config, snapshot: &Snapshot) -> String {
    let record = &snapshot.record;
    let mut lines = vec![
        ("chain", chain.id.to_string()),
        ("record", snapshot.path.display().to_string()),
        ("state", floor(record)),
    ];
    if record.sign_bytes.is_some() {
        let block = record.block_id.map_or_else(
            || "nil".into(),
            |block| {
                format!(
                    "{} (parts {} {})",
                    upper(&block.hash),
                    block.parts_total,
                    upper(&block.parts_hash)
                )
            },
        );
        lines.push(("block", block));
    }
    if let Some(seconds) = record.signed_at {
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        lines.extend(moment.map(|moment| ("at", Timestamp(moment).to_string())));
    }
    if let Some(key) = &snapshot.key {
        lines.push(("key", format_key(key, chain.key_format.as_ref())));
    }
    if let Some(format) = snapshot.converts_from {
        lines.push(("format", format!("{format}; `tmkms start` will convert it")));
    }
    if let Some(holder) = snapshot.holder {
        lines.push(("held by", format!("process {holder}")));
    }
    lines
        .into_iter()
        .fold(String::new(), |mut text, (name, value)| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<8} {value}", format!("{name}:"));
            text
        })
}

fn to_json(chain: &chain::Config, snapshot: &Snapshot) -> String {
    let record = &snapshot.record;
    let never = record.hrs.height == 0;
    let block_id = record.block_id.map(|block| {
        json!({
            "hash": upper(&block.hash),
            "parts": { "total": block.parts_total, "hash": upper(&block.parts_hash) },
        })
    });
    json!({
        "chain_id": chain.id.as_str(),
        "state_file": snapshot.path.to_string_lossy(),
        "has_signed": !never,
        "height": record.hrs.height,
        "round": if never { 0 } else { record.hrs.round },
        "step": if never { Step::Proposal as u8 } else { record.hrs.step as u8 },
        "block_id": block_id,
        "sign_bytes": record.sign_bytes.as_ref().map(|bytes| upper(bytes.as_bytes())),
        "signed_at": record.signed_at,
        "public_key": snapshot.key.as_ref().map(|key| upper(key.as_bytes())),
        "sequence": snapshot.sequence,
        "converts_from": snapshot.converts_from,
        "holder": snapshot.holder,
    })
    .to_string()
}

fn upper(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&hex::encode_upper(bytes)).into_owned()
}
