//! Everything worth telling, as data. Sinks make log lines (later metrics) of it, after the reply has left.

use std::{any::Any, error::Error, fmt::Write as _, sync::Arc, time::Duration};

/// Something that happened, with what an operator needs to understand it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection to a validator is up, the peer's identity is as `peer_id` says.
    Connected {
        /// `chain@addr`.
        validator: Arc<str>,
        /// 40 lower-case hex digits, or libp2p's for Noise; none on a unix socket.
        peer_id: Option<String>,
    },
    /// The peer of a tcp connection is not pinned; told once per validator.
    UnverifiedPeer {
        /// `chain@addr`.
        validator: Arc<str>,
        /// 40 lower-case hex digits.
        peer_id: String,
    },
    /// A vote or proposal was signed and sent.
    Signed {
        /// `chain@addr`.
        validator: Arc<str>,
        /// What was signed.
        signed: Signed,
        /// From the last byte of the request to the last byte of the reply.
        took: Duration,
    },
    /// The vote extension of the precommit that was told just before.
    SignedExtension {
        /// `chain@addr`.
        validator: Arc<str>,
        /// As in [`Event::Signed`].
        took: Duration,
    },
    /// Bytes outside of consensus were signed.
    SignedRaw {
        /// `chain@addr`.
        validator: Arc<str>,
        /// The `unique_id` of the request.
        label: String,
        /// SHA-256 of what was signed.
        digest: [u8; 32],
        /// As in [`Event::Signed`].
        took: Duration,
    },
    /// A heartbeat of v0.26 was signed: a proposer waits for transactions.
    SignedHeartbeat {
        /// `chain@addr`.
        validator: Arc<str>,
        /// Height.
        height: i64,
        /// Counts the heartbeats of one round.
        sequence: i64,
        /// As in [`Event::Signed`].
        took: Duration,
    },
    /// A request was answered with an error; nothing was signed.
    Refused {
        /// `chain@addr`.
        validator: Arc<str>,
        /// What was asked.
        asked: Option<Signed>,
        /// What the record says was signed before, where that is the reason.
        before: Option<Signed>,
        /// A conflicting signature was asked for.
        conflict: bool,
        /// The reason, as the node was told it.
        reason: String,
    },
    /// A vote or proposal was not signed for now, and the node was made to ask for it again. Told before that reply leaves.
    NotReady {
        /// `chain@addr`.
        validator: Arc<str>,
        /// What was asked.
        asked: Signed,
        /// Why the key is not ready.
        reason: String,
        /// How many of these went untold since the last one.
        unsaid: u64,
    },
    /// A chain stopped signing until the next start.
    Stopped {
        /// The chain.
        chain: String,
        /// The error with its causes.
        reason: String,
    },
    /// A connection ended or could not be made; it is dialled again unless `reconnect` is off.
    Disconnected {
        /// `chain@addr`.
        validator: Arc<str>,
        /// The error with its causes.
        reason: String,
        /// Whether another dial follows.
        redial: bool,
    },
    /// A message had a field that this version does not know; told once per validator and field.
    UnknownField {
        /// `chain@addr`.
        validator: Arc<str>,
        /// Message name and field number.
        field: String,
    },
    /// Something that an operator should look at.
    Warning {
        /// Whom it concerns: a chain, a validator, a provider or a file.
        subject: String,
        /// The warning.
        text: String,
    },
    /// Something that an operator may like to know.
    Notice {
        /// The whole line.
        text: String,
    },
}

/// A vote or proposal in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// `Proposal`, `Prevote` or `Precommit`.
    pub kind: &'static str,
    /// Height.
    pub height: i64,
    /// Round.
    pub round: i64,
    /// 0 proposal, 1 prevote, 2 precommit.
    pub step: u8,
    /// First 10 upper-case hex digits of the block hash; none for nil.
    pub block: Option<String>,
}

/// Where events go.
pub trait Sink: Send + Sync {
    /// Tells one event. Never blocks, never fails.
    fn tell(&self, event: &Event);

    /// Whether what is told still arrives somewhere: the watchdog asks.
    fn is_alive(&self) -> bool {
        true
    }
}

/// Several sinks as one.
impl Sink for Vec<Arc<dyn Sink>> {
    fn tell(&self, event: &Event) {
        for sink in self {
            sink.tell(event);
        }
    }

    fn is_alive(&self) -> bool {
        self.iter().all(|sink| sink.is_alive())
    }
}

/// An error with its causes, in one line: `what: cause: cause`.
#[must_use]
pub fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let _ = write!(text, ": {source}");
        cause = source.source();
    }
    text
}

/// What a panic that was caught said.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Tells nobody; for commands that only look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Sink for Silent {
    fn tell(&self, _: &Event) {}
}
