//! The amino dialects: one codec for Tendermint v0.26 to v0.33 (`protocol.md` 2.3).
//!
//! Two layouts of a vote exist, and the names of the messages do not tell them apart (v0.28 has the new names and the old
//! votes). The first vote that shows its layout decides for the connection; another one after it is refused.
//!
//! No request carries a chain ID: whatever comes in is signed for the chain that the connection is configured for.

use std::time::Duration;

use crate::{
    codec::{
        Codec, DecodeError, Dialect, Family, Reason, Response, Spoken, judged,
        proto::Options,
        schema::{PART_SET_HEADER, PROPOSAL, TIMESTAMP},
        strict::{Record, Schema, Unknown},
    },
    privval::{
        Beat, BlockId, ChainId, ConsensusMsg, Echo, Form, Hrs, Kind, Request, SignRequest,
        Timestamp, canonical,
    },
};

pub mod names;
mod reply;
mod schema;

use self::schema::{
    BLOCK_ID, EMPTY, HEARTBEAT, SIGN_HEARTBEAT_REQUEST, SIGN_PROPOSAL_REQUEST, SIGN_VOTE_REQUEST,
    VOTE,
};

/// Nodes before v0.32.14 and v0.33.9 wait three seconds for a reply; some of it the way takes.
const REPLY_LIMIT: Duration = Duration::from_millis(2_750);

/// The order of a vote's fields 4 and 5.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// v0.26 to v0.28: the time, then the block.
    TimeFirst,
    /// v0.29 to v0.33: the block, then the time.
    BlockFirst,
}

/// The codec of one connection.
#[derive(Debug)]
pub struct Amino {
    chain_id: ChainId,
    /// What the handshake told.
    told: Option<Family>,
    layout: Option<Layout>,
    /// Whether the node asks for its key in the words of v0.26 and v0.27.
    asks_by_pub_key_msg: bool,
    unknown: Unknown,
}

impl Amino {
    /// A codec for a new connection to a node of this chain.
    #[must_use]
    pub fn new(chain_id: ChainId) -> Self {
        Self {
            chain_id,
            told: None,
            layout: None,
            asks_by_pub_key_msg: false,
            unknown: Unknown::default(),
        }
    }

    /// The layout of the votes on this connection, once one has shown it.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }
}

impl Codec for Amino {
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError> {
        let unanswerable = DecodeError::Unanswerable;
        let (prefix, body) = message
            .split_first_chunk()
            .ok_or(unanswerable(Reason::Empty))?;
        if *prefix == names::POISON_PILL {
            return Err(unanswerable(Reason::PoisonPill));
        }
        let unknown = Reason::UnknownPrefix(u32::from_be_bytes(*prefix));
        let kind = kind_of(prefix).ok_or(unanswerable(unknown))?;
        let mut hrs = None;
        let request = match kind {
            Kind::Ping => self.read(&EMPTY, body).map(|_| Request::Ping),
            Kind::PubKey => {
                self.asks_by_pub_key_msg = *prefix == names::PUB_KEY_MSG;
                self.pub_key(body)
            }
            Kind::Vote => self.vote(body, &mut hrs).map(Request::Sign),
            Kind::Proposal => self.proposal(body, &mut hrs).map(Request::Sign),
            Kind::Heartbeat | Kind::Raw => self.heartbeat(body),
        };
        request.map_err(|reason| match kind {
            // The reply of v0.26 and v0.27 is a key and nothing else.
            Kind::PubKey if self.asks_by_pub_key_msg => unanswerable(reason),
            kind => DecodeError::Answerable { kind, hrs, reason },
        })
    }

    fn encode(&self, response: &Response<'_>, out: &mut Vec<u8>) {
        match response {
            Response::Pong => out.extend_from_slice(&names::PING_RESPONSE),
            Response::PubKey(key) => {
                let prefix = if self.asks_by_pub_key_msg {
                    names::PUB_KEY_MSG
                } else {
                    names::PUB_KEY_RESPONSE
                };
                if let Some(registered) = reply::public_key(key) {
                    reply::message(prefix, 0x0a, &registered, out);
                } else if !self.asks_by_pub_key_msg {
                    let scheme = key.algorithm();
                    let description = format!("no node up to v0.33 knows {scheme} keys");
                    reply::error(prefix, 1, &description, out);
                }
            }
            Response::Signed(signed) => reply::signed(signed, out),
            Response::SignedHeartbeat(signed) => reply::heartbeat(signed, out),
            // Nobody can ask for it.
            Response::SignedRaw(_) => {}
            Response::Error {
                kind,
                code,
                description,
            } => match kind {
                Kind::PubKey => reply::error(names::PUB_KEY_RESPONSE, *code, description, out),
                Kind::Vote => reply::error(names::SIGNED_VOTE_RESPONSE, *code, description, out),
                Kind::Proposal => {
                    reply::error(names::SIGNED_PROPOSAL_RESPONSE, *code, description, out);
                }
                Kind::Heartbeat | Kind::Raw => {
                    reply::error(names::SIGNED_HEARTBEAT_RESPONSE, *code, description, out);
                }
                // A ping response has no place for an error, and that the signer lives is all it says.
                Kind::Ping => out.extend_from_slice(&names::PING_RESPONSE),
            },
        }
    }

    /// The answer to a ping. A node that gets it in place of a vote asks again, 50 times from v0.32.12 and v0.33.5 on, and an older one
    /// does without the vote as it does after an error. Those up to v0.28 need not wait for that.
    fn try_again(&self, kind: Kind, out: &mut Vec<u8>) -> bool {
        let asks_again = matches!(kind, Kind::Vote | Kind::Proposal) && self.family().is_none();
        if asks_again {
            out.extend_from_slice(&names::PING_RESPONSE);
        }
        asks_again
    }

    fn take_unknown_fields(&mut self) -> Vec<String> {
        self.unknown.take()
    }

    fn begin(&mut self, family: Option<Family>) -> Result<(), DecodeError> {
        self.told = family;
        self.layout = None;
        self.asks_by_pub_key_msg = false;
        Ok(())
    }

    fn reply_limit(&self) -> Duration {
        REPLY_LIMIT
    }

    fn mistakes_late_replies(&self) -> bool {
        true
    }

    fn ends_with_its_connection(&self) -> bool {
        self.asks_by_pub_key_msg
    }
}

impl Dialect for Amino {
    const NAME: &'static str = "amino (Tendermint v0.33 or older)";
    const FAMILIES: &'static [Family] = &[Family::Legacy, Family::V033];

    fn open(options: &Options) -> Self {
        Self::new(options.chain_id.clone())
    }

    fn begins(message: &[u8]) -> bool {
        let prefix = message.first_chunk();
        prefix.is_some_and(|prefix| *prefix == names::POISON_PILL || kind_of(prefix).is_some())
    }
}

impl Spoken for Amino {
    /// A vote decides.
    fn found(&self) -> Option<&'static str> {
        Some(match (self.layout?, self.told) {
            (Layout::TimeFirst, _) if self.asks_by_pub_key_msg => {
                "amino (Tendermint v0.26 or v0.27)"
            }
            (Layout::TimeFirst, _) => "amino (Tendermint v0.28)",
            (Layout::BlockFirst, Some(Family::V033)) => Family::V033.in_words(),
            (Layout::BlockFirst, Some(_)) => "amino (Tendermint v0.29 to v0.32)",
            (Layout::BlockFirst, None) => "amino (Tendermint v0.29 to v0.33)",
        })
    }

    fn family(&self) -> Option<Family> {
        let is_old = self.asks_by_pub_key_msg || self.layout == Some(Layout::TimeFirst);
        is_old.then_some(Family::Legacy)
    }

    fn names_its_chain(&self) -> bool {
        false
    }
}

impl Amino {
    fn read<'a, const N: usize>(
        &mut self,
        schema: &Schema<N>,
        bytes: &'a [u8],
    ) -> Result<Record<'a, N>, Reason> {
        schema
            .read_in_order(bytes, &mut self.unknown)
            .map_err(|(place, fault)| Reason::Malformed { place, fault })
    }

    /// The one submessage of a request.
    fn submessage<'a>(&mut self, schema: &Schema<1>, body: &'a [u8]) -> Result<&'a [u8], Reason> {
        self.read(schema, body)?
            .submessage(1)
            .ok_or(Reason::Missing(schema.place(1)))
    }

    fn pub_key(&mut self, body: &[u8]) -> Result<Request, Reason> {
        if self.asks_by_pub_key_msg && !body.is_empty() {
            // With a key in it, it is the reply.
            return Err(Reason::NotARequest(1));
        }
        self.read(&EMPTY, body)?;
        Ok(Request::PubKey)
    }

    fn vote(&mut self, body: &[u8], asked: &mut Option<Hrs>) -> Result<SignRequest, Reason> {
        let vote = self.submessage(&SIGN_VOTE_REQUEST, body)?;
        let vote = self.read(&VOTE, vote)?;
        let step = judged::vote_step(vote.int32(1));
        let hrs = judged::hrs(vote.int64(2), vote.int32(3), step)?;
        *asked = Some(hrs);
        let (four, five) = (vote.bytes(4), vote.bytes(5));
        let shown = shown_layout(four, five);
        let layout = match (self.layout, shown) {
            (Some(known), Some(shown)) if known != shown => return Err(Reason::OtherLayout),
            (known, shown) => shown.or(known),
        };
        let (form, block_id, timestamp) = match layout {
            Some(Layout::TimeFirst) => (Form::AminoA, five, four),
            // A nil vote at the Unix epoch shows nothing, and is the same in both.
            Some(Layout::BlockFirst) | None => (Form::AminoB, four, five),
        };
        let block_id = self.block_id(block_id)?;
        let timestamp = self.timestamp(timestamp)?;
        let echo = judged::echo(vote.bytes(6), vote.int32(7))?;
        // Only a vote that holds together decides for those that follow.
        self.layout = layout;
        Ok(self.request(form, hrs, -1, block_id, timestamp, echo))
    }

    fn proposal(&mut self, body: &[u8], asked: &mut Option<Hrs>) -> Result<SignRequest, Reason> {
        let proposal = self.submessage(&SIGN_PROPOSAL_REQUEST, body)?;
        let proposal = self.read(&PROPOSAL, proposal)?;
        let step = judged::proposal_step(proposal.int32(1));
        let round = proposal.int32(3);
        let hrs = judged::hrs(proposal.int64(2), round, step)?;
        *asked = Some(hrs);
        let pol_round = judged::pol_round(proposal.int32(4), round)?;
        let block_id = self
            .block_id(proposal.bytes(5))?
            .ok_or(Reason::NilProposal)?;
        let timestamp = self.timestamp(proposal.bytes(6))?;
        Ok(self.request(
            Form::AminoB,
            hrs,
            pol_round,
            Some(block_id),
            timestamp,
            Echo::default(),
        ))
    }

    fn heartbeat(&mut self, body: &[u8]) -> Result<Request, Reason> {
        let heartbeat = self.submessage(&SIGN_HEARTBEAT_REQUEST, body)?;
        let heartbeat = self.read(&HEARTBEAT, heartbeat)?;
        let (height, round) = (heartbeat.int64(3), heartbeat.int32(4));
        if height < 1 {
            return Err(Reason::Height(height));
        }
        if round < 0 {
            return Err(Reason::Round(round));
        }
        let sequence = heartbeat.int64(5);
        if sequence < 0 {
            return Err(Reason::Sequence(sequence));
        }
        let echo = judged::echo(heartbeat.bytes(1), heartbeat.int32(2))?;
        let beat = Beat {
            height,
            round: i64::from(round),
            sequence,
            validator_address: echo.validator_address,
            validator_index: echo.validator_index,
        };
        Ok(Request::Heartbeat(canonical::heartbeat(
            &self.chain_id,
            beat,
        )))
    }

    fn request(
        &self,
        form: Form,
        hrs: Hrs,
        pol_round: i64,
        block_id: Option<BlockId>,
        timestamp: Timestamp,
        echo: Echo,
    ) -> SignRequest {
        SignRequest {
            msg: ConsensusMsg {
                hrs,
                block_id,
                pol_round,
                sign_bytes: canonical::sign_bytes_as(
                    form,
                    &self.chain_id,
                    hrs.step,
                    (hrs.height, hrs.round, pol_round),
                    block_id.as_ref(),
                    timestamp,
                ),
                echo,
            },
            extension: None,
            unprotected: None,
        }
    }

    /// Nil where it is absent or empty, or complete.
    fn block_id(&mut self, bytes: &[u8]) -> Result<Option<BlockId>, Reason> {
        let id = self.read(&BLOCK_ID, bytes)?;
        let parts = self.read(&PART_SET_HEADER, id.bytes(2))?;
        judged::block_id(id.bytes(1), parts.uint32(1), parts.bytes(2))
    }

    /// Other than in protobuf, a time that is absent is the Unix epoch.
    fn timestamp(&mut self, bytes: &[u8]) -> Result<Timestamp, Reason> {
        let timestamp = self.read(&TIMESTAMP, bytes)?;
        judged::timestamp(timestamp.int64(1), timestamp.int32(2))
    }
}

/// The kind of a request; none for a reply or for anything else.
fn kind_of(prefix: &names::Prefix) -> Option<Kind> {
    match *prefix {
        names::PING_REQUEST => Some(Kind::Ping),
        names::PUB_KEY_MSG | names::PUB_KEY_REQUEST => Some(Kind::PubKey),
        names::SIGN_VOTE_REQUEST => Some(Kind::Vote),
        names::SIGN_PROPOSAL_REQUEST => Some(Kind::Proposal),
        names::SIGN_HEARTBEAT_REQUEST => Some(Kind::Heartbeat),
        _ => None,
    }
}

/// The layout that a vote's fields 4 and 5 show: a time begins with a varint field, a block ID with a delimited one.
fn shown_layout(four: &[u8], five: &[u8]) -> Option<Layout> {
    const TIME: [u8; 2] = [0x08, 0x10];
    const BLOCK: [u8; 2] = [0x0a, 0x12];
    let begins = |field: &[u8], tags: [u8; 2]| field.first().is_some_and(|tag| tags.contains(tag));
    if begins(four, TIME) || (four.is_empty() && begins(five, BLOCK)) {
        Some(Layout::TimeFirst)
    } else if begins(four, BLOCK) || begins(five, TIME) {
        Some(Layout::BlockFirst)
    } else {
        None
    }
}
