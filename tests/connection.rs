//! Connections as the client meets them: deadlines, shutdown, pinning, unix sockets. Limits are shortened so that a test takes
//! less than a second.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tmkms::{
    connection::{
        self, Access, Address, Connection, ConnectionError, Dialled, Group, Identity, Limits, Peer,
        PeerId,
    },
    shutdown::Shutdown,
};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);
/// What a test waits for things that should take no time.
const SOON: Duration = Duration::from_secs(2);

fn limits() -> Limits {
    Limits {
        connect: LONG,
        handshake: LONG,
        idle: LONG,
        write: LONG,
        ..Limits::default()
    }
}

fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    (listener, address)
}

fn pinned(address: &Address, id: PeerId) -> Address {
    let mut address = address.clone();
    if let Address::Tcp { peer_id, .. } = &mut address {
        *peer_id = Some(id);
    }
    address
}

/// Dials as the signer does.
fn dial(
    limits: Limits,
    address: &Address,
    shutdown: &Shutdown,
) -> Result<Dialled, ConnectionError> {
    let identity = Identity::generate().unwrap();
    connection::dial_within(limits, address, Some(&identity), shutdown)
}

/// A signer's and a node's end over tcp.
fn tcp_pair(limits: Limits, shutdown: &Shutdown) -> (Box<dyn Connection>, Box<dyn Connection>) {
    let (listener, address) = listen();
    let node = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        connection::accept_tcp(stream, &Identity::generate().unwrap(), LONG).unwrap()
    });
    let signer = dial(limits, &address, shutdown).unwrap();
    (signer.connection, node.join().unwrap().connection)
}

/// A signer's end over a unix socket, and the node's bare stream.
fn unix_pair(limits: Limits, shutdown: &Shutdown) -> (Box<dyn Connection>, UnixStream) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let signer = dial(limits, &Address::Unix(path), shutdown).unwrap();
    assert_eq!(signer.peer, None);
    (signer.connection, listener.accept().unwrap().0)
}

/// A listener whose queue is full, so that nobody gets an answer.
fn deaf() -> (TcpListener, Vec<TcpStream>, Address) {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&fd, 0).unwrap();
    let listener = TcpListener::from(fd);
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue has an end");
    }
    (
        listener,
        queue,
        Address::parse(&address.to_string()).unwrap(),
    )
}

/// Writes a byte every 10 ms until the other side has had enough.
fn drip(mut stream: impl Write, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_is_dead_after_the_idle_limit() {
    let short = Limits {
        idle: SHORT,
        ..limits()
    };
    let (mut signer, node) = unix_pair(short, &Shutdown::new());
    let node = thread::spawn(move || drip(node, &[100; 300]));
    let start = Instant::now();
    let error = signer.read().unwrap_err();
    assert!(
        matches!(error, ConnectionError::Idle { limit } if limit == SHORT),
        "{error:?}"
    );
    assert!(
        start.elapsed() >= SHORT && start.elapsed() < SOON,
        "{:?}",
        start.elapsed()
    );
    assert!(matches!(signer.read(), Err(ConnectionError::Dead)));
    assert!(matches!(signer.write(b""), Err(ConnectionError::Dead)));
    drop(signer);
    node.join().unwrap();
}

#[test]
fn a_slow_message_does_not_shorten_the_time_of_the_next_one() {
    let short = Limits {
        idle: Duration::from_millis(1500),
        ..limits()
    };
    let (mut signer, mut node) = unix_pair(short, &Shutdown::new());
    // A read that begins late in the first message shortens the socket's own timeout, to less than what the second one takes.
    let pause = |milliseconds| thread::sleep(Duration::from_millis(milliseconds));
    let node = thread::spawn(move || {
        node.write_all(b"\x03o").unwrap();
        pause(800);
        node.write_all(b"n").unwrap();
        pause(20);
        node.write_all(b"e").unwrap();
        pause(900);
        node.write_all(b"\x02hi").unwrap();
    });
    assert_eq!(signer.read().unwrap(), b"one");
    assert_eq!(signer.read().unwrap(), b"hi");
    node.join().unwrap();
}

#[test]
fn the_handshake_has_one_deadline_however_the_peer_dawdles() {
    let (listener, address) = listen();
    let short = Limits {
        handshake: SHORT,
        ..limits()
    };
    let node = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        drip(&stream, &[&[0x22, 0x0a, 0x20][..], &[7; 300]].concat());
    });
    let start = Instant::now();
    let error = dial(short, &address, &Shutdown::new()).unwrap_err();
    assert!(
        matches!(error, ConnectionError::HandshakeTimeout { limit } if limit == SHORT),
        "{error:?}"
    );
    assert!(
        start.elapsed() >= SHORT && start.elapsed() < SOON,
        "{:?}",
        start.elapsed()
    );
    node.join().unwrap();
}

#[test]
fn a_node_that_never_says_a_word_times_the_handshake_out_with_a_hint() {
    let (_listener, address) = listen();
    let short = Limits {
        handshake: SHORT,
        ..limits()
    };
    let error = dial(short, &address, &Shutdown::new()).unwrap_err();
    assert!(
        matches!(error, ConnectionError::HandshakeTimeout { .. }),
        "{error:?}"
    );
    assert!(error.is_handshake());
    assert!(error.hint().unwrap().contains("one signer at a time"));
}

#[test]
fn a_node_that_does_not_answer_ends_the_dial_at_the_connect_limit() {
    let (_listener, _queue, address) = deaf();
    let short = Limits {
        connect: SHORT,
        ..limits()
    };
    let start = Instant::now();
    let error = dial(short, &address, &Shutdown::new()).unwrap_err();
    assert!(
        matches!(error, ConnectionError::ConnectTimeout { .. }),
        "{error:?}"
    );
    assert!(!error.is_handshake());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn a_refused_connection_is_said_at_once_and_is_no_failed_handshake() {
    let (listener, address) = listen();
    drop(listener);
    let error = dial(limits(), &address, &Shutdown::new()).unwrap_err();
    assert!(
        matches!(&error, ConnectionError::Connect { source, .. }
            if source.kind() == std::io::ErrorKind::ConnectionRefused),
        "{error:?}"
    );
    assert!(!error.is_handshake());
    assert!(error.hint().is_some());
}

#[test]
fn names_are_resolved() {
    let (listener, address) = listen();
    let Address::Tcp { port, .. } = address else {
        unreachable!("tcp was written");
    };
    let named = Address::parse(&format!("localhost:{port}")).unwrap();
    let node = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        connection::accept_tcp(stream, &Identity::generate().unwrap(), LONG).unwrap()
    });
    dial(limits(), &named, &Shutdown::new()).unwrap();
    node.join().unwrap();
}

#[test]
fn tcp_without_an_identity_key_is_refused_before_dialling() {
    let (_listener, address) = listen();
    let error = connection::dial(&address, None, LONG, &Shutdown::new()).unwrap_err();
    assert!(matches!(error, ConnectionError::NoIdentity));
}

/// Requests shutdown while `blocked` most likely waits, and expects it to end with `Shutdown` soon. (The short sleep only makes
/// it likely that the wait has begun; the test holds either way.)
fn ends_at_shutdown<T: Send + std::fmt::Debug>(
    shutdown: &Shutdown,
    blocked: impl FnOnce() -> Result<T, ConnectionError> + Send,
) {
    thread::scope(|scope| {
        let waiting = scope.spawn(blocked);
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        shutdown.request();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, ConnectionError::Shutdown), "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    });
}

#[test]
fn shutdown_ends_a_connect() {
    let (_listener, _queue, address) = deaf();
    let shutdown = Shutdown::new();
    ends_at_shutdown(&shutdown, || dial(limits(), &address, &shutdown));
}

#[test]
fn shutdown_ends_a_handshake() {
    let (_listener, address) = listen();
    let shutdown = Shutdown::new();
    ends_at_shutdown(&shutdown, || dial(limits(), &address, &shutdown));
}

#[test]
fn shutdown_ends_a_wait_for_a_node_that_dials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer.sock");
    let shutdown = Shutdown::new();
    ends_at_shutdown(&shutdown, || {
        dial(
            limits(),
            &Address::UnixListen(path.clone(), Access::default()),
            &shutdown,
        )
    });
    assert!(!path.exists());
}

#[test]
fn shutdown_ends_a_read() {
    let shutdown = Shutdown::new();
    let (mut tcp, _node) = tcp_pair(limits(), &shutdown);
    ends_at_shutdown(&shutdown, || tcp.read().map(<[u8]>::to_vec));
    let shutdown = Shutdown::new();
    let (mut unix, _node) = unix_pair(limits(), &shutdown);
    ends_at_shutdown(&shutdown, || unix.read().map(<[u8]>::to_vec));
}

#[test]
fn nobody_is_dialled_after_a_shutdown_request() {
    let (listener, address) = listen();
    listener.set_nonblocking(true).unwrap();
    let shutdown = Shutdown::new();
    shutdown.request();
    let error = dial(limits(), &address, &shutdown).unwrap_err();
    assert!(matches!(error, ConnectionError::Shutdown));
    assert!(listener.accept().is_err());
}

#[test]
fn the_reply_in_flight_is_written_after_a_shutdown_request() {
    let shutdown = Shutdown::new();
    let (mut signer, mut node) = tcp_pair(limits(), &shutdown);
    node.write(b"request").unwrap();
    assert_eq!(signer.read().unwrap(), b"request");
    shutdown.request();
    signer.write(b"reply").unwrap();
    assert_eq!(node.read().unwrap(), b"reply");
    // A busy node does not keep us: what it sends now is not read any more.
    node.write(b"another").unwrap();
    assert!(matches!(signer.read(), Err(ConnectionError::Shutdown)));

    let shutdown = Shutdown::new();
    let (mut signer, mut node) = unix_pair(limits(), &shutdown);
    node.write_all(b"\x07request").unwrap();
    assert_eq!(signer.read().unwrap(), b"request");
    shutdown.request();
    signer.write(b"reply").unwrap();
    let mut reply = [0; 6];
    node.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"\x05reply");
    assert!(matches!(signer.read(), Err(ConnectionError::Shutdown)));
}

#[test]
fn a_pinned_peer_is_verified_and_another_gets_not_a_word() {
    let identity = Identity::generate().unwrap();
    let id = identity.peer_id();
    for (pin, expected) in [
        (None, Some(Peer::Unverified(id))),
        (Some(id), Some(Peer::Verified(id))),
        (Some(PeerId([7; 20])), None),
    ] {
        let (listener, address) = listen();
        let address = pin.map_or(address.clone(), |id| pinned(&address, id));
        thread::scope(|scope| {
            let node = scope.spawn(|| {
                let stream = listener.accept().unwrap().0;
                let mut node = connection::accept_tcp(stream, &identity, LONG).unwrap();
                node.connection.read().map(<[u8]>::to_vec)
            });
            match (dial(limits(), &address, &Shutdown::new()), expected) {
                (Ok(mut signer), Some(peer)) => {
                    assert_eq!(signer.peer, Some(peer));
                    signer.connection.write(b"hello").unwrap();
                    assert_eq!(node.join().unwrap().unwrap(), b"hello");
                }
                (Err(error), None) => {
                    assert!(
                        matches!(error, ConnectionError::PeerMismatch { pinned, found }
                            if pinned == PeerId([7; 20]) && found == id)
                    );
                    assert!(error.is_handshake());
                    assert!(error.hint().unwrap().contains("at each start"));
                    let heard = node.join().unwrap();
                    assert!(matches!(heard, Err(ConnectionError::Closed)), "{heard:?}");
                }
                (result, expected) => panic!("{result:?}, expected {expected:?}"),
            }
        });
    }
}

#[test]
fn a_peer_that_does_not_read_ends_the_write_at_its_limit() {
    let short = Limits {
        write: SHORT,
        ..limits()
    };
    let (mut signer, _node) = unix_pair(short, &Shutdown::new());
    let body = vec![0; 1_000_000];
    let start = Instant::now();
    // The kernel's buffers take some of them.
    let error = (0..100).find_map(|_| signer.write(&body).err()).unwrap();
    assert!(
        matches!(error, ConnectionError::WriteTimeout { .. }),
        "{error:?}"
    );
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert!(matches!(signer.write(b""), Err(ConnectionError::Dead)));
}

#[test]
fn the_largest_message_passes_both_ways_and_a_larger_one_is_not_sent() {
    let (mut signer, mut node) = tcp_pair(limits(), &Shutdown::new());
    let largest: Vec<u8> = (0..=250).cycle().take(Limits::default().message).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            node.write(&largest).unwrap();
            assert_eq!(node.read().unwrap(), largest);
            assert_eq!(node.read().unwrap(), b"small again");
        });
        assert_eq!(signer.read().unwrap(), largest);
        signer.write(&largest).unwrap();
        let larger = vec![0; largest.len() + 1];
        assert!(matches!(
            signer.write(&larger),
            Err(ConnectionError::TooLong { .. })
        ));
        signer.write(b"small again").unwrap();
    });
}

#[test]
fn an_end_between_messages_is_told_from_one_within() {
    for (bytes, truncated) in [(&b""[..], false), (b"\x02ab", false), (b"\x02a", true)] {
        let (mut signer, mut node) = unix_pair(limits(), &Shutdown::new());
        node.write_all(bytes).unwrap();
        drop(node);
        let error = loop {
            if let Err(error) = signer.read() {
                break error;
            }
        };
        match truncated {
            true => assert!(matches!(error, ConnectionError::Truncated), "{error:?}"),
            false => assert!(matches!(error, ConnectionError::Closed), "{error:?}"),
        }
    }
}

#[test]
fn a_unix_socket_that_is_not_there_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let address = Address::Unix(dir.path().join("none.sock"));
    let error = dial(limits(), &address, &Shutdown::new()).unwrap_err();
    assert!(
        matches!(error, ConnectionError::Connect { .. }),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("running"));
    let long = Address::Unix(dir.path().join("x".repeat(200)));
    assert!(dial(limits(), &long, &Shutdown::new()).is_err());
}

#[test]
fn a_unix_node_whose_queue_is_full_does_not_hold_the_dial() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.sock");
    let fd = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&fd, 0).unwrap();
    let mut queue = Vec::new();
    let start = Instant::now();
    let error = loop {
        match dial(limits(), &Address::Unix(path.clone()), &Shutdown::new()) {
            Ok(dialled) => queue.push(dialled),
            Err(error) => break error,
        }
        assert!(queue.len() < 100, "the queue has an end");
    };
    assert!(
        matches!(error, ConnectionError::Connect { .. }),
        "{error:?}"
    );
    assert!(start.elapsed() < SOON);
}

/// Binds in another thread, and waits until the socket listens.
fn listening(
    path: PathBuf,
    access: Access,
) -> thread::JoinHandle<Result<Dialled, ConnectionError>> {
    let address = Address::UnixListen(path, access);
    thread::spawn(move || dial(limits(), &address, &Shutdown::new()))
}

fn connect_when_there(path: &PathBuf) -> UnixStream {
    let start = Instant::now();
    loop {
        if let Ok(stream) = UnixStream::connect(path) {
            return stream;
        }
        assert!(start.elapsed() < LONG);
        thread::yield_now();
    }
}

#[test]
fn a_node_can_dial_us_over_a_unix_socket_that_is_ours_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer.sock");
    // A killed process leaves its socket behind; nobody listens on this one.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let signer = listening(path.clone(), Access::default());
    let start = Instant::now();
    // The dead socket has another mode, and there is a moment without any.
    while !fs::metadata(&path).is_ok_and(|m| m.permissions().mode() & 0o777 == 0o600) {
        assert!(start.elapsed() < 5 * SOON, "never for its owner alone");
        thread::yield_now();
    }
    let mut node = connect_when_there(&path);
    let mut signer = signer.join().unwrap().unwrap();
    assert!(!path.exists(), "nobody should wait in its queue");
    node.write_all(b"\x02hi").unwrap();
    assert_eq!(signer.connection.read().unwrap(), b"hi");
}

#[test]
fn nothing_but_a_dead_socket_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer.sock");
    let address = Address::UnixListen(path.clone(), Access::default());
    // Whoever binds after all would wait for ever.
    let shutdown = Shutdown::new();
    let end = shutdown.clone();
    thread::spawn(move || {
        thread::sleep(5 * SOON);
        end.request();
    });
    let listener = UnixListener::bind(&path).unwrap();
    let error = dial(limits(), &address, &shutdown).unwrap_err();
    assert!(
        matches!(error, ConnectionError::SocketInUse { .. }),
        "{error:?}"
    );
    assert!(path.exists());
    listener.set_nonblocking(true).unwrap();
    let noticed = listener.accept().is_ok();
    assert!(!noticed, "it would take us for its node");
    drop(listener);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = dial(limits(), &address, &shutdown).unwrap_err();
    assert!(
        matches!(error, ConnectionError::NotASocket { .. }),
        "{error:?}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_socket_has_the_mode_and_the_group_that_the_operator_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signer.sock");
    // The own group is one that anybody may give away to.
    let gid = fs::metadata(dir.path()).unwrap().gid();
    let groups = fs::read_to_string("/etc/group").unwrap();
    let name = groups.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(gid)).then(|| (*fields.first().unwrap()).to_owned())
    });
    for group in [Some(Group::Id(gid)), name.map(Group::Name)]
        .into_iter()
        .flatten()
    {
        let access = Access {
            mode: 0o660,
            group: Some(group),
        };
        let signer = listening(path.clone(), access);
        let start = Instant::now();
        let wanted = |m: fs::Metadata| m.permissions().mode() & 0o777 == 0o660 && m.gid() == gid;
        while !fs::metadata(&path).is_ok_and(wanted) {
            assert!(start.elapsed() < 5 * SOON, "never as it was said");
            thread::yield_now();
        }
        let _node = connect_when_there(&path);
        signer.join().unwrap().unwrap();
    }
    let access = Access {
        mode: 0o660,
        group: Some(Group::Name("no such group".to_owned())),
    };
    let error = listening(path.clone(), access).join().unwrap().unwrap_err();
    let named = matches!(&error, ConnectionError::NoGroup { name } if name == "no such group");
    assert!(named && !path.exists(), "{error:?}");
}
