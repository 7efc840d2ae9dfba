//! Programs that were written in Python by others, in virtual environments under `target/`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The interpreter of an environment that has what `requirements` (a file below the crate's root) pins, built where it is not there
/// yet.
///
/// # Errors
/// Why there is none: no Python, no `venv`, no network.
pub fn environment(requirements: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let requirements = root.join(requirements);
    let pins = fs::read(&requirements).expect("the requirements are in the repository");
    let name = format!("{:08x}", crc32fast::hash(&pins));
    let base = target().join("python");
    fs::create_dir_all(&base).expect("target/ can be written");
    let environment = base.join(&name);
    let python = environment.join("bin/python");
    let ready = environment.join("ready");
    // Tests run at the same time, in one process and in several.
    let lock = File::create(base.join(format!("{name}.lock"))).expect("target/ can be written");
    lock.lock().expect("a file of our own can be locked");
    if ready.exists() {
        return Ok(python);
    }
    let _ = fs::remove_dir_all(&environment);
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-input", "--require-hashes", "-r"])
        .arg(&requirements))?;
    File::create(ready).expect("target/ can be written");
    Ok(python)
}

/// Runs a script of the repository to its end.
pub fn run_script(python: &Path, script: &str, arguments: &[&str]) -> Output {
    Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("no_proxy", "*")
        .output()
        .expect("the environment's interpreter starts")
}

/// The build's own directory, wherever cargo was told to put it.
fn target() -> PathBuf {
    // target/debug/deps/NAME
    let test = std::env::current_exe().expect("a running test has a path");
    let target = test.ancestors().nth(3).expect("three directories down");
    target.to_owned()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    })
    .into_owned();
    Err(format!("{command:?} ended with {}: {said}", output.status))
}
