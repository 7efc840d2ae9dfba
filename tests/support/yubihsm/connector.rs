//! The connector: HTTP/1.1 on a loopback port in front of one device, as Yubico's does it.
//!
//! `GET /connector/status` and `POST /connector/api`; 405 for another method, 400 for a length that cannot be, 404 elsewhere, 500
//! when the device does not answer. A device takes one message at a time.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    codes::command,
    device::Device,
    fault::{Fault, Faults},
};

/// No header block of a client is longer.
const HEADERS: u64 = 16 * 1024;

/// No device takes a message as long as this.
const BODY: u64 = 8 * 1024;

/// The pause between the halves of a response that comes in two: long enough that two reads are needed.
const BETWEEN_SEGMENTS: Duration = Duration::from_millis(30);

/// What the connector's threads share.
pub struct Shared {
    pub device: Mutex<Device>,
    pub faults: Mutex<Faults>,
    /// How long the device takes for each message.
    pub latency: Duration,
}

/// A connector that listens, until it is dropped.
pub struct Connector {
    addr: SocketAddr,
    open: Arc<Mutex<Open>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Open {
    stopped: bool,
    served: u64,
    /// By the number of the connection; one that has ended is taken out.
    streams: BTreeMap<u64, TcpStream>,
}

impl Connector {
    pub fn start(addr: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let open = Arc::new(Mutex::new(Open::default()));
        let known = Arc::clone(&open);
        let accepting = thread::Builder::new()
            .name("connector".into())
            .spawn(move || accept(&listener, &known, &shared))?;
        Ok(Self {
            addr,
            open,
            accepting: Some(accepting),
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts every connection, and goes on listening.
    pub fn drop_connections(&self) {
        for stream in lock(&self.open).streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        lock(&self.open).stopped = true;
        self.drop_connections();
        // `accept` has no deadline; a connection wakes it.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        // A process that another test starts at this moment holds a copy of the listener until it has become another program.
        let begun = Instant::now();
        while TcpStream::connect(self.addr).is_ok() && begun.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A panic of one test thread must not hide behind a poisoned lock in another.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, open: &Arc<Mutex<Open>>, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let _ = stream.set_nodelay(true);
        let Ok(known) = stream.try_clone() else {
            continue;
        };
        let number = {
            let mut open = lock(open);
            if open.stopped {
                return;
            }
            open.served += 1;
            let number = open.served;
            open.streams.insert(number, known);
            number
        };
        let (open, shared) = (Arc::clone(open), Arc::clone(shared));
        thread::spawn(move || {
            let _ = serve(&stream, &shared);
            let _ = stream.shutdown(Shutdown::Both);
            lock(&open).streams.remove(&number);
        });
    }
}

/// One connection, request by request.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let keep = request.keep;
        let addr = stream.local_addr()?;
        let Some(response) = answer(&request, addr, shared) else {
            return Ok(());
        };
        response.write(stream, keep)?;
        if !keep {
            return Ok(());
        }
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    keep: bool,
    /// `None` where no length was given.
    body: Option<Vec<u8>>,
}

impl Request {
    /// `None` at the end of the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = reader.by_ref().take(HEADERS);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next())
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut keep = version == "HTTP/1.1";
        let mut length = None;
        loop {
            line.clear();
            if head.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                keep = keep && !value.eq_ignore_ascii_case("close");
            }
        }
        let body = match length {
            Some(length) => {
                let mut body = Vec::new();
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                let kept = reader
                    .by_ref()
                    .take(length.min(BODY))
                    .read_to_end(&mut body)?;
                // What is longer than any device takes is read to its end, so that the answer that says so arrives.
                let rest = length - length.min(BODY);
                io::copy(&mut reader.take(rest), &mut io::sink())?;
                if u64::try_from(kept) != Ok(length.min(BODY)) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(body)
            }
            None => None,
        };
        Ok(Some(Self {
            method,
            path,
            keep,
            body,
        }))
    }
}

struct Response {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    in_two: bool,
}

impl Response {
    fn new(status: &'static str, kind: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            kind,
            body,
            in_two: false,
        }
    }

    fn error(status: &'static str) -> Self {
        let text = status.get(4..).unwrap_or_default();
        Self::new(
            status,
            "text/plain; charset=utf-8",
            format!("{text}\n").into_bytes(),
        )
    }

    fn write(&self, mut stream: &TcpStream, keep: bool) -> io::Result<()> {
        let (status, kind, length) = (self.status, self.kind, self.body.len());
        let close = if keep { "" } else { "Connection: close\r\n" };
        let mut bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{close}\r\n"
        )
        .into_bytes();
        let head = bytes.len();
        bytes.extend(&self.body);
        if self.in_two {
            let (first, second) = bytes.split_at(head + length / 2);
            stream.write_all(first)?;
            stream.flush()?;
            thread::sleep(BETWEEN_SEGMENTS);
            return stream.write_all(second);
        }
        stream.write_all(&bytes)
    }
}

/// `None` cuts the connection.
fn answer(request: &Request, addr: SocketAddr, shared: &Shared) -> Option<Response> {
    let path = request.path.split('?').next().unwrap_or_default();
    Some(match (path, request.method.as_str()) {
        ("/connector/status", "GET") => status(addr, shared),
        ("/connector/api", "POST") => return api(request, shared),
        ("/connector/status" | "/connector/api", _) => Response::error("405 Method Not Allowed"),
        _ => Response::error("404 Not Found"),
    })
}

fn status(addr: SocketAddr, shared: &Shared) -> Response {
    let state = if is_absent(shared) { "NO_DEVICE" } else { "OK" };
    let (ip, port, pid) = (addr.ip(), addr.port(), std::process::id());
    let body =
        format!("status={state}\nserial=*\nversion=3.0.5\npid={pid}\naddress={ip}\nport={port}\n");
    Response::new("200 OK", "text/plain; charset=utf-8", body.into_bytes())
}

fn is_absent(shared: &Shared) -> bool {
    lock(&shared.faults).unplugged || lock(&shared.device).is_away()
}

fn api(request: &Request, shared: &Shared) -> Option<Response> {
    let limit = lock(&shared.device).message_limit() + 3;
    let message = match &request.body {
        Some(body) if (3..=limit).contains(&body.len()) => body,
        _ => return Some(Response::error("400 Bad Request")),
    };
    if is_absent(shared) {
        return Some(Response::error("500 Internal Server Error"));
    }
    let asked = lock(&shared.device).command_of(message);
    let fault = lock(&shared.faults).take(asked);
    if let Some(Fault::Delay(time)) = fault {
        thread::sleep(time);
    }
    match fault {
        Some(Fault::DropBefore) => return None,
        Some(Fault::Pulled) => {
            lock(&shared.faults).unplugged = true;
            return Some(Response::error("500 Internal Server Error"));
        }
        Some(Fault::Busy) => return Some(Response::error("500 Internal Server Error")),
        _ => {}
    }
    let mut body = {
        let mut device = lock(&shared.device);
        thread::sleep(shared.latency);
        match fault {
            Some(Fault::SessionLost) => device.lose_session_of(message),
            Some(Fault::Code(code)) => device.fail_next = Some(super::codes::Code(code)),
            _ => {}
        }
        device.message(message)
    };
    if matches!(fault, Some(Fault::DropAfter)) {
        return None;
    }
    if matches!(fault, Some(Fault::WrongMac))
        && body.first() == Some(&(command::SESSION_MESSAGE | 0x80))
        && let Some(last) = body.last_mut()
    {
        *last ^= 1;
    }
    let mut response = Response::new("200 OK", "application/octet-stream", body);
    response.in_two = matches!(fault, Some(Fault::TwoSegments));
    Some(response)
}
