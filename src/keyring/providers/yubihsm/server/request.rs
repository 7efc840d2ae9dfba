//! An HTTP request to the connector server.

use super::{
    super::incoming::{ReadError, Reader, headers},
    LONGEST, TRANSFER,
};

/// What is asked, and whether the connection goes on afterwards.
pub(super) struct Request {
    pub(super) asked: Asked,
    pub(super) keeps: bool,
}

pub(super) enum Asked {
    /// `GET /connector/status`
    Status,
    /// `POST /connector/api`
    Api(Vec<u8>),
    /// Something that is answered with this code.
    Refused(u16, &'static str),
}

/// What a head says.
struct Head {
    method: String,
    path: String,
    length: Option<usize>,
    chunks: bool,
    keeps: bool,
    /// It waits for an interim answer before it sends the body, as curl does.
    expects: bool,
    /// A web page asks.
    origin: bool,
}

impl Request {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ReadError> {
        let head = Head::parse(&reader.head()?).map_err(ReadError::Nonsense)?;
        // A refused request ends the connection: where its body ends is not worth knowing.
        let refused = |code, what| {
            Ok(Self {
                asked: Asked::Refused(code, what),
                keeps: false,
            })
        };
        if head.origin {
            return refused(403, "not for web pages");
        }
        let (path, _) = head.path.split_once('?').unwrap_or((&head.path, ""));
        match (head.method.as_str(), path) {
            ("GET" | "POST", "/connector/status" | "/connector/api") => {}
            (_, "/connector/status" | "/connector/api") => {
                return refused(405, "GET /connector/status, POST /connector/api");
            }
            _ => return refused(404, "GET /connector/status, POST /connector/api"),
        }
        let length = match (head.length, head.chunks, head.method.as_str()) {
            (_, true, _) => return refused(411, "a body needs a content length"),
            (None, _, "POST") => return refused(411, "a body needs a content length"),
            (length, _, _) => length.unwrap_or(0),
        };
        if length > LONGEST {
            return refused(413, "a message has 3 to 3139 bytes");
        }
        if head.expects && length > 0 {
            let sent = reader
                .stream()
                .send(b"HTTP/1.1 100 Continue\r\n\r\n", TRANSFER);
            sent.map_err(ReadError::Connection)?;
        }
        let body = reader.taken(length)?;
        let asked = match (head.method.as_str(), path) {
            ("GET", "/connector/status") => Asked::Status,
            ("POST", "/connector/api") => Asked::Api(body),
            _ => Asked::Refused(405, "GET /connector/status, POST /connector/api"),
        };
        Ok(Self {
            asked,
            keeps: head.keeps,
        })
    }
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(head).map_err(|_| "its head is no text")?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(path), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("no request line");
        };
        if !version.starts_with("HTTP/1.") {
            return Err("no HTTP/1 request");
        }
        let mut head = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            length: None,
            chunks: false,
            keeps: version != "HTTP/1.0",
            expects: false,
            origin: false,
        };
        for header in headers(lines) {
            let (name, value) = header?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| "no content length")?;
                    // Two that differ are how requests are smuggled (RFC 9112, 6.3).
                    if head.length.is_some_and(|before| before != length) {
                        return Err("two content lengths");
                    }
                    head.length = Some(length);
                }
                "transfer-encoding" => head.chunks = true,
                "connection" => {
                    let says = |word: &str| {
                        let mut words = value.split(',');
                        words.any(|w| w.trim().eq_ignore_ascii_case(word))
                    };
                    head.keeps = !says("close") && (head.keeps || says("keep-alive"));
                }
                "expect" => head.expects = value.eq_ignore_ascii_case("100-continue"),
                "origin" => head.origin = true,
                _ => {}
            }
        }
        Ok(head)
    }
}
