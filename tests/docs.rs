//! What the pages say can be followed: links lead somewhere, and every key of the configuration stands on its page.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = [root().to_owned(), root().join("docs")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.sort();
    assert!(pages.len() > 10, "the pages were not found");
    pages
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    text.match_indices("](")
        .filter_map(|(at, _)| {
            let rest = text.get(at + 2..)?;
            rest.get(..rest.find(')')?)
        })
        .collect()
}

/// The anchors of a page's headings, as web hosts make them.
fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn dead_links(page: &Path, text: &str) -> Vec<String> {
    let directory = page.parent().unwrap();
    let mut dead = Vec::new();
    for link in links(text) {
        if link.starts_with("https://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() {
            page.to_owned()
        } else {
            directory.join(file)
        };
        let found = fs::read_to_string(&target)
            .is_ok_and(|text| anchor.is_empty() || anchors(&text).iter().any(|a| a == anchor));
        if !found {
            dead.push(format!("{}: {link}", page.display()));
        }
    }
    dead
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let dead = dead_links(&page, &text);
        assert!(dead.is_empty(), "{}", dead.join("\n"));
    }
    let readme = root().join("README.md");
    for dead in ["docs/nothing.md", "docs/state.md#nothing"] {
        assert_eq!(dead_links(&readme, &format!("[x]({dead})")).len(), 1);
    }
}

#[test]
fn every_page_is_named_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for page in pages() {
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        let named = name == "README.md" || links(&readme).contains(&name);
        assert!(named, "{name} is not in the README");
    }
}

/// Spellings of old versions; `docs/migrating.md` has them.
const HISTORIC: [&str; 4] = ["port", "connection", "connector", "serial-number"];

/// The keys that a section of the configuration knows, from the array of that name in its source.
fn keys(source: &str, array: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(source)).unwrap();
    let start = text.find(array).unwrap();
    let list = text.get(start..).unwrap();
    let (_, value) = list.split_once('=').unwrap();
    let (_, list) = value.split_once("&[").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    list.split(',')
        .map(|key| key.trim().trim_matches('"').to_owned())
        .filter(|key| !key.is_empty())
        .collect()
}

#[test]
fn every_key_of_the_configuration_has_its_line() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let example = fs::read_to_string(root().join("tmkms.toml.example")).unwrap();
    for (source, array) in [
        ("src/config/chains.rs", "const KEYS"),
        ("src/config/chains.rs", "const HOOK_KEYS"),
        ("src/config/validators.rs", "const KEYS"),
        ("src/config/providers/softsign.rs", "const KEYS"),
        ("src/config/providers/yubihsm.rs", "const KEYS"),
        ("src/config/providers/yubihsm.rs", "const ADAPTER_KEYS"),
        ("src/config/providers/yubihsm.rs", "const AUTH_KEYS"),
        ("src/config/providers/yubihsm.rs", "const KEY_KEYS"),
        ("src/config/providers/yubihsm.rs", "const SERVER_KEYS"),
        ("src/config/providers/yubihsm.rs", "const CLI_KEYS"),
        ("src/config/providers/ledgertm.rs", "const KEYS"),
        ("src/config/providers/ledgertm.rs", "const ADAPTER_KEYS"),
    ] {
        let keys = keys(source, array);
        assert!(!keys.is_empty(), "{source}: {array}: {keys:?}");
        for key in keys.iter().filter(|key| !HISTORIC.contains(&key.as_str())) {
            let written = [format!("`{key}`"), format!(".{key}`"), format!("{key} =")]
                .iter()
                .any(|form| page.contains(form.as_str()));
            assert!(written, "docs/configuration.md does not know `{key}`");
            // Some keys change nothing, and are there for old files only.
            let shown = example.contains(&format!("{key} =")) || *key == "protocol_version";
            assert!(shown, "tmkms.toml.example does not show `{key}`");
        }
    }
}

#[test]
fn the_lines_that_a_dialect_and_a_key_type_take_are_the_ones_that_are_there() {
    let page = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    for (heading, table) in [
        ("## Adding a dialect", "src/codec/node.rs"),
        ("## Adding a key type", "src/crypto.rs"),
    ] {
        let section = page.split(heading).nth(1).unwrap();
        assert!(section.contains(table));
        let block = section.split("```rust\n").nth(1).unwrap();
        let line = block.split("```").next().unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        let source = fs::read_to_string(root().join(table)).unwrap();
        assert!(source.contains(line), "{table} has no line {line}");
    }
}
