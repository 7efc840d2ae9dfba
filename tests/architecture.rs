//! The house rules, read from the sources: who may import whom, how long a file may be, which names and calls have no place.
//!
//! Every rule is a function from sources to complaints. One test applies it to the house, and one shows it a house that
//! breaks it: a rule that cannot complain proves nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

use std::{fs, path::Path};

#[path = "support/rust_source.rs"]
mod rust_source;

use rust_source::{Source, first_segments, identifier, is_unit_test, sources, words};

/// Rooms from the top of the house to its foundation. A room imports only from rows below its own.
const LAYERS: &[&[&str]] = &[
    &["application", "commands"],
    &["kms"],
    &["config"],
    &["client"],
    &["session"],
    &["codec"],
    &["chain"],
    &["keyring"],
    &["protection"],
    &["privval", "connection"],
    &["crypto", "key_file", "shutdown", "event"],
];

/// The rooms that may import everything: what an operator types ends here.
const TOP: &[&str] = &["application", "commands", "bin", "lib"];

/// The rooms that may print, exit and know abscissa.
const PRINTS: &[&str] = &["application", "commands", "bin"];

const SAYS_NOTHING: &[&str] = &[
    "utils", "util", "common", "misc", "helpers", "helper", "types", "manager", "prelude",
    "handler", "handlers",
];

const MAX_LINES: usize = 600;

/// Where secret key material may be named, as in `ARCHITECTURE.md`, "Where secrets live".
const SECRET_ROOMS: &[&str] = &[
    "src/crypto/",
    "src/keyring/providers/softsign",
    "src/connection/identity",
    "src/connection/secret_connection",
];

/// What ships: unit tests may know and do more.
fn house() -> Vec<Source> {
    let mut sources = sources("src");
    sources.retain(|source| !is_unit_test(&source.path));
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// `code_of` cuts unit tests off, so a module of that name which is still there is built into the binary.
fn tests_that_ship(sources: &[Source]) -> Vec<String> {
    let ships = |source: &&Source| {
        words(&source.code)
            .windows(2)
            .any(|pair| pair == ["mod", "tests"])
    };
    sources
        .iter()
        .filter(ships)
        .map(|source| source.complaint("a `mod tests` that is not only for tests"))
        .collect()
}

#[test]
fn unit_tests_are_not_built_into_the_binary() {
    obeyed(&tests_that_ship(&house()));
    broken(tests_that_ship, "src/chain.rs", "mod tests;");
    fine(tests_that_ship, "src/chain.rs", "#[cfg(test)]\nmod tests;");
    assert!(is_unit_test(Path::new("src/codec/tests/replies.rs")));
    assert!(is_unit_test(Path::new("src/codec/tests.rs")));
    assert!(!is_unit_test(Path::new("src/codec/strict.rs")));
}

fn obeyed(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[track_caller]
fn broken(rule: impl Fn(&[Source]) -> Vec<String>, path: &str, text: &str) {
    let complaints = rule(&[Source::new(path, text)]);
    assert!(!complaints.is_empty(), "not seen in {path}: {text}");
}

#[track_caller]
fn fine(rule: impl Fn(&[Source]) -> Vec<String>, path: &str, text: &str) {
    obeyed(&rule(&[Source::new(path, text)]));
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

fn may_import(importer: &str, imported: &str) -> bool {
    if importer == imported || TOP.contains(&importer) {
        return true;
    }
    match (layer(importer), layer(imported)) {
        (Some(from), Some(to)) => to > from,
        _ => false,
    }
}

/// The first path segment of everything that the code names through `crate::`, or through enough `super::`s to reach the root.
fn rooms_named(source: &Source) -> Vec<String> {
    let to_the_root = "super::".repeat(source.depth());
    let mut rooms = Vec::new();
    for root in ["crate::", to_the_root.as_str()] {
        for (at, _) in source.code.match_indices(root) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &source.code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => rooms.extend(first_segments(group)),
                None => rooms.push(identifier(rest)),
            }
        }
    }
    rooms
}

fn upward_imports(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for room in rooms_named(source) {
            if !may_import(&source.room, &room) {
                complaints.push(source.complaint(&format!("imports crate::{room}")));
            }
        }
        // Naming itself from outside would go around the rule.
        if source.room != "bin" && source.code.contains("tmkms::") {
            complaints.push(source.complaint("names its own crate from outside"));
        }
    }
    complaints
}

#[test]
fn imports_point_down() {
    obeyed(&upward_imports(&house()));
}

#[test]
fn an_upward_import_would_be_seen() {
    let grouped = "use std::fmt;\nuse crate::{\n    crypto::PublicKey,\n    keyring::{Key, Signer},\n    session,\n};";
    let named = rooms_named(&Source::new("src/chain.rs", grouped));
    assert_eq!(named, ["crypto", "keyring", "session"]);
    broken(upward_imports, "src/chain.rs", grouped);
    let protection = "src/protection/rules.rs";
    broken(upward_imports, protection, "use crate::keyring::Key;");
    broken(
        upward_imports,
        protection,
        "fn f() { crate::session::go() }",
    );
    broken(
        upward_imports,
        protection,
        "use super::super::keyring::Key;",
    );
    broken(upward_imports, protection, "use tmkms::keyring::Key;");
    broken(upward_imports, "src/chain.rs", "use super::session;");
    broken(upward_imports, "src/privval.rs", "use crate::connection;");
    broken(upward_imports, "src/crypto.rs", "use crate::event;");
    broken(upward_imports, "src/config/keys.rs", "use crate::kms;");
    broken(upward_imports, "src/kms.rs", "use crate::commands;");
    fine(upward_imports, "src/kms.rs", "use crate::config;");
    fine(upward_imports, protection, "use super::Permit;");
    fine(upward_imports, protection, "// crate::session is above us");
    fine(
        upward_imports,
        protection,
        "const S: &str = \"crate::session\";",
    );
    let in_tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::session;\n}";
    fine(upward_imports, protection, in_tests);
}

fn rooms_without_a_layer(sources: &[Source]) -> Vec<String> {
    let known =
        |source: &&Source| TOP.contains(&source.room.as_str()) || layer(&source.room).is_some();
    sources
        .iter()
        .filter(|source| !known(source))
        .map(|source| source.complaint("is in no layer"))
        .collect()
}

#[test]
fn every_room_has_its_layer() {
    obeyed(&rooms_without_a_layer(&house()));
    broken(rooms_without_a_layer, "src/network/dial.rs", "");
}

fn long_files(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(source, lines)| source.complaint(&format!("{lines} lines")))
        .collect()
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for directory in ["src", "tests", "examples", "benches", "fuzz"] {
        obeyed(&long_files(&sources(directory)));
    }
    fine(long_files, "src/chain.rs", &"\n".repeat(MAX_LINES));
    broken(long_files, "src/chain.rs", &"\n".repeat(MAX_LINES + 1));
}

fn empty_names(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for part in source.path.components() {
            let stem = Path::new(part.as_os_str()).file_stem().unwrap();
            if SAYS_NOTHING.contains(&stem.to_str().unwrap()) {
                complaints.push(source.complaint("a name that says nothing"));
            }
        }
        let words = words(&source.code);
        for pair in words.windows(2) {
            let declares = ["mod", "struct", "enum", "trait", "type"].contains(&pair[0].as_str());
            let name = pair[1].to_lowercase();
            if declares && SAYS_NOTHING.iter().any(|bad| name.ends_with(bad)) {
                complaints.push(source.complaint(&format!("{} {}", pair[0], pair[1])));
            }
        }
    }
    complaints
}

#[test]
fn no_room_and_no_type_has_a_name_that_says_nothing() {
    obeyed(&empty_names(&house()));
    broken(empty_names, "src/keyring/utils.rs", "");
    broken(empty_names, "src/common/time.rs", "");
    broken(empty_names, "src/chain.rs", "pub struct KeyManager;");
    broken(empty_names, "src/chain.rs", "mod helpers {\n}");
}

fn printing_below_the_top(sources: &[Source]) -> Vec<String> {
    const CALLS: &[&str] = &[
        "process::exit",
        "process::abort",
        "APP",
        "abscissa_core",
        "println",
        "eprintln",
        "print",
        "eprint",
        "dbg",
    ];
    let mut complaints = Vec::new();
    for source in sources {
        if PRINTS.contains(&source.room.as_str()) {
            continue;
        }
        for call in CALLS {
            let is_macro = !call.contains("::") && call.chars().all(|c| c.is_ascii_lowercase());
            let found = source.code.match_indices(call).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + call.len()..].chars().next();
                let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                !inside(before) && !inside(after) && (!is_macro || after == Some('!'))
            });
            if found {
                complaints.push(source.complaint(call));
            }
        }
    }
    complaints
}

#[test]
fn only_the_top_rooms_exit_print_or_know_abscissa() {
    obeyed(&printing_below_the_top(&house()));
    let below = "src/session.rs";
    broken(
        printing_below_the_top,
        below,
        "fn f() { std::process::exit(1) }",
    );
    broken(
        printing_below_the_top,
        below,
        "use crate::application::APP;",
    );
    broken(
        printing_below_the_top,
        below,
        "fn f() { eprintln!(\"no\") }",
    );
    broken(
        printing_below_the_top,
        below,
        "use abscissa_core::Shutdown;",
    );
    broken(
        printing_below_the_top,
        "src/lib.rs",
        "fn f() { println!(\"no\") }",
    );
    fine(
        printing_below_the_top,
        below,
        "fn f() { self.fingerprint() }",
    );
    fine(
        printing_below_the_top,
        "src/commands/check.rs",
        "println!()",
    );
}

/// Compile-fail tests see the public API only, so a `pub(crate)` constructor would escape them.
fn open_permits(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let is_permit = |source: &&Source| source.path.ends_with("protection/permit.rs");
    for source in sources.iter().filter(is_permit) {
        for door in ["pub(crate)", "pub(in"] {
            if source.code.contains(door) {
                complaints.push(source.complaint(door));
            }
        }
        for name in [
            "struct Permit",
            "struct RawPermit",
            "struct SignedMsg",
            "struct SignedRaw",
        ] {
            let Some(at) = source.code.find(name) else {
                complaints.push(source.complaint(&format!("{name} is gone")));
                continue;
            };
            let attributes = source.code[..at].rsplit(['}', ';']).next().unwrap();
            if ["Clone", "Copy", "Default", "Deserialize"]
                .iter()
                .any(|t| attributes.contains(t))
            {
                complaints
                    .push(source.complaint(&format!("{name} can be made of nothing or of itself")));
            }
            if source
                .code
                .contains(&format!("Clone for {}", &name["struct ".len()..]))
            {
                complaints.push(source.complaint(&format!("{name} can be cloned")));
            }
        }
    }
    complaints
}

#[test]
fn a_permit_is_made_in_protection_only() {
    let house = house();
    assert!(
        house
            .iter()
            .any(|source| source.path.ends_with("protection/permit.rs"))
    );
    obeyed(&open_permits(&house));
    let permit = "src/protection/permit.rs";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(permit)).unwrap();
    for (now, then) in [
        ("pub(super) fn advance", "pub(crate) fn advance"),
        (
            "#[derive(Debug)]\n#[must_use = \"the height",
            "#[derive(Clone, Debug)]\n#[must_use = \"the height",
        ),
        (
            "pub struct SignedMsg",
            "#[derive(Clone)]\npub struct SignedMsg",
        ),
        ("impl Permit {", "impl Clone for Permit {"),
    ] {
        assert!(text.contains(now), "the control no longer fits: {now}");
        broken(open_permits, permit, &text.replace(now, then));
    }
}

/// The door to a signature is `Chain::sign`; nobody else asks a guard, and a key knows of protection only what it is lent.
fn side_doors(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        if !["chain", "protection"].contains(&source.room.as_str())
            && source.code.contains(".judge(")
        {
            complaints.push(source.complaint("asks a guard"));
        }
        if !["chain", "protection", "keyring"].contains(&source.room.as_str())
            && words(&source.code)
                .iter()
                .any(|word| word == "Permitted" || word == "Permit")
        {
            complaints.push(source.complaint("handles permits"));
        }
        if source.room == "keyring" {
            for what in [
                "Guard",
                "Store",
                "Record",
                "Candidate",
                "Hrs",
                "ConsensusMsg",
            ] {
                if words(&source.code).iter().any(|word| word == what) {
                    complaints.push(source.complaint(&format!("a key that knows {what}")));
                }
            }
        }
    }
    complaints
}

#[test]
fn a_chain_is_the_one_door_to_a_signature() {
    obeyed(&side_doors(&house()));
    broken(
        side_doors,
        "src/session.rs",
        "fn f() { guard.judge(msg, policy) }",
    );
    broken(
        side_doors,
        "src/codec/proto.rs",
        "use crate::protection::Permitted;",
    );
    broken(
        side_doors,
        "src/keyring/providers/softsign.rs",
        "use crate::protection::Guard;",
    );
    fine(
        side_doors,
        "src/keyring.rs",
        "use crate::protection::Permitted;",
    );
}

fn foreign_knowledge(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let foreign: &[&str] = match source.room.as_str() {
            "protection" => &[
                "prost",
                "ed25519_dalek",
                "x25519_dalek",
                "std::net",
                "TcpStream",
                "UnixStream",
            ],
            "keyring" => &["prost", "std::net", "TcpStream", "UnixStream"],
            "chain" => &["prost", "std::net", "std::fs", "TcpStream", "UnixStream"],
            "codec" => &[
                "std::net",
                "std::fs",
                "ed25519_dalek",
                "TcpStream",
                "UnixStream",
            ],
            "session" => &["std::fs", "std::thread", "toml", "TcpStream", "UnixStream"],
            "privval" => &["std::fs", "std::net", "ed25519_dalek"],
            "client" => &["toml"],
            _ => &[],
        };
        for name in foreign {
            if source.code.contains(name) {
                complaints.push(source.complaint(&format!("names {name}")));
            }
        }
    }
    complaints
}

#[test]
fn no_room_knows_what_is_not_its_business() {
    obeyed(&foreign_knowledge(&house()));
    broken(
        foreign_knowledge,
        "src/protection/store/file.rs",
        "use prost::Message;",
    );
    broken(
        foreign_knowledge,
        "src/codec.rs",
        "use std::net::TcpStream;",
    );
    broken(
        foreign_knowledge,
        "src/chain.rs",
        "fn f() { std::fs::read(p) }",
    );
}

fn stray_secrets(sources: &[Source]) -> Vec<String> {
    const SECRETS: &[&str] = &[
        "SigningKey",
        "ExpandedSecretKey",
        "SecretKey",
        "StaticSecret",
        "EphemeralSecret",
        "ReusableSecret",
        // What the rooms of `crypto` do with a secret that they are lent.
        "public_half",
        "secret_from_json",
        "sign_with",
    ];
    let mut complaints = Vec::new();
    for source in sources {
        let path = source.path.to_str().unwrap();
        let is_their_room = path == "src/crypto.rs";
        if is_their_room || SECRET_ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for word in words(&source.code) {
            if SECRETS.contains(&word.as_str()) {
                complaints.push(source.complaint(&format!("handles a {word}")));
            }
        }
    }
    complaints
}

#[test]
fn secret_keys_stay_in_their_rooms() {
    obeyed(&stray_secrets(&house()));
    broken(
        stray_secrets,
        "src/chain.rs",
        "use ed25519_dalek::SigningKey;",
    );
    broken(
        stray_secrets,
        "src/commands/init.rs",
        "fn f(k: &SigningKey) {}",
    );
    broken(
        stray_secrets,
        "src/keyring/providers/yubihsm/import.rs",
        "fn f(key: &PublicKey) { key.sign_with(&[1; 32], b\"vote\") }",
    );
    fine(
        stray_secrets,
        "src/connection/identity.rs",
        "use ed25519_dalek::SigningKey;",
    );
}
