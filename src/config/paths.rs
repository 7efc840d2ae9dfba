//! Where a relative path leads: beside the configuration file, or (as the original had it) in the working directory.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::{problem::Report, reader::Located};

/// The two directories that a relative path can be relative to.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The directory of the configuration file, absolute where the system tells the working directory.
    pub(super) config_directory: PathBuf,
    working_directory: Option<PathBuf>,
}

/// What a file is, whatever it is called: device and inode, or its place while there is no file.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub(super) enum Identity {
    Inode(u64, u64),
    Place(PathBuf),
}

/// Where a file was found.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Found {
    /// Beside the configuration, in its absolute place, or nowhere yet.
    Here(PathBuf),
    /// Only in the working directory.
    OldPlace(PathBuf),
    /// Two files.
    Both { here: PathBuf, old: PathBuf },
}

impl Places {
    pub(super) fn new(config: &Path, working_directory: Option<&Path>) -> Self {
        let directory = match config.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Symbolic links stay: a configuration that is mounted through a link that changes its target (as Kubernetes does)
        // must not take its state files along.
        let absolute = match working_directory {
            Some(working_directory) => working_directory.join(directory),
            None => std::path::absolute(directory).unwrap_or_else(|_| directory.into()),
        };
        Self {
            config_directory: tidy(&absolute),
            working_directory: working_directory.map(tidy),
        }
    }

    /// The path of a file that the configuration names.
    pub(super) fn locate(
        &self,
        key: &str,
        written: Located<&str>,
        report: &mut Report<'_>,
    ) -> PathBuf {
        if written.value.is_empty() {
            report
                .error(written.at, format!("`{key}` is empty"))
                .remedy("write the path of a file");
        } else if written.value.starts_with("~/") {
            report
                .error(
                    written.at,
                    format!("`{key}`: `~` means nothing in a configuration file"),
                )
                .remedy("write the full path");
        } else if written.value.contains('\0') {
            report
                .error(written.at, format!("`{key}`: no path has a zero byte"))
                .remedy("write the path of a file");
        }
        match self.find(Path::new(written.value)) {
            Found::Here(path) => path,
            Found::OldPlace(path) => {
                let what = format!(
                    "`{key}` was found only in the working directory: {}",
                    path.display()
                );
                report.warning(written.at, what).remedy(format!(
                    "paths are relative to the configuration file: move it to {}, or write the full path",
                    self.config_directory.display()
                ));
                path
            }
            Found::Both { here, old } => {
                let (first, second) = (here.display(), old.display());
                let what = format!("`{key}` could be two different files: {first} and {second}");
                report.error(written.at, what).remedy(
                    "find out which one is current; move the other away, or write the full path",
                );
                here
            }
        }
    }

    fn find(&self, written: &Path) -> Found {
        let here = tidy(&self.config_directory.join(written));
        let old = match &self.working_directory {
            Some(directory) if written.is_relative() => tidy(&directory.join(written)),
            _ => return Found::Here(here),
        };
        if old == here {
            return Found::Here(here);
        }
        match (fs::metadata(&here), fs::metadata(&old)) {
            (Ok(a), Ok(b)) if (a.dev(), a.ino()) != (b.dev(), b.ino()) => Found::Both { here, old },
            (Err(e), Ok(_)) if e.kind() == io::ErrorKind::NotFound => Found::OldPlace(old),
            _ => Found::Here(here),
        }
    }
}

/// What stands at a path, for comparison with what stands at another one.
pub(super) fn identity(path: &Path) -> Identity {
    if let Ok(metadata) = fs::metadata(path) {
        return Identity::Inode(metadata.dev(), metadata.ino());
    }
    let real = path
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok());
    match (real, path.file_name()) {
        (Some(parent), Some(name)) => Identity::Place(parent.join(name)),
        _ => Identity::Place(path.into()),
    }
}

/// The path without `.` components. `..` stays, since what it leads to depends on symbolic links.
fn tidy(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        directory: tempfile::TempDir,
        places: Places,
    }

    fn case() -> Case {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["etc", "home"] {
            fs::create_dir(directory.path().join(name)).expect("makes directories");
        }
        let config = directory.path().join("etc/tmkms.toml");
        let places = Places::new(&config, Some(&directory.path().join("home")));
        Case { directory, places }
    }

    impl Case {
        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn put(&self, name: &str) -> PathBuf {
            fs::write(self.path(name), "x").expect("writes");
            self.path(name)
        }
    }

    #[test]
    fn a_file_that_does_not_exist_yet_belongs_beside_the_configuration() {
        let case = case();
        let found = case.places.find(Path::new("./key"));
        assert_eq!(found, Found::Here(case.path("etc/key")));
    }

    #[test]
    fn a_file_beside_the_configuration_is_taken_from_there() {
        let case = case();
        let here = case.put("etc/key");
        assert_eq!(case.places.find(Path::new("key")), Found::Here(here));
    }

    #[test]
    fn a_file_in_the_working_directory_only_is_taken_from_the_old_place() {
        let case = case();
        let old = case.put("home/key");
        assert_eq!(case.places.find(Path::new("key")), Found::OldPlace(old));
    }

    #[test]
    fn two_different_files_are_no_choice_to_make() {
        let case = case();
        let (here, old) = (case.put("etc/key"), case.put("home/key"));
        assert_eq!(
            case.places.find(Path::new("key")),
            Found::Both { here, old }
        );
    }

    #[test]
    fn one_file_under_two_names_is_one_file() {
        let case = case();
        let here = case.put("etc/key");
        std::os::unix::fs::symlink(&here, case.path("home/key")).expect("links");
        assert_eq!(
            case.places.find(Path::new("key")),
            Found::Here(here.clone())
        );
        fs::hard_link(&here, case.path("home/hard")).expect("links");
        fs::hard_link(&here, case.path("etc/hard")).expect("links");
        let hard = case.path("etc/hard");
        assert_eq!(
            case.places.find(Path::new("hard")),
            Found::Here(hard.clone())
        );
        assert_eq!(identity(&hard), identity(&here));
    }

    #[test]
    fn an_absolute_path_is_never_looked_up_elsewhere() {
        let case = case();
        case.put("home/key");
        let absolute = case.path("etc/key");
        assert_eq!(case.places.find(&absolute), Found::Here(absolute));
    }

    #[test]
    fn files_that_do_not_exist_are_compared_through_linked_directories() {
        let case = case();
        std::os::unix::fs::symlink(case.path("etc"), case.path("linked")).expect("links");
        let (a, b) = (case.path("etc/state"), case.path("linked/state"));
        assert_eq!(identity(&a), identity(&b));
        assert_ne!(identity(&a), identity(&case.path("home/state")));
    }
}
