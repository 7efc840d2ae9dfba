//! Why there is no connection, or none any more.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use crate::connection::{
    Libp2pId, PeerId,
    noise::NoiseError,
    secret_connection::{FrameError, HandshakeError},
};

/// What ended a connection, or kept it from being made. None of these is repaired by trying the same connection again:
/// drop it and dial anew.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// tcp and Noise need an identity key.
    #[error("no identity key for the connection")]
    NoIdentity,
    /// The host's name has no address.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The node cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system said; of the last address, when a name has several.
        source: io::Error,
    },
    /// Neither an answer nor a refusal within the limit (name resolution included).
    #[error("no connection to {address} within {limit:?}")]
    ConnectTimeout {
        /// Where to.
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// The socket cannot be bound.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The group that the socket is to have is none of this machine's.
    #[error("no group {name:?} in /etc/group")]
    NoGroup {
        /// As the operator wrote it.
        name: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    ListenTcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another process listens on it.
    #[error("another process listens on {}", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// A file stands where the socket should be.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The peer broke the handshake, or does not speak ours.
    #[error("handshake failed")]
    Handshake(#[source] HandshakeError),
    /// The handshake as a whole took longer than its limit.
    #[error("no handshake within {limit:?}")]
    HandshakeTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The connection ended during the handshake.
    #[error("the peer hung up during the handshake")]
    HandshakeClosed(#[source] Option<io::Error>),
    /// The peer is not who the operator said it is. Nothing was sent to it after the handshake.
    #[error("the peer ID is {found}, pinned is {pinned}")]
    PeerMismatch {
        /// The ID in `addr`.
        pinned: PeerId,
        /// The ID that the peer proved.
        found: PeerId,
    },
    /// The peer broke a Noise handshake or message, or is not who it should be.
    #[error("noise failed")]
    Noise(#[source] NoiseError),
    /// The node completed the Noise handshake and hung up before it asked for anything: it expects another signer.
    #[error("the node accepted the handshake and hung up")]
    NotAdmitted {
        /// Our own ID.
        us: Libp2pId,
    },
    /// No whole message within the idle limit.
    #[error("no message within {limit:?}")]
    Idle {
        /// The limit.
        limit: Duration,
    },
    /// The peer does not take what is sent to it.
    #[error("a message could not be sent within {limit:?}")]
    WriteTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The peer closed the connection between two messages.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed the connection inside a message.
    #[error("the peer closed the connection within a message")]
    Truncated,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// A message longer than any request (or reply) can be.
    #[error("a message of more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A length that is not written in the shortest way.
    #[error("a message length in more bytes than it needs")]
    BadLength,
    /// A frame that nobody can accept.
    #[error("the peer sent a bad frame")]
    Frame(#[source] FrameError),
    /// Frame after frame without data.
    #[error("{count} frames in a row without data")]
    EmptyFrames {
        /// How many.
        count: u32,
    },
    /// This process is stopping.
    #[error("shutting down")]
    Shutdown,
    /// The connection failed before, and nothing can be sent or received any more.
    #[error("the connection failed before")]
    Dead,
}

impl ConnectionError {
    /// Whether the handshake failed (and not the way to the node): a node's listener is worn out by those, so that they
    /// deserve a longer wait than a refused connection (protocol.md 11.1). What goes wrong over Noise is none of these: nodes that
    /// know it close what failed, and one that starts again after its setting was corrected waits three seconds for its signer.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        matches!(
            self,
            Self::Handshake(_)
                | Self::HandshakeTimeout { .. }
                | Self::HandshakeClosed(_)
                | Self::PeerMismatch { .. }
        )
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoIdentity => "add secret_key = \"path\" to [[validator]]; the file is created",
            Self::Resolve { .. } => "check the host name in addr, or write an IP address",
            Self::Connect { address, source } => return connect_hint(address, source),
            Self::ConnectTimeout { .. } => {
                "check the address, the port and the firewall between here and the node"
            }
            Self::Listen { .. } => "check that the directory exists and may be written to",
            Self::NoGroup { .. } => {
                "write another socket_group, by name or number, or make the group: groupadd NAME"
            }
            Self::ListenTcp { .. } => "stop what listens there, or choose another port",
            Self::SocketInUse { .. } => "is another signer running?",
            Self::NotASocket { .. } => "move the file away, or choose another path",
            Self::Handshake(error) => return error.hint(),
            Self::HandshakeTimeout { .. } => {
                "a node serves one signer at a time: it may hold on to an older connection for some \
                 seconds, or another signer may be connected"
            }
            Self::HandshakeClosed(_) => {
                "is this the node's priv_validator_laddr, and does another signer use it? If it begins with \
                 noise://, so must addr"
            }
            Self::PeerMismatch { found, .. } => {
                return Some(format!(
                    "a stock node makes a new listener key at each start, so that its peer ID does not last; \
                     remove the peer ID from addr, or pin {found} if you know that it is right"
                ));
            }
            Self::Noise(error) => return error.hint(),
            Self::NotAdmitted { us } => {
                return Some(format!(
                    "is {us} in its priv_validator_laddr? The node's config.toml must say: \
                     priv_validator_laddr = \"noise://{us}@IP:PORT\""
                ));
            }
            Self::Idle { .. } => "a healthy node sends something every 3.4 s",
            Self::TooLong { .. } | Self::BadLength => {
                "the peer speaks something else than CometBFT's remote signer protocol"
            }
            Self::WriteTimeout { .. }
            | Self::Closed
            | Self::Truncated
            | Self::Io(_)
            | Self::Frame(_)
            | Self::EmptyFrames { .. }
            | Self::Shutdown
            | Self::Dead => return None,
        };
        Some(hint.to_owned())
    }
}

fn connect_hint(address: &str, source: &io::Error) -> Option<String> {
    let hint = match source.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound if address.starts_with('/') => {
            "is the node running, with its priv_validator_laddr there? One of v0.26 or v0.27 dials the signer: \
             addr = \"unix-listen:///path\""
        }
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "is the node running, with its priv_validator_laddr there?"
        }
        io::ErrorKind::PermissionDenied => "may this user write to the node's socket?",
        io::ErrorKind::WouldBlock => "the node takes no connections just now; it is tried again",
        _ => return None,
    };
    Some(hint.to_owned())
}
