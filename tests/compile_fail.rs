//! What must not compile: the ways around a permit. Each file under `tests/compile_fail/` holds one or a few of them.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The compiler whose words the `.stderr` files hold.
const RECORDED_WITH: &str = "rustc 1.95.";

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut cases: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 10, "the cases were not found");
    cases
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Compiles against the library that this test itself was built against.
fn compile(case: &Path, out: &Path) -> Output {
    let deps = env::current_exe().unwrap().parent().unwrap().to_owned();
    let newest = fs::read_dir(&deps)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("libtmkms-") && name.ends_with(".rlib")
        })
        .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
        .unwrap();
    rustc()
        .args(["--edition", "2024", "--emit", "metadata", "-A", "dead_code"])
        .arg("--out-dir")
        .arg(out)
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("tmkms={}", newest.display()))
        .arg(case)
        .output()
        .unwrap()
}

/// The first line of each error; `error: aborting…` is the end, and no error of its own.
fn errors(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter(|line| line.starts_with("error"))
        .filter(|line| !line.starts_with("error: aborting"))
        .collect()
}

/// `error[E0308]` of `error[E0308]: mismatched types`: what stays the same from compiler to compiler.
fn codes(errors: &[&str]) -> Vec<String> {
    let code = |line: &&str| line.split(':').next().unwrap_or_default().to_owned();
    let mut codes: Vec<_> = errors.iter().map(code).collect();
    codes.sort();
    codes
}

#[test]
fn the_ways_around_a_permit_do_not_compile() {
    let directory = tempfile::tempdir().unwrap();
    let sound = directory.path().join("sound.rs");
    fs::write(
        &sound,
        "use tmkms::protection::Permit;\nfn lend(permit: &Permit) -> usize { permit.sign_bytes().as_bytes().len() }\nfn main() {}\n",
    )
    .unwrap();
    let output = compile(&sound, directory.path());
    assert!(
        output.status.success(),
        "what should compile does not: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for case in cases() {
        let output = compile(&case, directory.path());
        let stderr = String::from_utf8_lossy(&output.stderr);
        let recorded = fs::read_to_string(case.with_extension("stderr")).unwrap();
        assert!(!output.status.success(), "{} compiles", case.display());
        assert_eq!(
            codes(&errors(&stderr)),
            codes(&errors(&recorded)),
            "{} fails for another reason:\n{stderr}",
            case.display()
        );
    }
}

/// An error may hide the next one, and what is hidden may have begun to compile.
#[test]
fn every_way_around_has_its_own_error() {
    for case in cases() {
        let text = fs::read_to_string(&case).unwrap();
        let ways = text
            .lines()
            .filter(|line| line.trim_start().starts_with("fn "))
            .count()
            - 1;
        let recorded = fs::read_to_string(case.with_extension("stderr")).unwrap();
        assert_eq!(errors(&recorded).len(), ways, "{}", case.display());
    }
}

/// The compiler's whole message, by trybuild. Its words change with the compiler, so other ones are not compared.
#[test]
fn the_compiler_says_why() {
    let version = rustc().arg("--version").output().unwrap().stdout;
    let version = String::from_utf8_lossy(&version);
    if !version.starts_with(RECORDED_WITH) {
        let skipped = format!(
            "\nSKIPPED: the compiler's words were recorded with {RECORDED_WITH}x, this is {version}\n"
        );
        io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
