//! The versions that the two crates know. Their types are alike, and of no common one.

use iq_cometbft_proto as iq;
use prost::Message as _;
use tendermint_proto as tendermint;

use super::ballot::{Ballot, Error, KeyReply, Reply, SignedBallot};

/// One version of one crate.
pub(crate) trait Version {
    const NAME: &str;
    /// Whether votes have extensions.
    const EXTENSIONS: bool;
    /// Whether a request can say that they are not signed, and a public key has a name: v1.
    const SKIPS: bool;

    fn ping_request() -> Vec<u8>;
    fn pub_key_request(chain_id: &str) -> Vec<u8>;
    /// For a signature of a vote or proposal.
    fn request(ballot: &Ballot) -> Vec<u8>;
    fn reply(message: &[u8]) -> Reply;
    /// A message read and written again.
    fn again(message: &[u8]) -> Vec<u8>;
    /// What is signed of a vote or proposal.
    fn sign_bytes(ballot: &Ballot) -> Vec<u8>;
    /// Whether keys with this number in the oneof are any to it.
    fn knows(member: u32) -> bool;
}

/// The public key in a reply up to v0.38, with the members of its oneof.
macro_rules! numbered {
    ($module:path, $reply:ident, $($member:ident = $number:literal),*) => {{
        use $module as keys;
        KeyReply {
            member: $reply.pub_key.and_then(|key| key.sum).map(|sum| match sum {
                $(keys::Sum::$member(bytes) => ($number, bytes)),*
            }),
            named: None,
            error: $reply.error.map(|it| (it.code, it.description)),
        }
    }};
}

/// `vote` and `request`: what the version's `Vote` and `SignVoteRequest` have more than those of v0.34.
macro_rules! version {
    (
        $name:ident, privval: $privval:path, types: $types:path, timestamp: $timestamp:path,
        vote: [$($extension:ident, $extension_signature:ident)?],
        request: [$($skip:ident)?],
        members: $members:expr,
        key: |$reply:ident| $key:expr
    ) => {
        pub(crate) struct $name;

        const _: () = {
            use $privval as privval;
            use $timestamp as Timestamp;
            use $types as types;
            use privval::message::Sum;

            fn written(sum: Sum) -> Vec<u8> {
                privval::Message { sum: Some(sum) }.encode_to_vec()
            }

            fn timestamp(ballot: &Ballot) -> Option<Timestamp> {
                let (seconds, nanos) = (ballot.seconds, ballot.nanos);
                Some(Timestamp { seconds, nanos })
            }

            /// As Go writes it: there also where it is nil.
            fn block_id(ballot: &Ballot) -> Option<types::BlockId> {
                let (hash, total, parts) = ballot.block.clone().unwrap_or_default();
                let part_set_header = Some(types::PartSetHeader { total, hash: parts });
                Some(types::BlockId { hash, part_set_header })
            }

            fn canonical_block_id(ballot: &Ballot) -> Option<types::CanonicalBlockId> {
                let (hash, total, parts) = ballot.block.clone()?;
                let part_set_header = Some(types::CanonicalPartSetHeader { total, hash: parts });
                Some(types::CanonicalBlockId { hash, part_set_header })
            }

            fn seen(
                (type_number, height, round, pol_round): (i32, i64, i32, i32),
                block_id: Option<types::BlockId>,
                timestamp: Option<Timestamp>,
            ) -> Ballot {
                let id = block_id.unwrap();
                let parts = id.part_set_header.unwrap();
                let block = (id.hash, parts.total, parts.hash);
                let time = timestamp.unwrap();
                Ballot {
                    type_number,
                    height,
                    round,
                    pol_round,
                    block: (block != Default::default()).then_some(block),
                    seconds: time.seconds,
                    nanos: time.nanos,
                    ..Ballot::default()
                }
            }

            fn error(error: Option<privval::RemoteSignerError>) -> Error {
                error.map(|it| (it.code, it.description))
            }

            impl Version for $name {
                const NAME: &str = stringify!($name);
                const EXTENSIONS: bool = !concat!($(stringify!($extension))?).is_empty();
                const SKIPS: bool = !concat!($(stringify!($skip))?).is_empty();

                fn ping_request() -> Vec<u8> {
                    written(Sum::PingRequest(privval::PingRequest {}))
                }

                fn pub_key_request(chain_id: &str) -> Vec<u8> {
                    let chain_id = chain_id.to_owned();
                    written(Sum::PubKeyRequest(privval::PubKeyRequest { chain_id }))
                }

                fn request(ballot: &Ballot) -> Vec<u8> {
                    let chain_id = ballot.chain_id.clone();
                    if ballot.type_number == 32 {
                        let proposal = types::Proposal {
                            r#type: 32,
                            height: ballot.height,
                            round: ballot.round,
                            pol_round: ballot.pol_round,
                            block_id: block_id(ballot),
                            timestamp: timestamp(ballot),
                            signature: Vec::new(),
                        };
                        return written(Sum::SignProposalRequest(privval::SignProposalRequest {
                            proposal: Some(proposal),
                            chain_id,
                        }));
                    }
                    let vote = types::Vote {
                        r#type: ballot.type_number,
                        height: ballot.height,
                        round: ballot.round,
                        block_id: block_id(ballot),
                        timestamp: timestamp(ballot),
                        validator_address: ballot.validator_address.clone(),
                        validator_index: ballot.validator_index,
                        signature: Vec::new(),
                        $(
                            $extension: ballot.$extension.clone(),
                            $extension_signature: Vec::new(),
                        )?
                    };
                    written(Sum::SignVoteRequest(privval::SignVoteRequest {
                        vote: Some(vote),
                        chain_id,
                        $($skip: ballot.$skip,)?
                    }))
                }

                fn reply(message: &[u8]) -> Reply {
                    match privval::Message::decode(message).unwrap().sum.unwrap() {
                        Sum::PingResponse(_) => Reply::Pong,
                        Sum::PubKeyResponse($reply) => Reply::PubKey($key),
                        Sum::SignedVoteResponse(reply) => {
                            let it = reply.vote.unwrap();
                            let numbers = (it.r#type, it.height, it.round, 0);
                            let mut ballot = seen(numbers, it.block_id, it.timestamp);
                            ballot.validator_address = it.validator_address;
                            ballot.validator_index = it.validator_index;
                            // A version without them sees none.
                            let extension: &[Vec<u8>] = &[$(it.$extension)?];
                            ballot.extension = extension.concat();
                            let extension_signature: &[Vec<u8>] = &[$(it.$extension_signature)?];
                            Reply::Vote(SignedBallot {
                                ballot,
                                signature: it.signature,
                                extension_signature: extension_signature.concat(),
                                error: error(reply.error),
                            })
                        }
                        Sum::SignedProposalResponse(reply) => {
                            let it = reply.proposal.unwrap();
                            let numbers = (it.r#type, it.height, it.round, it.pol_round);
                            Reply::Proposal(SignedBallot {
                                ballot: seen(numbers, it.block_id, it.timestamp),
                                signature: it.signature,
                                extension_signature: Vec::new(),
                                error: error(reply.error),
                            })
                        }
                        other => panic!("{other:?}"),
                    }
                }

                fn again(message: &[u8]) -> Vec<u8> {
                    privval::Message::decode(message).unwrap().encode_to_vec()
                }

                fn sign_bytes(ballot: &Ballot) -> Vec<u8> {
                    let (height, round) = (ballot.height, ballot.round.into());
                    let chain_id = ballot.chain_id.clone();
                    if ballot.type_number == 32 {
                        let canonical = types::CanonicalProposal {
                            r#type: 32,
                            height,
                            round,
                            pol_round: ballot.pol_round.into(),
                            block_id: canonical_block_id(ballot),
                            timestamp: timestamp(ballot),
                            chain_id,
                        };
                        return canonical.encode_length_delimited_to_vec();
                    }
                    let canonical = types::CanonicalVote {
                        r#type: ballot.type_number,
                        height,
                        round,
                        block_id: canonical_block_id(ballot),
                        timestamp: timestamp(ballot),
                        chain_id,
                    };
                    canonical.encode_length_delimited_to_vec()
                }

                fn knows(member: u32) -> bool {
                    $members.contains(&member)
                }
            }
        };
    };
}

version! {
    TendermintV034, privval: tendermint::v0_34::privval, types: tendermint::v0_34::types, timestamp: tendermint::google::protobuf::Timestamp,
    vote: [], request: [], members: 1..=2,
    key: |reply| numbered!(tendermint::v0_34::crypto::public_key, reply, Ed25519 = 1, Secp256k1 = 2)
}
version! {
    TendermintV037, privval: tendermint::v0_37::privval, types: tendermint::v0_37::types, timestamp: tendermint::google::protobuf::Timestamp,
    vote: [], request: [], members: 1..=2,
    key: |reply| numbered!(tendermint::v0_37::crypto::public_key, reply, Ed25519 = 1, Secp256k1 = 2)
}
version! {
    TendermintV038, privval: tendermint::v0_38::privval, types: tendermint::v0_38::types, timestamp: tendermint::google::protobuf::Timestamp,
    vote: [extension, extension_signature], request: [],
    members: 1..=2,
    key: |reply| numbered!(tendermint::v0_38::crypto::public_key, reply, Ed25519 = 1, Secp256k1 = 2)
}
version! {
    IqV034, privval: iq::v0_34::privval, types: iq::v0_34::types, timestamp: iq::google::protobuf::Timestamp,
    vote: [], request: [], members: 1..=2,
    key: |reply| numbered!(iq::v0_34::crypto::public_key, reply, Ed25519 = 1, Secp256k1 = 2)
}
version! {
    IqV037, privval: iq::v0_37::privval, types: iq::v0_37::types, timestamp: iq::google::protobuf::Timestamp,
    vote: [], request: [], members: 1..=2,
    key: |reply| numbered!(iq::v0_37::crypto::public_key, reply, Ed25519 = 1, Secp256k1 = 2)
}
version! {
    IqV038, privval: iq::v0_38::privval, types: iq::v0_38::types, timestamp: iq::google::protobuf::Timestamp,
    vote: [extension, extension_signature], request: [], members: 1..=2,
    key: |reply| numbered!(iq::v0_38::crypto::public_key, reply, Ed25519 = 1, Secp256k1 = 2)
}
// A key is a name and bytes there, whatever the name.
version! {
    IqV1, privval: iq::privval::v1, types: iq::types::v1, timestamp: iq::google::protobuf::Timestamp,
    vote: [extension, extension_signature], request: [skip_extension_signing],
    members: 1..=5,
    key: |reply| KeyReply {
        member: None,
        named: Some((reply.pub_key_type, reply.pub_key_bytes)),
        error: reply.error.map(|it| (it.code, it.description)),
    }
}

/// What is signed of an extension, which v0.38 and v1 encode alike.
pub(crate) fn extension_sign_bytes(ballot: &Ballot) -> Vec<u8> {
    macro_rules! encoded {
        ($types:path) => {{
            use $types as types;
            let canonical = types::CanonicalVoteExtension {
                extension: ballot.extension.clone(),
                height: ballot.height,
                round: ballot.round.into(),
                chain_id: ballot.chain_id.clone(),
            };
            canonical.encode_length_delimited_to_vec()
        }};
    }
    let bytes = encoded!(iq::types::v1);
    assert_eq!(bytes, encoded!(iq::v0_38::types));
    assert_eq!(bytes, encoded!(tendermint::v0_38::types));
    bytes
}

/// v1 only.
pub(crate) fn sign_bytes_request(value: &[u8]) -> Vec<u8> {
    use iq::privval::v1::{Message, SignBytesRequest, message::Sum};
    let value = value.to_vec();
    let sum = Sum::SignBytesRequest(SignBytesRequest { value });
    Message { sum: Some(sum) }.encode_to_vec()
}

/// Signature and error.
pub(crate) fn sign_bytes_reply(message: &[u8]) -> (Vec<u8>, Error) {
    use iq::privval::v1::{Message, message::Sum};
    match Message::decode(message).unwrap().sum.unwrap() {
        Sum::SignBytesResponse(it) => (it.signature, it.error.map(|it| (it.code, it.description))),
        other => panic!("{other:?}"),
    }
}
