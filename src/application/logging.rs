//! Log lines to stderr: text or JSON, with milliseconds, through a bounded writer that blocks nobody.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    panic,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Lines that wait while stderr is blocked; those beyond are dropped and counted.
const QUEUED_LINES: usize = 1_024;

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One line of text, for people and journald
    #[default]
    Text,
    /// One JSON object a line, for collectors
    Json,
}

/// The running log. Dropping it writes out what waits.
#[derive(Debug)]
pub struct Logging {
    _worker: WorkerGuard,
    busy: Busy,
}

impl Logging {
    /// How long the writer has been at its current line.
    pub(super) fn busy(&self) -> Busy {
        self.busy.clone()
    }
}

/// When the writer began the line that it is writing; none between lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy(Arc<Mutex<Option<Instant>>>);

impl Busy {
    /// How long stderr has not taken a line; zero while nothing waits.
    pub(super) fn stuck(&self) -> Duration {
        self.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // One plain value, which no panic leaves half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts logging for the whole process. `-v` stands above `RUST_LOG`, as it always did.
pub(super) fn start(verbose: bool, format: LogFormat) -> Logging {
    let busy = Busy::default();
    let (writer, worker) = queue(io::stderr(), format, busy.clone());
    let (filter, complaint) = filter(verbose);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // Every line says itself whom it concerns; the module that wrote it is nearly always the same.
        .with_target(false)
        .with_timer(Milliseconds);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(colour_on_stderr()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_ansi(false).boxed(),
    };
    // Fails where a subscriber is set already, in tests of the library: then that one gets the lines.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    if let Some(complaint) = complaint {
        tracing::warn!("RUST_LOG is not understood and not used: {complaint}");
    }
    panic::set_hook(Box::new(log_panic));
    Logging {
        _worker: worker,
        busy,
    }
}

/// Whether stderr takes colours: a terminal, and nobody said `NO_COLOR`.
#[must_use]
pub fn colour_on_stderr() -> bool {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && io::stderr().is_terminal()
}

fn filter(verbose: bool) -> (Targets, Option<String>) {
    let default = |level| Targets::new().with_default(level);
    if verbose {
        return (default(LevelFilter::DEBUG), None);
    }
    match env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => match text.parse() {
            Ok(targets) => (targets, None),
            Err(error) => (default(LevelFilter::INFO), Some(error.to_string())),
        },
        _ => (default(LevelFilter::INFO), None),
    }
}

/// A panic is a log line like any other: the default hook would wait for a blocked stderr.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("unnamed").to_owned();
    let payload = info.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    let message = owned
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    match info.location() {
        Some(location) => tracing::error!("[{name}] internal crash at {location}: {message}"),
        None => tracing::error!("[{name}] internal crash: {message}"),
    }
}

/// A writer that never waits, and the thread that writes out what it took, in front of `end`.
fn queue(
    end: impl Write + Send + 'static,
    format: LogFormat,
    busy: Busy,
) -> (NonBlocking, WorkerGuard) {
    let counter = Arc::new(OnceLock::new());
    let queue_end = QueueEnd {
        end,
        format,
        counter: counter.clone(),
        told: 0,
        busy,
    };
    let (writer, worker) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(queue_end);
    // Cannot be set already: the cell was made above.
    let _ = counter.set(writer.error_counter());
    (writer, worker)
}

/// The end of the queue. Tells of dropped lines before the first line that comes after them.
struct QueueEnd<W> {
    end: W,
    format: LogFormat,
    counter: Arc<OnceLock<ErrorCounter>>,
    told: usize,
    busy: Busy,
}

impl<W> QueueEnd<W> {
    fn dropped(&mut self) -> Option<String> {
        let dropped = self.counter.get()?.dropped_lines();
        let new = dropped.checked_sub(self.told).filter(|new| *new > 0)?;
        self.told = dropped;
        let now = Timestamp(SystemTime::now());
        let text = format!("{new} log lines were dropped, since nobody read them in time");
        Some(match self.format {
            LogFormat::Text => format!("{now}  WARN {text}\n"),
            LogFormat::Json => format!(
                "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"{text}\",\"dropped\":{new}}}\n"
            ),
        })
    }
}

impl<W: Write> Write for QueueEnd<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        *self.busy.lock() = Some(Instant::now());
        let dropped = self.dropped().unwrap_or_default();
        let written = self
            .end
            .write_all(dropped.as_bytes())
            .and_then(|()| self.end.write_all(line));
        *self.busy.lock() = None;
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.flush()
    }
}

/// The time of a log line.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Timestamp(SystemTime::now()))
    }
}

/// A moment as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let millis = since.subsec_millis();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// Year, month and day of a day since 1970-01-01. Years are counted from March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    const FROM_YEAR_0: u64 = 719_468;
    let day = days + FROM_YEAR_0;
    let (era, day) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    if month < 10 {
        (era * 400 + year, month + 3, day)
    } else {
        (era * 400 + year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        time::Duration,
    };

    use super::*;

    /// Takes nothing until it is opened, as a terminal that was stopped.
    struct Gate {
        opened: mpsc::Receiver<()>,
        at_work: mpsc::Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // After the first line nobody listens, and nobody sends.
            let _ = self.at_work.send(());
            let _ = self.opened.recv();
            self.written.lock().expect("not poisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_end_stalls_nobody_and_every_dropped_line_is_counted() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (open, opened) = mpsc::channel();
            let (at_work, working) = mpsc::channel();
            let written = Arc::new(Mutex::new(Vec::new()));
            let gate = Gate {
                opened,
                at_work,
                written: written.clone(),
            };
            let (mut writer, worker) = queue(gate, format, Busy::default());
            let mut write = |line: &[u8]| writer.write_all(line).expect("never fails");
            write(b"first\n");
            working.recv().expect("the worker has the first line");
            // One line is in the worker's hands, so the queue is empty.
            for _ in 0..QUEUED_LINES + 77 {
                write(b"line\n");
            }
            drop(open);
            drop(worker);
            let written = written.lock().expect("not poisoned");
            let text = String::from_utf8_lossy(&written);
            assert_eq!(text.matches("line\n").count(), QUEUED_LINES);
            assert_eq!(
                text.matches("77 log lines were dropped").count(),
                1,
                "{text}"
            );
        }
    }

    #[test]
    fn a_timestamp_is_utc_with_milliseconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = Timestamp(UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(time.to_string(), text);
        }
    }
}
