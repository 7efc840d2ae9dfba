//! What the pages say can be followed: links lead somewhere, every key of the configuration stands on its page, and the table of
//! nodes names tests that there are.
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

/// The tests of a file: functions below `#[test]`, and the lines of `cells!`.
fn tests_of(source: &str) -> Vec<String> {
    let mut tests: Vec<String> = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        let name = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.split_once('('))
            .map(|(name, _)| name.to_owned());
        match name {
            Some(name) if is_test || line.ends_with(");") => tests.push(name),
            _ => {}
        }
        is_test = line == "#[test]";
    }
    // The pattern of the macro itself.
    tests.retain(|name| !name.starts_with('$'));
    tests
}

/// Every file of tests, with what is in it.
fn test_files() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join("tests")).unwrap();
    let mut files: Vec<_> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs") && !path.ends_with("docs.rs"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() > 20, "the tests were not found");
    files
}

/// The names of tests on a page: what is set as code and reads like a sentence.
fn tests_named(page: &str) -> Vec<&str> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    page.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|code| code.chars().all(is_letter) && code.matches('_').count() > 3)
        .collect()
}

/// What the table's columns say of a row, in the words of a test's name.
fn name_of(node: &str, transport: &str, key: &str) -> Option<String> {
    let (who, version) = node.split_once(' ')?;
    let numbers: Vec<&str> = version.strip_prefix('v')?.split('.').collect();
    let version = match numbers.as_slice() {
        ["0", minor, _] => format!("0_{minor}"),
        [major, ..] => (*major).to_owned(),
        [] => return None,
    };
    let who = who.to_lowercase();
    let key = key.trim_matches('`');
    Some(format!(
        "{who}_v{version}_makes_blocks_over_{transport}_with_{key}"
    ))
}

/// Cells of the page's first table that are not what their row and column say.
fn misplaced(page: &str) -> Vec<String> {
    let mut misplaced = Vec::new();
    for line in page.lines().take_while(|line| !line.starts_with("## ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [node, transport, key, plain, extended] = cells.as_slice() else {
            continue;
        };
        let Some(name) = name_of(node, transport, key) else {
            continue;
        };
        let rightly = *plain == format!("`{name}`")
            && (*extended == "–" || *extended == format!("`{name}_and_extensions`"));
        if !rightly {
            misplaced.push(line.to_owned());
        }
    }
    misplaced
}

/// Tests that the page names and that there are not, and tests of real nodes that it does not name.
fn untrue(page: &str, files: &[(String, String)]) -> Vec<String> {
    let named = tests_named(page);
    let mut untrue = Vec::new();
    let tests: Vec<_> = files.iter().map(|(_, source)| tests_of(source)).collect();
    for name in &named {
        if !tests.iter().flatten().any(|test| test == name) {
            untrue.push(format!("there is no test {name}"));
        }
        if named.iter().filter(|other| *other == name).count() > 1 {
            untrue.push(format!("{name} stands there twice"));
        }
    }
    for ((file, source), tests) in files.iter().zip(tests) {
        let is_named = |test: &String| named.contains(&test.as_str());
        // Some files have other tests besides.
        if file.contains("nodes") {
            untrue.extend(tests.into_iter().filter(|test| !is_named(test)));
        } else if source.contains("NodeHome::new") && !tests.iter().any(is_named) {
            untrue.push(format!("no test of {file} is named"));
        }
    }
    untrue
}

#[test]
fn every_cell_of_the_table_of_nodes_is_a_test_and_every_test_has_its_cell() {
    let page = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let files = test_files();
    let (wrong, places) = (untrue(&page, &files), misplaced(&page));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(places.is_empty(), "{}", places.join("\n"));
    assert!(tests_named(&page).len() > 80, "the table was not found");

    // A name that is misspelt, one that is left out, two cells that are exchanged, a test that nobody put there.
    let cell = "cometbft_v0_40_makes_blocks_over_noise_with_ml_dsa_65";
    for wrong in ["no_such_test_is_there", "x"] {
        assert!(!untrue(&page.replace(cell, wrong), &files).is_empty());
    }
    let other = page.replace(cell, "cometbft_v1_makes_blocks_over_tcp_with_ed25519");
    assert!(!misplaced(&other).is_empty());
    let mut more = files.clone();
    more.push((
        "more_nodes.rs".to_owned(),
        "#[test]\nfn one_more_test_of_a_node() {}".to_owned(),
    ));
    assert_eq!(untrue(&page, &more), ["one_more_test_of_a_node"]);
    more.pop();
    let line = "cells! {\n    fn one_more_cell_of_the_table(Tool, Tcp, Key, PLAIN);\n}";
    more.push(("more_nodes.rs".to_owned(), line.to_owned()));
    assert_eq!(untrue(&page, &more), ["one_more_cell_of_the_table"]);
}
