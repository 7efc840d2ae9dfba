//! The readers under test, each with what must hold for every input.

mod amino;
mod amino_handshake;
mod codec;
mod config;
mod frame;
mod handshake;
mod key;
mod noise;
mod record;

/// In the order of `.ci/fuzz`.
pub(crate) const NAMES: [&str; 9] = [
    "frame",
    "handshake",
    "codec",
    "config",
    "key",
    "record",
    "amino",
    "amino_handshake",
    "noise",
];

/// One reader.
pub(crate) trait Target {
    /// Inputs to begin with; the reader takes at least one of them.
    fn corpus(&self) -> Vec<Vec<u8>>;

    /// Runs one input: what the reader did, in words that are equal for equal behaviour.
    ///
    /// # Errors
    /// The property that does not hold.
    fn run(&mut self, input: &[u8]) -> Result<String, String>;

    /// The longest input that is tried, in bytes.
    fn longest(&self) -> usize {
        8 << 10
    }

    /// Words of the reader's language.
    fn words(&self) -> &'static [&'static str] {
        &["test_chain_id", "18446744073709551615", "-1"]
    }
}

pub(crate) fn open(name: &str) -> Option<Box<dyn Target>> {
    Some(match name {
        "frame" => Box::new(frame::Frames),
        "handshake" => Box::new(handshake::Handshakes::new()),
        "codec" => Box::new(codec::Codecs),
        "amino" => Box::new(amino::Aminos),
        "amino_handshake" => Box::new(amino_handshake::AminoHandshakes::new()),
        "noise" => Box::new(noise::Noises::new()),
        "config" => Box::new(config::Configs),
        "key" => Box::new(key::Keys::new()),
        "record" => Box::new(record::Records::new()),
        _ => return None,
    })
}

/// A property that has to hold.
macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use hold;

/// A directory that goes away with its owner, in memory where the system has such a place.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary directory can be made")
}

/// Text without what differs between two inputs that a reader treats alike: what stands in quotes.
fn without_quotes(text: &str) -> String {
    text.split(['\'', '"', '`']).step_by(2).collect()
}
