//! `[[providers.softsign]]`.

use super::{Key, Place, Providers, key_type, route, unknown_value};
use crate::{
    config::{
        problem::Report,
        reader::{Located, Section},
    },
    keyring::providers::{KeyType, softsign::FileFormat},
};

/// `id` is of 0.0.1 to 0.4.
pub(in crate::config) const KEYS: &[&str] = &["chain_ids", "key_type", "key_format", "path", "id"];

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
    let path = section.required_string("path", "\"secrets/consensus.key\"", report);
    let key_type = key_type(section, "key_type", report);
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
        place: Place::File {
            path: path?,
            format,
        },
    })
}
