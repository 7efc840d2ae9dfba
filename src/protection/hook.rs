//! The state hook: a command of the operator's that knows the chain's height.

use std::{
    env,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;

/// The longest answer, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// How much of what a hook complains about is kept, in bytes.
const LONGEST_COMPLAINT: u64 = 1024;

/// How often a running hook is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a pipe may take to end once all who write to it were killed.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// All that a hook sees of our environment.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];

/// `state_hook` of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Program and arguments, run without a shell; never empty.
    pub cmd: Vec<String>,
    /// How long it may take; 5 s by default.
    pub timeout: Duration,
    /// Without an answer the chain is not served; true by default.
    pub fail_closed: bool,
    /// The directory that it is run in: the configuration file's.
    pub directory: PathBuf,
}

/// Runs the hook and returns the height that it tells, ≥ 0.
///
/// It has no input and no environment but `PATH`, `HOME` and `LANG`. Whatever it started in its process group is killed when it
/// ends or its time is up.
///
/// # Errors
/// `HookError`; the hook is not running any more.
pub fn run(config: &Config) -> Result<i64, HookError> {
    let deadline = Instant::now() + config.timeout;
    let (program, arguments) = config.cmd.split_first().ok_or(HookError::NoCommand)?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(&config.directory)
        .env_clear()
        .envs(
            PASSED_ON
                .iter()
                .filter_map(|name| Some((name, env::var_os(name)?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| HookError::Start {
            program: program.clone(),
            source,
        })?;
    let answer = read_aside("state hook answer", child.stdout.take(), LONGEST_ANSWER + 1);
    let complaint = read_aside(
        "state hook complaint",
        child.stderr.take(),
        LONGEST_COMPLAINT,
    );
    let status = end_by(&mut child, deadline).map_err(HookError::Watch)?;
    let complaint = complaint.recv_timeout(LAST_WORDS).unwrap_or_default();
    let Some(status) = status else {
        return Err(HookError::TimedOut {
            after: config.timeout,
            said: printable(&complaint),
        });
    };
    if !status.success() {
        return Err(HookError::Failed {
            status,
            said: printable(&complaint),
        });
    }
    let answer = answer
        .recv_timeout(LAST_WORDS)
        .map_err(|_| HookError::NoAnswer)?;
    parse(&answer)
}

/// Why a hook told no height.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The configuration names no program.
    #[error("the state hook has no command")]
    NoCommand,
    /// It could not be started.
    #[error("cannot start the state hook {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("cannot wait for the state hook")]
    Watch(#[source] io::Error),
    /// It took too long and was killed.
    #[error("the state hook did not end within {after:?} and was killed{said}")]
    TimedOut {
        /// The limit.
        after: Duration,
        /// `: …`, the start of its standard error, or empty.
        said: String,
    },
    /// It ended with an error.
    #[error("the state hook failed ({status}){said}")]
    Failed {
        /// Exit code or signal.
        status: ExitStatus,
        /// `: …`, the start of its standard error, or empty.
        said: String,
    },
    /// Something that it started outside of its process group still holds its output.
    #[error("the state hook left its output open behind itself")]
    NoAnswer,
    /// It printed more than any answer has.
    #[error("the state hook printed more than {LONGEST_ANSWER} bytes")]
    TooLong,
    /// It printed something else than `{"latest_block_height":"347290"}`.
    #[error("the state hook's answer is not {{\"latest_block_height\":\"347290\"}}")]
    Unparsable(#[source] serde_json::Error),
    /// The height is no number ≥ 0.
    #[error("the state hook's height is not a number from 0 up")]
    NoHeight,
}

/// The answer. Other fields than the height are ignored.
#[derive(Deserialize)]
struct Answer {
    latest_block_height: Height,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Height {
    Number(i64),
    Text(String),
}

fn parse(answer: &[u8]) -> Result<i64, HookError> {
    if answer.len() as u64 > LONGEST_ANSWER {
        return Err(HookError::TooLong);
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(HookError::Unparsable)?;
    let height = match answer.latest_block_height {
        Height::Number(height) => Some(height),
        Height::Text(text) => text.parse().ok(),
    };
    height
        .filter(|height| *height >= 0)
        .ok_or(HookError::NoHeight)
}

/// Reads the first `limit` bytes of a pipe in a thread of its own, which ends with the pipe.
fn read_aside(
    name: &str,
    pipe: Option<impl Read + Send + 'static>,
    limit: u64,
) -> Receiver<Vec<u8>> {
    let (told, hears) = mpsc::sync_channel(1);
    let read = move || {
        let Some(mut pipe) = pipe else { return };
        let mut bytes = Vec::new();
        // What was read before an error is all there is.
        let _ = pipe.by_ref().take(limit).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let _ = told.send(bytes);
    };
    // Without a thread there is no answer, and the receiver says so.
    let _ = thread::Builder::new().name(name.to_owned()).spawn(read);
    hears
}

/// Waits for the child until `deadline`, kills what is left of its process group, and reaps it. `None` if its time was up.
fn end_by(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let ended = loop {
        // It is not reaped here: as long as it is not, its number cannot become another process's.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), look) {
            Ok(Some(_)) => break true,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                return Err(error.into());
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        thread::sleep(left.min(LOOK_EVERY));
    };
    // Fails when nobody is left, which is the aim.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(ended.then_some(status))
}

/// What a hook complained about, in one line that no terminal acts on.
fn printable(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.is_empty() {
        line
    } else {
        format!(": {line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str) -> Config {
        Config {
            cmd: ["/bin/sh", "-c", script].map(String::from).to_vec(),
            timeout: Duration::from_secs(20),
            fail_closed: true,
            directory: env::temp_dir(),
        }
    }

    #[test]
    fn the_height_is_told_as_a_string_or_as_a_number() {
        for answer in [
            r#"{"latest_block_height":"347290"}"#,
            r#"{"latest_block_height":347290,"x":1}"#,
        ] {
            assert_eq!(run(&hook(&format!("echo '{answer}'"))).ok(), Some(347_290));
        }
    }

    #[test]
    fn anything_else_is_an_error_that_says_why() {
        let failed = |script: &str| run(&hook(script)).err();
        assert!(matches!(
            failed("echo nonsense"),
            Some(HookError::Unparsable(_))
        ));
        assert!(matches!(failed("true"), Some(HookError::Unparsable(_))));
        assert!(matches!(
            failed(r#"echo '{"latest_block_height":"-1"}'"#),
            Some(HookError::NoHeight)
        ));
        assert!(matches!(
            failed(r#"echo '{"latest_block_height":"9223372036854775808"}'"#),
            Some(HookError::NoHeight)
        ));
        match failed("echo 'no such\tnode' >&2; exit 3") {
            Some(HookError::Failed { status, said }) => {
                assert_eq!(status.code(), Some(3));
                assert_eq!(said, ": no such node");
            }
            other => assert!(other.is_none(), "{other:?}"),
        }
        assert!(matches!(
            failed("head -c 70000 /dev/zero"),
            Some(HookError::TooLong)
        ));
        let mut absent = hook("");
        absent.cmd = vec!["/nonexistent/hook".to_owned()];
        assert!(matches!(run(&absent), Err(HookError::Start { .. })));
    }

    #[test]
    fn more_complaints_than_are_kept_do_not_stop_a_hook() {
        let script = r#"head -c 300000 /dev/zero >&2; echo '{"latest_block_height":"7"}'"#;
        assert_eq!(run(&hook(script)).ok(), Some(7));
    }

    #[test]
    fn a_hook_that_takes_too_long_is_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let pids = directory.path().join("pids");
        let mut config = hook(&format!(
            "sleep 600 & echo $! >> {0}; echo $$ >> {0}; wait",
            pids.display()
        ));
        config.timeout = Duration::from_millis(500);
        let began = Instant::now();
        assert!(matches!(run(&config), Err(HookError::TimedOut { .. })));
        assert!(began.elapsed() < Duration::from_secs(10));
        let pids = std::fs::read_to_string(pids).expect("both were running");
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            // The child is reaped, the grandchild dead or its parent's business.
            let dead = || {
                let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                state.unwrap_or_default().contains(") Z ")
                    || !std::path::Path::new(&format!("/proc/{pid}")).exists()
            };
            // A signal is on its way for a moment.
            while !dead() {
                assert!(began.elapsed() < Duration::from_secs(20), "{pid} lives on");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn what_a_hook_leaves_behind_does_not_hold_us_up() {
        let script = r#"sleep 600 & echo '{"latest_block_height":"7"}'"#;
        let began = Instant::now();
        assert_eq!(run(&hook(script)).ok(), Some(7));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_hook_sees_no_input_and_little_environment() {
        let script = r#"test -z "$(cat)" && test -z "$CARGO_MANIFEST_DIR" && test -n "$PATH" && echo '{"latest_block_height":1}'"#;
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert_eq!(run(&hook(script)).ok(), Some(1));
    }
}
