//! Requests of Tendermint v0.26 to v0.33. Whatever is accepted is written again from what was understood, and it is the same
//! message; sign bytes are those of the served chain, in the form of the vote's own layout.

use tmkms::{
    codec::{
        Codec as _, DecodeError, Response,
        amino::{Amino, Layout, names},
    },
    privval::{ChainId, Form, Heartbeat, Kind, Request, SignRequest, Step, canonical},
};

use crate::targets::{Target, hold};

#[path = "../../../tests/support/amino.rs"]
mod written;

use written::{block_id, fields, time};

const CHAIN: &str = "test_chain_id";

pub(crate) struct Aminos;

impl Target for Aminos {
    /// The first byte chooses what the connection has shown before: nothing, the one layout, or the other.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let (block, time) = (
            block_id(&[0x41; 32], 3, &[0x42; 32]),
            time(1_700_000_000, 5),
        );
        let mut all = vec![
            names::PING_REQUEST.to_vec(),
            names::PUB_KEY_REQUEST.to_vec(),
            names::PUB_KEY_MSG.to_vec(),
            names::POISON_PILL.to_vec(),
        ];
        for vote_type in [1, 2] {
            for (four, five) in [(&block, &time), (&time, &block), (&vec![], &time)] {
                let vote = fields()
                    .number(1, vote_type)
                    .number(2, 12_345)
                    .number(3, 2)
                    .bytes(4, four)
                    .bytes(5, five)
                    .bytes(6, &[0x0a; 20])
                    .number(7, 7);
                all.push(written::message(&names::SIGN_VOTE_REQUEST, &vote.0));
            }
        }
        let proposal = fields()
            .number(1, 32)
            .number(2, 12_345)
            .number(3, 2)
            .number(4, -1)
            .bytes(5, &block)
            .bytes(6, &time);
        all.push(written::message(&names::SIGN_PROPOSAL_REQUEST, &proposal.0));
        let heartbeat = fields()
            .bytes(1, &[0x0a; 20])
            .number(2, 7)
            .number(3, 12_345)
            .number(4, 2)
            .number(5, 9);
        all.push(written::message(
            &names::SIGN_HEARTBEAT_REQUEST,
            &heartbeat.0,
        ));
        all.iter()
            .flat_map(|message| (0..3).map(|mode| [vec![mode], message.clone()].concat()))
            .collect()
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let (mode, message) = input.split_first().unwrap_or((&0, &[]));
        let mut codec = codec(*mode);
        let known = codec.layout();
        let decoded = codec.decode(message);
        hold!(decoded == codec.decode(message), "two readings differ");
        hold!(
            codec.layout() == known || known.is_none(),
            "the connection's layout has changed"
        );
        let newer = !codec.take_unknown_fields().is_empty();
        match decoded {
            Ok(Request::Sign(request)) => {
                same_again(&request, message, codec.layout(), newer)?;
                Ok(format!(
                    "{:?} {} {:?}",
                    request.msg.hrs.step,
                    request.msg.block_id.is_some(),
                    codec.layout()
                ))
            }
            Ok(Request::Heartbeat(heartbeat)) => {
                same_beat(&heartbeat, message, newer)?;
                Ok("heartbeat".to_owned())
            }
            Ok(Request::SignRaw(_)) => Err("raw bytes in a dialect without them".to_owned()),
            Ok(other) => Ok(format!("{other:?}")),
            Err(error) => {
                let text = error.to_string();
                hold!(text.len() < 600, "an error of {} bytes", text.len());
                hold!(
                    !text.contains(char::is_control),
                    "control characters in {text:?}"
                );
                if let DecodeError::Answerable { kind, .. } = error {
                    answer(&codec, kind, &text)?;
                }
                Ok(super::without_quotes(&text))
            }
        }
    }
}

fn codec(mode: u8) -> Amino {
    let mut codec = Amino::new(ChainId::new(CHAIN).expect("a chain ID"));
    let time = time(1, 0);
    let field = match mode % 3 {
        0 => return codec,
        1 => 4,
        _ => 5,
    };
    let vote = fields().number(1, 1).number(2, 1).bytes(field, &time);
    codec
        .decode(&written::message(&names::SIGN_VOTE_REQUEST, &vote.0))
        .expect("a nil vote");
    codec
}

/// Every refusal can be said in a reply that a node reads.
fn answer(codec: &Amino, kind: Kind, description: &str) -> Result<(), String> {
    let mut out = Vec::new();
    let response = Response::Error {
        kind,
        code: 1,
        description,
    };
    codec.encode(&response, &mut out);
    hold!(
        out.len() >= 4 && out.len() < 10_000,
        "a reply that no node reads"
    );
    Ok(())
}

fn same_again(
    request: &SignRequest,
    message: &[u8],
    layout: Option<Layout>,
    newer: bool,
) -> Result<(), String> {
    let msg = &request.msg;
    let (hrs, timestamp) = (msg.hrs, msg.sign_bytes.timestamp());
    hold!(hrs.height >= 1 && hrs.round >= 0, "{hrs} is impossible");
    let form = match (hrs.step, layout) {
        (Step::Proposal, _) | (_, None | Some(Layout::BlockFirst)) => Form::AminoB,
        (_, Some(Layout::TimeFirst)) => Form::AminoA,
    };
    let again = canonical::sign_bytes_as(
        form,
        &ChainId::new(CHAIN).expect("a chain ID"),
        hrs.step,
        (hrs.height, hrs.round, msg.pol_round),
        msg.block_id.as_ref(),
        timestamp,
    );
    hold!(again == msg.sign_bytes, "sign bytes of another message");
    hold!(
        canonical::parse(form, again.as_bytes()).as_ref() == Some(&again),
        "sign bytes that are not read again"
    );
    let block = msg.block_id.map_or_else(Vec::new, |id| {
        block_id(&id.hash, i64::from(id.parts_total), &id.parts_hash)
    });
    let time = time(timestamp.seconds, i64::from(timestamp.nanos));
    let head = fields()
        .number(1, i64::from(canonical::type_number(hrs.step)))
        .number(2, hrs.height)
        .number(3, hrs.round);
    let written = if hrs.step == Step::Proposal {
        let body = head.number(4, msg.pol_round);
        let body = body.bytes(5, &block).bytes(6, &time);
        written::message(&names::SIGN_PROPOSAL_REQUEST, &body.0)
    } else {
        let (four, five) = match layout {
            Some(Layout::TimeFirst) => (&time, &block),
            Some(Layout::BlockFirst) | None => (&block, &time),
        };
        let body = head.bytes(4, four).bytes(5, five);
        let body = body.bytes(6, &msg.echo.validator_address);
        let body = body.number(7, msg.echo.validator_index);
        written::message(&names::SIGN_VOTE_REQUEST, &body.0)
    };
    // Zero values that were written out, a signature in the request, and fields of newer versions are read over.
    let plain = !newer && message.len() == written.len();
    hold!(
        !plain || message == written,
        "another message was understood"
    );
    Ok(())
}

fn same_beat(heartbeat: &Heartbeat, message: &[u8], newer: bool) -> Result<(), String> {
    let beat = heartbeat.beat();
    hold!(beat.height >= 1, "a heartbeat at {}", beat.height);
    for form in [Form::Proto, Form::AminoA, Form::AminoB] {
        // Field 5 is an address there, and no time or block ID.
        let parsed = canonical::parse(form, heartbeat.sign_bytes());
        let is_vote = parsed.is_some_and(|it| {
            [Step::Proposal, Step::Prevote, Step::Precommit]
                .iter()
                .any(|step| {
                    let type_number = canonical::type_number(*step).to_le_bytes()[0];
                    it.as_bytes().get(1..3) == Some(&[0x08, type_number])
                })
        });
        hold!(!is_vote, "a heartbeat that is a vote");
    }
    let body = fields()
        .bytes(1, &beat.validator_address)
        .number(2, beat.validator_index)
        .number(3, beat.height)
        .number(4, beat.round)
        .number(5, beat.sequence);
    let written = written::message(&names::SIGN_HEARTBEAT_REQUEST, &body.0);
    let plain = !newer && message.len() == written.len();
    hold!(
        !plain || message == written,
        "another heartbeat was understood"
    );
    Ok(())
}
