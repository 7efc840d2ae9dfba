//! `[[validator]]`.

use std::time::Duration;

use super::{
    chains, historic,
    problem::Report,
    reader::{Located, Section},
    suggest,
};
use crate::{
    codec::{Family, node::Pin},
    connection::{Access, Address, Group},
    keyring::key_name::{KeyName, NotAKeyName},
    privval::ChainId,
};

const NAME: &str = "[[validator]]";

/// `port` is of 0.0.1, `connection` of 0.1.
pub(super) const KEYS: &[&str] = &[
    "addr",
    "chain_id",
    "reconnect",
    "timeout",
    "secret_key",
    "max_height",
    "public_key",
    "protocol_version",
    "sign_raw_bytes",
    "sign_bytes",
    "socket_mode",
    "socket_group",
    "port",
    "connection",
];

/// An address.
const PUBLIC_KEY_EXAMPLE: &str = "\"AD7DAE5FEC609CF02F9BDE7D81D0C3CD66141563\"";

const ADDR_EXAMPLE: &str = "\"tcp://127.0.0.1:26658\"";

/// The line that a tcp validator needs. The file is created when it is missing.
pub(super) const SECRET_KEY_EXAMPLE: &str = "\"secrets/kms-identity.key\"";

/// One `[[validator]]` as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Validator<'t> {
    pub(super) at: usize,
    pub(super) addr: Located<Address>,
    pub(super) chain: ChainRef,
    pub(super) reconnect: bool,
    pub(super) protocol: Option<Pin>,
    pub(super) public_key: Option<KeyName>,
    pub(super) timeout: Duration,
    pub(super) secret_key: Option<Located<&'t str>>,
    pub(super) max_height: Option<i64>,
    pub(super) sign_raw_bytes: Vec<String>,
    pub(super) sign_bytes: bool,
}

/// Which chain a validator is of.
#[derive(Clone, Debug)]
pub(super) enum ChainRef {
    /// `chain_id`
    Id(Located<ChainId>),
    /// 0.0.1 knew no chain IDs: the chain is the one that the only key is for.
    OfTheOnlyKey,
}

impl ChainRef {
    /// The ID, if the file names it.
    pub(super) fn id(&self) -> Option<&Located<ChainId>> {
        match self {
            Self::Id(id) => Some(id),
            Self::OfTheOnlyKey => None,
        }
    }
}

pub(super) fn read<'t>(root: &Section<'t>, report: &mut Report<'_>) -> Vec<Validator<'t>> {
    let sections = root.tables("validator", NAME, KEYS, report);
    sections
        .iter()
        .filter_map(|section| validator(section, report))
        .collect()
}

fn validator<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Validator<'t>> {
    let chain = chain_ref(section, report);
    let protocol = protocol(section, report);
    let public_key = public_key(section, report);
    let reconnect = section.boolean("reconnect", report);
    let timeout = section.integer("timeout", 1..=i64::from(u16::MAX), "10", report);
    let max_height = section.integer_or_string("max_height", 1..=i64::MAX, "1000000", report);
    let (sign_raw_bytes, sign_bytes) = hazardous(section, report);
    let (addr, old_secret_key) = match section.position_of("connection") {
        Some(_) => historic::connection(section, report)?,
        None => (address(section, report), None),
    };
    let secret_key = match section.string("secret_key", SECRET_KEY_EXAMPLE, report) {
        Some(path) => Some(path),
        None => old_secret_key,
    };
    let access = access(section, report);
    let (mut addr, chain) = (addr?, chain?);
    match (&mut addr.value, access) {
        (Address::UnixListen(_, default), Some(access)) => *default = access.value,
        (_, Some(access)) => {
            report
                .error(
                    access.at,
                    "`socket_mode` and `socket_group` are for a socket that tmkms binds",
                )
                .remedy("remove them, or write addr = \"unix-listen:///path\" if the node dials");
        }
        (_, None) => {}
    }
    refuse_old_noise(&addr, protocol, report);
    warn_of_nameless_requests(&addr, &chain, protocol, report);
    Some(Validator {
        at: section.at,
        addr,
        chain,
        reconnect: reconnect.is_none_or(|flag| flag.value),
        protocol,
        public_key,
        timeout: Duration::from_secs(timeout.map_or(10, |secs| secs.value.unsigned_abs())),
        secret_key,
        max_height: max_height.map(|height| height.value),
        sign_raw_bytes,
        sign_bytes,
    })
}

fn chain_ref(section: &Section<'_>, report: &mut Report<'_>) -> Option<ChainRef> {
    let of_0_0_1 = section.position_of("port").is_some();
    if of_0_0_1 && section.position_of("chain_id").is_none() {
        return Some(ChainRef::OfTheOnlyKey);
    }
    let id = section.required_string("chain_id", "\"cosmoshub-4\"", report)?;
    chains::chain_id(id, "chain_id", report).map(ChainRef::Id)
}

/// `addr`, with the `port` of 0.0.1 if there is one.
fn address(section: &Section<'_>, report: &mut Report<'_>) -> Option<Located<Address>> {
    let text = section.required_string("addr", ADDR_EXAMPLE, report)?;
    if section.position_of("port").is_some() {
        return historic::host_and_port(section, text, report);
    }
    parsed(text, NAME, report)
}

/// An address, or an error.
pub(super) fn parsed(
    text: Located<&str>,
    section: &str,
    report: &mut Report<'_>,
) -> Option<Located<Address>> {
    match Address::parse(text.value) {
        Ok(address) => Some(text.map(|_| address)),
        Err(error) => {
            let reason = suggest::printable(&error.to_string());
            report
                .error(text.at, format!("`addr` in {section}: {reason}"))
                .remedy(error.hint().unwrap_or_else(|| ADDR_EXAMPLE.to_owned()));
            None
        }
    }
}

/// What the operator says that the node speaks.
fn protocol(section: &Section<'_>, report: &mut Report<'_>) -> Option<Pin> {
    let version = section.string("protocol_version", "\"v0.38\"", report)?;
    let pin = Pin::ALL
        .into_iter()
        .find(|pin| pin.spelling == version.value);
    if pin.is_none() {
        let what = format!(
            "unknown `protocol_version` {} in {NAME}",
            suggest::quoted(version.value)
        );
        report.error(version.at, what).remedy(
            "remove the line: what a node speaks is found out; known are \"legacy\", \"v0.26\" to \"v0.40\", \"v1\" and \"v2\"",
        );
    }
    pin
}

/// Which of the chain's keys signs here.
fn public_key(section: &Section<'_>, report: &mut Report<'_>) -> Option<KeyName> {
    let written = section.string("public_key", PUBLIC_KEY_EXAMPLE, report)?;
    match written.value.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let error: NotAKeyName = error;
            let value = suggest::quoted(written.value);
            report
                .error(
                    written.at,
                    format!("`public_key` in {NAME}: {value} is {error}"),
                )
                .remedy("without this line `tmkms check` prints the keys");
            None
        }
    }
}

/// What only nodes of v0.40 and later have, and a pin to an older one.
fn refuse_old_noise(addr: &Located<Address>, protocol: Option<Pin>, report: &mut Report<'_>) {
    let old = protocol.filter(|pin| pin.family != Family::Protobuf);
    if let (Address::Noise { .. }, Some(pin)) = (&addr.value, old) {
        let what = format!(
            "`addr` is noise://, which no node of protocol_version \"{}\" speaks",
            pin.spelling
        );
        report
            .error(addr.at, what)
            .remedy("remove protocol_version: what a node speaks is found out");
    }
}

/// Nodes up to v0.33 do not say for which chain their requests are. Those that dial us are of v0.26 or v0.27.
fn warn_of_nameless_requests(
    addr: &Located<Address>,
    chain: &ChainRef,
    protocol: Option<Pin>,
    report: &mut Report<'_>,
) {
    let old = protocol.is_some_and(|pin| pin.family != Family::Protobuf);
    if !old && !matches!(addr.value, Address::UnixListen(..)) {
        return;
    }
    let chain = chain
        .id()
        .map_or("its chain".to_owned(), |id| id.value.to_string());
    let what = format!(
        "requests of nodes up to v0.33 name no chain: whatever comes from {} is signed for {chain}",
        addr.value
    );
    report
        .warning(addr.at, what)
        .remedy("make sure that no node of another chain can be there");
}

/// Who may connect to a socket that is bound here, where the operator says so.
fn access(section: &Section<'_>, report: &mut Report<'_>) -> Option<Located<Access>> {
    let mode = section.string("socket_mode", "\"0660\"", report);
    let group = section.string("socket_group", "\"tendermint\"", report);
    let at = mode.or(group)?.at;
    let mut access = Access::default();
    if let Some(mode) = mode {
        match u32::from_str_radix(mode.value, 8) {
            Ok(bits @ 0..=0o777) => access.mode = bits,
            _ => {
                let what = format!("`socket_mode` {} in {NAME}", suggest::quoted(mode.value));
                report
                    .error(mode.at, what)
                    .remedy("write it as chmod does: \"0600\", or \"0660\" with socket_group");
            }
        }
        if access.mode & 0o007 != 0 {
            report
                .warning(
                    mode.at,
                    "every user of this machine may have votes signed over this socket",
                )
                .remedy("write \"0660\", with socket_group = \"the node's group\"");
        }
    }
    access.group = group.map(|group| match group.value.parse() {
        Ok(id) => Group::Id(id),
        Err(_) => Group::Name(group.value.to_owned()),
    });
    Some(Located { value: access, at })
}

/// The two options that let a node have other things signed than votes and proposals.
fn hazardous(section: &Section<'_>, report: &mut Report<'_>) -> (Vec<String>, bool) {
    let prefixes = section.strings("sign_raw_bytes", "[\"unique-id prefix\"]", report);
    let sign_bytes = section.boolean("sign_bytes", report);
    let sign_bytes = sign_bytes.filter(|flag| flag.value);
    let Some(prefixes) = prefixes else {
        return (Vec::new(), sign_bytes.is_some());
    };
    if let (Some(flag), false) = (sign_bytes, prefixes.value.is_empty()) {
        let what = format!("`sign_bytes` and `sign_raw_bytes` stand together in {NAME}");
        report
            .error(flag.at, what)
            .remedy("no node uses both: sign_bytes is CometBFT v1's, sign_raw_bytes Celestia's");
    }
    for prefix in &prefixes.value {
        if prefix.value.is_empty() {
            report
                .warning(
                    prefix.at,
                    "an empty prefix in `sign_raw_bytes` lets the node have anything signed",
                )
                .remedy("write the beginning of the unique IDs that the chain uses");
        }
    }
    let prefixes = prefixes.value.iter().map(|prefix| prefix.value.to_owned());
    (prefixes.collect(), sign_bytes.is_some())
}
