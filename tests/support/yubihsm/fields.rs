//! Reading a payload field by field. Too little, or something left over, is `WRONG_LENGTH`.

use super::codes::{Code, WRONG_LENGTH};

/// What is left of a payload.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Code> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(WRONG_LENGTH)?;
        self.0 = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Code> {
        Ok(self.bytes::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, Code> {
        self.bytes().map(u16::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Code> {
        self.bytes().map(u64::from_be_bytes)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn end(self) -> Result<(), Code> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(WRONG_LENGTH)
        }
    }
}

/// `command ‖ length u16be ‖ payload`.
pub fn frame(command: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("no payload is as long as that");
    let mut frame = vec![command];
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The command and the payload of a frame. Bytes behind it are an error too.
pub fn unframe(frame: &[u8]) -> Result<(u8, &[u8]), Code> {
    let mut fields = Fields::new(frame);
    let command = fields.u8()?;
    let length = usize::from(fields.u16()?);
    let payload = fields.rest();
    if payload.len() == length {
        Ok((command, payload))
    } else {
        Err(WRONG_LENGTH)
    }
}
