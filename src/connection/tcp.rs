//! tcp: resolve, connect, shake hands.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt;

use crate::{
    connection::{ConnectionError, Limits, socket},
    shutdown::Shutdown,
};

/// The stack of the thread that resolves and connects, in bytes: the C library's resolver is the hungriest thing on it.
const STACK: usize = 256 * 1024;

/// What ends the wait for a connection.
enum Outcome {
    Connected(TcpStream),
    Failed(ConnectionError),
    Shutdown,
}

/// Connects within `limits.connect`, name resolution included.
///
/// Neither the system's resolver nor its `connect` can be told to stop, so both run in a thread that is left behind when
/// the time is up: it connects to nothing after that, and closes what it had.
pub(super) fn connect(
    host: &str,
    port: u16,
    limits: &Limits,
    shutdown: &Shutdown,
) -> Result<TcpStream, ConnectionError> {
    let address = format!("{host}:{port}");
    let failed = |source| ConnectionError::Connect {
        address: address.clone(),
        source,
    };
    let deadline = socket::deadline(limits.connect);
    let (sender, receiver) = mpsc::channel();
    let stop = sender.clone();
    let _registration = shutdown.on_request(move || {
        let _ = stop.send(Outcome::Shutdown);
    });
    let target = host.to_owned();
    thread::Builder::new()
        .name("dial".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let outcome = match resolve_and_connect(&target, port, deadline) {
                Ok(stream) => Outcome::Connected(stream),
                Err(error) => Outcome::Failed(error),
            };
            // When nobody waits any more, the stream is dropped here, and so closed.
            let _ = sender.send(outcome);
        })
        .map_err(failed)?;
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Outcome::Connected(stream)) => {
            prepare(&stream).map_err(failed)?;
            Ok(stream)
        }
        Ok(Outcome::Failed(ConnectionError::Connect { source, .. }))
            if source.kind() == io::ErrorKind::TimedOut =>
        {
            Err(ConnectionError::ConnectTimeout {
                address,
                limit: limits.connect,
            })
        }
        Ok(Outcome::Failed(error)) => Err(error),
        Ok(Outcome::Shutdown) => Err(ConnectionError::Shutdown),
        Err(RecvTimeoutError::Timeout) => Err(ConnectionError::ConnectTimeout {
            address,
            limit: limits.connect,
        }),
        Err(RecvTimeoutError::Disconnected) => {
            Err(failed(io::Error::other("the dialling thread ended")))
        }
    }
}

/// Sets what every connection has, whoever opened it.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // A reply is one write, and it should leave at once.
    stream.set_nodelay(true)?;
    // A peer that vanished without a word is noticed even where nothing is being read.
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

fn resolve_and_connect(
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, ConnectionError> {
    let unresolved = |source| ConnectionError::Resolve {
        host: host.to_owned(),
        source,
    };
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(unresolved)?
        .collect();
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        // An address that does not answer leaves time for the others.
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / others;
        if share.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(source) => ConnectionError::Connect {
            address: format!("{host}:{port}"),
            source,
        },
        None => unresolved(io::ErrorKind::TimedOut.into()),
    })
}
