//! Finding out what a node speaks, and holding it against what the operator says.

use std::time::Duration;

use super::*;
use crate::codec::{
    amino::names,
    node::{Node, Pin},
};

const PROTO_PING: [u8; 2] = [0x3a, 0x00];

fn node(pin: Option<Family>) -> Node {
    let spelling = "v0.99";
    let pin = pin.map(|family| Pin { spelling, family });
    Node::new(&options(Raw::Refuse), pin)
}

fn amino_vote(time_first: bool) -> Vec<u8> {
    let time = vec![0x08, 0x01];
    let number = if time_first { 4 } else { 5 };
    let vote = [vec![0x08, 0x02, 0x10, 0x05], field(number, &time)].concat();
    [names::SIGN_VOTE_REQUEST.to_vec(), field(1, &vote)].concat()
}

fn contradiction(result: Result<impl std::fmt::Debug, DecodeError>) -> String {
    match result {
        Err(error @ DecodeError::Unanswerable(Reason::OtherFamily { .. })) => error.to_string(),
        other => unreachable!("no contradiction: {other:?}"),
    }
}

#[test]
fn without_a_handshake_the_first_message_decides() {
    let mut node = node(None);
    node.begin(None).expect("any node");
    assert_eq!(node.decode(&PROTO_PING), Ok(Request::Ping));
    assert_eq!(node.take_found(), Some("protobuf (v0.34 or later)"));
    assert_eq!(node.take_found(), None, "told once");
    assert!(!node.take_nameless());
    assert_eq!(node.reply_limit(), Duration::from_secs(5));
    assert!(node.decode(&names::PING_REQUEST).is_err(), "it has decided");
    node.begin(None).expect("any node");
    assert_eq!(node.decode(&names::PING_REQUEST), Ok(Request::Ping));
    assert!(node.reply_limit() < Duration::from_secs(3));
    assert_eq!(node.take_found(), None, "which amino is not known yet");
    assert!(node.take_nameless(), "and that it is, is");
    assert!(node.decode(&amino_vote(false)).is_ok());
    assert_eq!(node.take_found(), Some("amino (Tendermint v0.29 to v0.33)"));
    assert!(!node.take_nameless(), "told once");
    assert!(node.decode(&PROTO_PING).is_err(), "it has decided");
}

#[test]
fn the_handshake_decides_where_there_is_one() {
    for (family, dialect) in [
        (Family::Legacy, "amino (Tendermint v0.29 to v0.32)"),
        (Family::V033, "amino (Tendermint v0.33)"),
    ] {
        let mut node = node(None);
        node.begin(Some(family)).expect("any node");
        assert!(node.decode(&PROTO_PING).is_err());
        assert!(node.decode(&amino_vote(false)).is_ok());
        assert_eq!(node.take_found(), Some(dialect));
    }
    let mut node = node(None);
    node.begin(Some(Family::Legacy)).expect("any node");
    assert!(node.decode(&names::PUB_KEY_REQUEST).is_ok());
    assert!(!node.ends_with_its_connection());
    assert!(node.decode(&amino_vote(true)).is_ok());
    assert_eq!(node.take_found(), Some("amino (Tendermint v0.28)"));
    node.begin(Some(Family::Legacy)).expect("any node");
    assert!(node.decode(&names::PUB_KEY_MSG).is_ok());
    assert!(node.ends_with_its_connection());
    assert!(node.decode(&amino_vote(true)).is_ok());
    assert_eq!(node.take_found(), Some("amino (Tendermint v0.26 or v0.27)"));
    node.begin(Some(Family::Protobuf)).expect("any node");
    assert!(node.decode(&names::PING_REQUEST).is_err());
    assert_eq!(node.decode(&PROTO_PING), Ok(Request::Ping));
}

#[test]
fn a_pin_that_the_node_contradicts_is_said_with_what_the_node_speaks() {
    let families = [Family::Legacy, Family::V033, Family::Protobuf];
    for pinned in families {
        for found in families {
            let mut node = node(Some(pinned));
            let begun = node.begin(Some(found));
            if pinned == found {
                assert_eq!(begun, Ok(()));
            } else {
                let said = contradiction(begun);
                assert!(said.contains("\"v0.99\"") && said.contains(found.in_words()));
            }
        }
        // A unix socket tells amino from protobuf.
        let mut node = node(Some(pinned));
        node.begin(None).expect("nothing is known yet");
        let (proto, amino) = (&PROTO_PING[..], &names::PING_REQUEST[..]);
        let (right, wrong) = match pinned {
            Family::Protobuf => (proto, amino),
            Family::Legacy | Family::V033 => (amino, proto),
        };
        contradiction(node.decode(wrong));
        assert_eq!(node.decode(right), Ok(Request::Ping));
    }
}

#[test]
fn what_only_older_nodes_say_contradicts_a_pin_to_v0_33() {
    for said in [names::PUB_KEY_MSG.to_vec(), amino_vote(true)] {
        let mut node = node(Some(Family::V033));
        node.begin(None).expect("nothing is known yet");
        assert_eq!(node.decode(&names::PING_REQUEST), Ok(Request::Ping));
        let text = contradiction(node.decode(&said));
        assert!(text.contains(Family::Legacy.in_words()), "{text}");
    }
    let mut node = node(Some(Family::V033));
    node.begin(None).expect("nothing is known yet");
    assert!(node.decode(&amino_vote(false)).is_ok());
}

#[test]
fn what_is_no_request_of_any_node_contradicts_no_pin() {
    for family in [Family::Legacy, Family::Protobuf] {
        for message in [&b""[..], b"GET / HTTP/1.1", &[0x82, 0x7b, 0x0e, 0x9e]] {
            let mut node = node(Some(family));
            node.begin(None).expect("nothing is known yet");
            let error = node.decode(message).expect_err("no request");
            assert!(
                matches!(&error, DecodeError::Unanswerable(reason)
                    if !matches!(reason, Reason::OtherFamily { .. })),
                "{error:?}"
            );
            assert_eq!(node.take_found(), None);
        }
    }
}
