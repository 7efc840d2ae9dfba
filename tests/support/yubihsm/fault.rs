//! What can go wrong between a signer and its device, on demand.

use std::{collections::VecDeque, time::Duration};

/// A fault of one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The connection ends, and the device never saw the message.
    DropBefore,
    /// The device did it, and the connection ends without an answer.
    DropAfter,
    /// The response's body comes in two TCP segments.
    TwoSegments,
    /// The answer takes that much longer.
    Delay(Duration),
    /// The response's MAC is wrong by a bit; only a message within a session has one.
    WrongMac,
    /// The device has forgotten the session that the message is of.
    SessionLost,
    /// Another program has the device: the connector answers 500.
    Busy,
    /// The device answers the command within its session with this error code.
    Code(u8),
}

/// Faults that wait for their message.
#[derive(Default)]
pub struct Faults {
    /// No device on the bus.
    pub unplugged: bool,
    waiting: VecDeque<(Option<u8>, Fault)>,
}

impl Faults {
    /// `None` waits for the next message, whatever it asks for.
    pub fn add(&mut self, command: Option<u8>, fault: Fault) {
        self.waiting.push_back((command, fault));
    }

    /// The first that waits for such a message.
    pub fn take(&mut self, command: u8) -> Option<Fault> {
        let at = self
            .waiting
            .iter()
            .position(|(wanted, _)| wanted.is_none_or(|wanted| wanted == command))?;
        self.waiting.remove(at).map(|(_, fault)| fault)
    }

    /// How many have not happened yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}
