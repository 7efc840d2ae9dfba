//! The codec of one node, whatever it speaks: the handshake tells protobuf from amino, and where there is none the first
//! message does.

use std::{fmt, time::Duration};

use crate::{
    codec::{
        Codec, DecodeError, Dialect, Family, Reason, Response, Spoken,
        amino::Amino,
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

    /// Holds a node against it.
    ///
    /// # Errors
    /// `Reason::OtherFamily`, with what the node speaks instead.
    pub fn hold(&self, found: Family) -> Result<(), Reason> {
        if found == self.family {
            return Ok(());
        }
        Err(self.contradicted(found.in_words()))
    }

    fn contradicted(&self, found: &'static str) -> Reason {
        Reason::OtherFamily {
            pinned: self.spelling,
            found,
        }
    }
}

/// Every dialect. A first message without a handshake before it goes to the one that knows it.
const DIALECTS: &[Entry] = &[
    // v0.34 to v2, Celestia.
    Entry::of::<Proto>(),
    // v0.26 to v0.33.
    Entry::of::<Amino>(),
];

/// A line of the table.
struct Entry {
    name: &'static str,
    families: &'static [Family],
    begins: fn(&[u8]) -> bool,
    open: fn(&Options) -> Box<dyn Spoken>,
}

impl Entry {
    const fn of<D: Dialect + 'static>() -> Self {
        Self {
            name: D::NAME,
            families: D::FAMILIES,
            begins: D::begins,
            open: |options| Box::new(D::open(options)),
        }
    }
}

/// A codec that finds out what its node speaks.
pub struct Node {
    /// In the order of the table.
    dialects: Vec<Box<dyn Spoken>>,
    pin: Option<Pin>,
    /// The place in the table of what the node speaks.
    speaks: Option<usize>,
    told: Option<&'static str>,
    told_nameless: bool,
}

impl Node {
    /// A codec for a node that may speak anything, or what the pin says.
    #[must_use]
    pub fn new(options: &Options, pin: Option<Pin>) -> Self {
        Self {
            dialects: DIALECTS.iter().map(|it| (it.open)(options)).collect(),
            pin,
            speaks: None,
            told: None,
            told_nameless: false,
        }
    }

    /// What nobody knows goes to the first, which says what is wrong with it.
    fn current(&self) -> &dyn Spoken {
        let dialect = self.dialects.get(self.speaks.unwrap_or_default());
        &**dialect.expect("a place in a table of the same length")
    }

    fn current_mut(&mut self) -> &mut dyn Spoken {
        let dialect = self.dialects.get_mut(self.speaks.unwrap_or_default());
        &mut **dialect.expect("a place in a table of the same length")
    }

    /// Without a handshake the first message decides: nothing that begins a request in one dialect does so in another.
    fn listen(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        if self.speaks.is_some() {
            return Ok(());
        }
        let mut table = DIALECTS.iter().enumerate();
        let Some((place, entry)) = table.find(|(_, entry)| (entry.begins)(message)) else {
            return Ok(());
        };
        if let Some(pin) = &self.pin
            && !entry.families.contains(&pin.family)
        {
            let reason = pin.contradicted(entry.name);
            return Err(DecodeError::Unanswerable(reason));
        }
        self.speaks = Some(place);
        Ok(())
    }

    /// What was found out of the node, held against what the operator says.
    fn hold(&self, found: Option<Family>) -> Result<(), DecodeError> {
        match (&self.pin, found) {
            (Some(pin), Some(found)) => pin.hold(found).map_err(DecodeError::Unanswerable),
            _ => Ok(()),
        }
    }
}

impl Codec for Node {
    fn decode(&mut self, message: &[u8]) -> Result<Request, DecodeError> {
        self.listen(message)?;
        let decoded = self.current_mut().decode(message);
        // Where the handshake told no family, or there was none, the messages may.
        self.hold(self.current().family())?;
        decoded
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
        let speaks = |family| DIALECTS.iter().position(|it| it.families.contains(&family));
        self.speaks = family.and_then(speaks);
        for dialect in &mut self.dialects {
            dialect.begin(family)?;
        }
        self.hold(family)
    }

    fn take_found(&mut self) -> Option<&'static str> {
        self.speaks?;
        let found = self.current().found()?;
        let is_news = self.told != Some(found);
        self.told = Some(found);
        is_news.then_some(found)
    }

    fn take_nameless(&mut self) -> bool {
        let is_nameless = self.speaks.is_some() && !self.current().names_its_chain();
        is_nameless && !std::mem::replace(&mut self.told_nameless, true)
    }

    fn reply_limit(&self) -> Duration {
        self.current().reply_limit()
    }

    fn mistakes_late_replies(&self) -> bool {
        self.current().mistakes_late_replies()
    }

    fn ends_with_its_connection(&self) -> bool {
        self.current().ends_with_its_connection()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("pin", &self.pin)
            .field("speaks", &self.speaks)
            .finish_non_exhaustive()
    }
}
