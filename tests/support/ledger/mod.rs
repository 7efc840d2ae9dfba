//! A Ledger to test against: the app behind the framing that the emulator Speculos has on its tcp port.
//!
//! It has the app's own height and round rule, asks a person for the first vote, and can be locked, pulled, plugged, and made
//! to fail. It knows nothing of the code that it tests; the maker's own client proves it (`tests/ledger_simulator.rs`).
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

mod app;

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use app::{App, Verdict};

pub use app::{Screen, Vote};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What goes wrong with the next signature, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The connection drops before the device has read the command.
    DropBefore,
    /// It drops after the device has signed: the signature is lost.
    DropAfter,
    /// The reply comes in two pieces.
    Split,
    /// The reply takes so long.
    Delay(Duration),
    /// A signature that does not verify.
    WrongSignature,
    /// This status word.
    Status(u16),
    /// Half a signature, with the status word of success.
    Short,
}

/// What a person does who is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Person {
    /// Confirms at once.
    Confirms,
    /// Refuses at once.
    Refuses,
    /// Is not there.
    Absent,
}

/// A running simulator. It ends when it is dropped.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    app: App,
    screen: Screen,
    person: Person,
    /// The vote on the screen, and what was pressed.
    asked: Option<Vote>,
    pressed: Option<bool>,
    fault: Option<Fault>,
    plugged: bool,
    ended: bool,
    connections: Vec<(u64, TcpStream)>,
    accepted: u64,
    signed: Vec<Vote>,
    /// How many replies had each status word.
    statuses: Vec<u16>,
}

impl Simulator {
    /// A device with the app open, nothing signed yet, and a person before it who does this.
    pub fn start(person: Person) -> Self {
        Self::start_at(0, person)
    }

    /// The same, at a port of the loopback address.
    pub fn start_at(port: u16, person: Person) -> Self {
        Self::start_with(App::default(), port, person)
    }

    /// The same, with a key of its own.
    pub fn start_with_seed(seed: [u8; 32], person: Person) -> Self {
        Self::start_with(App::with_seed(seed), 0, person)
    }

    fn start_with(app: App, port: u16, person: Person) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                app,
                screen: Screen::Validator,
                person,
                asked: None,
                pressed: None,
                fault: None,
                plugged: true,
                ended: false,
                connections: Vec::new(),
                accepted: 0,
                signed: Vec::new(),
                statuses: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        let thread = thread::spawn(move || accepting.accept(listener, addr));
        Self {
            addr,
            shared,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The public key, 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.shared.lock().app.public_key()
    }

    /// Shows something else. Whoever changes the app takes the USB connection down with it.
    pub fn show(&self, screen: Screen) {
        self.shared.change(|state| {
            let apps =
                [state.screen, screen].map(|s| !matches!(s, Screen::Locked | Screen::LockedAs(_)));
            if apps == [true, true] && screen != state.screen {
                state.app.forget();
                state.hang_up();
            }
            state.screen = screen;
        });
    }

    /// Closes the app and opens it again: its memory is lost.
    pub fn restart_app(&self) {
        self.shared.change(|state| {
            state.app.forget();
            state.hang_up();
        });
    }

    /// Pulls the device, which forgets everything.
    pub fn pull(&self) {
        self.shared.change(|state| {
            state.plugged = false;
            state.app.forget();
            state.hang_up();
        });
    }

    /// Plugs it in again, with the app open.
    pub fn plug(&self) {
        self.shared.change(|state| state.plugged = true);
    }

    /// Another device is plugged in its place.
    pub fn swap(&self, seed: [u8; 32]) {
        self.shared.change(|state| {
            state.app = App::with_seed(seed);
            state.hang_up();
        });
    }

    /// What the person does from now on.
    pub fn person(&self, person: Person) {
        self.shared.change(|state| state.person = person);
    }

    /// Waits until a person is asked; what is on the screen.
    pub fn wait_until_asked(&self) -> Vote {
        let start = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if let Some(vote) = &state.asked {
                return vote.clone();
            }
            assert!(start.elapsed() < PATIENCE, "nobody was asked");
            state = self.shared.wait(state);
        }
    }

    /// Presses one of the two buttons: true confirms.
    pub fn press(&self, confirms: bool) {
        let vote = self.wait_until_asked();
        self.shared.change(|state| state.pressed = Some(confirms));
        let start = Instant::now();
        let mut state = self.shared.lock();
        while state.asked.as_ref() == Some(&vote) {
            assert!(start.elapsed() < PATIENCE, "the press was not seen");
            state = self.shared.wait(state);
        }
    }

    /// Presses a button if something is asked; false if not.
    pub fn press_if_asked(&self, confirms: bool) -> bool {
        self.shared.change(|state| {
            let is_asked = state.asked.is_some();
            if is_asked {
                state.pressed = Some(confirms);
            }
            is_asked
        })
    }

    /// Spoils the next signature.
    pub fn spoil(&self, fault: Fault) {
        self.shared.change(|state| state.fault = Some(fault));
    }

    /// Every vote and proposal that was signed, in order.
    pub fn signed(&self) -> Vec<Vote> {
        self.shared.lock().signed.clone()
    }

    /// How often the device answered with this status word.
    pub fn count(&self, status: u16) -> usize {
        let state = self.shared.lock();
        state.statuses.iter().filter(|s| **s == status).count()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.ended = true;
            state.hang_up();
        });
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn hang_up(&mut self) {
        for (_, connection) in self.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.asked = None;
        self.pressed = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let tick = Duration::from_millis(20);
        self.changed.wait_timeout(state, tick).unwrap().0
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    fn accept(self: Arc<Self>, listener: TcpListener, addr: SocketAddr) {
        listener.set_nonblocking(true).unwrap();
        let mut listener = Some(listener);
        loop {
            let state = self.lock();
            if state.ended {
                return;
            }
            if !state.plugged {
                listener = None;
                drop(self.wait(state));
                continue;
            }
            drop(state);
            let bound = listener.get_or_insert_with(|| {
                let bound = TcpListener::bind(addr).unwrap();
                bound.set_nonblocking(true).unwrap();
                bound
            });
            match bound.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let kept = stream.try_clone().unwrap();
                    let id = self.change(|state| {
                        state.accepted += 1;
                        state.connections.push((state.accepted, kept));
                        state.accepted
                    });
                    let serving = Arc::clone(&self);
                    thread::spawn(move || {
                        let _ = serving.serve(&stream);
                        let _ = stream.shutdown(Shutdown::Both);
                        serving.change(|state| state.connections.retain(|(other, _)| *other != id));
                    });
                }
                Err(_) => {
                    let state = self.lock();
                    drop(self.changed.wait_timeout(state, Duration::from_millis(2)));
                }
            }
        }
    }

    /// The emulator's framing: a length of four bytes, big endian, before either; the reply's leaves out the status word.
    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > 1_000 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut apdu = vec![0; length];
            stream.read_exact(&mut apdu)?;
            let Some((reply, fault)) = self.answer(&apdu) else {
                return Ok(());
            };
            let length = u32::try_from(reply.len() - 2).unwrap().to_be_bytes();
            let bytes = [&length[..], &reply].concat();
            if fault == Some(Fault::Split) {
                let (first, second) = bytes.split_at(bytes.len() / 2);
                stream.write_all(first)?;
                // Without a moment between them the kernel would join the two.
                thread::sleep(Duration::from_millis(50));
                stream.write_all(second)?;
            } else {
                stream.write_all(&bytes)?;
            }
        }
    }

    /// The reply to a command; `None` hangs up.
    fn answer(&self, apdu: &[u8]) -> Option<(Vec<u8>, Option<Fault>)> {
        let mut state = self.lock();
        let is_sign = apdu.starts_with(&[0x56, 0x02]);
        let fault = is_sign.then(|| state.fault.take()).flatten();
        match fault {
            Some(Fault::DropBefore) => return None,
            Some(Fault::Status(word)) => return Some((word.to_be_bytes().to_vec(), None)),
            Some(Fault::Delay(time)) => {
                drop(state);
                thread::sleep(time);
                state = self.lock();
            }
            _ => {}
        }
        let screen = state.screen;
        let mut reply = match state.app.command(screen, apdu) {
            Verdict::Reply(reply) => reply,
            Verdict::Sign(vote) => state.sign(vote),
            Verdict::Ask(vote) => {
                drop(state);
                let confirmed = self.ask(&vote)?;
                state = self.lock();
                if confirmed {
                    state.sign(vote)
                } else {
                    vec![0x69, 0x86]
                }
            }
        };
        match fault {
            Some(Fault::DropAfter) => return None,
            Some(Fault::WrongSignature) if reply.len() > 2 => reply[0] ^= 1,
            Some(Fault::Short) if reply.len() > 34 => drop(reply.drain(..32)),
            _ => {}
        }
        let (_, word) = reply.split_last_chunk::<2>().unwrap();
        let word = u16::from_be_bytes(*word);
        state.statuses.push(word);
        Some((reply, fault))
    }

    /// Shows a vote until a person presses a button; `None` if the app is closed first.
    fn ask(&self, vote: &Vote) -> Option<bool> {
        self.change(|state| {
            state.asked = Some(vote.clone());
            state.pressed = None;
        });
        let mut state = self.lock();
        loop {
            if state.ended || state.asked.as_ref() != Some(vote) {
                return None;
            }
            let pressed = match state.person {
                Person::Confirms => Some(true),
                Person::Refuses => Some(false),
                Person::Absent => state.pressed.take(),
            };
            if let Some(pressed) = pressed {
                state.asked = None;
                drop(state);
                self.changed.notify_all();
                return Some(pressed);
            }
            state = self.wait(state);
        }
    }
}

impl State {
    fn sign(&mut self, vote: Vote) -> Vec<u8> {
        self.signed.push(vote.clone());
        self.app.sign(vote)
    }
}
