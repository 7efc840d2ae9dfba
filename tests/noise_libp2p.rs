//! `noise://` with go-libp2p as the node: the library that CometBFT has, which shares nothing with the one that the signer uses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use support::go_tools::Tool;
use tmkms::{
    connection::{
        Address, ConnectionError, Dialled, Identity, Libp2pId, Limits, Peer, dial_within,
        noise::NoiseError,
    },
    shutdown::Shutdown,
};

const KEY_TYPES: [&str; 2] = ["ed25519", "secp256k1"];

fn us() -> Identity {
    Identity::from_seed(&[1; 32])
}

/// The program, which ends with its standard input and so with this process.
struct Node {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    address: String,
    id: Libp2pId,
}

impl Node {
    /// `None` where there is no Go. With a `signer` nobody else is let in.
    fn start(test: &str, key_type: &str, signer: Option<&Libp2pId>) -> Option<Self> {
        let mut child = Command::new(Tool::Libp2pNoise.program(test)?)
            .arg(key_type)
            .args(signer.map(Libp2pId::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = says.next().unwrap().unwrap();
        let (address, id) = first.split_once(' ').unwrap();
        Some(Self {
            address: address.to_owned(),
            id: id.parse().unwrap(),
            child,
            says,
        })
    }

    fn dial(&self, pinned: &Libp2pId) -> Result<Dialled, ConnectionError> {
        let limits = Limits {
            handshake: Duration::from_secs(20),
            idle: Duration::from_secs(20),
            ..Limits::default()
        };
        let address = format!("noise://{pinned}@{}", self.address);
        let address = Address::parse(&address).unwrap();
        dial_within(limits, &address, Some(&us()), &Shutdown::new())
    }

    fn says(&mut self) -> String {
        self.says.next().unwrap().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_of_every_size_pass_and_both_sides_know_who_the_other_is() {
    let test = "messages_of_every_size_pass_and_both_sides_know_who_the_other_is";
    for key_type in KEY_TYPES {
        // Whoever comes, and us alone.
        for signer in [None, Some(us().libp2p_id())] {
            let Some(mut node) = Node::start(test, key_type, signer.as_ref()) else {
                return;
            };
            let wanted = match node.id {
                Libp2pId::Ed25519(_) => "ed25519",
                Libp2pId::Secp256k1(_) => "secp256k1",
            };
            assert_eq!(wanted, key_type);
            let mut dialled = node.dial(&node.id).unwrap();
            assert_eq!(dialled.peer, Some(Peer::Pinned(node.id)));
            assert_eq!(node.says(), us().libp2p_id().to_string());
            for size in [1, 2, 127, 128, 65_517, 65_518, 65_519, 65_520, 1_100_000] {
                let message: Vec<u8> = (0..=250).cycle().take(size).collect();
                dialled.connection.write(&message).unwrap();
                assert!(dialled.connection.read().unwrap() == message, "{size}");
            }
        }
    }
}

#[test]
fn a_node_that_is_not_the_pinned_one_is_refused_and_sees_no_handshake() {
    let test = "a_node_that_is_not_the_pinned_one_is_refused_and_sees_no_handshake";
    let Some(other) = Node::start(test, "ed25519", None) else {
        return;
    };
    for key_type in KEY_TYPES {
        let mut node = Node::start(test, key_type, None).unwrap();
        let error = node.dial(&other.id).map(|_| ()).unwrap_err();
        assert!(
            matches!(error, ConnectionError::Noise(NoiseError::Peer { pinned, found })
                if pinned == other.id && found == node.id),
            "{error:?}"
        );
        let heard = node.says();
        assert!(heard.starts_with("refused:"), "{heard}");
        assert!(
            !heard.contains(&us().libp2p_id().to_string()),
            "it has heard who we are: {heard}"
        );
        // The same node is believed under its own name.
        node.dial(&node.id).unwrap();
        assert_eq!(node.says(), us().libp2p_id().to_string());
    }
}

#[test]
fn a_node_that_expects_another_signer_is_explained() {
    let test = "a_node_that_expects_another_signer_is_explained";
    let stranger = Identity::from_seed(&[2; 32]).libp2p_id();
    for key_type in KEY_TYPES {
        let Some(mut node) = Node::start(test, key_type, Some(&stranger)) else {
            return;
        };
        let error = match node.dial(&node.id) {
            Ok(mut dialled) => dialled.connection.read().map(|_| ()).unwrap_err(),
            Err(error) => error,
        };
        assert!(
            matches!(error, ConnectionError::NotAdmitted { us: id } if id == us().libp2p_id()),
            "{error:?}"
        );
        let heard = node.says();
        assert!(
            heard.starts_with("refused:") && heard.contains(&us().libp2p_id().to_string()),
            "{heard}"
        );
    }
}
