//! A validator node's side of remote signing: listens, authenticates, asks for signatures and verifies each one over sign bytes
//! that it encodes itself. The stand-in validator, the tests and the benchmark share it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "shared by several programs, none of which uses all of it"
)]

pub mod secret_link;
pub mod verification;
pub mod wire;

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use prost::Message as _;
use rand_core::RngCore;
use sha2::{Digest, Sha256};
use tmkms::privval::{BlockId, ChainId, Step, Timestamp, canonical};

use secret_link::SecretLink;
use verification::Key;
use wire::Message;

/// What a node allows for one reply.
const REPLY: Duration = Duration::from_secs(5);
/// The largest reply that v0.38 reads, in bytes.
const REPLY_LIMIT: usize = 10_240;

/// Where signers dial in.
pub enum Listener {
    /// `tcp://`, with a listener key that is new at every start, as a node's is.
    Tcp(TcpListener, Box<SigningKey>),
    /// `unix://`; the socket file is removed at the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds `tcp://HOST:PORT` (port 0: any) or `unix:///PATH`.
    pub fn bind(addr: &str) -> io::Result<Self> {
        if let Some(path) = addr.strip_prefix("unix://") {
            return Ok(Self::Unix(UnixListener::bind(path)?, path.into()));
        }
        let mut seed = [0; 32];
        rand_core::OsRng.fill_bytes(&mut seed);
        let listener = TcpListener::bind(addr.strip_prefix("tcp://").unwrap_or(addr))?;
        Ok(Self::Tcp(listener, Box::new(SigningKey::from_bytes(&seed))))
    }

    /// The address to put into the signer's configuration.
    pub fn addr(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener, _) => format!("tcp://{}", listener.local_addr()?),
            Self::Unix(_, path) => format!("unix://{}", path.display()),
        })
    }

    /// Waits for a signer, until `stopped` says that nobody waits any more (`None` then).
    pub fn accept(&self, stopped: impl Fn() -> bool) -> io::Result<Option<Link>> {
        loop {
            if stopped() {
                return Ok(None);
            }
            self.set_nonblocking()?;
            match self.accept_now() {
                Ok(link) => return Ok(Some(link)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener, _) => listener.set_nonblocking(true),
            Self::Unix(listener, _) => listener.set_nonblocking(true),
        }
    }

    fn accept_now(&self) -> io::Result<Link> {
        let stream = match self {
            Self::Tcp(listener, identity) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(REPLY))?;
                stream.set_write_timeout(Some(REPLY))?;
                Stream::Tcp(Box::new(SecretLink::handshake(stream, identity)?))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(REPLY))?;
                stream.set_write_timeout(Some(REPLY))?;
                Stream::Unix(stream)
            }
        };
        Ok(Link {
            stream,
            inbox: Vec::with_capacity(2_048),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

enum Stream {
    Tcp(Box<SecretLink>),
    Unix(UnixStream),
}

/// A connection to a signer: one request, one reply.
pub struct Link {
    stream: Stream,
    inbox: Vec<u8>,
}

impl Link {
    /// Sends a framed request and gives the framed reply.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.send_raw(request)?;
        self.reply()
    }

    /// The framed reply to a request that was sent.
    pub fn reply(&mut self) -> io::Result<&[u8]> {
        self.inbox.clear();
        loop {
            self.receive()?;
            let Some(len) = Message::framed_len(&self.inbox) else {
                continue;
            };
            if len > REPLY_LIMIT {
                return Err(io::Error::other("the reply is longer than a node reads"));
            }
            match self.inbox.len() {
                have if have < len => {}
                have if have == len => return Ok(&self.inbox),
                _ => return Err(io::Error::other("more than one reply to one request")),
            }
        }
    }

    /// Sends bytes that need not be a whole message, and waits for nothing.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(link) => link.send(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Whether it is a SecretConnection.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    /// Sends a message and decodes what comes back.
    pub fn ask(&mut self, request: &Message) -> io::Result<Message> {
        decode(self.exchange(&request.framed())?)
    }

    fn receive(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(link) => link.receive(&mut self.inbox),
            Stream::Unix(stream) => {
                let mut buffer = [0; 2_048];
                let read = stream.read(&mut buffer)?;
                let data = buffer.get(..read).unwrap_or_default();
                if data.is_empty() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                self.inbox.extend_from_slice(data);
                Ok(())
            }
        }
    }
}

impl AsFd for Link {
    /// Readable when a reply begins to arrive.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(link) => link.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

/// One thing that a validator wants signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ballot {
    /// Proposal, prevote or precommit.
    pub step: Step,
    /// Height, ≥ 1.
    pub height: i64,
    /// Round, ≥ 0.
    pub round: i32,
    /// The block; `None` is a vote for nil.
    pub block: Option<BlockId>,
    /// When the node made it.
    pub timestamp: Timestamp,
    /// The application's vote extension; only on a precommit for a block.
    pub extension: Option<Vec<u8>>,
}

/// What a signer answered to a [`Ballot`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Signed, over this timestamp.
    Signed(Signed),
    /// `RemoteSignerError`.
    Refused {
        /// 2 for a double sign.
        code: i32,
        /// The signer's reason.
        description: String,
    },
    /// The empty message that makes a node ask again.
    TryAgain,
}

/// What a node takes from a signed reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// The vote's timestamp, which may be that of an earlier, equal vote. A proposal's is the node's own.
    pub timestamp: Timestamp,
    /// 64 bytes.
    pub signature: Vec<u8>,
    /// 64 bytes on a precommit for a block, otherwise empty.
    pub extension_signature: Vec<u8>,
}

/// A validator of one chain whose key some signer holds.
pub struct Validator {
    /// The chain.
    pub chain: ChainId,
    /// The consensus key that the signer named.
    pub key: Key,
}

impl Validator {
    /// The next signer that dials in time, and what a node asks first.
    pub fn await_signer(
        listener: &Listener,
        chain: &ChainId,
        patience: Duration,
    ) -> io::Result<(Link, Self)> {
        let begun = Instant::now();
        let link = listener.accept(|| begun.elapsed() > patience)?;
        let mut link = link.ok_or_else(|| io::Error::other("no signer dials"))?;
        let validator = Self::meet(&mut link, chain)?;
        Ok((link, validator))
    }

    /// Asks the signer for the public key, as a node does first.
    pub fn meet(link: &mut Link, chain: &ChainId) -> io::Result<Self> {
        let reply = link.ask(&Message {
            pub_key_request: Some(wire::PubKeyRequest {
                chain_id: chain.to_string(),
            }),
            ..Message::default()
        })?;
        let response = reply
            .pub_key_response
            .ok_or_else(|| io::Error::other("no answer to the public-key request"))?;
        if let Some(error) = response.error {
            return Err(io::Error::other(error.description));
        }
        Ok(Self {
            chain: chain.clone(),
            key: Key::read(response)?,
        })
    }

    /// The validator's address, 20 bytes.
    pub fn address(&self) -> Vec<u8> {
        self.key.address()
    }

    /// A keep-alive and its answer.
    pub fn ping(link: &mut Link) -> io::Result<()> {
        let reply = link.ask(&Message {
            ping_request: Some(wire::Empty {}),
            ..Message::default()
        })?;
        reply
            .ping_response
            .map(|_| ())
            .ok_or_else(|| io::Error::other("no answer to a ping"))
    }

    /// Asks for one signature and verifies it.
    pub fn ask(&self, link: &mut Link, ballot: &Ballot) -> io::Result<Answer> {
        let answer = self.read(ballot, link.exchange(&self.request(ballot))?)?;
        if let Answer::Signed(signed) = &answer {
            self.verify(ballot, signed)?;
        }
        Ok(answer)
    }

    /// The framed request for a ballot.
    pub fn request(&self, ballot: &Ballot) -> Vec<u8> {
        let block_id = Some(match &ballot.block {
            Some(id) => wire::BlockId {
                hash: id.hash.to_vec(),
                part_set_header: Some(wire::PartSetHeader {
                    total: id.parts_total,
                    hash: id.parts_hash.to_vec(),
                }),
            },
            None => wire::BlockId {
                hash: Vec::new(),
                part_set_header: Some(wire::PartSetHeader::default()),
            },
        });
        let timestamp = Some(wire::Timestamp {
            seconds: ballot.timestamp.seconds,
            nanos: ballot.timestamp.nanos,
        });
        let r#type = match ballot.step {
            Step::Prevote => 1,
            Step::Precommit => 2,
            Step::Proposal => 32,
        };
        let (height, round) = (ballot.height, ballot.round);
        let mut message = Message::default();
        if ballot.step == Step::Proposal {
            message.sign_proposal_request = Some(wire::SignProposalRequest {
                proposal: Some(wire::Proposal {
                    r#type,
                    height,
                    round,
                    pol_round: -1,
                    block_id,
                    timestamp,
                    signature: Vec::new(),
                }),
                chain_id: self.chain.to_string(),
            });
        } else {
            message.sign_vote_request = Some(wire::SignVoteRequest {
                vote: Some(wire::Vote {
                    r#type,
                    height,
                    round,
                    block_id,
                    timestamp,
                    validator_address: self.address(),
                    extension: ballot.extension.clone().unwrap_or_default(),
                    ..wire::Vote::default()
                }),
                chain_id: self.chain.to_string(),
            });
        }
        message.framed()
    }

    /// Reads the framed reply to a ballot's request.
    pub fn read(&self, ballot: &Ballot, reply: &[u8]) -> io::Result<Answer> {
        let reply = decode(reply)?;
        if reply == Message::default() {
            return Ok(Answer::TryAgain);
        }
        let refused = |error: wire::RemoteSignerError| Answer::Refused {
            code: error.code,
            description: error.description,
        };
        let missing = || io::Error::other("the reply does not belong to the request");
        if ballot.step == Step::Proposal {
            let response = reply.signed_proposal_response.ok_or_else(missing)?;
            if let Some(error) = response.error {
                return Ok(refused(error));
            }
            return Ok(Answer::Signed(Signed {
                // A node attaches the signature to the proposal that it made, whatever the reply says.
                timestamp: ballot.timestamp,
                signature: response.proposal.ok_or_else(missing)?.signature,
                extension_signature: Vec::new(),
            }));
        }
        let response = reply.signed_vote_response.ok_or_else(missing)?;
        if let Some(error) = response.error {
            return Ok(refused(error));
        }
        let vote = response.vote.ok_or_else(missing)?;
        let timestamp = vote.timestamp.ok_or_else(missing)?;
        Ok(Answer::Signed(Signed {
            timestamp: Timestamp {
                seconds: timestamp.seconds,
                nanos: timestamp.nanos,
            },
            signature: vote.signature,
            extension_signature: vote.extension_signature,
        }))
    }

    /// Verifies what was signed for a ballot, as strictly as the strictest node: the extension's signature must be there where the
    /// ballot carries an extension, and must not be there on a prevote or a vote for nil.
    pub fn verify(&self, ballot: &Ballot, signed: &Signed) -> io::Result<()> {
        let pol_round = if ballot.step == Step::Proposal { -1 } else { 0 };
        let position = (ballot.height, i64::from(ballot.round), pol_round);
        let block = ballot.block.as_ref();
        let bytes =
            canonical::sign_bytes(&self.chain, ballot.step, position, block, signed.timestamp);
        self.check(bytes.as_bytes(), &signed.signature)?;
        let may_extend = ballot.step == Step::Precommit && block.is_some();
        if signed.extension_signature.is_empty() {
            return match ballot.extension {
                None => Ok(()),
                Some(_) => Err(io::Error::other("the vote extension was not signed")),
            };
        }
        if !may_extend {
            return Err(io::Error::other(
                "an extension was signed where there is none",
            ));
        }
        let content = ballot.extension.as_deref().unwrap_or_default();
        let (height, round) = (ballot.height, i64::from(ballot.round));
        let bytes = canonical::extension(&self.chain, height, round, content);
        self.check(bytes.sign_bytes(), &signed.extension_signature)
    }

    fn check(&self, bytes: &[u8], signature: &[u8]) -> io::Result<()> {
        if self.key.verifies(bytes, signature) {
            return Ok(());
        }
        Err(io::Error::other(
            "the signature is not valid for the sign bytes",
        ))
    }
}

/// The moment, as a node writes it.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

/// A made-up block: its hashes follow from its height and `salt`.
pub fn block(height: i64, salt: u8) -> BlockId {
    let hash = |part: u8| -> [u8; 32] {
        Sha256::new()
            .chain_update(height.to_le_bytes())
            .chain_update([salt, part])
            .finalize()
            .into()
    };
    BlockId {
        hash: hash(0),
        parts_total: 1,
        parts_hash: hash(1),
    }
}

fn decode(framed: &[u8]) -> io::Result<Message> {
    Message::decode_length_delimited(framed).map_err(io::Error::other)
}
