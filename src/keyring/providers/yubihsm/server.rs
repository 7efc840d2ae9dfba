//! `connector_server`: what a yubihsm-connector serves, for other programs on this machine while `start` holds the device.
//!
//! HTTP has no password of its own here, as it has none at a connector: every program opens a session with the device for itself.
//! What comes in is carried between signatures, which never wait for more than one message of others.

use std::{
    net::SocketAddr,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    connection::{ByteListener, ByteStream, ConnectionError},
    event::{self, Event, Sink},
    shutdown::Shutdown,
};

use super::{
    incoming::{ReadError, Reader},
    transport,
};

mod request;

use self::request::{Asked, Request};

/// Connections at a time.
const CONNECTIONS: usize = 16;
/// How long a connection may say nothing between two requests.
const IDLE: Duration = Duration::from_secs(30);
/// How long a request may take to come in, and its answer to go out.
const TRANSFER: Duration = Duration::from_secs(5);
/// How long the device may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages in a second, for all connections together, and how many may come at once after a pause. More have to wait.
const RATE: u32 = 200;
const BURST: u32 = 50;
/// Bytes of a message: its header and the longest payload.
const LONGEST: usize = 3 + transport::LONGEST;
/// The stack of a connection's thread, in bytes.
const STACK: usize = 256 * 1024;

/// What takes messages to the device.
pub(super) trait Carry: Send + Sync {
    /// Takes one there, and its answer back.
    fn carry(&self, message: Vec<u8>, deadline: Instant) -> Result<Vec<u8>, NotCarried>;

    /// Whether the device is there, as far as is known.
    fn has_device(&self) -> bool;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotCarried {
    /// Too many messages wait.
    Busy,
    /// It cannot be reached.
    NoDevice,
    /// It did not answer in time.
    Timeout,
}

/// Listens, and serves in threads of its own until `stop`. Gives the address that it listens on.
pub(super) fn start(
    address: SocketAddr,
    carrier: Arc<dyn Carry>,
    sink: &Arc<dyn Sink>,
    stop: &Shutdown,
) -> Result<SocketAddr, ConnectionError> {
    let listener = ByteListener::bind(address, stop)?;
    let address = listener.address();
    let server = Arc::new(Server {
        address,
        carrier,
        pace: Mutex::new(Pace::new(Instant::now())),
        stop: stop.clone(),
    });
    let sink = Arc::clone(sink);
    thread::Builder::new()
        .name(format!("connector {address}"))
        .stack_size(STACK)
        .spawn(move || serve(&listener, &server, sink.as_ref()))?;
    Ok(address)
}

struct Server {
    address: SocketAddr,
    carrier: Arc<dyn Carry>,
    pace: Mutex<Pace>,
    stop: Shutdown,
}

fn serve(listener: &ByteListener, server: &Arc<Server>, sink: &dyn Sink) {
    // Each connection holds a clone, so that the count of clones is that of connections.
    let open = Arc::new(());
    sink.tell(&Event::Notice {
        text: format!("connector_server listens on {}", server.address),
    });
    loop {
        match listener.accept(TRANSFER) {
            Ok(stream) if Arc::strong_count(&open) <= CONNECTIONS => {
                let (server, counted) = (Arc::clone(server), Arc::clone(&open));
                let spawned = thread::Builder::new()
                    .name(format!("connector {}", server.address))
                    .stack_size(STACK)
                    .spawn(move || {
                        let _counted = counted;
                        server.connection(stream);
                    });
                // Without a thread the stream is dropped, and so hung up.
                drop(spawned);
            }
            // One too many: it is hung up.
            Ok(_) => {}
            Err(ConnectionError::Shutdown) => return,
            Err(error) => {
                sink.tell(&Event::Warning {
                    subject: format!("connector_server {}", server.address),
                    text: event::in_one_line(&error),
                });
                // Such as no descriptors left: it passes, and must not be asked for in a hot loop.
                if server.stop.wait(Duration::from_secs(1)) {
                    return;
                }
            }
        }
    }
}

impl Server {
    /// Serves one connection until it ends, says nothing for too long, or sends nonsense.
    fn connection(&self, mut stream: ByteStream) {
        let mut rest = Vec::new();
        loop {
            let mut reader = Reader::new(&mut stream, Instant::now() + IDLE, rest);
            match reader.begun() {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
            reader.set_deadline(Instant::now() + TRANSFER);
            let request = Request::read(&mut reader);
            rest = reader.into_rest();
            let (answer, keeps) = match request {
                Ok(request) => (self.answer(request.asked), request.keeps),
                Err(ReadError::Nonsense(what)) => (Answer::error(400, what), false),
                Err(ReadError::Connection(_) | ReadError::HungUp) => return,
            };
            let sent = stream.send(&answer.bytes(keeps), TRANSFER);
            if sent.is_err() || !keeps {
                return;
            }
        }
    }

    fn answer(&self, asked: Asked) -> Answer {
        let message = match asked {
            Asked::Status => return self.status(),
            Asked::Refused(code, what) => return Answer::error(code, what),
            Asked::Api(message) if message.len() < 3 => {
                return Answer::error(400, "a message has 3 to 3139 bytes");
            }
            Asked::Api(message) => message,
        };
        let wait = self
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait(Instant::now());
        if !wait.is_zero() && self.stop.wait(wait) {
            return Answer::error(503, "stopping");
        }
        match self.carrier.carry(message, Instant::now() + PATIENCE) {
            Ok(answer) => Answer {
                code: 200,
                kind: "application/octet-stream",
                body: answer,
            },
            Err(NotCarried::Busy) => Answer::error(503, "too many messages wait"),
            Err(NotCarried::NoDevice) => Answer::error(502, "the device does not answer"),
            Err(NotCarried::Timeout) => Answer::error(504, "the device takes too long"),
        }
    }

    fn status(&self) -> Answer {
        let status = if self.carrier.has_device() {
            "OK"
        } else {
            "NO_DEVICE"
        };
        let body = format!(
            "status={status}\nserial=*\nversion={version}\npid={pid}\naddress={address}\nport={port}\n",
            version = env!("CARGO_PKG_VERSION"),
            pid = process::id(),
            address = self.address.ip(),
            port = self.address.port(),
        );
        Answer {
            code: 200,
            kind: "text/plain",
            body: body.into_bytes(),
        }
    }
}

struct Answer {
    code: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn error(code: u16, what: &str) -> Self {
        Self {
            code,
            kind: "text/plain",
            body: format!("{what}\n").into_bytes(),
        }
    }

    fn bytes(&self, keeps: bool) -> Vec<u8> {
        let reason = match self.code {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            411 => "Length Required",
            413 => "Content Too Large",
            502 => "Bad Gateway",
            504 => "Gateway Timeout",
            _ => "Service Unavailable",
        };
        let mut bytes = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n",
            code = self.code,
            kind = self.kind,
            length = self.body.len(),
            connection = if keeps { "keep-alive" } else { "close" },
        )
        .into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Spaces messages out when more come than the rate allows.
struct Pace {
    /// When everything that was let through so far is paid for.
    paid: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// How long the next message has to wait.
    fn wait(&mut self, now: Instant) -> Duration {
        let each = Duration::from_secs(1) / RATE;
        self.paid = self.paid.max(now) + each;
        let ahead = self.paid.saturating_duration_since(now);
        ahead.saturating_sub(each * BURST)
    }
}

#[cfg(test)]
mod tests;
