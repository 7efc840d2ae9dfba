//! What is wrong with a configuration, where, and what to write instead.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// The most problems that one run reports.
const MAX_PROBLEMS: usize = 10;

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The configuration file, as it was named.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong, with the key.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A warning looks like an error, but nothing is refused for it.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line, column) = (self.path.display(), self.line, self.column);
        write!(f, "{path}:{line}:{column}: {}", self.what)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something that cannot be, or cannot be understood. `Display` gives one line a problem.
    #[error("{}", lines(problems, *omitted))]
    Invalid {
        /// In the order of the file, at least one and at most ten.
        problems: Vec<Problem>,
        /// How many more there are.
        omitted: usize,
    },
}

impl Error {
    /// What the operator can do: the hint of the only problem, or one line for each that has one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "name the file with -c FILE, or make a new home with: tmkms init HOME".to_owned(),
            ),
            Self::Read { .. } => None,
            Self::Invalid { problems, .. } => match problems.as_slice() {
                [only] => only.hint.clone(),
                many => {
                    let hints = many.iter().filter_map(|problem| {
                        let hint = problem.hint.as_ref()?;
                        Some(format!("line {}: {hint}", problem.line))
                    });
                    let hints: Vec<_> = hints.collect();
                    (!hints.is_empty()).then(|| hints.join("\n"))
                }
            },
        }
    }

    /// The problems with their places; none for a file that could not be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }

    /// A file that is text up to byte `valid`.
    pub(super) fn not_utf8(path: &Path, bytes: &[u8], valid: usize) -> Self {
        let text = bytes.get(..valid).unwrap_or_default();
        let text = std::str::from_utf8(text).unwrap_or_default();
        let mut report = Report::new(path, text);
        report
            .error(valid, "the file is not UTF-8 text")
            .remedy("save it as UTF-8");
        Self::Invalid {
            problems: report.errors.into_iter().map(|(_, p)| p).collect(),
            omitted: 0,
        }
    }
}

fn lines(problems: &[Problem], omitted: usize) -> String {
    let mut lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    if omitted > 0 {
        lines.push(format!("and {omitted} more"));
    }
    lines.join("\n")
}

/// Collects errors and warnings while a file is read.
#[derive(Debug)]
pub(super) struct Report<'t> {
    path: &'t Path,
    text: &'t str,
    /// The permission bits of the file, where it was read from one.
    mode: Option<u32>,
    /// The byte offset at which each line begins.
    lines: Vec<usize>,
    errors: Vec<(usize, Problem)>,
    warnings: Vec<(usize, Problem)>,
}

impl<'t> Report<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            path,
            text,
            mode: None,
            lines: std::iter::once(0).chain(newlines).collect(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The report of a text that stands in a file with these permission bits.
    pub(super) fn with_mode(self, mode: Option<u32>) -> Self {
        Self { mode, ..self }
    }

    /// The permission bits of the file, if others than its owner can read or change it.
    pub(super) fn mode_for_others(&self) -> Option<u32> {
        self.mode.filter(|mode| mode & 0o077 != 0)
    }

    /// Notes an error at a byte offset of the text.
    pub(super) fn error(&mut self, at: usize, what: impl Into<String>) -> Noted<'_> {
        let problem = self.problem(at, what.into());
        Noted::push(&mut self.errors, at, problem)
    }

    /// Notes a warning at a byte offset of the text.
    pub(super) fn warning(&mut self, at: usize, what: impl Into<String>) -> Noted<'_> {
        let problem = self.problem(at, what.into());
        Noted::push(&mut self.warnings, at, problem)
    }

    pub(super) fn path(&self) -> &Path {
        self.path
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.place(at).0
    }

    /// The value with its warnings if there is no error.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Warning>), Error> {
        let in_order = |mut noted: Vec<(usize, Problem)>| {
            noted.sort_by_key(|(at, _)| *at);
            noted.into_iter().map(|(_, problem)| problem).collect()
        };
        if value.is_none() && self.errors.is_empty() {
            self.error(0, "the file could not be understood");
        }
        let mut problems: Vec<Problem> = in_order(self.errors);
        match value {
            Some(value) if problems.is_empty() => Ok((value, in_order(self.warnings))),
            _ => {
                let omitted = problems.len().saturating_sub(MAX_PROBLEMS);
                problems.truncate(MAX_PROBLEMS);
                Err(Error::Invalid { problems, omitted })
            }
        }
    }

    fn problem(&self, at: usize, what: String) -> Problem {
        let (line, column) = self.place(at);
        Problem {
            path: self.path.into(),
            line,
            column,
            what,
            hint: None,
        }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied();
        let before = self.text.get(start.unwrap_or(0)..at);
        let column = before.map_or(0, |before| before.chars().count());
        (line, column + 1)
    }
}

/// A problem just noted, to which a hint can be added.
#[derive(Debug)]
pub(super) struct Noted<'r>(Option<&'r mut Problem>);

impl<'r> Noted<'r> {
    fn push(list: &'r mut Vec<(usize, Problem)>, at: usize, problem: Problem) -> Self {
        list.push((at, problem));
        Self(list.last_mut().map(|(_, problem)| problem))
    }

    /// Says what to write instead.
    pub(super) fn remedy(self, hint: impl Into<String>) {
        if let Some(problem) = self.0 {
            problem.hint = Some(hint.into());
        }
    }
}
