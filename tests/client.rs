//! A client's thread in this process, where its codec and its key can be made to fail: what ends a session, and what does not.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and one codec is here to panic"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
#[path = "support/client.rs"]
mod running;

use std::{
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use node_side::{Answer, Validator};
use running::{PATIENCE, PLAIN, Parts, Running, Thread, key, prevote};
use tmkms::{
    chain::Served,
    codec::{Codec, DecodeError, Response, proto::Proto},
    crypto::{PublicKey, Signature},
    event::Event,
    keyring::{Signer, SignerError},
    privval::{ChainId, Request},
    protection::Permitted,
};

/// Panics over every ping.
struct Panicking(Proto);

impl Codec for Panicking {
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError> {
        let request = self.0.decode(message)?;
        assert!(request != Request::Ping, "a ping, of all things");
        Ok(request)
    }

    fn encode(&self, response: &Response<'_>, out: &mut Vec<u8>) {
        self.0.encode(response, out);
    }

    fn take_unknown_fields(&mut self) -> Vec<String> {
        self.0.take_unknown_fields()
    }
}

/// Signs rightly, but only after more than a node waits.
struct Slow(Arc<dyn Signer>);

impl Signer for Slow {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        std::thread::sleep(Duration::from_millis(5_100));
        self.0.sign(msg)
    }
}

/// A device with a fault: every signature has a flipped bit.
struct Faulty(Arc<dyn Signer>);

impl Signer for Faulty {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, msg: Permitted<'_>) -> Result<Signature, SignerError> {
        let Signature::Ed25519(mut bytes) = self.0.sign(msg)? else {
            return Err(SignerError::Unusable);
        };
        bytes[17] ^= 0x04;
        Ok(Signature::Ed25519(bytes))
    }
}

#[test]
fn a_panic_ends_its_session_and_nothing_else() {
    let running = Running::new(&Parts {
        codec: |proto| Box::new(Panicking(proto)),
        ..PLAIN
    });
    for height in 1..4 {
        let (mut link, validator) = running.meet();
        let answer = validator.ask(&mut link, &prevote(height)).unwrap();
        assert!(matches!(answer, Answer::Signed(_)), "{answer:?}");
        Validator::ping(&mut link).expect_err("this session has crashed");
    }
    let crashes = running.told.count(|event| {
        matches!(event, Event::Disconnected { reason, .. } if reason.contains("a ping, of all things"))
    });
    assert!(crashes >= 2, "{crashes} crashes were told");
}

#[test]
fn an_unpinned_peer_is_told_once_and_not_at_every_dial() {
    let running = Running::new(&PLAIN);
    for _ in 0..3 {
        drop(running.meet());
    }
    let _last = running.meet();
    let connected = running.told.count(|e| matches!(e, Event::Connected { .. }));
    let unverified = running
        .told
        .count(|e| matches!(e, Event::UnverifiedPeer { .. }));
    assert_eq!((connected, unverified), (4, 1));
}

#[test]
fn after_a_lost_connection_the_next_dial_comes_within_a_second() {
    let running = Running::new(&PLAIN);
    for _ in 0..5 {
        drop(running.meet());
        let lost = Instant::now();
        drop(running.accept());
        let took = lost.elapsed();
        // The handshake that is part of it is slow in debug builds on a busy machine.
        assert!(took < Duration::from_millis(1_500), "{took:?}");
    }
}

#[test]
fn a_socket_of_ours_is_there_again_before_a_restarted_node_dials_it() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("signer.sock");
    let address = format!("unix-listen://{}", socket.display());
    let key = key(&directory.path().join("key"), |signer| signer);
    let chain = ChainId::new("client-1").unwrap();
    let record = directory.path().join("record");
    let _thread = Thread::start(&address, &chain, key, &record, &PLAIN, Served::from);
    let begun = Instant::now();
    let connect = || loop {
        if let Ok(stream) = UnixStream::connect(&socket) {
            return stream;
        }
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    };
    // The quickest of some: the machine may be busy.
    let waits = (0..5).map(|_| {
        let node = connect();
        while socket.exists() {
            assert!(begun.elapsed() < PATIENCE);
            thread::yield_now();
        }
        let gone = Instant::now();
        drop(node);
        drop(connect());
        gone.elapsed()
    });
    let quickest = waits.min().unwrap();
    assert!(quickest < Duration::from_millis(400), "{quickest:?}");
}

#[test]
fn without_reconnect_the_thread_ends_with_its_first_connection() {
    let running = Running::new(&Parts {
        reconnect: false,
        ..PLAIN
    });
    drop(running.meet());
    assert!(running.has_ended());
}

#[test]
fn shutdown_ends_an_idle_session_at_once() {
    let running = Running::new(&PLAIN);
    let _met = running.meet();
    let asked = Instant::now();
    running.shutdown.request();
    assert!(running.has_ended());
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[test]
fn an_answer_that_is_late_is_not_sent() {
    let running = Running::new(&Parts {
        signer: |signer| Arc::new(Slow(signer)),
        ..PLAIN
    });
    let (mut link, validator) = running.meet();
    let begun = Instant::now();
    link.send_raw(&validator.request(&prevote(1))).unwrap();
    // A node that waited for longer than it does would see the connection end, and no answer.
    let error = loop {
        match link.exchange(b"") {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => break other.map(<[u8]>::to_vec).expect_err("no answer"),
        }
    };
    assert!(begun.elapsed() > Duration::from_secs(5), "{error}");
    let mut again = running.accept();
    Validator::meet(&mut again, &running.chain).unwrap();
    let late = running
        .told
        .count(|e| matches!(e, Event::Disconnected { reason, .. } if reason.contains("too late")));
    assert_eq!(late, 1);
}

#[test]
fn a_signature_that_does_not_verify_never_leaves() {
    let running = Running::new(&Parts {
        signer: |signer| Arc::new(Faulty(signer)),
        ..PLAIN
    });
    let (mut link, validator) = running.meet();
    for height in 1..4 {
        match validator.ask(&mut link, &prevote(height)).unwrap() {
            Answer::Refused { code, description } => {
                assert_eq!(code, 1);
                assert!(description.contains("does not verify"), "{description}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_request_ends_the_session_and_it_is_dialled_again() {
    let running = Running::new(&PLAIN);
    for nonsense in [b"\x00".as_slice(), b"\x02\x7a\x00", b"\x02\x12\x00"] {
        let (mut link, _) = running.meet();
        link.send_raw(nonsense).unwrap();
        link.exchange(b"").expect_err("the session has ended");
    }
}
