//! `[[providers.softsign]]`.

use super::{Key, Place, Providers, STATE_FILE_EXAMPLE, route, unknown_value};
use crate::{
    config::{
        problem::Report,
        reader::{Located, Section},
    },
    crypto::Algorithm,
    keyring::providers::{KeyType, softsign::FileFormat},
};

/// `id` is of 0.0.1 to 0.4.
pub(in crate::config) const KEYS: &[&str] = &[
    "chain_ids",
    "key_type",
    "key_format",
    "path",
    "state_file",
    "id",
];

pub(in crate::config) const NAME: &str = "[[providers.softsign]]";

pub(super) fn read<'t>(
    providers: &Section<'t>,
    found: &mut Providers<'t>,
    report: &mut Report<'_>,
) {
    for section in providers.tables("softsign", NAME, KEYS, report) {
        found.keys.extend(key(&section, report));
    }
}

fn key<'t>(section: &Section<'t>, report: &mut Report<'_>) -> Option<Key<'t>> {
    let route = route(section, report);
    let state_file = section.string("state_file", STATE_FILE_EXAMPLE, report);
    let path = section.required_string("path", "\"secrets/consensus.key\"", report);
    let (key_type, scheme) = key_type(section, report).unzip();
    let written = section.string("key_format", "\"base64\"", report);
    let format = written.and_then(|written| match written.value {
        "base64" => Some(FileFormat::Base64),
        "json" => Some(FileFormat::Json),
        "raw" => Some(FileFormat::Raw),
        _ => unknown_value(
            section,
            "key_format",
            written,
            &["base64", "json", "raw"],
            report,
        ),
    });
    if let (Some(KeyType::Account), Some(FileFormat::Json), Some(Located { at, .. })) =
        (key_type, format, written)
    {
        report
            .error(at, "`key_format`: an account key cannot be in a JSON file")
            .remedy("write: key_format = \"base64\"");
    }
    Some(Key {
        at: section.at,
        section: NAME,
        route: route?,
        key_type: key_type?,
        state_file,
        place: Place::File {
            path: path?,
            format,
            scheme: scheme?,
        },
    })
}

/// What the key is for, and the scheme if the file says one: `"consensus"`, which it is where nothing is written, `"account"`, or a
/// scheme's name, which a consensus key's file must then hold. None after an error.
fn key_type(
    section: &Section<'_>,
    report: &mut Report<'_>,
) -> Option<(KeyType, Option<Algorithm>)> {
    let Some(written) = section.string("key_type", "\"consensus\"", report) else {
        let absent = section.position_of("key_type").is_none();
        return absent.then_some((KeyType::Consensus, None));
    };
    match (written.value, Algorithm::named(written.value)) {
        ("consensus", _) => Some((KeyType::Consensus, None)),
        ("account", _) => Some((KeyType::Account, None)),
        (_, Some(scheme)) => Some((KeyType::Consensus, Some(scheme))),
        (_, None) => {
            let known = ["consensus", "account"];
            unknown_value(section, "key_type", written, &known, report)
        }
    }
}
