//! `tmkms.toml` of every era.

use std::path::Path;

use tmkms::config::Config;

use crate::targets::{Target, hold};

const FILE: &str = "/nonexistent/tmkms.toml";

const CORPUS: [&str; 8] = [
    include_str!("../../../tests/config/0.0.1.toml"),
    include_str!("../../../tests/config/0.1-tcp.toml"),
    include_str!("../../../tests/config/0.2-announcement.toml"),
    include_str!("../../../tests/config/0.5.toml"),
    include_str!("../../../tests/config/0.5-devices.toml"),
    include_str!("../../../tests/config/0.15-devices.toml"),
    include_str!("../../../tests/config/1.0-devices.toml"),
    include_str!("../../../tests/config/1.0.toml"),
];

pub(crate) struct Configs;

impl Target for Configs {
    fn corpus(&self) -> Vec<Vec<u8>> {
        CORPUS.map(|text| text.as_bytes().to_vec()).to_vec()
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(input);
        let parse = || Config::parse_in(&text, Path::new(FILE), None);
        match (parse(), parse()) {
            (Ok(config), Ok(again)) => {
                hold!(config.resolved() == again.resolved(), "two readings differ");
                let warnings: Vec<_> = config.warnings.iter().map(|it| it.what.as_str()).collect();
                Ok(super::without_quotes(&warnings.join(";")))
            }
            (Err(error), Err(again)) => {
                hold!(
                    error.to_string() == again.to_string(),
                    "two readings differ"
                );
                let problems = error.problems();
                hold!(
                    (1..=10).contains(&problems.len()),
                    "{} problems",
                    problems.len()
                );
                let lines = text.split('\n').count();
                let mut behaviour = String::new();
                for problem in problems {
                    let (line, column) = (problem.line, problem.column);
                    hold!((1..=lines).contains(&line), "line {line} of {lines}");
                    let length = text
                        .split('\n')
                        .nth(line - 1)
                        .map_or(0, |it| it.chars().count());
                    hold!(
                        (1..=length + 1).contains(&column),
                        "column {column} of {length} in line {line}"
                    );
                    let hint = problem.hint.clone().unwrap_or_default();
                    for said in [&problem.what, &hint] {
                        hold!(said.len() <= 1_000, "{} bytes said: {said}", said.len());
                    }
                    hold!(
                        !problem.what.contains(char::is_control),
                        "control characters: {:?}",
                        problem.what
                    );
                    behaviour.push_str(&super::without_quotes(&problem.what));
                }
                hold!(
                    error.hint().is_none_or(|it| it.len() <= 12_000),
                    "a hint without end"
                );
                Ok(behaviour)
            }
            _ => Err("two readings differ".to_owned()),
        }
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "[[validator]]",
            "[[chain]]",
            "[[providers.softsign]]",
            "[[providers.yubihsm]]",
            "[validator.connection]",
            "[secret-connection]",
            "[[providers.ledgertm]]",
            "[[tx_signer]]",
            "addr = ",
            "chain_id = ",
            "id = ",
            "chain_ids = [",
            "key_format = { type = ",
            "\"bech32\"",
            "\"hex\"",
            "\"cosmos-json\"",
            "path = ",
            "secret_key = ",
            "max_height = ",
            "reconnect = ",
            "protocol_version = ",
            "\"v0.34\"",
            "\"legacy\"",
            "state_file = ",
            "state_hook = { cmd = [",
            "\"\"\"",
            "'''",
            "tcp://",
            "unix://",
            "unix-listen://",
            "#",
            "\n",
            "true",
            "false",
            "{",
            "}",
            "]",
            "0x",
            "1e9",
            "9223372036854775808",
            "\"raw\"",
            "\"json\"",
            "\u{feff}",
            "\u{202e}",
            "\\u0000",
            "~/",
            "[::1]:26658",
            "sign_raw_bytes = [",
            "sign_bytes = ",
            "sign_extensions = ",
            "adapter = { type = ",
            "\"usb\"",
            "\"http\"",
            "\"hid\"",
            "\"tcp\"",
            "connector = { addr = ",
            "timeout_ms = ",
            "auth = { key = 1, ",
            "password = ",
            "password_file = ",
            "password_env = ",
            "password_credential = ",
            "keys = [{ ",
            "key = ",
            "type = ",
            "serial_number = ",
            "serial-number = ",
            "connector_server = { laddr = ",
            "cli = { auth_key = ",
            "serial = ",
            "http://",
            "localhost",
        ]
    }
}
