//! Sockets with deadlines, which shutdown unblocks.

use std::{
    io::{self, Read, Write},
    net::{self, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, recv},
};

use crate::{
    connection::ConnectionError,
    shutdown::{Registration, Shutdown},
};

/// How far past a deadline a read or write may end: it saves changing the socket's timeout for every message.
const SLACK: Duration = Duration::from_millis(20);

/// A connected stream of either kind.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a read or write gave nothing. What it means depends on what was being done.
pub(super) enum SocketError {
    /// The deadline passed.
    Deadline,
    /// The peer hung up with nothing half sent.
    Closed,
    /// The peer hung up within a frame.
    Truncated,
    /// This process is stopping.
    Shutdown,
    /// The system says that the connection broke.
    Io(io::Error),
    /// The bytes that came in are wrong.
    Invalid(ConnectionError),
}

/// A blocking stream whose timeouts follow deadlines.
pub(super) struct Socket {
    stream: Arc<Stream>,
    read_timeout: Duration,
    write_timeout: Duration,
    stop: Option<Stop>,
}

/// Ends a blocked read when shutdown is requested. Only the reading side is shut, so that a reply in flight is still written.
struct Stop {
    requested: Arc<AtomicBool>,
    _registration: Registration,
}

impl Socket {
    /// A socket whose reads and writes will mostly have these times.
    pub(super) fn new(
        stream: Stream,
        read_timeout: Duration,
        write_timeout: Duration,
        shutdown: Option<&Shutdown>,
    ) -> io::Result<Self> {
        stream.set_read_timeout(read_timeout)?;
        stream.set_write_timeout(write_timeout)?;
        let stream = Arc::new(stream);
        let stop = shutdown.map(|shutdown| {
            let requested = Arc::new(AtomicBool::new(false));
            let (flag, blocked) = (Arc::clone(&requested), Arc::clone(&stream));
            Stop {
                requested,
                _registration: shutdown.on_request(move || {
                    flag.store(true, Ordering::SeqCst);
                    // It fails only when the peer is gone already, and then nothing blocks.
                    let _ = blocked.shut_reading();
                }),
            }
        });
        Ok(Self {
            stream,
            read_timeout,
            write_timeout,
            stop,
        })
    }

    /// Reads what is there, waiting for at least one byte until `deadline`.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, SocketError> {
        loop {
            if self.is_stopped() {
                return Err(SocketError::Shutdown);
            }
            let left = time_left(deadline)?;
            if self.read_timeout > left + SLACK {
                self.stream
                    .set_read_timeout(left)
                    .map_err(SocketError::Io)?;
                self.read_timeout = left;
            }
            match self.stream.read(buffer) {
                Ok(0) if self.is_stopped() => return Err(SocketError::Shutdown),
                Ok(0) => return Err(SocketError::Closed),
                Ok(count) => return Ok(count),
                Err(error) if is_timeout(&error) => {
                    // The socket's timeout was shorter than the time that is left.
                    let left = time_left(deadline)?;
                    self.stream
                        .set_read_timeout(left)
                        .map_err(SocketError::Io)?;
                    self.read_timeout = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SocketError::Io(error)),
            }
        }
    }

    /// Writes all of it until `deadline`; with one system call when the kernel takes it.
    pub(super) fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), SocketError> {
        while !bytes.is_empty() {
            let left = time_left(deadline)?;
            if self.write_timeout > left + SLACK {
                self.stream
                    .set_write_timeout(left)
                    .map_err(SocketError::Io)?;
                self.write_timeout = left;
            }
            match self.stream.write(bytes) {
                Ok(0) => return Err(SocketError::Closed),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_timeout(&error) => {
                    let left = time_left(deadline)?;
                    self.stream
                        .set_write_timeout(left)
                        .map_err(SocketError::Io)?;
                    self.write_timeout = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SocketError::Io(error)),
            }
        }
        Ok(())
    }

    /// Waits until `until`, or until nothing more will come in. What comes in meanwhile stays where it is.
    pub(super) fn linger(&mut self, until: Instant) -> Result<(), SocketError> {
        loop {
            if self.is_stopped() {
                return Err(SocketError::Shutdown);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let left = Timespec::try_from(left).map_err(|_| SocketError::Deadline)?;
            // Shutdown shuts the reading side, which looks the same from here as a peer that hangs up.
            let mut ended = [PollFd::new(&*self.stream, PollFlags::RDHUP)];
            match poll(&mut ended, Some(&left)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) if self.is_stopped() => return Err(SocketError::Shutdown),
                Ok(_) => return Err(SocketError::Closed),
                Err(error) => return Err(SocketError::Io(error.into())),
            }
        }
    }

    /// Whether the peer has neither hung up nor sent anything that is not read yet.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.peek(), Err(Errno::WOULDBLOCK))
    }

    /// Whether the peer has sent something that is not read yet.
    pub(super) fn has_more(&self) -> bool {
        self.peek().is_ok_and(|count| count > 0)
    }

    fn peek(&self) -> Result<usize, Errno> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&*self.stream, &mut [0; 1], flags).map(|(count, _)| count)
    }

    fn is_stopped(&self) -> bool {
        self.stop
            .as_ref()
            .is_some_and(|stop| stop.requested.load(Ordering::SeqCst))
    }
}

impl Stream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(at_least_a_millisecond(timeout));
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(at_least_a_millisecond(timeout));
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
            Self::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Read::read(&mut &*stream, buffer),
            Self::Unix(stream) => Read::read(&mut &*stream, buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Write::write(&mut &*stream, bytes),
            Self::Unix(stream) => Write::write(&mut &*stream, bytes),
        }
    }

    fn shut_reading(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(net::Shutdown::Read),
            Self::Unix(stream) => stream.shutdown(net::Shutdown::Read),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A timeout of zero means "for ever" to the kernel.
fn at_least_a_millisecond(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

/// The instant `limit` from now.
pub(super) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    // A limit that the clock cannot count to is none that anybody waits for.
    now.checked_add(limit)
        .unwrap_or(now + Duration::from_secs(86_400))
}

fn time_left(deadline: Instant) -> Result<Duration, SocketError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(SocketError::Deadline);
    }
    Ok(left)
}

/// Whether the socket's own timeout ran out. (`TimedOut` is another thing: keepalive gave the peer up.)
fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
