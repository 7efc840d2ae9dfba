//! Just enough Rust to read the house's own sources: code told from comments and literals, and paths told from other words.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the house.
pub(crate) struct Source {
    /// Relative to the package.
    pub(crate) path: PathBuf,
    /// The first component below the directory that was read, without its ending.
    pub(crate) room: String,
    pub(crate) text: String,
    /// The text without comments, strings and unit tests.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut components = Path::new(path).components();
        components.next();
        let first = components.next().unwrap();
        let room = Path::new(first.as_os_str()).file_stem().unwrap();
        Self {
            path: path.into(),
            room: room.to_str().unwrap().to_owned(),
            text: text.to_owned(),
            code: code_of(text),
        }
    }

    /// How many modules stand between this file and the crate's root: 1 for `src/chain.rs`.
    pub(crate) fn depth(&self) -> usize {
        self.path.components().count() - 1
    }

    pub(crate) fn complaint(&self, what: &str) -> String {
        format!("{}: {what}", self.path.display())
    }
}

/// Every Rust file below a directory of the package.
pub(crate) fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join(directory), &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Source::new(path.strip_prefix(root).unwrap().to_str().unwrap(), &text)
    };
    found.into_iter().map(read).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        // What a build left behind is not this house.
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// `…/tests.rs` and everything below `…/tests/`.
pub(crate) fn is_unit_test(path: &Path) -> bool {
    path.components()
        .any(|part| Path::new(part.as_os_str()).file_stem().unwrap() == "tests")
}

/// The code of a file: comments are dropped, literals are emptied, and the unit tests, which stand last, are cut off.
pub(crate) fn code_of(text: &str) -> String {
    let code = without_comments_and_literals(text);
    match code.find("#[cfg(test)]\nmod tests") {
        Some(tests) => code[..tests].to_owned(),
        None => code,
    }
}

/// The same lines, so that a position still says where it is.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest, 1),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '\'' => char_literal(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            let lines = rest[..skipped].matches('\n').count();
            code.extend(std::iter::repeat_n('\n', lines));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of a comment that may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string whose text starts at `start`.
fn string(rest: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, c) in rest[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return start + at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `r"…"` or `r#"…"#`; 0 if this is no raw string.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    match rest[start..].find(&end) {
        Some(at) => start + at + end.len(),
        None => rest.len(),
    }
}

/// The length of a character literal; 0 if the quote starts a lifetime.
fn char_literal(rest: &str) -> usize {
    let mut chars = rest[1..].char_indices();
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            match chars.find(|(_, c)| *c == '\'') {
                Some((at, _)) => 1 + at + 1,
                None => 0,
            }
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => 1 + at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// The first segment of each item at the outer level of `a::b, c::{d, e}}`.
pub(crate) fn first_segments(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut at_start = true;
    let mut segments = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                segments.push(identifier(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    segments
}

/// The identifier that `text` starts with.
pub(crate) fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Every identifier and keyword, in order.
pub(crate) fn words(code: &str) -> Vec<String> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn comments_and_literals_are_no_code() {
    assert_eq!(code_of("a /* b /* c */ d */ e // f\ng"), "a  e \ng");
    assert_eq!(code_of("a \"b \\\" c\" d"), "a  d");
    assert_eq!(code_of("a r#\"b \" c\"# d"), "a  d");
    assert_eq!(
        code_of("f('\"') + g('\\'') + h::<'a>()"),
        "f() + g() + h::<'a>()"
    );
    assert_eq!(code_of("\"a\nb\" c"), "\n c");
    assert_eq!(code_of("a\n#[cfg(test)]\nmod tests {\nb\n}"), "a\n");
    assert_eq!(
        code_of("#[cfg(test)]\nuse a;\nb"),
        "#[cfg(test)]\nuse a;\nb"
    );
}
