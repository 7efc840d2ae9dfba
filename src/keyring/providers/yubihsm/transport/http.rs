//! The connector's HTTP: `POST /connector/api` carries a message, `GET /connector/status` says whether a device is there.
//!
//! As much of HTTP/1.1 (RFC 9112) as a connector can need: one request at a time on a kept connection, answers with a length, in
//! chunks, or up to the end of the connection, in as many segments as they like. Each call has one deadline from the first byte to
//! the last.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    connection::{ByteStream, ConnectionError},
    shutdown::Shutdown,
};

use super::{
    super::{
        error::TransportError,
        incoming::{ReadError, Reader, left},
    },
    Transport,
};

mod answer;

const API: &str = "/connector/api";
const STATUS: &str = "/connector/status";

/// A connector, by its address.
pub struct Http {
    host: String,
    port: u16,
    kept: Option<ByteStream>,
    limit: Duration,
}

impl Http {
    /// Nothing is dialled before the first message.
    #[must_use]
    pub fn new(host: String, port: u16) -> Self {
        Self {
            host,
            port,
            kept: None,
            limit: Duration::ZERO,
        }
    }

    /// What the connector says of itself.
    ///
    /// # Errors
    /// `TransportError` if it does not answer, or is no connector.
    pub fn status(&mut self, deadline: Instant) -> Result<ConnectorStatus, TransportError> {
        let body = self.request("GET", STATUS, &[], deadline)?;
        ConnectorStatus::parse(&body).ok_or(TransportError::NotAConnector {
            what: "no status line",
        })
    }

    fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, TransportError> {
        self.limit = left(deadline);
        // A kept connection that the connector has closed meanwhile is seen here, before anything is sent that might be done
        // twice.
        let mut stream = match self.kept.take().filter(ByteStream::is_quiet) {
            Some(stream) => stream,
            None => ByteStream::connect(&self.host, self.port, self.limit, &Shutdown::new())
                .map_err(|error| self.cause(error))?,
        };
        stream
            .send(&self.head_and_body(method, path, body), left(deadline))
            .map_err(|error| self.cause(error))?;
        let mut reader = Reader::new(&mut stream, deadline, Vec::with_capacity(1024));
        let (head, body) = answer::read(&mut reader).map_err(|error| match error {
            ReadError::Connection(error) => self.cause(error),
            ReadError::HungUp => TransportError::HungUp,
            ReadError::Nonsense(what) => TransportError::NotAConnector { what },
        })?;
        if head.keeps && reader.into_rest().is_empty() {
            self.kept = Some(stream);
        }
        match head.code {
            200 => Ok(body),
            code => Err(TransportError::HttpStatus { code }),
        }
    }

    fn head_and_body(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: tmkms\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n",
            port = self.port,
            length = body.len(),
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    }

    fn cause(&self, error: ConnectionError) -> TransportError {
        match error {
            ConnectionError::Idle { .. }
            | ConnectionError::WriteTimeout { .. }
            | ConnectionError::ConnectTimeout { .. } => {
                TransportError::Timeout { limit: self.limit }
            }
            error => TransportError::Connector(error),
        }
    }
}

impl Transport for Http {
    fn exchange(&mut self, message: &[u8], deadline: Instant) -> Result<Vec<u8>, TransportError> {
        self.request("POST", API, message, deadline)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({}:{})", self.host, self.port)
    }
}

/// `GET /connector/status`: a line `key=value` for each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConnectorStatus {
    /// `status=OK`: a device is there.
    pub ok: bool,
    /// The connector's version.
    pub version: String,
    /// The device's serial number, where the connector was told to serve one only; else `*`.
    pub serial: String,
}

impl ConnectorStatus {
    fn parse(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        let value = |wanted: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            let (_, value) = pairs.find(|(key, _)| key.trim() == wanted)?;
            Some(value.trim().to_owned())
        };
        Some(Self {
            ok: value("status")? == "OK",
            version: value("version").unwrap_or_default(),
            serial: value("serial").unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, TcpListener},
        thread,
    };

    use super::*;

    /// A connector that reads one request for each list of segments, and then sends them one by one; an empty list, and a
    /// segment that ends with an exclamation mark, hang up.
    fn connector(answers: Vec<Vec<&'static [u8]>>) -> (Http, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let thread = thread::spawn(move || {
            let mut seen = Vec::new();
            let mut open = None;
            for answer in answers {
                let mut stream = match open.take() {
                    Some(stream) => stream,
                    None => listener.accept().expect("a client").0,
                };
                stream.set_nodelay(true).expect("a socket");
                let mut request = [0; 4096];
                let count = stream.read(&mut request).expect("a request");
                seen.extend(request.iter().take(count));
                for segment in &answer {
                    if stream.write_all(segment).is_err() {
                        break;
                    }
                    // So that the next one is another segment.
                    thread::sleep(Duration::from_millis(2));
                }
                if !answer.is_empty() && !answer.iter().any(|segment| segment.ends_with(b"!")) {
                    open = Some(stream);
                }
            }
            seen
        });
        let http = Http::new("127.0.0.1".into(), port);
        (http, thread)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn an_answer_may_come_in_any_number_of_segments() {
        let whole: &[u8] = b"HTTP/1.1 200 OK\r\nCONTENT-length:  4\r\n\r\nabcd";
        let mut answers = vec![whole.chunks(1).collect::<Vec<_>>(), vec![whole]];
        for at in [3, 17, 36, 38, 40] {
            let (one, two) = whole.split_at(at);
            answers.push(vec![one, two]);
        }
        let count = answers.len();
        let (mut http, thread) = connector(answers);
        for _ in 0..count {
            assert_eq!(http.exchange(b"ping", soon()).expect("answers"), b"abcd");
        }
        let seen = String::from_utf8(thread.join().expect("no panic")).expect("text");
        let requests = seen.matches("POST /connector/api HTTP/1.1\r\n").count();
        assert_eq!(requests, count);
        assert!(seen.contains("Content-Length: 4\r\n\r\nping"));
    }

    #[test]
    fn chunks_and_bodies_up_to_the_end_are_read() {
        let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
        let to_the_end: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nabc!";
        let after: &[u8] =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz";
        let (mut http, _thread) = connector(vec![vec![chunked], vec![to_the_end], vec![after]]);
        assert_eq!(http.exchange(b"1", soon()).expect("answers"), b"abcde");
        assert_eq!(http.exchange(b"2", soon()).expect("answers"), b"abc!");
        assert_eq!(http.exchange(b"3", soon()).expect("answers"), b"z");
    }

    #[test]
    fn a_deadline_holds_although_bytes_drip_in() {
        let (mut http, _thread) = connector(vec![vec![b"HTTP/1.1 200 OK\r\n"; 500]]);
        let start = Instant::now();
        let deadline = start + Duration::from_millis(60);
        let error = http.exchange(b"1", deadline).expect_err("no whole answer");
        assert!(matches!(error, TransportError::Timeout { .. }), "{error:?}");
        assert!(start.elapsed() < Duration::from_millis(500));
    }

    #[test]
    fn hanging_up_and_http_errors_are_told_apart_and_the_next_call_dials_anew() {
        let unavailable: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        let fine: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz";
        let (mut http, _thread) = connector(vec![vec![], vec![unavailable], vec![fine]]);
        let error = http.exchange(b"1", soon()).expect_err("hangs up");
        assert!(matches!(&error, TransportError::HungUp), "{error:?}");
        let error = http.exchange(b"2", soon()).expect_err("an http error");
        assert!(matches!(error, TransportError::HttpStatus { code: 503 }));
        assert_eq!(http.exchange(b"3", soon()).expect("answers"), b"z");
    }

    #[test]
    fn nonsense_is_not_a_connector() {
        for answer in [
            &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
            b"HTTP/1.1 twohundred\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            let (mut http, _thread) = connector(vec![vec![answer]]);
            let error = http.exchange(b"1", soon()).expect_err("nonsense");
            let told = matches!(error, TransportError::NotAConnector { .. });
            assert!(told, "{error:?}");
        }
    }

    #[test]
    fn a_status_is_a_list_of_values() {
        let body = b"status=OK\nserial=*\nversion=3.0.4\npid=1\naddress=127.0.0.1\nport=12345\n";
        let status = ConnectorStatus::parse(body).expect("a status");
        assert!(status.ok && status.version == "3.0.4" && status.serial == "*");
        let none = ConnectorStatus::parse(b"status=NO_DEVICE\n").expect("a status");
        assert!(!none.ok);
        assert_eq!(ConnectorStatus::parse(b"<html>"), None);
    }
}
