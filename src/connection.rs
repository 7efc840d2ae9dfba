//! Connections: whole messages in, whole messages out; limits and deadlines.

use std::path::PathBuf;

/// `addr` of a validator: where the node listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// `tcp://[peer-id@]host:port`
    Tcp {
        /// The pinned peer ID.
        peer_id: Option<PeerId>,
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:///path`: the signer dials the socket.
    Unix(PathBuf),
    /// `unix-listen:///path`: the signer binds the socket.
    UnixListen(PathBuf),
}

/// A peer ID: the first 20 bytes of SHA-256 over the peer's raw Ed25519 public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct PeerId(pub [u8; 20]);
