//! What a command asks a person, on stderr and stdin.
//!
//! A secret is not shown while it is typed. Where stdin is no terminal, one line is read and nothing is shown either. Input is read
//! byte by byte: a buffer would keep secrets, and what belongs to the next question.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use rustix::{
    io::Errno,
    termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios},
};
use zeroize::Zeroizing;

use crate::commands::Failure;

/// The longest line, in bytes: twice what 24 long words have.
const MAX_LEN: usize = 1_024;

/// Asks for something that must not be seen.
///
/// # Errors
/// `Failure` if nothing can be read, the line ends at once, or the person pressed Ctrl-C.
pub(super) fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    ask(question, Echo::Off)
}

/// Asks for something that may be seen.
///
/// # Errors
/// `Failure` as for [`secret`], but an empty line is an answer too.
pub(super) fn line(question: &str) -> Result<Zeroizing<String>, Failure> {
    ask(question, Echo::On)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Echo {
    On,
    Off,
}

fn ask(question: &str, echo: Echo) -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    let is_terminal = termios::isatty(stdin.as_fd());
    // Nobody is left to ask when stderr is closed; the answer may be in stdin all the same.
    let _ = write!(io::stderr(), "{question}").and_then(|()| io::stderr().flush());
    let answer = {
        let _silence = match echo {
            Echo::Off if is_terminal => Some(Silence::begin().map_err(cannot_ask)?),
            _ => None,
        };
        read_line(|| read_byte(&stdin))
    };
    if echo == Echo::Off || !is_terminal {
        let _ = writeln!(io::stderr());
    }
    let answer = answer?;
    if echo == Echo::Off && answer.is_empty() {
        return Err(Failure::new("nothing was typed"));
    }
    Ok(answer)
}

/// A terminal that shows nothing and interprets nothing, until dropped.
struct Silence {
    before: Termios,
}

impl Silence {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(stdin.as_fd())?;
        let mut silent = before.clone();
        // Without ISIG Ctrl-C arrives as a byte: the process must not end before the terminal is as it was.
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that went away meanwhile needs no care.
        let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &self.before);
    }
}

/// One byte; none at the end of the input.
fn read_byte(stdin: &io::Stdin) -> io::Result<Option<u8>> {
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match rustix::io::read(stdin.as_fd(), byte.as_mut_slice()) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(byte.first().copied()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A line, with what a terminal would do to it where it does not do so itself: Backspace, Ctrl-U, Ctrl-C, Ctrl-D.
fn read_line(
    mut next: impl FnMut() -> io::Result<Option<u8>>,
) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LEN));
    let mut nothing_came = true;
    while let Some(byte) = next().map_err(cannot_ask)? {
        nothing_came = false;
        match byte {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Err(Failure::new("interrupted")),
            0x15 => line.clear(),
            0x08 | 0x7f => {
                // A character of several bytes goes as a whole.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() < MAX_LEN => line.push(byte),
            _ => return Err(Failure::new("that line is longer than any answer")),
        }
    }
    if nothing_came {
        return Err(
            Failure::new("there is nobody to ask: stdin is at its end").hint(
                "type the answer in a terminal, or write it to stdin, one line for each question",
            ),
        );
    }
    let text = std::str::from_utf8(&line).map_err(|_| Failure::new("what was typed is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn cannot_ask(error: io::Error) -> Failure {
    Failure::new("cannot read what is typed").cause(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Result<String, Failure> {
        let mut bytes = bytes.iter().copied();
        read_line(|| Ok(bytes.next())).map(|line| line.to_string())
    }

    #[test]
    fn a_line_ends_where_it_ends_and_is_edited_as_a_terminal_would() {
        assert_eq!(typed(b"word\nnext"), Ok("word".into()));
        assert_eq!(typed(b"word\r\n"), Ok("word".into()));
        assert_eq!(typed(b"without end"), Ok("without end".into()));
        assert_eq!(typed(b"\n"), Ok(String::new()));
        assert_eq!(typed(b"worr\x7fd\n"), Ok("word".into()));
        assert_eq!(typed("wör\x7f\x7f\x08ord\n".as_bytes()), Ok("ord".into()));
        assert_eq!(typed(b"\x7fw\n"), Ok("w".into()));
        assert_eq!(typed(b"wrong\x15word\n"), Ok("word".into()));
    }

    #[test]
    fn no_answer_is_told_from_an_empty_one() {
        assert!(typed(b"").is_err());
        assert!(typed(b"word\x03").is_err());
        assert!(typed(b"\xff\xfe\n").is_err());
        assert!(typed(&[b'a'; MAX_LEN + 1]).is_err());
    }
}
