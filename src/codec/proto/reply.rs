//! Replies, as the node's own decoder wants them (`protocol.md` 2.2, 4.4).

use crate::{
    codec::{
        judged::{PRECOMMIT, PREVOTE, PROPOSE},
        messages::{
            self, Ping, PubKeyResponse, RemoteSignerError, SignedProposalResponse,
            SignedRawResponse, SignedVoteResponse, Sum,
        },
    },
    crypto::PublicKey,
    privval::{Hrs, Kind, Step, Timestamp},
    protection::{SignedMsg, SignedRaw},
};

/// The public key in every field of every version: v0.34 to v0.40 read 1, v1 and v2 read 3 and 4.
pub(super) fn public_key(key: &PublicKey) -> Sum {
    let facts = key.algorithm().facts();
    Sum::PubKeyResponse(PubKeyResponse {
        pub_key: Some(messages::PublicKey {
            member: Some((facts.member, key.as_bytes().to_vec())),
        }),
        error: None,
        pub_key_bytes: key.later_bytes().into_owned(),
        pub_key_type: facts.name.to_owned(),
    })
}

/// A signature over bytes outside of consensus.
pub(super) fn signed_raw(signed: &SignedRaw) -> Sum {
    Sum::SignedRawResponse(SignedRawResponse {
        signature: signed.signature().as_bytes().to_vec(),
        error: None,
    })
}

/// A vote or proposal as it was signed: on a repeat, with the recorded timestamp.
pub(super) fn signed(signed: &SignedMsg) -> Sum {
    let msg = signed.msg();
    let timestamp = signed.timestamp();
    let timestamp = Some(messages::Timestamp {
        seconds: timestamp.seconds,
        nanos: timestamp.nanos,
    });
    let block_id = Some(
        msg.block_id
            .as_ref()
            .map_or_else(messages::BlockId::nil, |id| messages::BlockId {
                hash: id.hash.to_vec(),
                part_set_header: Some(messages::PartSetHeader {
                    total: id.parts_total,
                    hash: id.parts_hash.to_vec(),
                }),
            }),
    );
    let Hrs {
        height,
        round,
        step,
    } = msg.hrs;
    let signature = signed.signature().as_bytes().to_vec();
    if step == Step::Proposal {
        return Sum::SignedProposalResponse(SignedProposalResponse {
            proposal: Some(messages::Proposal {
                proposal_type: PROPOSE,
                height,
                round: int32(round),
                pol_round: int32(msg.pol_round),
                block_id,
                timestamp,
                signature,
            }),
            error: None,
        });
    }
    let extension_signature = signed
        .extension_signature()
        .map_or_else(Vec::new, |signature| signature.as_bytes().to_vec());
    Sum::SignedVoteResponse(SignedVoteResponse {
        vote: Some(messages::Vote {
            vote_type: if step == Step::Prevote {
                PREVOTE
            } else {
                PRECOMMIT
            },
            height,
            round: int32(round),
            block_id,
            timestamp,
            validator_address: signed.echo().validator_address.clone(),
            validator_index: int32(signed.echo().validator_index),
            signature,
            // The extension does not go back: nodes ignore it, and with it the reply would outgrow their limit of 10 KiB.
            extension: Vec::new(),
            extension_signature,
            non_rp_extension: Vec::new(),
            non_rp_extension_signature: signed
                .unprotected_signature()
                .map_or_else(Vec::new, |signature| signature.as_bytes().to_vec()),
        }),
        error: None,
    })
}

/// Rounds and indices came from an int32 in `decode`; the older dialects have a codec of their own.
fn int32(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// An error beside the zero value that Go writes with it; `error` is always present, since its presence is all that a
/// node looks at.
pub(super) fn error(kind: Kind, error: RemoteSignerError) -> Sum {
    let timestamp = Some(messages::Timestamp {
        seconds: Timestamp::GO_ZERO.seconds,
        nanos: Timestamp::GO_ZERO.nanos,
    });
    let block_id = Some(messages::BlockId::nil());
    let error = Some(error);
    match kind {
        // A ping response has no place for an error, and that the signer lives is all it says. No node of this dialect waits for
        // a heartbeat.
        Kind::Ping | Kind::Heartbeat => Sum::PingResponse(Ping {}),
        Kind::PubKey => Sum::PubKeyResponse(PubKeyResponse {
            pub_key: Some(messages::PublicKey::default()),
            error,
            ..PubKeyResponse::default()
        }),
        Kind::Vote => Sum::SignedVoteResponse(SignedVoteResponse {
            vote: Some(messages::Vote {
                block_id,
                timestamp,
                ..messages::Vote::default()
            }),
            error,
        }),
        Kind::Proposal => Sum::SignedProposalResponse(SignedProposalResponse {
            proposal: Some(messages::Proposal {
                block_id,
                timestamp,
                ..messages::Proposal::default()
            }),
            error,
        }),
        Kind::Raw => Sum::SignedRawResponse(SignedRawResponse {
            signature: Vec::new(),
            error,
        }),
    }
}
