//! The protobuf dialect: one codec for v0.34, v0.37, v0.38, v0.39, v0.40, v1, v2 and Celestia (`protocol.md` 2.2).
//!
//! Protobuf's package names never reach the wire and the versions' field sets do not collide, so no setting tells them
//! apart.

use crate::{
    codec::{
        Codec, DecodeError, Dialect, Family, Reason, Response, Spoken, judged,
        messages::{Message, Ping, RemoteSignerError, Sum},
        schema::{PART_SET_HEADER, PROPOSAL, TIMESTAMP},
        strict::{Cursor, Fault, Place, Record, Schema, Unknown, Wire},
    },
    privval::{
        BlockId, ChainId, ConsensusMsg, Echo, Hrs, Kind, Request, SignRequest, Timestamp,
        Unprotected, canonical,
    },
};

mod reply;
mod schema;

use self::schema::{
    BLOCK_ID, PING_REQUEST, PUB_KEY_REQUEST, SIGN_BYTES_REQUEST, SIGN_PROPOSAL_REQUEST,
    SIGN_RAW_BYTES_REQUEST, SIGN_VOTE_REQUEST, VOTE,
};

/// The longest vote extension that is signed, in bytes (CometBFT's `MaxVoteExtensionSize`).
pub const MAX_EXTENSION: usize = 1_048_576;

/// What a validator's configuration says about requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chain that this connection serves.
    pub chain_id: ChainId,
    /// Whether vote extensions get signed; without it a chain that uses them halts its validator.
    pub sign_extensions: bool,
    /// Whether the node is of CometBFT v2, which wants a second extension signed, also where it is empty: that cannot be seen
    /// in a request.
    pub v2: bool,
    /// What becomes of bytes outside of consensus.
    pub raw: Raw,
}

/// What message 9 means on this connection. Celestia and v1 use one number for two messages that the wire cannot tell
/// apart, so it takes configuration.
#[derive(Clone, Debug)]
pub enum Raw {
    /// Nothing is signed outside of consensus.
    Refuse,
    /// Celestia's raw bytes, whose `unique_id` starts with one of these.
    Celestia {
        /// Prefixes of the unique IDs that are allowed.
        prefixes: Vec<String>,
    },
    /// `SignBytes` of v1 and v2, and extensions without replay protection: no chain ID, no domain.
    SignBytes,
}

/// The codec of one connection.
#[derive(Debug)]
pub struct Proto {
    options: Options,
    unknown: Unknown,
}

impl Proto {
    /// A codec for a new connection.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            unknown: Unknown::default(),
        }
    }
}

impl Codec for Proto {
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError> {
        let (kind, body) = self.member(message)?;
        let mut hrs = None;
        let request = match kind {
            Kind::Ping => self.read(&PING_REQUEST, body).map(|_| Request::Ping),
            Kind::PubKey => self.pub_key(body),
            Kind::Vote => self.vote(body, &mut hrs).map(Request::Sign),
            Kind::Proposal => self.proposal(body, &mut hrs).map(Request::Sign),
            Kind::Raw => self.raw(body),
            // No member of the envelope is one.
            Kind::Heartbeat => Err(Reason::Empty),
        };
        request.map_err(|reason| DecodeError::Answerable { kind, hrs, reason })
    }

    fn encode(&self, response: &Response<'_>, out: &mut Vec<u8>) {
        let sum = match response {
            Response::Pong => Sum::PingResponse(Ping {}),
            Response::PubKey(key) => reply::public_key(key),
            Response::Signed(signed) => reply::signed(signed),
            Response::SignedRaw(signed) => reply::signed_raw(signed),
            // Nobody asks in this dialect; an empty message is no reply to anything.
            Response::SignedHeartbeat(_) => return,
            Response::Error {
                kind,
                code,
                description,
            } => reply::error(
                *kind,
                RemoteSignerError {
                    code: *code,
                    description: (*description).to_owned(),
                },
            ),
        };
        Message::from(sum).append_to(out);
    }

    /// A message without a member, which no node takes for a refusal. In place of the first public key it would end the
    /// node's start, and nobody asks again for raw bytes.
    fn try_again(&self, kind: Kind, _: &mut Vec<u8>) -> bool {
        matches!(kind, Kind::Vote | Kind::Proposal)
    }

    fn take_unknown_fields(&mut self) -> Vec<String> {
        self.unknown.take()
    }
}

impl Dialect for Proto {
    const NAME: &'static str = Family::Protobuf.in_words();
    const FAMILIES: &'static [Family] = &[Family::Protobuf];

    fn open(options: &Options) -> Self {
        Self::new(options.clone())
    }

    /// With a member of the envelope.
    fn begins(message: &[u8]) -> bool {
        let tag = Cursor::new(message).tag();
        tag.is_ok_and(|(number, wire)| wire == Wire::Delimited && member_kind(number).is_some())
    }
}

impl Spoken for Proto {
    fn found(&self) -> Option<&'static str> {
        Some(Self::NAME)
    }
}

/// How much of a wrong chain ID or unique ID is repeated in an error.
const SHOWN: usize = 64;

impl Proto {
    /// The one member of the envelope's oneof, by the kind of reply it wants.
    fn member<'a>(&mut self, message: &'a [u8]) -> Result<(Kind, &'a [u8]), DecodeError> {
        let mut last = None;
        match (self.envelope(message, &mut last), last) {
            (Ok((number, _)), _) if is_reply(number) => {
                Err(DecodeError::Unanswerable(Reason::NotARequest(number)))
            }
            (Ok((_, body)), Some(kind)) => Ok((kind, body)),
            (Ok(_), None) => Err(DecodeError::Unanswerable(Reason::Empty)),
            (Err(reason), None) => Err(DecodeError::Unanswerable(reason)),
            (Err(reason), Some(kind)) => Err(DecodeError::Answerable {
                kind,
                hrs: None,
                reason,
            }),
        }
    }

    /// The member's number and body. `last` is the kind of the last member that was seen, also where the rest is broken.
    fn envelope<'a>(
        &mut self,
        message: &'a [u8],
        last: &mut Option<Kind>,
    ) -> Result<(u32, &'a [u8]), Reason> {
        let mut cursor = Cursor::new(message);
        let mut found = None;
        let mut unknown = None;
        let mut members = 0;
        while !cursor.is_empty() {
            let (number, wire) = cursor.tag().map_err(|fault| malformed("", fault))?;
            let Some(kind) = member_kind(number) else {
                unknown = Some(number);
                self.unknown.note(ENVELOPE, number);
                cursor.skip(wire).map_err(|fault| malformed("", fault))?;
                continue;
            };
            *last = Some(kind);
            members += 1;
            if wire != Wire::Delimited {
                return Err(malformed("sum", Fault::WireType));
            }
            let body = cursor
                .delimited()
                .map_err(|fault| malformed("sum", fault))?;
            found = Some((number, body));
        }
        if members > 1 {
            return Err(Reason::SecondMember);
        }
        found.ok_or(unknown.map_or(Reason::Empty, Reason::UnknownRequest))
    }

    fn read<'a, const N: usize>(
        &mut self,
        schema: &Schema<N>,
        bytes: &'a [u8],
    ) -> Result<Record<'a, N>, Reason> {
        read(schema, bytes, &mut self.unknown)
    }

    /// Never sign for a chain that only the request names (`protocol.md` 4.5).
    fn check_chain(&self, asked: &str) -> Result<(), Reason> {
        if asked == self.options.chain_id.as_str() || cfg!(mutant = "no_chain") {
            return Ok(());
        }
        Err(Reason::OtherChain {
            asked: shown(asked),
            served: self.options.chain_id.clone(),
        })
    }

    fn pub_key(&mut self, body: &[u8]) -> Result<Request, Reason> {
        let request = self.read(&PUB_KEY_REQUEST, body)?;
        self.check_chain(request.text(1))?;
        Ok(Request::PubKey)
    }

    fn vote(&mut self, body: &[u8], asked: &mut Option<Hrs>) -> Result<SignRequest, Reason> {
        let request = self.read(&SIGN_VOTE_REQUEST, body)?;
        let vote = request
            .submessage(1)
            .ok_or(Reason::Missing(SIGN_VOTE_REQUEST.place(1)))?;
        let vote = self.read(&VOTE, vote)?;
        let step = judged::vote_step(vote.int32(1));
        let hrs = judged::hrs(vote.int64(2), vote.int32(3), step);
        *asked = hrs.as_ref().ok().copied();
        self.check_chain(request.text(2))?;
        let hrs = hrs?;
        let block_id = self.block_id(vote.submessage(4))?;
        let timestamp = self.timestamp(vote.submessage(5))?;
        let echo = judged::echo(vote.bytes(6), vote.int32(7))?;
        let chain_id = &self.options.chain_id;
        let msg = ConsensusMsg {
            hrs,
            block_id,
            pol_round: -1,
            sign_bytes: canonical::sign_bytes(
                chain_id,
                hrs.step,
                (hrs.height, hrs.round, -1),
                block_id.as_ref(),
                timestamp,
            ),
            echo,
        };
        let extension = vote.bytes(9);
        let wanted = extension_wanted(&msg, extension, vote.bytes(11), request.flag(3))?;
        if !wanted || !self.options.sign_extensions {
            return Ok(SignRequest {
                msg,
                extension: None,
                unprotected: None,
            });
        }
        Ok(SignRequest {
            msg,
            extension: Some(canonical::extension(
                chain_id, hrs.height, hrs.round, extension,
            )),
            unprotected: self.unprotected(vote.bytes(11))?,
        })
    }

    /// The second extension of v2. Its sign bytes are the extension itself: an application could have a vote signed as one.
    fn unprotected(&self, extension: &[u8]) -> Result<Option<Unprotected>, Reason> {
        if extension.is_empty() && !self.options.v2 {
            return Ok(None);
        }
        if !extension.is_empty() && !matches!(self.options.raw, Raw::SignBytes) {
            return Err(Reason::UnprotectedExtension);
        }
        let unprotected = canonical::unprotected_extension(extension);
        unprotected.map(Some).ok_or(Reason::RawAmbiguous)
    }

    fn proposal(&mut self, body: &[u8], asked: &mut Option<Hrs>) -> Result<SignRequest, Reason> {
        let request = self.read(&SIGN_PROPOSAL_REQUEST, body)?;
        let proposal = request
            .submessage(1)
            .ok_or(Reason::Missing(SIGN_PROPOSAL_REQUEST.place(1)))?;
        let proposal = self.read(&PROPOSAL, proposal)?;
        let step = judged::proposal_step(proposal.int32(1));
        let round = proposal.int32(3);
        let hrs = judged::hrs(proposal.int64(2), round, step);
        *asked = hrs.as_ref().ok().copied();
        self.check_chain(request.text(2))?;
        let hrs = hrs?;
        let pol_round = judged::pol_round(proposal.int32(4), round)?;
        let block_id = self
            .block_id(proposal.submessage(5))?
            .ok_or(Reason::NilProposal)?;
        let timestamp = self.timestamp(proposal.submessage(6))?;
        let msg = ConsensusMsg {
            hrs,
            block_id: Some(block_id),
            pol_round,
            sign_bytes: canonical::sign_bytes(
                &self.options.chain_id,
                hrs.step,
                (hrs.height, hrs.round, pol_round),
                Some(&block_id),
                timestamp,
            ),
            echo: Echo::default(),
        };
        Ok(SignRequest {
            msg,
            extension: None,
            unprotected: None,
        })
    }

    /// Nil in all of its three shapes (absent, empty, zero), or complete; nothing in between.
    fn block_id(&mut self, bytes: Option<&[u8]>) -> Result<Option<BlockId>, Reason> {
        let id = self.read(&BLOCK_ID, bytes.unwrap_or_default())?;
        let parts = self.read(&PART_SET_HEADER, id.bytes(2))?;
        let (hash, total, parts_hash) = (id.bytes(1), parts.uint32(1), parts.bytes(2));
        judged::block_id(hash, total, parts_hash)
    }

    /// Go reads a missing timestamp as its zero time and an empty one as the Unix epoch (`protocol.md` 2.2, 3.1).
    fn timestamp(&mut self, bytes: Option<&[u8]>) -> Result<Timestamp, Reason> {
        let Some(bytes) = bytes else {
            return Ok(Timestamp::GO_ZERO);
        };
        let timestamp = self.read(&TIMESTAMP, bytes)?;
        judged::timestamp(timestamp.int64(1), timestamp.int32(2))
    }

    fn raw(&mut self, body: &[u8]) -> Result<Request, Reason> {
        let raw = match &self.options.raw {
            Raw::Refuse => return Err(Reason::RawRefused),
            Raw::SignBytes => {
                let request = self.read(&SIGN_BYTES_REQUEST, body)?;
                // Its first field is a chain ID, which would be signed in place of what is meant.
                if [2, 3].iter().any(|it| request.submessage(*it).is_some()) {
                    return Err(Reason::RawForeign);
                }
                canonical::bare_bytes(request.bytes(1)).ok_or(Reason::RawAmbiguous)?
            }
            Raw::Celestia { prefixes } => {
                let request = read(&SIGN_RAW_BYTES_REQUEST, body, &mut self.unknown)?;
                self.check_chain(request.text(1))?;
                let unique_id = request.text(3);
                if !unique_id.is_empty() && !prefixes.iter().any(|it| unique_id.starts_with(it)) {
                    return Err(Reason::RawUniqueId(shown(unique_id)));
                }
                canonical::raw_bytes(&self.options.chain_id, request.bytes(2), unique_id)
                    .ok_or(Reason::RawEmpty)?
            }
        };
        Ok(Request::SignRaw(raw))
    }
}

fn read<'a, const N: usize>(
    schema: &Schema<N>,
    bytes: &'a [u8],
    unknown: &mut Unknown,
) -> Result<Record<'a, N>, Reason> {
    schema
        .read(bytes, unknown)
        .map_err(|(place, fault)| Reason::Malformed { place, fault })
}

/// Name of the envelope in errors and notes.
const ENVELOPE: &str = "Message";

fn malformed(field: &'static str, fault: Fault) -> Reason {
    Reason::Malformed {
        place: Place {
            message: ENVELOPE,
            field,
        },
        fault,
    }
}

/// The kind of the exchange that a member of the envelope belongs to.
fn member_kind(number: u32) -> Option<Kind> {
    match number {
        1 | 2 => Some(Kind::PubKey),
        3 | 4 => Some(Kind::Vote),
        5 | 6 => Some(Kind::Proposal),
        7 | 8 => Some(Kind::Ping),
        9 | 10 => Some(Kind::Raw),
        _ => None,
    }
}

fn is_reply(number: u32) -> bool {
    number.is_multiple_of(2)
}

/// Whether the node waits for an extension signature: on every precommit for a block (an empty extension is signed too)
/// unless it says skip. A node that gets one elsewhere, or none where one belongs, dies (`protocol.md` 3.3).
fn extension_wanted(
    msg: &ConsensusMsg,
    extension: &[u8],
    non_rp_extension: &[u8],
    skip: bool,
) -> Result<bool, Reason> {
    for extension in [extension, non_rp_extension] {
        if extension.len() > MAX_EXTENSION {
            return Err(Reason::ExtensionTooLong(extension.len()));
        }
    }
    if skip {
        return Ok(false);
    }
    let extended = !extension.is_empty() || !non_rp_extension.is_empty();
    if extended && !msg.is_precommit_for_block() {
        return Err(Reason::UnexpectedExtension);
    }
    Ok(msg.is_precommit_for_block())
}

/// Foreign text made fit for a log line: shortened, without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    let cut = shown.len() < text.len();
    shown = shown.escape_default().to_string();
    if cut {
        shown.push('…');
    }
    shown
}
