//! A configuration as it was understood, for people and for the expectation files of the tests.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use super::{Config, paths::Places};
use crate::{
    chain, client,
    connection::Address,
    crypto::Algorithm,
    keyring::{
        format::KeyFormat,
        providers::{
            KeyType,
            softsign::{self, FileFormat},
            yubihsm::{self, Adapter, CommandLine, PasswordSource},
        },
    },
    privval::ChainId,
};

/// Renders everything but warnings' file names; lists are in the order of the file.
pub(super) fn render(config: &Config) -> String {
    let working_directory = std::env::current_dir().ok();
    let places = Places::new(&config.path, working_directory.as_deref());
    let mut page = Page {
        text: String::new(),
        directory: places.config_directory,
    };
    for chain in &config.chains {
        page.chain(chain);
    }
    for validator in &config.validators {
        page.validator(validator);
    }
    for key in &config.softsign {
        page.softsign(key);
    }
    for device in &config.yubihsm {
        page.yubihsm(device);
    }
    for device in &config.ledgertm {
        page.head("ledgertm", &device.adapter.to_string());
        page.entry("chain_ids", ids(&device.chain_ids));
        page.state_file("state_file", device.state_file.as_deref());
    }
    for section in &config.unbuilt {
        page.head("unbuilt", &section.section);
        page.entry("line", section.line);
        page.entry("chain_ids", ids(&section.chain_ids));
    }
    for warning in &config.warnings {
        page.head("warning", &format!("{}:{}", warning.line, warning.column));
        page.entry("what", &warning.what);
        page.entry("hint", warning.hint.as_deref().unwrap_or("none"));
    }
    page.text
}

struct Page {
    text: String,
    directory: PathBuf,
}

impl Page {
    fn head(&mut self, kind: &str, name: &str) {
        self.text.push_str(kind);
        self.text.push(' ');
        self.text.push_str(name);
        self.text.push('\n');
    }

    fn entry(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "  {key} = {value}");
    }

    fn path(&self, path: &Path) -> String {
        let short = path.strip_prefix(&self.directory).unwrap_or(path);
        short.display().to_string()
    }

    fn chain(&mut self, chain: &chain::Config) {
        self.head("chain", chain.id.as_str());
        let state_file = self.path(&chain.state_file);
        self.entry("state_file", state_file);
        match &chain.key_format {
            None => self.entry("key_format", "none"),
            Some(KeyFormat::Hex) => self.entry("key_format", "hex"),
            Some(KeyFormat::CosmosJson) => self.entry("key_format", "cosmos-json"),
            Some(KeyFormat::Bech32 {
                account_key_prefix,
                consensus_key_prefix,
            }) => {
                let prefixes = format!("bech32 {account_key_prefix} {consensus_key_prefix}");
                self.entry("key_format", prefixes);
            }
        }
        self.entry("sign_extensions", chain.sign_extensions);
        self.entry("strict_rounds", chain.strict_rounds);
        if let Some(hook) = &chain.state_hook {
            self.entry("state_hook.cmd", format!("{:?}", hook.cmd));
            self.entry("state_hook.timeout_secs", hook.timeout.as_secs());
            self.entry("state_hook.fail_closed", hook.fail_closed);
        }
    }

    fn validator(&mut self, validator: &client::Config) {
        let address = match &validator.addr {
            Address::Unix(path) => format!("unix {}", self.path(path)),
            Address::UnixListen(path, access) => {
                let path = self.path(path);
                match &access.group {
                    None => format!("unix-listen {path} mode {:o}", access.mode),
                    Some(group) => {
                        format!("unix-listen {path} mode {:o} of {group:?}", access.mode)
                    }
                }
            }
            Address::Noise { peer, .. } => format!("{} pinned to {peer}", validator.addr),
            Address::Tcp { peer_id, .. } => match peer_id {
                Some(id) => format!("{} pinned to {id}", validator.addr),
                None => validator.addr.to_string(),
            },
        };
        self.head("validator", &address);
        self.entry("chain_id", &validator.chain_id);
        self.entry("reconnect", validator.reconnect);
        self.entry("timeout", validator.timeout.as_secs());
        let secret_key = validator.secret_key.as_ref().map(|path| self.path(path));
        self.entry("secret_key", secret_key.as_deref().unwrap_or("none"));
        if let Some(pin) = validator.protocol {
            self.entry("protocol_version", format!("{:?}", pin.spelling));
        }
        if let Some(name) = &validator.public_key {
            self.entry("public_key", name);
        }
        if let Some(height) = validator.max_height {
            self.entry("max_height", height);
        }
        if !validator.sign_raw_bytes.is_empty() {
            self.entry("sign_raw_bytes", format!("{:?}", validator.sign_raw_bytes));
        }
        if validator.sign_bytes {
            self.entry("sign_bytes", true);
        }
    }

    fn softsign(&mut self, key: &softsign::Config) {
        let path = self.path(&key.path);
        self.head("softsign", &path);
        self.entry("chain_ids", ids(&key.chain_ids));
        let scheme = key.scheme.map(Algorithm::name);
        self.entry("key_type", scheme.unwrap_or_else(|| key_type(key.key_type)));
        let format = match key.key_format {
            None => "told from the content",
            Some(FileFormat::Base64) => "base64",
            Some(FileFormat::Json) => "json",
            Some(FileFormat::Raw) => "raw",
        };
        self.entry("key_format", format);
        self.state_file("state_file", key.state_file.as_deref());
    }

    fn state_file(&mut self, name: &str, path: Option<&Path>) {
        if let Some(path) = path {
            let path = self.path(path);
            self.entry(name, path);
        }
    }

    fn yubihsm(&mut self, device: &yubihsm::Config) {
        self.head("yubihsm", &device.adapter.to_string());
        let (Adapter::Usb { timeout } | Adapter::Http { timeout, .. }) = &device.adapter;
        self.entry("timeout_ms", timeout.as_millis());
        match &device.serial_number {
            Some(serial) => self.entry("serial_number", serial),
            None => self.entry("serial_number", "any"),
        }
        self.entry("auth.key", device.auth.key);
        let password = match &device.auth.password {
            PasswordSource::Inline(_) => "in this file".to_owned(),
            PasswordSource::File(path) => format!("in {}", self.path(path)),
            PasswordSource::Variable(_) | PasswordSource::Credential(_) => {
                format!("in {}", device.auth.password)
            }
        };
        self.entry("auth.password", password);
        for key in &device.keys {
            let what = format!("{} for {}", key_type(key.key_type), ids(&key.chain_ids));
            let name = format!("key {:#06x}", key.key);
            self.entry(&name, what);
            self.state_file(&format!("{name} state_file"), key.state_file.as_deref());
        }
        if let Some(server) = &device.connector_server {
            self.entry("connector_server.laddr", server.laddr);
            match server.cli {
                None => self.entry("connector_server.cli", "none"),
                Some(CommandLine { auth_key: None }) => {
                    self.entry("connector_server.cli", "with auth.key");
                }
                Some(CommandLine {
                    auth_key: Some(key),
                }) => self.entry("connector_server.cli", format!("with auth key {key}")),
            }
        }
    }
}

fn key_type(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Consensus => "consensus",
        KeyType::Account => "account",
    }
}

fn ids(ids: &[ChainId]) -> String {
    let ids: Vec<&str> = ids.iter().map(ChainId::as_str).collect();
    ids.join(", ")
}
