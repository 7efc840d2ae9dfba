//! A walker over the spanned TOML tree: tables whose unknown keys are errors, values with their places.
//!
//! Untagged serde enums would read the same files, but lose line, column and key on the way.

use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::{problem::Report, suggest};

/// The keys at the top level. `secret-connection` and `tx_signer` are historic.
pub(super) const ROOT_KEYS: &[&str] = &[
    "chain",
    "validator",
    "providers",
    "secret-connection",
    "tx_signer",
];

/// A value and where it stands, as a byte offset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<T> Located<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located {
            value: f(self.value),
            at: self.at,
        }
    }
}

/// The tree of a text, or errors with their places.
pub(super) fn tree<'t>(text: &'t str, report: &mut Report<'_>) -> Option<DeTable<'t>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        // The message of the parser names what it wanted, never what stood there, which could be part of a password.
        let what = error.message().replace('\n', ", ");
        let hint = if what.contains("duplicate key") {
            "keep one of the two"
        } else {
            "text stands in quotes: addr = \"tcp://127.0.0.1:26658\"; the name of a section in brackets: [[validator]]"
        };
        report
            .error(at, format!("not valid TOML: {what}"))
            .remedy(hint);
    }
    errors.is_empty().then(|| tree.into_inner())
}

/// A table of the file whose keys are all known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'t> {
    /// As an operator writes it: `[[validator]]`, `key_format`.
    pub(super) name: &'static str,
    /// Where it begins.
    pub(super) at: usize,
    table: &'t DeTable<'t>,
    keys: &'static [&'static str],
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn root(table: &'t DeTable<'t>, report: &mut Report<'_>) -> Self {
        Self::new("the file", 0, table, ROOT_KEYS, report)
    }

    fn new(
        name: &'static str,
        at: usize,
        table: &'t DeTable<'t>,
        keys: &'static [&'static str],
        report: &mut Report<'_>,
    ) -> Self {
        let section = Self {
            name,
            at,
            table,
            keys,
        };
        let place = if name == "the file" {
            "at the top level".to_owned()
        } else {
            format!("in {name}")
        };
        for (key, _) in table.iter() {
            let word = key.get_ref();
            if !keys.contains(&word.as_ref()) {
                let what = format!("unknown key {} {place}", suggest::quoted(word));
                report
                    .error(key.span().start, what)
                    .remedy(suggest::for_key(word, name, &section.absent_keys()));
            }
        }
        section
    }

    /// The keys that could still be added.
    fn absent_keys(&self) -> Vec<&'static str> {
        let absent = |key: &&&str| self.table.get(**key).is_none();
        self.keys.iter().filter(absent).copied().collect()
    }

    /// Where a key's value begins, if the key is there.
    pub(super) fn position_of(&self, key: &str) -> Option<usize> {
        Some(self.table.get(key)?.span().start)
    }

    /// Where the key itself stands.
    pub(super) fn key_position(&self, key: &str) -> Option<usize> {
        let (key, _) = self.table.get_key_value(key)?;
        Some(key.span().start)
    }

    /// A string, or none if the key is absent.
    pub(super) fn string(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<&'t str>> {
        let value = self.value(key)?;
        match value.value {
            DeValue::String(text) => Some(value.map(|_| text.as_ref())),
            other => self.wrong_type(key, value.at, (other, "a string"), example, report),
        }
    }

    /// A string that must be there and must not be empty.
    pub(super) fn required_string(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<&'t str>> {
        if self.value(key).is_none() {
            self.missing(key, example, report);
        }
        let text = self.string(key, example, report)?;
        if text.value.is_empty() {
            report
                .error(text.at, format!("`{key}` in {} is empty", self.name))
                .remedy(format!("write: {key} = {example}"));
            return None;
        }
        Some(text)
    }

    /// `true` or `false`, with its place; none if the key is absent.
    pub(super) fn boolean(&self, key: &str, report: &mut Report<'_>) -> Option<Located<bool>> {
        let value = self.value(key)?;
        match value.value {
            DeValue::Boolean(flag) => Some(value.map(|_| *flag)),
            other => self.wrong_type(key, value.at, (other, "true or false"), "true", report),
        }
    }

    /// An integer within limits.
    pub(super) fn integer(
        &self,
        key: &str,
        limits: RangeInclusive<i64>,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<i64>> {
        let value = self.value(key)?;
        match value.value {
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.within(key, value.map(|_| number), limits, example, report)
            }
            other => self.wrong_type(key, value.at, (other, "an integer"), example, report),
        }
    }

    /// An integer, or (as the original wrote it) a string with an integer.
    pub(super) fn integer_or_string(
        &self,
        key: &str,
        limits: RangeInclusive<i64>,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<i64>> {
        let value = self.value(key)?;
        let DeValue::String(text) = value.value else {
            return self.integer(key, limits, example, report);
        };
        let number = text.parse().ok();
        self.within(key, value.map(|_| number), limits, example, report)
    }

    /// A list of strings.
    pub(super) fn strings(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<Vec<Located<&'t str>>>> {
        let list = self.list(key, example, report)?;
        let length = list.value.len();
        let mut strings = Vec::new();
        for item in list.value {
            match item.value {
                DeValue::String(text) => strings.push(item.map(|_| text.as_ref())),
                _ => {
                    let what = format!("an element of `{key}` in {} is no string", self.name);
                    report
                        .error(item.at, what)
                        .remedy(format!("write: {key} = {example}"));
                }
            }
        }
        (strings.len() == length).then_some(Located {
            value: strings,
            at: list.at,
        })
    }

    /// A list of anything.
    pub(super) fn list(
        &self,
        key: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<Vec<Located<&'t DeValue<'t>>>>> {
        let value = self.value(key)?;
        let DeValue::Array(array) = value.value else {
            return self.wrong_type(key, value.at, (value.value, "a list"), example, report);
        };
        let items = array.iter().map(|item| Located {
            value: item.get_ref(),
            at: item.span().start,
        });
        Some(value.map(|_| items.collect()))
    }

    /// A table within this one.
    pub(super) fn table(
        &self,
        key: &str,
        name: &'static str,
        keys: &'static [&'static str],
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Section<'t>> {
        let value = self.value(key)?;
        match value.value {
            DeValue::Table(table) => Some(Section::new(name, value.at, table, keys, report)),
            other => self.wrong_type(key, value.at, (other, "a table"), example, report),
        }
    }

    /// The tables of an array: `[[key]]`.
    pub(super) fn tables(
        &self,
        key: &str,
        name: &'static str,
        keys: &'static [&'static str],
        report: &mut Report<'_>,
    ) -> Vec<Section<'t>> {
        let mut sections = Vec::new();
        for (at, table) in self.raw_tables(key, name, report) {
            sections.push(Section::new(name, at, table, keys, report));
        }
        sections
    }

    /// The tables of a list that stands within a line: `keys = [{ … }, { … }]`.
    pub(super) fn entries(
        &self,
        key: &str,
        name: &'static str,
        keys: &'static [&'static str],
        example: &str,
        report: &mut Report<'_>,
    ) -> Vec<Section<'t>> {
        let items = self.list(key, example, report).map(|list| list.value);
        let mut sections = Vec::new();
        for item in items.unwrap_or_default() {
            match item.value {
                DeValue::Table(table) => {
                    sections.push(Section::new(name, item.at, table, keys, report));
                }
                _ => report
                    .error(item.at, format!("an element of {name} is no table"))
                    .remedy(format!("write: {key} = {example}")),
            }
        }
        sections
    }

    /// As [`Section::tables`], without a look at their keys.
    pub(super) fn raw_tables(
        &self,
        key: &str,
        name: &'static str,
        report: &mut Report<'_>,
    ) -> Vec<(usize, &'t DeTable<'t>)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let brackets = format!("write {name}, with two brackets, above each of its entries");
        let DeValue::Array(array) = value.value else {
            let at = self.key_position(key).unwrap_or(value.at);
            report
                .error(at, format!("`{key}` must be a list of tables"))
                .remedy(brackets);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((item.span().start, table)),
                _ => report
                    .error(
                        item.span().start,
                        format!("`{key}` must be a list of tables"),
                    )
                    .remedy(brackets.as_str()),
            }
        }
        tables
    }

    /// Says that a key must be added; a key that is there under a misspelt name has been told of already.
    pub(super) fn missing(&self, key: &str, example: &str, report: &mut Report<'_>) {
        let absent = self.absent_keys();
        let misspelt = self.table.iter().any(|(word, _)| {
            let word = word.get_ref().as_ref();
            !self.keys.contains(&word) && suggest::closest(word, &absent) == Some(key)
        });
        if misspelt {
            return;
        }
        report
            .error(self.at, format!("`{key}` is missing in {}", self.name))
            .remedy(format!("add: {key} = {example}"));
    }

    /// Says of a key that it means nothing beside this `type`.
    pub(super) fn unwanted(&self, key: &str, kind: &str, report: &mut Report<'_>) {
        if let Some(at) = self.key_position(key) {
            let what = format!(
                "`{key}` in {} means nothing with type \"{kind}\"",
                self.name
            );
            report.error(at, what).remedy("remove it");
        }
    }

    fn value(&self, key: &str) -> Option<Located<&'t DeValue<'t>>> {
        let value = self.table.get(key)?;
        Some(Located {
            value: value.get_ref(),
            at: value.span().start,
        })
    }

    fn within(
        &self,
        key: &str,
        number: Located<Option<i64>>,
        limits: RangeInclusive<i64>,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<i64>> {
        if let Some(value) = number.value.filter(|number| limits.contains(number)) {
            return Some(number.map(|_| value));
        }
        let what = match (*limits.start(), *limits.end()) {
            (least, i64::MAX) => format!("an integer from {least} on"),
            (least, most) => format!("an integer from {least} to {most}"),
        };
        report
            .error(
                number.at,
                format!("`{key}` in {} must be {what}", self.name),
            )
            .remedy(format!("write: {key} = {example}"));
        None
    }

    fn wrong_type<T>(
        &self,
        key: &str,
        at: usize,
        (found, wanted): (&DeValue<'_>, &str),
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<T> {
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let what = format!("`{key}` in {} must be {wanted}, not {found}", self.name);
        report
            .error(at, what)
            .remedy(format!("write: {key} = {example}"));
        None
    }
}
