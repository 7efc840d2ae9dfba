//! One connection: request in, response out, one event told.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    chain::{Chain, SignError},
    codec::{Codec, DecodeError, Reason, Response},
    connection::{Connection, ConnectionError},
    crypto::Algorithm,
    event::{self, Event, Signed, Sink},
    privval::{BlockId, Heartbeat, Hrs, Kind, RawBytes, Request, SignRequest, Step},
    protection::{SignedMsg, StoreError},
};

/// How long after the request "try again" leaves. A node asks again a tenth of a second later and gives up after 50 times:
/// held back for so long, that is minutes; it is still well within the 5 s that a node waits for any one reply.
const HOLD_BACK: Duration = Duration::from_secs(4);

/// So long before a node stops waiting it leaves in any case.
const IN_TIME: Duration = Duration::from_millis(250);

/// What stays as it is, a key that is not ready or a signature that cannot be kept, is told of so often.
const SELDOM: Duration = Duration::from_secs(60);

/// Refusals that are told one by one within [`REFUSAL_WINDOW`]; the rest is summed up.
const REFUSALS_TOLD: u32 = 20;

/// The span that refusals are counted over.
const REFUSAL_WINDOW: Duration = Duration::from_secs(10);

/// The code of every error reply but a conflict's.
const GENERIC: i32 = 1;

/// What a session needs to know about the validator it serves.
pub struct Session<'a> {
    /// `chain@addr`, as log lines name it.
    pub validator: Arc<str>,
    /// The chain that is signed for.
    pub chain: &'a Chain,
    /// Nothing above this height is signed.
    pub max_height: Option<i64>,
    /// Who is told.
    pub sink: &'a dyn Sink,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("validator", &self.validator)
            .finish_non_exhaustive()
    }
}

impl Session<'_> {
    /// Serves requests one after the other until the connection ends.
    ///
    /// # Errors
    /// `SessionError` always says how it ended; after a request for shutdown that is the connection's `ShutDown`.
    pub fn serve(
        &self,
        connection: &mut dyn Connection,
        codec: &mut dyn Codec,
    ) -> Result<std::convert::Infallible, SessionError> {
        let mut reply = Vec::with_capacity(1024);
        let mut told = Told::default();
        let mut unready = Seldom::default();
        let mut unkept = Seldom::default();
        let mut told_key = false;
        let mut takes_key = false;
        loop {
            let message = match connection.read() {
                Ok(message) => message,
                Err(error) if told_key && !takes_key => return Err(self.after_the_key(error)),
                Err(error) => return Err(error.into()),
            };
            // A node that goes on knows the key; later ones ask for it at every height, and one of those is the last.
            takes_key |= told_key;
            let start = Instant::now();
            reply.clear();
            let decoded = codec.decode(message);
            told_key = decoded == Ok(Request::PubKey);
            if codec.take_nameless() {
                // Before anything of this node is signed.
                self.tell_nameless();
            }
            let mut answer = self.answer(decoded, codec, &mut reply)?;
            if let Answer::NotReady(not_signed) = answer {
                // Told at once: it may be a person who is waited for.
                self.tell_unready(*not_signed, &mut unready);
                answer = Answer::Routine;
                let limit = codec.reply_limit().saturating_sub(IN_TIME);
                connection.linger(start + HOLD_BACK.min(limit))?;
            }
            if start.elapsed() > codec.reply_limit() && !cfg!(mutant = "no_late") {
                return Err(SessionError::Late(start.elapsed()));
            }
            let overtaken = codec.mistakes_late_replies() && connection.has_more();
            if overtaken && !cfg!(mutant = "no_late") {
                return Err(SessionError::Overtaken);
            }
            connection.write(&reply)?;
            let took = start.elapsed();
            if let Some(found) = codec.take_found() {
                let text = format!("[{}] the node speaks {found}", self.validator);
                self.sink.tell(&Event::Notice { text });
            }
            for field in codec.take_unknown_fields() {
                let validator = self.validator.clone();
                self.sink.tell(&Event::UnknownField { validator, field });
            }
            if let Answer::Signed(signed) = &answer {
                unready = Seldom::default();
                self.tell_not_kept(signed, &mut unkept);
            }
            self.tell(answer, took, &mut told);
        }
    }

    /// How a connection ended after the public key was told: a node that does not know its type exits.
    fn after_the_key(&self, error: ConnectionError) -> SessionError {
        let scheme = self.chain.public_key().algorithm();
        let is_hang_up = matches!(error, ConnectionError::Closed | ConnectionError::Io(_));
        if is_hang_up && scheme != Algorithm::Ed25519 {
            SessionError::AfterKey { scheme }
        } else {
            error.into()
        }
    }

    /// Handles one request and writes its reply into `reply`.
    fn answer(
        &self,
        decoded: Result<Request, DecodeError>,
        codec: &mut dyn Codec,
        reply: &mut Vec<u8>,
    ) -> Result<Answer, SessionError> {
        match decoded {
            Ok(Request::Ping) => codec.encode(&Response::Pong, reply),
            Ok(Request::PubKey) => codec.encode(&Response::PubKey(self.chain.public_key()), reply),
            Ok(Request::Sign(request)) => return Ok(self.sign(request, codec, reply)),
            Ok(Request::SignRaw(raw)) => return Ok(self.sign_raw(&raw, codec, reply)),
            Ok(Request::Heartbeat(heartbeat)) => {
                return Ok(self.sign_heartbeat(&heartbeat, codec, reply));
            }
            Err(DecodeError::Answerable { kind, hrs, reason }) => {
                let description = reason.to_string();
                encode_error(codec, reply, kind, GENERIC, &description);
                return Ok(Answer::Refused(Box::new(Refused {
                    asked: hrs.map(|hrs| in_words(hrs, None)),
                    before: None,
                    conflict: false,
                    reason: description,
                })));
            }
            Err(error @ DecodeError::Unanswerable(_)) => return Err(error.into()),
        }
        Ok(Answer::Routine)
    }

    fn sign(&self, request: SignRequest, codec: &mut dyn Codec, reply: &mut Vec<u8>) -> Answer {
        let (hrs, block_id) = (request.msg.hrs, request.msg.block_id);
        let kind = match hrs.step {
            Step::Proposal => Kind::Proposal,
            Step::Prevote | Step::Precommit => Kind::Vote,
        };
        match self.chain.sign(request, self.max_height) {
            Ok(signed) => {
                codec.encode(&Response::Signed(&signed), reply);
                Answer::Signed(signed)
            }
            Err(SignError::Signer(error))
                if error.is_transient() && codec.try_again(kind, reply) =>
            {
                Answer::NotReady(Box::new(NotReady {
                    asked: in_words(hrs, block_id),
                    reason: error.to_string(),
                }))
            }
            Err(error) => {
                let code = match &error {
                    SignError::Refused(refusal) => refusal.code(),
                    _ => GENERIC,
                };
                encode_error(codec, reply, kind, code, &error.to_string());
                self.not_signed(error, Some(in_words(hrs, block_id)))
            }
        }
    }

    fn sign_raw(&self, raw: &RawBytes, codec: &mut dyn Codec, reply: &mut Vec<u8>) -> Answer {
        match self.chain.sign_raw(raw) {
            Ok(signed) => {
                codec.encode(&Response::SignedRaw(&signed), reply);
                Answer::SignedRaw(raw.label().to_owned(), raw.digest())
            }
            Err(error) => {
                encode_error(codec, reply, Kind::Raw, GENERIC, &error.to_string());
                self.not_signed(error, None)
            }
        }
    }

    fn sign_heartbeat(
        &self,
        heartbeat: &Heartbeat,
        codec: &mut dyn Codec,
        reply: &mut Vec<u8>,
    ) -> Answer {
        let height = heartbeat.beat().height;
        if let Some(max) = self.max_height.filter(|max| height > *max) {
            let reason = format!("heartbeat at height {height}, above max_height {max}");
            encode_error(codec, reply, Kind::Heartbeat, GENERIC, &reason);
            return Answer::Refused(Box::new(Refused {
                asked: None,
                before: None,
                conflict: false,
                reason,
            }));
        }
        match self.chain.sign_heartbeat(heartbeat) {
            Ok(signed) => {
                codec.encode(&Response::SignedHeartbeat(&signed), reply);
                let beat = signed.beat();
                Answer::SignedHeartbeat(beat.height, beat.sequence)
            }
            Err(error) => {
                encode_error(codec, reply, Kind::Heartbeat, GENERIC, &error.to_string());
                self.not_signed(error, None)
            }
        }
    }

    fn not_signed(&self, error: SignError, asked: Option<Signed>) -> Answer {
        match error {
            SignError::Refused(refusal) => Answer::Refused(Box::new(Refused {
                before: refusal.before().map(|(hrs, block)| in_words(hrs, block)),
                conflict: refusal.is_conflict(),
                reason: refusal.to_string(),
                asked,
            })),
            // The first to see the failure says that the chain stopped; later requests are only refused.
            SignError::Stopped(error @ StoreError::InDoubt { .. }) => {
                Answer::Stopped(event::in_one_line(&error))
            }
            error => Answer::Refused(Box::new(Refused {
                asked,
                before: None,
                conflict: false,
                reason: event::in_one_line(&error),
            })),
        }
    }

    fn tell_nameless(&self) {
        self.sink.tell(&Event::Warning {
            subject: self.validator.to_string(),
            text: format!(
                "requests of this node name no chain: whatever comes from there is signed for {}",
                self.chain.id()
            ),
        });
    }

    /// Tells that a key is not ready, if that is news.
    fn tell_unready(&self, not_signed: NotReady, unready: &mut Seldom) {
        let NotReady { asked, reason } = not_signed;
        if let Some(unsaid) = unready.may_tell(&reason) {
            self.sink.tell(&Event::NotReady {
                validator: self.validator.clone(),
                asked,
                reason,
                unsaid,
            });
        }
    }

    /// Tells that a signature is not in the record, if that is news.
    fn tell_not_kept(&self, signed: &SignedMsg, unkept: &mut Seldom) {
        let Some(error) = signed.not_kept() else {
            return;
        };
        let text = event::in_one_line(error);
        if unkept.may_tell(&text).is_some() {
            self.sink.tell(&Event::Warning {
                subject: format!("chain {}", self.chain.id()),
                text: format!("{text}; a repeat after a restart would need another signature"),
            });
        }
    }

    /// Tells what happened, after the reply has left.
    fn tell(&self, answer: Answer, took: Duration, told: &mut Told) {
        let validator = self.validator.clone();
        match answer {
            // A key that is not ready was told of before.
            Answer::Routine | Answer::NotReady(_) => {}
            Answer::Signed(signed) => {
                let extended = signed.extension_signature().is_some();
                self.sink.tell(&Event::Signed {
                    validator: validator.clone(),
                    signed: in_words(signed.hrs(), signed.msg().block_id),
                    took,
                });
                if extended {
                    self.sink.tell(&Event::SignedExtension { validator, took });
                }
            }
            Answer::SignedRaw(label, digest) => self.sink.tell(&Event::SignedRaw {
                validator,
                label,
                digest,
                took,
            }),
            Answer::SignedHeartbeat(height, sequence) => self.sink.tell(&Event::SignedHeartbeat {
                validator,
                height,
                sequence,
                took,
            }),
            Answer::Refused(refused) => {
                if let Some(unsaid) = told.may_tell() {
                    if unsaid > 0 {
                        self.sink.tell(&Event::Warning {
                            subject: validator.to_string(),
                            text: format!("{unsaid} more refusals were not logged"),
                        });
                    }
                    self.sink.tell(&Event::Refused {
                        validator,
                        asked: refused.asked,
                        before: refused.before,
                        conflict: refused.conflict,
                        reason: refused.reason,
                    });
                }
            }
            Answer::Stopped(reason) => self.sink.tell(&Event::Stopped {
                chain: self.chain.id().to_string(),
                reason,
            }),
        }
    }
}

/// What became of one request.
#[allow(
    clippy::large_enum_variant,
    reason = "one lives at a time, on the stack; a box would cost an allocation a signature"
)]
enum Answer {
    Routine,
    Signed(SignedMsg),
    /// Its name and its hash.
    SignedRaw(String, [u8; 32]),
    /// Height and sequence.
    SignedHeartbeat(i64, i64),
    Refused(Box<Refused>),
    NotReady(Box<NotReady>),
    Stopped(String),
}

struct NotReady {
    asked: Signed,
    reason: String,
}

struct Refused {
    asked: Option<Signed>,
    before: Option<Signed>,
    conflict: bool,
    reason: String,
}

/// How many refusals were told in the current window, and how many were not.
#[derive(Default)]
struct Told {
    since: Option<Instant>,
    told: u32,
    unsaid: u64,
}

impl Told {
    /// `None`: not this one. Otherwise the number that went unsaid before it.
    fn may_tell(&mut self) -> Option<u64> {
        if self
            .since
            .is_none_or(|since| since.elapsed() > REFUSAL_WINDOW)
        {
            self.since = Some(Instant::now());
            self.told = 0;
        }
        if self.told == REFUSALS_TOLD {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// What was last told of something that goes on.
#[derive(Default)]
struct Seldom {
    last: Option<(Instant, String)>,
    unsaid: u64,
}

impl Seldom {
    /// `None`: not this time. Otherwise the number that went unsaid before it.
    fn may_tell(&mut self, reason: &str) -> Option<u64> {
        if let Some((at, before)) = &self.last
            && before == reason
            && at.elapsed() < SELDOM
        {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.last = Some((Instant::now(), reason.to_owned()));
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn encode_error(
    codec: &mut dyn Codec,
    reply: &mut Vec<u8>,
    kind: Kind,
    code: i32,
    description: &str,
) {
    codec.encode(
        &Response::Error {
            kind,
            code,
            description,
        },
        reply,
    );
}

fn in_words(hrs: Hrs, block_id: Option<BlockId>) -> Signed {
    Signed {
        kind: match hrs.step {
            Step::Proposal => "Proposal",
            Step::Prevote => "Prevote",
            Step::Precommit => "Precommit",
        },
        height: hrs.height,
        round: hrs.round,
        step: hrs.step as u8,
        block: block_id.map(|id| {
            id.hash
                .iter()
                .take(5)
                .fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02X}");
                    text
                })
        }),
    }
}

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The peer sent what cannot be answered.
    #[error("the node sent what cannot be answered")]
    Decode(#[from] DecodeError),
    /// Signing took so long that the node no longer waits.
    #[error("the answer was ready after {} ms, too late to be sent", .0.as_millis())]
    Late(Duration),
    /// The node has asked for something else meanwhile: it would take the answer for that one's.
    #[error(
        "the node asked for the next thing before the answer was ready: it has stopped waiting"
    )]
    Overtaken,
    /// The node hung up as soon as it knew the public key, and not every node knows keys of that type.
    #[error("the node hung up when it was told the public key; does this node know {} keys?", .scheme.name())]
    AfterKey {
        /// The type of the key.
        scheme: Algorithm,
    },
}

impl SessionError {
    /// Whether the node is not what `protocol_version` says: it will not be at the next dial either.
    #[must_use]
    pub fn is_contradiction(&self) -> bool {
        matches!(
            self,
            Self::Decode(DecodeError::Unanswerable(Reason::OtherFamily { .. }))
        )
    }
}
