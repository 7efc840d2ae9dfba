//! The codec of one node, whatever it speaks: the handshake tells protobuf from amino, and where there is none the first
//! message does.

use std::time::Duration;

use crate::{
    codec::{
        Codec, DecodeError, Family, Found, Reason, Response,
        amino::{Amino, Layout},
        proto::{Options, Proto},
    },
    privval::{Kind, Request},
};

/// What the operator says that a node speaks: its family, and no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin {
    /// `protocol_version`, as it is written.
    pub spelling: &'static str,
    /// What it stands for.
    pub family: Family,
}

impl Pin {
    /// Every spelling of `protocol_version`, those of the original among them.
    pub const ALL: [Self; 18] = [
        Self::new("legacy", Family::Legacy),
        Self::new("v0.26", Family::Legacy),
        Self::new("v0.27", Family::Legacy),
        Self::new("v0.28", Family::Legacy),
        Self::new("v0.29", Family::Legacy),
        Self::new("v0.30", Family::Legacy),
        Self::new("v0.31", Family::Legacy),
        Self::new("v0.32", Family::Legacy),
        Self::new("v0.33", Family::V033),
        Self::new("v0.34", Family::Protobuf),
        Self::new("v0.35", Family::Protobuf),
        Self::new("v0.36", Family::Protobuf),
        Self::new("v0.37", Family::Protobuf),
        Self::new("v0.38", Family::Protobuf),
        Self::new("v0.39", Family::Protobuf),
        Self::new("v0.40", Family::Protobuf),
        Self::new("v1", Family::Protobuf),
        Self::new("v2", Family::Protobuf),
    ];

    const fn new(spelling: &'static str, family: Family) -> Self {
        Self { spelling, family }
    }
}

/// A codec that finds out what its node speaks.
#[derive(Debug)]
pub struct Node {
    proto: Proto,
    amino: Amino,
    pin: Option<Pin>,
    /// What the handshake told.
    family: Option<Family>,
    speaks: Option<Speaks>,
    told: Option<Found>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Speaks {
    Protobuf,
    Amino,
}

impl Node {
    /// A codec for a node that may speak anything, or what the pin says.
    #[must_use]
    pub fn new(options: Options, pin: Option<Pin>) -> Self {
        let amino = Amino::new(options.chain_id.clone());
        Self {
            proto: Proto::new(options),
            amino,
            pin,
            family: None,
            speaks: None,
            told: None,
        }
    }

    fn current(&self) -> &dyn Codec {
        match self.speaks {
            Some(Speaks::Amino) => &self.amino,
            Some(Speaks::Protobuf) | None => &self.proto,
        }
    }

    fn current_mut(&mut self) -> &mut dyn Codec {
        match self.speaks {
            Some(Speaks::Amino) => &mut self.amino,
            Some(Speaks::Protobuf) | None => &mut self.proto,
        }
    }

    fn contradicts(&self, found: &'static str) -> Result<(), DecodeError> {
        match &self.pin {
            None => Ok(()),
            Some(pin) => Err(DecodeError::Unanswerable(Reason::OtherFamily {
                pinned: pin.spelling,
                found,
            })),
        }
    }

    /// Without a handshake the first message decides: nothing that begins a request in one family does so in the other.
    fn listen(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        if self.speaks.is_some() {
            return Ok(());
        }
        let speaks = if Amino::begins(message) {
            Speaks::Amino
        } else {
            Speaks::Protobuf
        };
        match (self.pin.as_ref().map(|pin| pin.family), speaks) {
            (None, _)
            | (Some(Family::Protobuf), Speaks::Protobuf)
            | (Some(Family::Legacy | Family::V033), Speaks::Amino) => {}
            (_, Speaks::Amino) => self.contradicts("amino (Tendermint v0.33 or older)")?,
            (_, Speaks::Protobuf) => self.contradicts(Family::Protobuf.in_words())?,
        }
        self.speaks = Some(speaks);
        Ok(())
    }

    /// What is known by now, once it is all that can be known.
    fn found(&self) -> Option<Found> {
        let dialect = match (self.speaks?, self.amino.layout(), self.family) {
            (Speaks::Protobuf, ..) => Family::Protobuf.in_words(),
            (Speaks::Amino, None, _) => return None,
            (Speaks::Amino, Some(Layout::TimeFirst), _) if self.amino.is_of_v026_or_v027() => {
                "amino (Tendermint v0.26 or v0.27)"
            }
            (Speaks::Amino, Some(Layout::TimeFirst), _) => "amino (Tendermint v0.28)",
            (Speaks::Amino, Some(Layout::BlockFirst), Some(Family::V033)) => {
                Family::V033.in_words()
            }
            (Speaks::Amino, Some(Layout::BlockFirst), Some(_)) => {
                "amino (Tendermint v0.29 to v0.32)"
            }
            (Speaks::Amino, Some(Layout::BlockFirst), None) => "amino (Tendermint v0.29 to v0.33)",
        };
        Some(Found {
            dialect,
            names_its_chain: self.speaks == Some(Speaks::Protobuf),
        })
    }
}

impl Codec for Node {
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError> {
        self.listen(message)?;
        self.current_mut().decode(message)
    }

    fn encode(&self, response: &Response<'_>, out: &mut Vec<u8>) {
        self.current().encode(response, out);
    }

    fn try_again(&self, kind: Kind, out: &mut Vec<u8>) -> bool {
        self.current().try_again(kind, out)
    }

    fn take_unknown_fields(&mut self) -> Vec<String> {
        self.current_mut().take_unknown_fields()
    }

    fn begin(&mut self, family: Option<Family>) -> Result<(), DecodeError> {
        self.family = family;
        self.speaks = family.map(|family| match family {
            Family::Legacy | Family::V033 => Speaks::Amino,
            Family::Protobuf => Speaks::Protobuf,
        });
        self.amino.begin(family)?;
        match (&self.pin, family) {
            (Some(pin), Some(found)) if pin.family != found => self.contradicts(found.in_words()),
            _ => Ok(()),
        }
    }

    fn take_found(&mut self) -> Option<Found> {
        let found = self.found()?;
        let is_news = self.told != Some(found);
        self.told = Some(found);
        is_news.then_some(found)
    }

    fn reply_limit(&self) -> Duration {
        self.current().reply_limit()
    }

    fn ends_with_its_connection(&self) -> bool {
        self.current().ends_with_its_connection()
    }
}
