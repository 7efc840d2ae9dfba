//! Events as log lines, in the original's words where it had any.

use std::{fmt, time::Duration};

use crate::{
    application::logging::Busy,
    event::{Event, Signed, Sink},
};

/// A log that has not written a line for so long is dead.
const DEAD: Duration = Duration::from_secs(15);

/// The sink behind `tmkms start`.
pub(super) struct Log {
    /// What the writer is at; none before logging has started.
    pub(super) busy: Option<Busy>,
}

impl Sink for Log {
    fn tell(&self, event: &Event) {
        match event {
            Event::Connected { validator, peer_id } => match peer_id {
                Some(peer_id) => {
                    tracing::info!("[{validator}] connected to validator successfully ({peer_id})");
                }
                None => tracing::info!("[{validator}] connected to validator successfully"),
            },
            Event::UnverifiedPeer { validator, peer_id } => {
                tracing::warn!("[{validator}]: unverified validator peer ID! ({peer_id})");
            }
            Event::Signed { .. }
            | Event::SignedExtension { .. }
            | Event::SignedRaw { .. }
            | Event::SignedHeartbeat { .. } => signed(event),
            Event::Refused {
                validator,
                asked,
                before,
                conflict,
                reason,
            } => refused(
                validator,
                asked.as_ref(),
                before.as_ref(),
                *conflict,
                reason,
            ),
            Event::NotReady {
                validator,
                asked,
                reason,
                unsaid,
            } => not_ready(validator, asked, reason, *unsaid),
            Event::Stopped { chain, reason } => {
                tracing::error!("chain {chain} stopped signing: {reason}");
            }
            Event::Disconnected {
                validator,
                reason,
                redial: true,
            } => tracing::error!("[{validator}] {reason}"),
            Event::Disconnected {
                validator, reason, ..
            } => tracing::error!("[{validator}] {reason}; not dialled again (reconnect = false)"),
            Event::UnknownField { validator, field } => tracing::info!(
                "[{validator}] the node sends {field}, which this version does not know and passes over"
            ),
            Event::Warning { subject, text } => tracing::warn!("[{subject}] {text}"),
            Event::Notice { text } => tracing::info!("{text}"),
        }
    }

    fn is_alive(&self) -> bool {
        self.busy.as_ref().is_none_or(|busy| busy.stuck() < DEAD)
    }
}

fn signed(event: &Event) {
    match event {
        Event::Signed {
            validator,
            signed,
            took,
        } => tracing::info!(
            "[{validator}] signed {} ({} ms)",
            InWords(signed),
            took.as_millis()
        ),
        Event::SignedExtension { validator, took } => {
            tracing::info!(
                "[{validator}] signed vote extension ({} ms)",
                took.as_millis()
            );
        }
        Event::SignedRaw {
            validator,
            label,
            digest,
            took,
        } => tracing::info!(
            "[{validator}] signed raw bytes: {} SHA-256 {} ({} ms)",
            label.escape_debug(),
            Hex(digest),
            took.as_millis()
        ),
        // They come every other second, and nothing hangs on them.
        Event::SignedHeartbeat {
            validator,
            height,
            sequence,
            took,
        } => tracing::debug!(
            "[{validator}] signed heartbeat {sequence} at height {height} ({} ms)",
            took.as_millis()
        ),
        _ => {}
    }
}

fn refused(
    validator: &str,
    asked: Option<&Signed>,
    before: Option<&Signed>,
    conflict: bool,
    reason: &str,
) {
    let reason = reason.escape_debug();
    match (asked, before) {
        (Some(asked), Some(before)) if conflict => tracing::error!(
            "[{validator}] attempted double sign {}: signed before: {}; {reason}",
            InWords(asked),
            InWords(before)
        ),
        (Some(asked), Some(before)) => tracing::warn!(
            "[{validator}] refused {}: {reason}; signed before: {}",
            InWords(asked),
            InWords(before)
        ),
        (Some(asked), None) => tracing::warn!("[{validator}] refused {}: {reason}", InWords(asked)),
        (None, _) => tracing::warn!("[{validator}] refused: {reason}"),
    }
}

fn not_ready(validator: &str, asked: &Signed, reason: &str, unsaid: u64) {
    let (asked, reason) = (InWords(asked), reason.escape_debug());
    if unsaid == 0 {
        tracing::warn!("[{validator}] did not sign {asked} yet: {reason}; the node asks again");
    } else {
        tracing::warn!(
            "[{validator}] did not sign {asked} yet: {reason}; the node asks again, {unsaid} times already"
        );
    }
}

/// `Prevote:4141414141 at h/r/s 10/0/1`
struct InWords<'a>(&'a Signed);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signed {
            kind,
            height,
            round,
            step,
            block,
        } = self.0;
        let block = block.as_deref().unwrap_or("<nil>");
        write!(f, "{kind}:{block} at h/r/s {height}/{round}/{step}")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}
