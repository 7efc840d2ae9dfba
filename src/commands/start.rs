//! `tmkms start`: serves every configured validator until it is told to stop.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

use crate::{
    application::APP,
    chain::{Served, Waiting},
    client::Client,
    commands::{Failure, Global},
    config::Config,
    event::{Event, Sink},
    keyring::providers::yubihsm::Hsm,
    kms::{self, Kms, Plan},
    shutdown::Shutdown,
};

/// How long requests in flight have after a first signal. A thread that hangs in a sync is left behind: its state is durable.
const DRAIN: Duration = Duration::from_millis(1_500);

/// How long devices have for closing their sessions; with [`DRAIN`] less than two seconds.
const FAREWELL: Duration = Duration::from_millis(400);

/// The exit code after a second signal, as a shell reports SIGINT.
const SECOND_SIGNAL: i32 = 130;

/// What the main thread waits for.
enum News {
    /// SIGTERM or SIGINT came, and shutdown was requested.
    Signal,
    /// A client's thread ended.
    ClientEnded,
    /// Every device was looked for; the chains whose devices are there are open.
    Looked,
}

/// Serve the configured validators (the default with -c)
#[derive(clap::Args, Debug)]
pub(super) struct Start {}

impl Start {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        run(&global.config_file()?, &APP.log_sink())
    }
}

/// Runs until a signal, or until every client has ended.
fn run(config_path: &Path, sink: &Arc<dyn Sink>) -> Result<(), Failure> {
    notice(
        sink,
        format!("tmkms {} starting up...", env!("CARGO_PKG_VERSION")),
    );
    let shutdown = Shutdown::new();
    let (news, heard) = mpsc::channel();
    listen_for_signals(&shutdown, news.clone(), sink)?;

    let config = Config::load(config_path)?;
    let plan = Plan::resolve(&config)?;
    for warning in &config.warnings {
        warn(sink, warning.to_string());
    }
    for warning in &plan.warnings {
        warn(sink, warning.clone());
    }
    raise_descriptor_limit();
    let kms = Kms::open(&plan, sink, &shutdown, Arc::new(Looked(news.clone())));
    if kms.clients.is_empty() {
        return Err(nothing_to_serve(kms.failed));
    }
    tell_failed(&kms.failed, sink);
    let waiting = waiting_chains(&kms.clients);
    let is_one_open = kms
        .clients
        .iter()
        .any(|c| matches!(c.chain, Served::Open(_)));
    let may_serve = || is_one_open || waiting.iter().any(|(_, chain)| chain.failure().is_none());
    let hsms = kms.hsms;
    let count = spawn_all(kms.clients, &news)?;
    serve(count, &heard, &shutdown, sink, may_serve);
    close_sessions(&hsms);
    let failed = waiting.iter().filter_map(|(chain, waiting)| {
        let failed = waiting.failure().filter(|_| !shutdown.is_requested())?;
        let failure = Failure::new(format!("chain {chain} cannot be served"));
        Some(failure.cause(failed.reason).maybe_hint(failed.hint))
    });
    match failed.reduce(Failure::and) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// A session that is not closed takes one of its device's sixteen for half a minute.
fn close_sessions(hsms: &[Hsm]) {
    let deadline = Instant::now() + FAREWELL;
    for hsm in hsms {
        hsm.stop(deadline);
    }
}

/// Sends `Looked` when the last of those who hold it has looked for its device.
struct Looked(Sender<News>);

impl Drop for Looked {
    fn drop(&mut self) {
        let _ = self.0.send(News::Looked);
    }
}

/// The chains whose keys are in devices; one of several keys is one for itself.
fn waiting_chains(clients: &[Client]) -> Vec<(String, Arc<Waiting>)> {
    let mut found: Vec<(String, Arc<Waiting>)> = Vec::new();
    for client in clients {
        if let Served::Waiting(waiting) = &client.chain
            && !found.iter().any(|(_, known)| Arc::ptr_eq(known, waiting))
        {
            found.push((client.config.chain_id.to_string(), waiting.clone()));
        }
    }
    found
}

/// Sends `ClientEnded` when the thread that holds it ends, also by a panic.
struct Ended(Sender<News>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(News::ClientEnded);
    }
}

fn spawn_all(clients: Vec<Client>, news: &Sender<News>) -> Result<usize, Failure> {
    let count = clients.len();
    for client in clients {
        let name = client.name();
        client.spawn(Ended(news.clone())).map_err(|error| {
            Failure::new(format!("no thread for {name}")).cause(error.to_string())
        })?;
    }
    Ok(count)
}

/// Waits until every client has ended, feeding the watchdog; after a signal at most for [`DRAIN`].
fn serve(
    count: usize,
    heard: &Receiver<News>,
    shutdown: &Shutdown,
    sink: &Arc<dyn Sink>,
    may_serve: impl Fn() -> bool,
) {
    let feed = sd_notify::watchdog_enabled().map(|period| period / 2);
    let mut running = count;
    let mut deadline: Option<Instant> = None;
    while running > 0 {
        let now = Instant::now();
        let wait = match (deadline, feed) {
            (Some(deadline), _) if deadline <= now => break,
            (Some(deadline), _) => deadline - now,
            (None, Some(feed)) => feed,
            (None, None) => Duration::from_secs(3_600),
        };
        match heard.recv_timeout(wait) {
            Ok(News::ClientEnded) => running -= 1,
            // The records are locked and the keys are open, but for those of devices that are not there. Without systemd
            // these calls do nothing.
            Ok(News::Looked) if may_serve() => {
                let _ = sd_notify::notify(&[NotifyState::Ready]);
            }
            // The threads of chains that can never be opened are about to end.
            Ok(News::Looked) => {}
            Ok(News::Signal) => {
                deadline.get_or_insert_with(|| Instant::now() + DRAIN);
                let _ = sd_notify::notify(&[NotifyState::Stopping]);
            }
            // A log that takes nothing any more is a reason to be restarted, a chain that stopped on purpose is not.
            Err(RecvTimeoutError::Timeout) if sink.is_alive() => {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let text = if running > 0 {
        format!(
            "Shutdown completed; {running} requests in flight did not end in time, their records are durable"
        )
    } else if shutdown.is_requested() {
        "Shutdown completed successfully".to_owned()
    } else {
        "no validator is left to be served: its connection has ended and `reconnect` is off, or its chain cannot be opened".to_owned()
    };
    notice(sink, text);
}

fn listen_for_signals(
    shutdown: &Shutdown,
    news: Sender<News>,
    sink: &Arc<dyn Sink>,
) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::new("cannot listen for signals").cause(error.to_string());
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set and exits.
        flag::register_conditional_shutdown(signal, SECOND_SIGNAL, seen.clone()).map_err(failed)?;
        flag::register(signal, seen.clone()).map_err(failed)?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let (shutdown, sink) = (shutdown.clone(), sink.clone());
    thread::Builder::new()
        .name("signals".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    let text = "SIGHUP is ignored: restart tmkms to read its configuration again";
                    notice(&sink, text.into());
                } else {
                    shutdown.request();
                    let _ = news.send(News::Signal);
                }
            }
        })
        .map_err(failed)?;
    Ok(())
}

/// A thousand connections need more descriptors than the usual soft limit allows.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

fn tell_failed(failed: &[(String, kms::Error)], sink: &Arc<dyn Sink>) {
    for (chain, error) in failed {
        let (chain, reason) = (chain.clone(), format!("not served: {}", error.with_hint()));
        sink.tell(&Event::Stopped { chain, reason });
    }
}

fn nothing_to_serve(failed: Vec<(String, kms::Error)>) -> Failure {
    failed
        .into_iter()
        .map(|(chain, error)| {
            let hint = error.hint();
            Failure::new(format!("chain {chain} cannot be served"))
                .caused_by(&error)
                .maybe_hint(hint)
        })
        .reduce(Failure::and)
        .unwrap_or_else(|| Failure::new("there is nothing to serve"))
}

fn notice(sink: &Arc<dyn Sink>, text: String) {
    sink.tell(&Event::Notice { text });
}

fn warn(sink: &Arc<dyn Sink>, text: String) {
    sink.tell(&Event::Warning {
        subject: "configuration".into(),
        text,
    });
}
