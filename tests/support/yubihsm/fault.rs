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
    /// The device is pulled out before it has the message, and stays out until it is plugged.
    Pulled,
    /// The device answers the command within its session with this error code.
    Code(u8),
}

/// Faults that wait for their message.
#[derive(Default)]
pub struct Faults {
    /// No device on the bus.
    pub unplugged: bool,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    command: Option<u8>,
    /// How many such messages pass first.
    after: usize,
    fault: Fault,
}

impl Faults {
    /// Waits until `after` such messages have passed, and happens to the next. `None` is any command.
    pub fn add(&mut self, command: Option<u8>, after: usize, fault: Fault) {
        self.waiting.push_back(Waiting {
            command,
            after,
            fault,
        });
    }

    /// What happens to a message that asks for `command`: the first that has waited for it long enough. The others wait on.
    pub fn take(&mut self, command: u8) -> Option<Fault> {
        let mut due = None;
        for (at, waiting) in self.waiting.iter_mut().enumerate() {
            if waiting.command.is_some_and(|wanted| wanted != command) {
                continue;
            }
            if waiting.after > 0 {
                waiting.after -= 1;
            } else if due.is_none() {
                due = Some(at);
            }
        }
        self.waiting.remove(due?).map(|waiting| waiting.fault)
    }

    /// How many have not happened yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}
