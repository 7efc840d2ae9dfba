//! The command line as its users see it: one file a case under `tests/cli/`, run on the real binary.
//!
//! A case is read from top to bottom. Text follows a word in lines that start with `| `.
//!
//! ```text
//! # what the case is about
//! file NAME MODE      make a file (octal mode) with the text that follows, without a last line end
//! dir NAME MODE       make a directory
//! env NAME=VALUE      for every run after it
//! stdin               the text that the next run reads
//! run ARGUMENTS       run the binary in the case's own directory
//! exit CODE           what the last run must have returned; 0 when missing
//! stdout, stderr      what it must have written; nothing when missing
//! stdout-has, stderr-has   each line must be somewhere in it
//! mode NAME MODE      the mode that a file must have now
//! absent NAME         a file that must not be there
//! content NAME        the text that a file must hold now
//! ledger STATE        start a simulated Ledger, at `{ledger}`: confirms, refuses, locked or other-app
//! hsm OPTIONS         start a YubiHSM2 simulator: `serial=NUMBER firmware=2.3.2`; `{hsm}` is its connector's HOST:PORT from now on,
//!                     and `{hsm-before}` that of the one that was started before it, which runs on
//! hsm-is WORDS        what it has and what befalls it, one of the words of `tests/support/yubihsm/words.rs` a line of the text below, or
//!                     beside it
//! hsm-sessions N      how many sessions must be open now
//! hsm-objects         what must be in it now: type, ID and label of every object, by ID
//! ```
//!
//! In expected text `{*}` stands for anything within a line, `{dir}` for the case's directory, `{version}` for the version.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking"
)]

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    panic,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
    thread,
};

#[path = "support/ledger/mod.rs"]
mod ledger;
#[path = "support/yubihsm/mod.rs"]
mod yubihsm;

use ledger::Person;
use yubihsm::{Simulator, words};

/// How many cases run at once.
const AT_ONCE: usize = 8;

#[test]
fn every_case_does_what_it_says() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut paths: Vec<PathBuf> = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 20, "only {} cases", paths.len());
    // A few at a time: a machine that is asked for everything at once is late where a command has its deadlines.
    let waiting = Mutex::new(paths.iter());
    let mut failures = String::new();
    thread::scope(|scope| {
        let work = || {
            let mut problems = String::new();
            loop {
                let Some(path) = waiting.lock().unwrap().next() else {
                    return problems;
                };
                let found = panic::catch_unwind(|| Case::read(path).run());
                let found = found.unwrap_or_else(|_| "the case itself broke".into());
                if !found.is_empty() {
                    writeln!(problems, "{}:\n{found}", path.display()).unwrap();
                }
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            failures.push_str(&worker.join().unwrap());
        }
    });
    assert!(failures.is_empty(), "\n{failures}");
}

/// A word with its arguments, and the text below it.
struct Step {
    line: usize,
    word: String,
    argument: String,
    text: Vec<String>,
}

struct Case {
    steps: Vec<Step>,
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    stdin: String,
    problems: String,
    hsm: Option<Simulator>,
    hsm_before: Option<Simulator>,
    ledger: Option<ledger::Simulator>,
}

/// What a run left to be compared.
#[derive(Default)]
struct Ran {
    line: usize,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Case {
    fn read(path: &Path) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix('|') {
                let text = text.strip_prefix(' ').unwrap_or(text);
                steps.last_mut().unwrap().text.push(text.into());
            } else if !line.is_empty() && !line.starts_with('#') {
                let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
                steps.push(Step {
                    line: number + 1,
                    word: word.into(),
                    argument: argument.into(),
                    text: Vec::new(),
                });
            }
        }
        assert!(
            steps.iter().any(|step| step.word == "run"),
            "{} runs nothing",
            path.display()
        );
        Self {
            steps,
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
            stdin: String::new(),
            problems: String::new(),
            hsm: None,
            hsm_before: None,
            ledger: None,
        }
    }

    fn run(mut self) -> String {
        let mut ran = Ran::default();
        for step in std::mem::take(&mut self.steps) {
            let path = self.dir.path().join(&step.argument);
            match step.word.as_str() {
                "run" => {
                    self.finish(&std::mem::take(&mut ran));
                    ran = self.execute(&step);
                }
                "exit" => {
                    let wanted = step.argument.parse().unwrap();
                    self.expect(step.line, ran.code == Some(wanted), "exit code", &ran);
                    ran.code = Some(0);
                }
                "stdout" => {
                    self.compare(&step, &std::mem::take(&mut ran.stdout));
                }
                "stderr" => {
                    self.compare(&step, &std::mem::take(&mut ran.stderr));
                }
                "stdout-has" => {
                    self.contains(&step, &std::mem::take(&mut ran.stdout));
                }
                "stderr-has" => {
                    self.contains(&step, &std::mem::take(&mut ran.stderr));
                }
                "content" => {
                    let content = fs::read_to_string(path).unwrap_or_default();
                    self.compare(&step, &content);
                }
                "absent" => self.expect(step.line, !path.exists(), "it is there", &ran),
                "mode" => self.mode(&step),
                "stdin" => self.stdin = step.text.join("\n") + "\n",
                "env" => {
                    let (name, value) = step.argument.split_once('=').unwrap();
                    let value = self.fill_in(value);
                    self.env.push((name.into(), value));
                }
                "ledger" => self.ledger = Some(simulated_ledger(&step.argument)),
                "file" | "dir" => self.make(&step),
                "hsm" => {
                    let new = Simulator::start(words::options(&step.argument));
                    self.hsm_before = self.hsm.replace(new);
                }
                "hsm-is" => {
                    let hsm = self.hsm.as_ref().unwrap();
                    let beside = Some(&step.argument).filter(|words| !words.is_empty());
                    for words in beside.into_iter().chain(&step.text) {
                        words::apply(hsm, words);
                    }
                }
                "hsm-sessions" => {
                    let wanted: usize = step.argument.parse().unwrap();
                    let open = self.hsm.as_ref().unwrap().device().open_sessions();
                    let what = format!("{open} sessions are open");
                    self.expect(step.line, open == wanted, &what, &ran);
                }
                "hsm-objects" => {
                    let objects = words::objects(self.hsm.as_ref().unwrap());
                    self.compare(&step, &objects);
                }
                other => panic!("line {}: unknown word {other}", step.line),
            }
        }
        self.finish(&ran);
        self.problems
    }

    fn make(&self, step: &Step) {
        let (name, mode) = step.argument.rsplit_once(' ').unwrap();
        let mode = u32::from_str_radix(mode, 8).unwrap();
        let path = self.dir.path().join(name);
        if step.word == "dir" {
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        } else {
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(path)
                .unwrap();
            let text = self.fill_in(&step.text.join("\n"));
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    fn execute(&mut self, step: &Step) -> Ran {
        let arguments: Vec<String> = step
            .argument
            .split_ascii_whitespace()
            .map(|argument| self.fill_in(argument))
            .collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tmkms"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have closed its end.
        let _ = child
            .stdin
            .take()
            .unwrap()
            .write_all(std::mem::take(&mut self.stdin).as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        Ran {
            line: step.line,
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// What the case did not speak of must be nothing.
    fn finish(&mut self, ran: &Ran) {
        if ran.line > 0 {
            let quiet = ran.stdout.is_empty() && ran.stderr.is_empty() && ran.code == Some(0);
            self.expect(ran.line, quiet, "more than was expected", ran);
        }
    }

    fn expect(&mut self, line: usize, holds: bool, what: &str, ran: &Ran) {
        if !holds {
            let Ran {
                code,
                stdout,
                stderr,
                ..
            } = ran;
            writeln!(
                self.problems,
                "line {line}: {what}; exit {code:?}, stdout {stdout:?}, stderr {stderr:?}"
            )
            .unwrap();
        }
    }

    fn compare(&mut self, step: &Step, found: &str) {
        let wanted: Vec<String> = step.text.iter().map(|line| self.fill_in(line)).collect();
        let lines: Vec<&str> = found.lines().map(str::trim_end).collect();
        let same = lines.len() == wanted.len()
            && wanted
                .iter()
                .zip(&lines)
                .all(|(want, line)| fits(want, line));
        if !same {
            writeln!(
                self.problems,
                "line {}: {} {} is\n{found}\nand not\n{}",
                step.line,
                step.word,
                step.argument,
                wanted.join("\n")
            )
            .unwrap();
        }
    }

    fn contains(&mut self, step: &Step, found: &str) {
        for line in &step.text {
            let wanted = format!("{{*}}{}{{*}}", self.fill_in(line));
            if !found.lines().any(|line| fits(&wanted, line)) {
                writeln!(self.problems, "line {}: no {line:?} in\n{found}", step.line).unwrap();
            }
        }
    }

    fn mode(&mut self, step: &Step) {
        let (name, wanted) = step.argument.rsplit_once(' ').unwrap();
        let wanted = u32::from_str_radix(wanted, 8).unwrap();
        let mode = fs::metadata(self.dir.path().join(name)).map_or(0, |found| found.mode() & 0o777);
        if mode != wanted {
            writeln!(
                self.problems,
                "line {}: {name} has mode {mode:o}",
                step.line
            )
            .unwrap();
        }
    }

    fn fill_in(&self, text: &str) -> String {
        let text = text
            .replace("{dir}", &self.dir.path().display().to_string())
            .replace("{version}", env!("CARGO_PKG_VERSION"));
        let text = match &self.hsm_before {
            Some(hsm) => text.replace("{hsm-before}", &hsm.addr().to_string()),
            None => text,
        };
        let text = match &self.hsm {
            Some(hsm) => text.replace("{hsm}", &hsm.addr().to_string()),
            None => text,
        };
        match &self.ledger {
            Some(ledger) => text.replace("{ledger}", &ledger.addr()),
            None => text,
        }
    }
}

fn simulated_ledger(state: &str) -> ledger::Simulator {
    let person = match state {
        "refuses" => Person::Refuses,
        _ => Person::Confirms,
    };
    let simulator = ledger::Simulator::start(person);
    match state {
        "confirms" | "refuses" => {}
        "locked" => simulator.show(ledger::Screen::Locked),
        "other-app" => simulator.show(ledger::Screen::OtherApp),
        other => panic!("unknown state of a Ledger: {other}"),
    }
    simulator
}

/// Whether a line is as wanted, where `{*}` stands for anything.
fn fits(wanted: &str, line: &str) -> bool {
    let mut pieces = wanted.split("{*}");
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn a_pattern_fits_what_it_stands_for_and_nothing_else() {
    for (wanted, line, answer) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a{*}", "ab", true),
        ("{*}b{*}d", "abcd", true),
        ("{*}b{*}d", "abce", false),
        ("x{*}", "abc", false),
    ] {
        assert_eq!(fits(wanted, line), answer, "{wanted} {line}");
    }
}
