//! What failed, why, and what the operator can do about it.

use std::{error::Error, io};

use crate::{
    config, connection::IdentityError, key_file::KeyFileError, keyring::providers::ProviderError,
    kms, protection::store::file::OpenError,
};

/// Why a command did not do what it was asked, ready to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    /// What else is wrong; told after it.
    others: Vec<Failure>,
    code: i32,
}

impl Failure {
    /// Something failed: exit code 1.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            causes: Vec::new(),
            hint: None,
            others: Vec::new(),
            code: 1,
        }
    }

    /// The command was typed wrongly: exit code 2.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self {
            code: 2,
            ..Self::new(what)
        }
    }

    /// An error with all its sources; exit code 1.
    #[must_use]
    pub fn of(error: &dyn Error) -> Self {
        let failure = Self::new(error.to_string());
        match error.source() {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }

    /// Adds an error and all its sources as causes.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut source = Some(error);
        while let Some(error) = source {
            self = self.cause(error.to_string());
            source = error.source();
        }
        self
    }

    /// Adds a cause of what was said before.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Says what the operator can do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.maybe_hint(Some(hint.into()))
    }

    /// Says what the operator can do, where the error knows it.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Tells of another failure as well.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.others.push(other);
        self
    }

    /// 1, or 2 for a command that was typed wrongly.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        self.code
    }

    /// As it is printed, each part on its own lines; `colour`: with ANSI sequences.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &str, word: &str| {
            if colour {
                format!("\u{1b}[1;{code}m{word}:\u{1b}[0m")
            } else {
                format!("{word}:")
            }
        };
        let mut text = format!("{} {}\n", paint("31", "error"), self.what);
        for cause in &self.causes {
            text.push_str(&format!("{} {cause}\n", paint("31", "cause")));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{} {hint}\n", paint("36", "hint")));
        }
        for other in &self.others {
            text.push_str(&other.render(colour));
        }
        text
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        let config::Error::Invalid { problems, omitted } = &error else {
            return Self::of(&error).maybe_hint(error.hint());
        };
        let told = problems
            .iter()
            .map(|problem| Self::new(problem.to_string()).maybe_hint(problem.hint.clone()));
        let more = (*omitted > 0).then(|| Self::new(format!("and {omitted} more")));
        told.chain(more)
            .reduce(Self::and)
            .unwrap_or_else(|| Self::of(&error))
    }
}

impl From<Vec<kms::Problem>> for Failure {
    fn from(problems: Vec<kms::Problem>) -> Self {
        problems
            .into_iter()
            .map(|problem| Self::new(problem.to_string()).hint(problem.hint()))
            .reduce(Self::and)
            .unwrap_or_else(|| Self::new("the configuration does not fit together"))
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::of(&error).maybe_hint(error.hint())
    }
}

/// What to do about a key that is named in the configuration and cannot be opened.
pub(super) fn key_hint(error: &ProviderError) -> Option<String> {
    match error {
        ProviderError::File(KeyFileError::Io { path, source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Some(format!(
                "a validator's key: `tmkms softsign import FILE {0}`; a new one: `tmkms generate {0}`",
                path.display()
            ))
        }
        error => error.hint(),
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::of(&error).maybe_hint(error.hint())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::of(&error).maybe_hint(error.hint())
    }
}
