//! `addr` of a validator: parsed once, with an answer to every way of getting it wrong.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::{
    connection::{Libp2pId, Libp2pIdError},
    crypto::PublicKey,
};

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
    /// `noise://peer-id@host:port`, of CometBFT v0.40 and later.
    Noise {
        /// Who the node must be.
        peer: Libp2pId,
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:///path`: the signer dials the socket.
    Unix(PathBuf),
    /// `unix-listen:///path`: the signer binds the socket.
    UnixListen(PathBuf, Access),
}

/// Who may connect to a socket that the signer binds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// The file's permissions, 0600 by default.
    pub mode: u32,
    /// The file's group; the process's own by default.
    pub group: Option<Group>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            mode: 0o600,
            group: None,
        }
    }
}

/// A group of the system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Group {
    /// By its number.
    Id(u32),
    /// By its name in `/etc/group`.
    Name(String),
}

impl Address {
    /// Parses `tcp://[peer-id@]host:port`, `host:port`, `noise://peer-id@host:port`, `unix://path` or `unix-listen://path`.
    ///
    /// An IPv6 address stands in brackets and the port is mandatory. A peer ID is 40 hexadecimal digits in either case for tcp, and
    /// libp2p's for Noise. A path is taken as it is written; whoever knows the configuration's directory resolves a relative one.
    ///
    /// # Errors
    /// `AddressError`, whose `hint` says what to write instead.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return parse_tcp(text);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "tcp" => parse_tcp(rest),
            "noise" => parse_noise(rest),
            "unix" => parse_path(rest).map(Self::Unix),
            "unix-listen" => parse_path(rest).map(|path| Self::UnixListen(path, Access::default())),
            _ => Err(AddressError::Scheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    /// The address without the peer ID, which only makes log lines longer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "tcp://{}:{port}", Bracketed(host)),
            Self::Noise { host, port, .. } => write!(f, "noise://{}:{port}", Bracketed(host)),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::UnixListen(path, _) => write!(f, "unix-listen://{}", path.display()),
        }
    }
}

/// A host as an address has it.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host) = self;
        if host.contains(':') {
            write!(f, "[{host}]")
        } else {
            f.write_str(host)
        }
    }
}

/// A peer ID: the first 20 bytes of SHA-256 over the peer's raw Ed25519 public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct PeerId(pub [u8; 20]);

impl From<&PublicKey> for PeerId {
    fn from(key: &PublicKey) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut id = [0; 20];
        id.copy_from_slice(digest.split_at(20).0);
        Self(id)
    }
}

impl FromStr for PeerId {
    type Err = AddressError;

    /// 40 hexadecimal digits, either case.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = || AddressError::PeerId {
            text: text.to_owned(),
        };
        let bytes =
            subtle_encoding::hex::decode(text.to_ascii_lowercase()).map_err(|_| invalid())?;
        let id = <[u8; 20]>::try_from(bytes).map_err(|_| invalid())?;
        Ok(Self(id))
    }
}

impl fmt::Display for PeerId {
    /// 40 lower-case hexadecimal digits, as `cometbft show-node-id` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl ConstantTimeEq for PeerId {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Why an `addr` is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Something else than `tcp`, `noise`, `unix` or `unix-listen` before the `://`.
    #[error("unknown scheme `{scheme}://`")]
    Scheme {
        /// What stands there.
        scheme: String,
    },
    /// `tcp://host` without `:port`.
    #[error("no port in `{text}`")]
    NoPort {
        /// What follows the scheme.
        text: String,
    },
    /// A port that is not a number from 1 to 65535.
    #[error("`{text}` is not a port")]
    Port {
        /// What stands in the port's place.
        text: String,
    },
    /// No host, or characters that no host name has.
    #[error("`{text}` is not a host name or address")]
    Host {
        /// What stands in the host's place.
        text: String,
    },
    /// An IPv6 address whose port cannot be told from its last group.
    #[error("`{text}` has more than one colon")]
    Brackets {
        /// What follows the scheme and the peer ID.
        text: String,
    },
    /// Not 40 hexadecimal digits.
    #[error("`{text}` is not a peer ID")]
    PeerId {
        /// What stands before the `@`.
        text: String,
    },
    /// `noise://host:port`, which says nobody.
    #[error("no peer ID in `{text}`")]
    NoPeer {
        /// What follows the scheme.
        text: String,
    },
    /// Not a peer ID of libp2p.
    #[error("`{text}` is {reason}")]
    Libp2p {
        /// What stands before the `@`.
        text: String,
        /// What it is.
        reason: Libp2pIdError,
    },
    /// `unix://` and nothing else, or a zero byte in the path.
    #[error("`{text}` is not a path")]
    Path {
        /// What follows the scheme.
        text: String,
    },
}

impl AddressError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Scheme { .. } => {
                "write tcp://host:port, noise://peer-id@host:port or unix:///path/of/the/socket"
            }
            Self::NoPort { .. } => {
                "name the port of the node's priv_validator_laddr, usually tcp://host:26658"
            }
            Self::Port { .. } => "a port is a number from 1 to 65535, usually 26658",
            Self::Host { .. } => "write tcp://host:port, an IPv6 address as tcp://[::1]:26658",
            Self::Brackets { .. } => "write an IPv6 address in brackets, like tcp://[::1]:26658",
            Self::PeerId { .. } => {
                "a peer ID is 40 hexadecimal digits; without one write tcp://host:port"
            }
            Self::NoPeer { .. } => {
                "write noise://PEER_ID@host:port; `cometbft show-node-id --libp2p` on the node prints the peer ID"
            }
            Self::Libp2p {
                reason: Libp2pIdError::Hashed,
                ..
            } => "the node's key must be an Ed25519 or secp256k1 key",
            Self::Libp2p { .. } => {
                "`cometbft show-node-id --libp2p` on the node prints the peer ID, which begins with 12D3KooW or 16Uiu2HA"
            }
            Self::Path { .. } => "write the socket's path, like unix:///run/node/privval.sock",
        };
        Some(hint.to_owned())
    }
}

fn parse_tcp(text: &str) -> Result<Address, AddressError> {
    let (peer_id, rest) = match text.rsplit_once('@') {
        Some((id, rest)) => (Some(id.parse()?), rest),
        None => (None, text),
    };
    let (host, port) = host_and_port(rest)?;
    Ok(Address::Tcp {
        peer_id,
        host,
        port,
    })
}

fn parse_noise(text: &str) -> Result<Address, AddressError> {
    let (id, rest) = text.rsplit_once('@').ok_or_else(|| AddressError::NoPeer {
        text: text.to_owned(),
    })?;
    let peer = id.parse().map_err(|reason| AddressError::Libp2p {
        text: id.to_owned(),
        reason,
    })?;
    let (host, port) = host_and_port(rest)?;
    Ok(Address::Noise { peer, host, port })
}

/// A name or an address, an IPv6 address in brackets, and a port.
fn host_and_port(rest: &str) -> Result<(String, u16), AddressError> {
    // The original read this as a URL, and a URL may end so.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let no_port = || AddressError::NoPort {
        text: rest.to_owned(),
    };
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, tail) = bracketed.split_once(']').ok_or_else(|| bad_host(rest))?;
        let literal = host
            .split_once('%')
            .map_or(host, |(literal, _zone)| literal);
        literal.parse::<Ipv6Addr>().map_err(|_| bad_host(host))?;
        (host, tail.strip_prefix(':').ok_or_else(no_port)?)
    } else {
        let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
        if host.contains(':') {
            return Err(AddressError::Brackets {
                text: rest.to_owned(),
            });
        }
        (host, port)
    };
    let strange = |c: char| c.is_whitespace() || c.is_control() || "/?#[]@\\".contains(c);
    if host.is_empty() || host.contains(strange) {
        return Err(bad_host(host));
    }
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(number @ 1..) if digits => Ok((host.to_owned(), number)),
        _ if port.is_empty() => Err(no_port()),
        _ => Err(AddressError::Port {
            text: port.to_owned(),
        }),
    }
}

fn bad_host(text: &str) -> AddressError {
    AddressError::Host {
        text: text.to_owned(),
    }
}

fn parse_path(text: &str) -> Result<PathBuf, AddressError> {
    if text.is_empty() || text.contains('\0') {
        return Err(AddressError::Path {
            text: text.to_owned(),
        });
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "f88883b673fc69d7869cab098de3bafc2ff76eb8";

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp {
            peer_id: None,
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_form_of_the_original_is_understood() {
        for (text, expected) in [
            ("tcp://127.0.0.1:26658", tcp("127.0.0.1", 26658)),
            ("TCP://node.example.com:1", tcp("node.example.com", 1)),
            ("tcp://node:26658/", tcp("node", 26658)),
            ("node:26658", tcp("node", 26658)),
            ("tcp://[::1]:26658", tcp("::1", 26658)),
            ("[fe80::1%eth0]:26658", tcp("fe80::1%eth0", 26658)),
            (
                "unix:///run/a b.sock",
                Address::Unix("/run/a b.sock".into()),
            ),
            ("unix://run/x.sock", Address::Unix("run/x.sock".into())),
            (
                "unix-listen:///x",
                Address::UnixListen("/x".into(), Access::default()),
            ),
        ] {
            assert_eq!(Address::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_peer_id_is_read_in_either_case_and_not_shown_in_the_address() {
        for id in [ID.to_owned(), ID.to_uppercase()] {
            let address = Address::parse(&format!("tcp://{id}@node:26658")).expect("an address");
            let Address::Tcp { peer_id, .. } = &address else {
                unreachable!("tcp was written");
            };
            assert_eq!(peer_id.expect("pinned").to_string(), ID);
            assert_eq!(address.to_string(), "tcp://node:26658");
        }
    }

    #[test]
    fn a_noise_address_names_its_peer_in_every_spelling_and_a_host_of_any_kind() {
        let id = "12D3KooWMwi3Cep7fKZjQxnGYhwWCLVUnRNuaCNMh92PFHNbQmHb";
        let cid = "bafzaajaiaejcbnbny2nutvluk6vu5qs33neezdaen6tktdlhnpvrwzv5ilh2gkgk";
        for host in ["node.example.com", "127.0.0.1", "[::1]"] {
            let one = Address::parse(&format!("noise://{id}@{host}:26658")).expect("an address");
            let other = Address::parse(&format!("NOISE://{cid}@{host}:26658")).expect("an address");
            assert_eq!(one, other);
            assert_eq!(one.to_string(), format!("noise://{host}:26658"));
            let Address::Noise { peer, .. } = one else {
                unreachable!("noise was written");
            };
            assert_eq!(peer.to_string(), id);
        }
    }

    #[test]
    fn an_address_is_shown_as_it_was_written() {
        for text in [
            "tcp://node:26658",
            "tcp://[::1]:26658",
            "unix:///run/x.sock",
            "unix://run/x.sock",
            "unix-listen:///x",
        ] {
            assert_eq!(Address::parse(text).expect("valid").to_string(), text);
        }
    }

    #[test]
    fn every_way_of_getting_it_wrong_has_its_own_answer() {
        type Kind = fn(&AddressError) -> bool;
        let cases: &[(&str, Kind)] = &[
            ("", |e| matches!(e, AddressError::NoPort { .. })),
            ("tcp://node", |e| matches!(e, AddressError::NoPort { .. })),
            ("tcp://node:", |e| matches!(e, AddressError::NoPort { .. })),
            ("tcp://[::1]", |e| matches!(e, AddressError::NoPort { .. })),
            ("tcp://node:0", |e| matches!(e, AddressError::Port { .. })),
            ("tcp://node:65536", |e| {
                matches!(e, AddressError::Port { .. })
            }),
            ("tcp://node:+1", |e| matches!(e, AddressError::Port { .. })),
            ("tcp://node:1x", |e| matches!(e, AddressError::Port { .. })),
            ("tcp://:26658", |e| matches!(e, AddressError::Host { .. })),
            ("tcp://a b:26658", |e| {
                matches!(e, AddressError::Host { .. })
            }),
            ("tcp://a/b:26658", |e| {
                matches!(e, AddressError::Host { .. })
            }),
            ("tcp://[::1:26658", |e| {
                matches!(e, AddressError::Host { .. })
            }),
            ("tcp://[node]:1", |e| matches!(e, AddressError::Host { .. })),
            ("tcp://::1:26658", |e| {
                matches!(e, AddressError::Brackets { .. })
            }),
            ("tcp://dead@node:1", |e| {
                matches!(e, AddressError::PeerId { .. })
            }),
            ("tcp://@node:1", |e| {
                matches!(e, AddressError::PeerId { .. })
            }),
            ("unix://", |e| matches!(e, AddressError::Path { .. })),
            ("http://node:1", |e| {
                matches!(e, AddressError::Scheme { .. })
            }),
            ("noise://node:1", |e| {
                matches!(e, AddressError::NoPeer { .. })
            }),
            ("noise://id@1.2.3.4:1", |e| {
                matches!(
                    e,
                    AddressError::Libp2p {
                        reason: Libp2pIdError::Text,
                        ..
                    }
                )
            }),
            (
                "noise://f88883b673fc69d7869cab098de3bafc2ff76eb8@node:1",
                |e| {
                    matches!(
                        e,
                        AddressError::Libp2p {
                            reason: Libp2pIdError::NodeId,
                            ..
                        }
                    )
                },
            ),
            (
                "noise://QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N@node:1",
                |e| {
                    matches!(
                        e,
                        AddressError::Libp2p {
                            reason: Libp2pIdError::Hashed,
                            ..
                        }
                    )
                },
            ),
            (
                "noise://12D3KooWMwi3Cep7fKZjQxnGYhwWCLVUnRNuaCNMh92PFHNbQmHb@node",
                |e| matches!(e, AddressError::NoPort { .. }),
            ),
        ];
        for (text, kind) in cases {
            let error = Address::parse(text).expect_err(text);
            assert!(kind(&error), "{text}: {error:?}");
            assert!(error.hint().is_some(), "{text}");
        }
    }
}
