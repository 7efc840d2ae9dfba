//! The least that a durable signature costs on this machine: the parts of it that nobody can leave out, in native code.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::FileExt, net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use ed25519_dalek::{Signer, SigningKey, Verifier};

use crate::{
    fleet::Transport,
    node_side::secret_link::{Cipher, FRAME},
};

const SLOT: usize = 4_096;

/// A page that starts at a page's address.
#[repr(align(4096))]
struct Page([u8; SLOT]);

/// The floor's parts, ready to be timed.
pub(crate) struct Floor {
    disk: Option<(File, Box<Page>)>,
    key: SigningKey,
    ciphers: Option<[Cipher; 4]>,
    frame: Box<[u8; FRAME]>,
    echo: Echo,
    rounds: u64,
}

/// How long each part took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    /// One aligned 4 KiB write and its `fdatasync`; none for a record in memory.
    pub(crate) disk: Duration,
    /// One signature and its verification.
    pub(crate) signature: Duration,
    /// Sealing and opening the request's and the reply's frame; none over unix.
    pub(crate) frames: Duration,
    /// One message to another thread and back.
    pub(crate) echo: Duration,
}

impl Parts {
    pub(crate) fn total(self) -> Duration {
        self.disk + self.signature + self.frames + self.echo
    }
}

enum Echo {
    Tcp(TcpStream),
    /// With the size of one message.
    Unix(UnixStream, usize),
}

impl Floor {
    /// `disk` is where the record of the measured signer lies; `message` is the size of a request in clear, in bytes.
    pub(crate) fn new(transport: Transport, disk: Option<&Path>, message: usize) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let ciphers = (transport == Transport::Tcp).then(|| {
            // Two pairs: what the one seals, the other opens.
            [[1; 32], [1; 32], [2; 32], [2; 32]].map(|key| Cipher::new(&key))
        });
        Self {
            disk: disk.map(preallocated),
            key,
            ciphers,
            frame: Box::new([0; FRAME]),
            echo: match transport {
                Transport::Tcp => Echo::Tcp(tcp_echo()),
                Transport::Unix => Echo::Unix(unix_echo(message), message),
            },
            rounds: 0,
        }
    }

    /// Everything once, in the order of a real signature.
    pub(crate) fn measure(&mut self, message: &[u8]) -> Parts {
        let mut parts = Parts::default();
        self.rounds += 1;
        if let Some((file, page)) = &mut self.disk {
            let number = self.rounds.to_le_bytes();
            page.0.split_at_mut(number.len()).0.copy_from_slice(&number);
            let offset = (self.rounds % 2) * SLOT as u64;
            let begun = Instant::now();
            file.write_all_at(&page.0, offset)
                .and_then(|()| file.sync_data())
                .expect("the disk takes a page");
            parts.disk = begun.elapsed();
        }
        let begun = Instant::now();
        let signature = self.key.sign(message);
        let valid = self.key.verifying_key().verify(message, &signature);
        parts.signature = begun.elapsed();
        valid.expect("a signature verifies with its key");
        if let Some([out, at_signer, back, at_node]) = &mut self.ciphers {
            let begun = Instant::now();
            for (seal, open) in [(out, at_signer), (back, at_node)] {
                seal.seal(message, &mut self.frame)
                    .and_then(|()| open.open(&mut self.frame).map(|_| ()))
                    .expect("a frame opens with its key");
            }
            parts.frames = begun.elapsed();
        }
        let begun = Instant::now();
        match &mut self.echo {
            Echo::Tcp(stream) => exchange(stream, self.frame.as_mut_slice()),
            Echo::Unix(stream, len) => {
                let message = self.frame.get_mut(..*len);
                exchange(stream, message.expect("a message is smaller than a frame"));
            }
        }
        parts.echo = begun.elapsed();
        parts
    }
}

fn exchange(stream: &mut (impl Read + Write), message: &mut [u8]) {
    stream
        .write_all(message)
        .and_then(|()| stream.read_exact(message))
        .expect("the echo answers");
}

/// A file like the record: two slots that exist on the disk before they are overwritten.
fn preallocated(dir: &Path) -> (File, Box<Page>) {
    let path = dir.join("floor");
    let file = File::create(&path).expect("our own directory");
    let page = Box::new(Page([0x20; SLOT]));
    for slot in 0..2 {
        file.write_all_at(&page.0, slot * SLOT as u64)
            .expect("our own file");
    }
    file.sync_all().expect("our own file");
    (file, page)
}

fn tcp_echo() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let addr = listener.local_addr().expect("it is bound");
    let near = TcpStream::connect(addr).expect("it listens");
    let (far, _) = listener.accept().expect("one has connected");
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    spawn_echo(far, FRAME);
    near
}

fn unix_echo(message: usize) -> UnixStream {
    let (near, far) = UnixStream::pair().expect("two connected sockets");
    spawn_echo(far, message);
    near
}

/// Ends when the other end is dropped.
fn spawn_echo(mut far: impl Read + Write + Send + 'static, len: usize) {
    std::thread::spawn(move || {
        let mut message = vec![0; len];
        while far.read_exact(&mut message).is_ok() && far.write_all(&message).is_ok() {}
    });
}
