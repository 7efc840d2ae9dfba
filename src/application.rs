//! The glue to the application framework, and what the process does before anything else.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use abscissa_core::{
    Application, FrameworkError, Shutdown,
    application::{self, AppCell},
    config::{self, CfgCell},
    path::StandardPaths,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::{
    commands::{EntryPoint, Failure},
    event::Sink,
};

pub mod logging;
mod sink;

/// The running application; touched only here and in `commands`.
pub static APP: AppCell<App> = AppCell::new();

/// How long the last words may take when nobody reads stderr.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Runs the command that the arguments name, and exits: 0 done, 1 failed, 2 used wrongly.
pub fn boot() -> ! {
    protect_memory();
    application::boot(&APP)
}

/// The application as the framework sees it.
#[derive(Debug, Default)]
pub struct App {
    /// Stays empty: `tmkms.toml` is read by the commands that need it, with errors that name the line.
    config: CfgCell<()>,
    state: application::State<Self>,
    logging: Mutex<Option<logging::Logging>>,
}

impl Application for App {
    type Cmd = EntryPoint;
    type Cfg = ();
    type Paths = StandardPaths;

    fn config(&self) -> config::Reader<()> {
        self.config.read()
    }

    fn state(&self) -> &application::State<Self> {
        &self.state
    }

    fn register_components(&mut self, command: &EntryPoint) -> Result<(), FrameworkError> {
        let logging = logging::start(command.global.verbose, command.global.log_format);
        *self
            .logging
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = Some(logging);
        Ok(())
    }

    fn after_config(&mut self, config: ()) -> Result<(), FrameworkError> {
        self.config.set_once(config);
        Ok(())
    }
}

impl App {
    /// Where events become log lines.
    pub fn log_sink(&self) -> Arc<dyn Sink> {
        let logging = self.logging.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::new(sink::Log {
            busy: logging.as_ref().map(logging::Logging::busy),
        })
    }

    /// Writes the log out, says what failed, and exits. Takes less than a second even when stderr is blocked.
    pub fn conclude(&self, result: Result<(), Failure>) -> ! {
        let logging = self
            .logging
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        bounded(move || drop(logging));
        let code = match result {
            Ok(()) => 0,
            Err(failure) => {
                let code = failure.exit_code();
                bounded(move || {
                    let text = failure.render(logging::colour_on_stderr());
                    // There is nobody left to tell when this fails.
                    let _ = io::stderr().write_all(text.as_bytes());
                });
                code
            }
        };
        self.shutdown_with_exitcode(Shutdown::Graceful, code)
    }
}

/// Does something that may block on stderr, and waits for it no longer than [`LAST_WORDS`].
fn bounded(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let spawned = thread::Builder::new()
        .name("last words".into())
        .spawn(move || {
            work();
            // The main thread has gone on when nobody listens.
            let _ = done.send(());
        });
    if spawned.is_ok() {
        // An error is the time limit, which is what it is for.
        let _ = wait.recv_timeout(LAST_WORDS);
    }
}

/// Before any key is read: no core dumps, and no other process of this user may read this one's memory.
fn protect_memory() {
    // Both may be forbidden by a sandbox, which then forbids the dump as well; nothing depends on them.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(Resource::Core, no_core);
}
