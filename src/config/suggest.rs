//! "Did you mean": what an unknown name was probably meant to be.

use super::providers::{ledgertm, softsign, yubihsm};

/// The keys of the sections in which a key may have been meant to stand.
const SECTIONS: [(&str, &[&str]); 14] = [
    ("[[validator]]", super::validators::KEYS),
    ("[[chain]]", super::chains::KEYS),
    (softsign::NAME, softsign::KEYS),
    (yubihsm::NAME, yubihsm::KEYS),
    (yubihsm::ADAPTER, yubihsm::ADAPTER_KEYS),
    (yubihsm::AUTH, yubihsm::AUTH_KEYS),
    (yubihsm::KEY, yubihsm::KEY_KEYS),
    (yubihsm::SERVER, yubihsm::SERVER_KEYS),
    (yubihsm::CLI, yubihsm::CLI_KEYS),
    (ledgertm::NAME, ledgertm::KEYS),
    (ledgertm::ADAPTER, ledgertm::ADAPTER_KEYS),
    ("state_hook", super::chains::HOOK_KEYS),
    ("[providers]", super::providers::KEYS),
    ("the file", super::reader::ROOT_KEYS),
];

/// Keys that are understood, but that nobody should be told to write.
const HISTORIC: [(&str, &str); 9] = [
    ("[[validator]]", "port"),
    ("[[validator]]", "connection"),
    (softsign::NAME, "id"),
    (yubihsm::NAME, "serial-number"),
    (yubihsm::ADAPTER, "connector"),
    (yubihsm::KEY, "id"),
    (ledgertm::NAME, "id"),
    ("the file", "secret-connection"),
    ("the file", "tx_signer"),
];

/// Names that are far apart as text, but near in meaning. The first one that the section knows is taken.
const SYNONYMS: [(&str, &[&str]); 32] = [
    ("account_prefix", &["account_key_prefix"]),
    ("address", &["addr"]),
    ("args", &["cmd"]),
    ("auth_key", &["key"]),
    ("auth_key_id", &["key", "auth_key"]),
    ("authentication", &["auth"]),
    ("chain_id", &["chain_ids", "id"]),
    ("chain_ids", &["chain_id", "id"]),
    ("chains", &["chain_ids", "chain"]),
    ("command", &["cmd"]),
    ("consensus_prefix", &["consensus_key_prefix"]),
    ("endpoint", &["addr"]),
    ("file", &["path"]),
    ("hook", &["state_hook"]),
    ("host", &["addr"]),
    ("id", &["chain_id", "chain_ids"]),
    ("identity", &["secret_key"]),
    ("identity_key", &["secret_key"]),
    ("key", &["path", "secret_key"]),
    ("key_file", &["path", "secret_key"]),
    ("key_id", &["key"]),
    ("key_type", &["type"]),
    ("laddr", &["addr"]),
    ("ledger", &["ledgertm"]),
    ("name", &["id"]),
    ("network", &["chain_id", "id"]),
    ("secret_key_path", &["secret_key"]),
    ("serial", &["serial_number"]),
    ("serial_number", &["serial"]),
    ("state_path", &["state_file"]),
    ("timeout", &["timeout_ms"]),
    ("url", &["addr"]),
];

/// The candidate that `word` was probably meant to be: it has another name for it, or nearly spells one.
pub(super) fn closest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let word = word.to_lowercase().replace('-', "_");
    let limit = (word.chars().count() / 3).max(1);
    let synonyms = SYNONYMS.iter().filter_map(|(name, targets)| {
        let known = |target: &&str| candidates.iter().find(|c| *c == target);
        Some((*name, *targets.iter().find_map(known)?))
    });
    let spelled = candidates.iter().map(|candidate| (*candidate, *candidate));
    spelled
        .chain(synonyms)
        .map(|(name, meant)| {
            let distance = strsim::damerau_levenshtein(&word, &name.to_lowercase());
            (distance, meant)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, meant)| meant)
}

/// What to say about an unknown key of a section.
pub(super) fn for_key(word: &str, section: &str, keys: &[&str]) -> String {
    if let Some(key) = closest(word, keys) {
        return format!("did you mean `{key}`?");
    }
    let elsewhere = SECTIONS
        .iter()
        .find(|(name, keys)| *name != section && keys.contains(&word));
    if let Some((name, _)) = elsewhere {
        return format!("`{word}` belongs in {name}");
    }
    let current = |key: &&str| !HISTORIC.contains(&(section, *key));
    let current: Vec<&str> = keys.iter().copied().filter(current).collect();
    format!("what can still be set here: {}", current.join(", "))
}

/// What to say about an unknown value of a fixed set.
pub(super) fn for_value(word: &str, values: &[&str]) -> String {
    match closest(word, values) {
        Some(value) => format!("did you mean \"{value}\"?"),
        None => format!("write one of \"{}\"", values.join("\", \"")),
    }
}

/// A name or value of the operator's, safe to print: one line, no control characters, at most 60 characters.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", printable(&short))
}

/// The text on one line, its control characters escaped.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_and_other_words_are_understood() {
        let keys = super::super::validators::KEYS;
        for (word, meant) in [
            ("adress", "addr"),
            ("address", "addr"),
            ("adr", "addr"),
            ("secret-key", "secret_key"),
            ("chainid", "chain_id"),
            ("Reconnect", "reconnect"),
            ("max_hieght", "max_height"),
        ] {
            assert_eq!(closest(word, keys), Some(meant), "{word}");
        }
        assert_eq!(closest("colour", keys), None);
    }

    #[test]
    fn what_is_quoted_stays_on_its_line() {
        assert_eq!(quoted("a\nb\u{1b}[0m"), "`a\\nb\\u{1b}[0m`");
        assert_eq!(quoted(&"x".repeat(70)).chars().count(), 63);
    }
}
