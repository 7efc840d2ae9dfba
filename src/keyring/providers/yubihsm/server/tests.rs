use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use super::*;
use crate::event::Silent;

/// A device that answers with what it was sent, and is away for what starts with a zero.
struct Echo;

impl Carry for Echo {
    fn carry(&self, message: Vec<u8>, _: Instant) -> Result<Vec<u8>, NotCarried> {
        match message.first() {
            Some(0) => Err(NotCarried::NoDevice),
            _ => Ok(message),
        }
    }

    fn has_device(&self) -> bool {
        true
    }
}

struct Running {
    address: SocketAddr,
    stop: Shutdown,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.request();
    }
}

fn running() -> Running {
    let stop = Shutdown::new();
    let sink: Arc<dyn Sink> = Arc::new(Silent);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = start(address, Arc::new(Echo), &sink, &stop).expect("listens");
    Running { address, stop }
}

/// Sends all of it and gives everything that comes back until the server hangs up or says nothing for a while.
fn answers(server: &Running, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).expect("listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a socket");
    stream.write_all(request).expect("sends");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            break;
        }
        answer.extend(chunk.iter().take(count));
    }
    String::from_utf8(answer).expect("text")
}

#[test]
fn messages_are_carried_and_the_connection_is_kept() {
    let server = running();
    let one = "POST /connector/api HTTP/1.1\r\nhost: x\r\nCONTENT-LENGTH: 4\r\n\r\nping";
    let answer = answers(&server, one.repeat(3).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
    assert!(answer.ends_with("\r\n\r\nping"));
    let status = answers(&server, b"GET /connector/status HTTP/1.0\r\n\r\n");
    assert!(status.contains("Connection: close"), "{status}");
    for line in ["status=OK\n", "serial=*\n", "address=127.0.0.1\n"] {
        assert!(status.contains(line), "{status}");
    }
}

#[test]
fn what_is_no_message_is_refused_and_hung_up() {
    let server = running();
    let post = |headers: &str| format!("POST /connector/api HTTP/1.1\r\n{headers}\r\n");
    for (request, code) in [
        (post(""), 411),
        (post("content-length: 3140\r\n"), 413),
        (post("transfer-encoding: chunked\r\n"), 411),
        (post("content-length: x\r\n"), 400),
        (post("content-length: 3\r\ncontent-length: 4\r\n"), 400),
        (
            post("origin: http://example.com\r\ncontent-length: 3\r\n"),
            403,
        ),
        ("GET /index.html HTTP/1.1\r\n\r\n".into(), 404),
        ("PUT /connector/api HTTP/1.1\r\n\r\n".into(), 405),
        ("hello\r\n\r\n".into(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000)), 400),
    ] {
        let answer = answers(&server, request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{request}{answer}"
        );
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
    let short = answers(
        &server,
        format!("{}ab", post("content-length: 2\r\n")).as_bytes(),
    );
    assert!(short.starts_with("HTTP/1.1 400 "), "{short}");
}

#[test]
fn a_device_that_is_away_is_an_http_error_and_the_connection_goes_on() {
    let server = running();
    let away = "POST /connector/api HTTP/1.1\r\ncontent-length: 3\r\n\r\n\0\0\0";
    let answer = answers(&server, away.repeat(2).as_bytes());
    assert_eq!(
        answer.matches("HTTP/1.1 502 Bad Gateway").count(),
        2,
        "{answer}"
    );
}

#[test]
fn a_client_that_waits_for_leave_to_send_gets_it() {
    let server = running();
    let request =
        "POST /connector/api HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nping";
    let answer = answers(&server, request.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{answer}"
    );
}

#[test]
fn connections_over_the_limit_are_hung_up_and_others_go_on() {
    let server = running();
    let held: Vec<_> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(server.address).expect("listens"))
        .collect();
    let status = b"GET /connector/status HTTP/1.1\r\nconnection: close\r\n\r\n";
    let start = Instant::now();
    // The server counts a connection when it accepts it, which may be a moment later.
    while !answers(&server, status).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "no limit");
    }
    drop(held);
    while answers(&server, status).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "never again");
    }
}

#[test]
fn more_messages_than_the_rate_have_to_wait() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    for _ in 0..BURST {
        assert!(pace.wait(now).is_zero());
    }
    assert!(!pace.wait(now).is_zero());
    let later = now + Duration::from_secs(1);
    assert!(pace.wait(later).is_zero());
}

#[test]
fn an_address_that_is_taken_is_an_error_at_the_start() {
    let server = running();
    let sink: Arc<dyn Sink> = Arc::new(Silent);
    let error = start(server.address, Arc::new(Echo), &sink, &Shutdown::new());
    let error = error.expect_err("taken");
    assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"));
}
