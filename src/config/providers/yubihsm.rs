//! `[[providers.yubihsm]]`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use super::{
    Key, Place, Providers, STATE_FILE_EXAMPLE, host_and_port, key_type, route, unknown_value,
};
use crate::{
    config::{
        problem::Report,
        reader::{Located, Section},
        suggest,
    },
    keyring::providers::yubihsm::{
        Adapter, CommandLine, ConnectorServer, NotASerialNumber, Password, SerialNumber,
    },
};

/// `serial-number` is of 0.0.1.
pub(in crate::config) const KEYS: &[&str] = &[
    "adapter",
    "auth",
    "keys",
    "serial_number",
    "connector_server",
    "serial-number",
];

/// `connector` is of 0.2 to 0.5.
pub(in crate::config) const ADAPTER_KEYS: &[&str] = &["type", "addr", "timeout_ms", "connector"];

const CONNECTOR_KEYS: &[&str] = &["addr", "port", "timeout_ms"];

pub(in crate::config) const AUTH_KEYS: &[&str] = &[
    "key",
    "password_file",
    "password_env",
    "password_credential",
    "password",
];

/// `id` is of 0.0.1 to 0.4.
pub(in crate::config) const KEY_KEYS: &[&str] = &["chain_ids", "key", "type", "state_file", "id"];

pub(in crate::config) const SERVER_KEYS: &[&str] = &["laddr", "cli"];

pub(in crate::config) const CLI_KEYS: &[&str] = &["auth_key"];

pub(in crate::config) const NAME: &str = "[[providers.yubihsm]]";
pub(in crate::config) const ADAPTER: &str = "`adapter` of [[providers.yubihsm]]";
const CONNECTOR: &str = "`connector` of [[providers.yubihsm]]";
pub(in crate::config) const AUTH: &str = "`auth` of [[providers.yubihsm]]";
pub(in crate::config) const KEY: &str = "`keys` of [[providers.yubihsm]]";
pub(in crate::config) const SERVER: &str = "`connector_server` of [[providers.yubihsm]]";
pub(in crate::config) const CLI: &str = "`cli` of connector_server";

const ADAPTER_EXAMPLE: &str = "{ type = \"usb\" }";
const ADDR_EXAMPLE: &str = "\"tcp://127.0.0.1:12345\"";
const AUTH_EXAMPLE: &str = "{ key = 1, password_file = \"secrets/yubihsm-password.txt\" }";
const PASSWORD_FILE_EXAMPLE: &str = "\"secrets/yubihsm-password.txt\"";
const KEYS_EXAMPLE: &str = "[{ chain_ids = [\"cosmoshub-4\"], key = 1 }]";
const SERIAL_EXAMPLE: &str = "\"0123456789\"";
const SERVER_EXAMPLE: &str = "{ laddr = \"tcp://127.0.0.1:12345\" }";

/// Object IDs that a key can have; the device keeps 0 and 0xffff for itself.
const OBJECT_IDS: std::ops::RangeInclusive<i64> = 1..=0xfffe;

/// How long one command may take where the file does not say it, in milliseconds. A signature takes about 60.
const USB_TIMEOUT_MS: u64 = 1_000;
const HTTP_TIMEOUT_MS: u64 = 2_000;

/// The limits of `timeout_ms`.
const TIMEOUTS_MS: std::ops::RangeInclusive<i64> = 50..=60_000;

/// A section; its keys stand among the other keys.
#[derive(Debug)]
pub(in crate::config) struct Hsm<'t> {
    pub(in crate::config) at: usize,
    pub(in crate::config) adapter: Located<Adapter>,
    pub(in crate::config) serial_number: Option<Located<SerialNumber>>,
    pub(in crate::config) auth_key: u16,
    pub(in crate::config) password: PasswordAt<'t>,
    pub(in crate::config) connector_server: Option<Located<ConnectorServer>>,
}

/// Where the password comes from, files still as they are written.
#[derive(Debug)]
pub(in crate::config) enum PasswordAt<'t> {
    Inline(Arc<Password>),
    File(Located<&'t str>),
    Variable(&'t str),
    Credential(&'t str),
}

pub(super) fn read<'t>(
    providers: &Section<'t>,
    found: &mut Providers<'t>,
    report: &mut Report<'_>,
) {
    for section in providers.tables("yubihsm", NAME, KEYS, report) {
        let device = found.hsms.len();
        let entries = section.entries("keys", KEY, KEY_KEYS, KEYS_EXAMPLE, report);
        let keys = entries
            .iter()
            .filter_map(|entry| key(entry, device, report));
        let mut keys: Vec<Key<'t>> = keys.collect();
        if let Some(hsm) = hsm(&section, report) {
            one_type_a_key(&keys, report);
            found.hsms.push(hsm);
            found.keys.append(&mut keys);
        }
    }
}

fn hsm<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Hsm<'t>> {
    let adapter = adapter(section, report);
    let auth = auth(section, report);
    let serial_number = serial_number(section, report);
    let connector_server = connector_server(section, report);
    let (auth_key, password) = auth?;
    Some(Hsm {
        at: section.at,
        adapter: adapter?,
        serial_number,
        auth_key,
        password,
        connector_server,
    })
}

fn adapter(section: &Section<'_>, report: &mut Report<'_>) -> Option<Located<Adapter>> {
    if section.position_of("adapter").is_none() {
        section.missing("adapter", ADAPTER_EXAMPLE, report);
    }
    let table = section.table("adapter", ADAPTER, ADAPTER_KEYS, ADAPTER_EXAMPLE, report)?;
    let kind = table.required_string("type", "\"usb\"", report)?;
    let adapter = match kind.value {
        "usb" => {
            for key in ["addr", "connector"] {
                table.unwanted(key, "usb", report);
            }
            Adapter::Usb {
                timeout: timeout(&table, USB_TIMEOUT_MS, report),
            }
        }
        "http" if table.position_of("connector").is_some() => connector(&table, report)?,
        "http" => {
            let (host, port) = host_and_port(&table, "addr", ADDR_EXAMPLE, report)?.value;
            Adapter::Http {
                host,
                port,
                timeout: timeout(&table, HTTP_TIMEOUT_MS, report),
            }
        }
        _ => return unknown_value(&table, "type", kind, &["usb", "http"], report),
    };
    Some(Located {
        value: adapter,
        at: table.at,
    })
}

/// 0.2 to 0.5: `connector = { addr = "127.0.0.1", port = 12345, timeout_ms = 1000 }`.
fn connector(adapter: &Section<'_>, report: &mut Report<'_>) -> Option<Adapter> {
    let example = "{ addr = \"127.0.0.1\", port = 12345 }";
    for key in ["addr", "timeout_ms"] {
        if let Some(at) = adapter.key_position(key) {
            report
                .error(
                    at,
                    format!("`{key}` stands beside `connector`, which has its own"),
                )
                .remedy("write: adapter = { type = \"http\", addr = \"tcp://127.0.0.1:12345\" }");
        }
    }
    let table = adapter.table("connector", CONNECTOR, CONNECTOR_KEYS, example, report)?;
    let host = table.required_string("addr", "\"127.0.0.1\"", report);
    if table.position_of("port").is_none() {
        table.missing("port", "12345", report);
    }
    let port = table.integer("port", 1..=i64::from(u16::MAX), "12345", report);
    let timeout = timeout(&table, HTTP_TIMEOUT_MS, report);
    Some(Adapter::Http {
        host: host?.value.to_owned(),
        port: u16::try_from(port?.value).ok()?,
        timeout,
    })
}

fn timeout(table: &Section<'_>, default: u64, report: &mut Report<'_>) -> Duration {
    let written = table.integer("timeout_ms", TIMEOUTS_MS, "1000", report);
    Duration::from_millis(written.map_or(default, |ms| ms.value.unsigned_abs()))
}

fn auth<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<(u16, PasswordAt<'t>)> {
    if section.position_of("auth").is_none() {
        section.missing("auth", AUTH_EXAMPLE, report);
    }
    let table = section.table("auth", AUTH, AUTH_KEYS, AUTH_EXAMPLE, report)?;
    let key = object_id(&table, "key", report);
    let password = password(&table, report);
    Some((key?, password?))
}

/// The one of the four keys that says where the password is.
fn password<'t>(table: &Section<'t>, report: &mut Report<'_>) -> Option<PasswordAt<'t>> {
    let sources = [
        "password",
        "password_file",
        "password_env",
        "password_credential",
    ];
    let mut written = sources
        .iter()
        .filter_map(|key| Some((*key, table.key_position(key)?)));
    let Some((source, _)) = written.next() else {
        table.missing("password_file", PASSWORD_FILE_EXAMPLE, report);
        return None;
    };
    if let Some((second, at)) = written.next() {
        let what = format!("`{source}` and `{second}` stand together in {AUTH}");
        report.error(at, what).remedy("keep one of them");
        return None;
    }
    match source {
        "password" => inline_password(table, report),
        "password_file" => table
            .required_string(source, PASSWORD_FILE_EXAMPLE, report)
            .map(PasswordAt::File),
        "password_env" => {
            let example = "\"TMKMS_YUBIHSM_PASSWORD\"";
            let fits = |name: &str| {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
            };
            name(table, source, example, fits, report).map(PasswordAt::Variable)
        }
        _ => {
            let fits = |name: &str| {
                let word = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
                name.chars().all(word) && name.len() <= 255 && ![".", ".."].contains(&name)
            };
            let example = "\"yubihsm-password\"";
            name(table, source, example, fits, report).map(PasswordAt::Credential)
        }
    }
}

/// `password`. The file that holds it must be for nobody else, as any file with a secret.
fn inline_password<'t>(table: &Section<'t>, report: &mut Report<'_>) -> Option<PasswordAt<'t>> {
    let written = table.required_string("password", "\"…\"", report)?;
    if let Some(mode) = report.mode_for_others() {
        let path = report.path().display().to_string();
        report
            .error(
                written.at,
                format!("`password` stands in a file that others can read (mode {mode:04o})"),
            )
            .remedy(format!(
                "chmod 600 {path}, or keep the password in a password_file"
            ));
    }
    let text = Zeroizing::new(written.value.to_owned());
    Some(PasswordAt::Inline(Arc::new(Password::new(text))))
}

/// A name of something. It is not quoted when it is none: it may be the password, written in the wrong place.
fn name<'t>(
    table: &Section<'t>,
    key: &str,
    example: &str,
    fits: impl Fn(&str) -> bool,
    report: &mut Report<'_>,
) -> Option<&'t str> {
    let written = table.required_string(key, example, report)?;
    if !fits(written.value) {
        report
            .error(written.at, format!("`{key}` in {AUTH} is no name"))
            .remedy(format!(
                "write the name under which the password is found: {key} = {example}"
            ));
        return None;
    }
    Some(written.value)
}

/// An object ID that must be there.
fn object_id(table: &Section<'_>, key: &str, report: &mut Report<'_>) -> Option<u16> {
    if table.position_of(key).is_none() {
        table.missing(key, "1", report);
    }
    let id = table.integer(key, OBJECT_IDS, "1", report)?;
    u16::try_from(id.value).ok()
}

fn serial_number(section: &Section<'_>, report: &mut Report<'_>) -> Option<Located<SerialNumber>> {
    let key = match (
        section.position_of("serial_number"),
        section.key_position("serial-number"),
    ) {
        (Some(_), Some(at)) => {
            let what = format!("`serial_number` and `serial-number` stand together in {NAME}");
            report.error(at, what).remedy("remove serial-number");
            return None;
        }
        (None, Some(_)) => "serial-number",
        _ => "serial_number",
    };
    let written = section.string(key, SERIAL_EXAMPLE, report)?;
    match written.value.parse() {
        Ok(serial) => Some(written.map(|_| serial)),
        Err(NotASerialNumber) => {
            let value = suggest::quoted(written.value);
            report
                .error(
                    written.at,
                    format!("`{key}` in {NAME}: {value} is no serial number"),
                )
                .remedy(format!(
                    "10 digits, as `tmkms yubihsm detect` prints them: {key} = {SERIAL_EXAMPLE}"
                ));
            None
        }
    }
}

fn connector_server(
    section: &Section<'_>,
    report: &mut Report<'_>,
) -> Option<Located<ConnectorServer>> {
    let table = section.table(
        "connector_server",
        SERVER,
        SERVER_KEYS,
        SERVER_EXAMPLE,
        report,
    )?;
    let cli = table
        .table("cli", CLI, CLI_KEYS, "{ auth_key = 2 }", report)
        .map(|table| CommandLine {
            auth_key: table
                .position_of("auth_key")
                .and_then(|_| object_id(&table, "auth_key", report)),
        });
    let written = host_and_port(&table, "laddr", ADDR_EXAMPLE, report)?;
    let (host, port) = &written.value;
    let host = if host.eq_ignore_ascii_case("localhost") {
        "127.0.0.1"
    } else {
        host
    };
    match host.parse() {
        Ok(ip) if std::net::IpAddr::is_loopback(&ip) => Some(Located {
            value: ConnectorServer {
                laddr: SocketAddr::new(ip, *port),
                cli,
            },
            at: written.at,
        }),
        _ => {
            report
                .error(
                    written.at,
                    format!("`laddr` in {SERVER} is no loopback address: the connector's protocol asks nobody for a password"),
                )
                .remedy(format!(
                    "write: laddr = {ADDR_EXAMPLE}; from another machine go through ssh -L"
                ));
            None
        }
    }
}

fn key<'t>(entry: &Section<'t>, device: usize, report: &mut Report<'_>) -> Option<Key<'t>> {
    let route = route(entry, report);
    let key_type = key_type(entry, "type", report);
    let state_file = entry.string("state_file", STATE_FILE_EXAMPLE, report);
    let key = object_id(entry, "key", report);
    Some(Key {
        at: entry.at,
        section: NAME,
        route: route?,
        key_type: key_type?,
        state_file,
        place: Place::Hsm { device, key: key? },
    })
}

/// One object cannot be two kinds of key.
fn one_type_a_key(keys: &[Key<'_>], report: &mut Report<'_>) {
    for (index, key) in keys.iter().enumerate() {
        let mut earlier = keys.iter().take(index);
        let Place::Hsm { key: id, .. } = key.place else {
            continue;
        };
        if earlier.any(|other| other.place.is(&key.place) && other.key_type != key.key_type) {
            report
                .error(key.at, format!("key {id} stands in {KEY} with two types"))
                .remedy("a consensus key and an account key are two objects: keep one entry, or correct its `key`");
        }
    }
}
