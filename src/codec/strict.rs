//! Strict, schema-driven reading of protobuf: one pass, nothing copied, nothing merged.
//!
//! Protobuf libraries take the last of two fields and merge duplicate submessages, so two readers of one message can
//! see two different votes. Here a second occurrence of a field is an error, as is everything that a node never writes:
//! over-long varints, numbers out of range, wrong wire types, text that is not UTF-8. Fields that a schema does not
//! name are stepped over and noted: newer nodes add some.

use std::fmt;

/// How many different unknown fields are remembered by name; a hostile peer could send 2²⁹.
const MAX_NOTED: usize = 64;

/// How the bytes of one field break the encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The message ends within the field.
    #[error("ends too early")]
    Truncated,
    /// A varint of more than 64 bits, or with needless trailing zeros.
    #[error("malformed varint")]
    Varint,
    /// Field number 0 or above 2²⁹ − 1.
    #[error("impossible field number")]
    FieldNumber,
    /// Another wire type than the field's, or one that proto3 does not have.
    #[error("wrong wire type")]
    WireType,
    /// The field was there already.
    #[error("occurs twice")]
    Duplicate,
    /// After a field with a greater number, where an encoding has an order.
    #[error("out of order")]
    Order,
    /// A number that the field's type does not hold.
    #[error("number out of range")]
    Range,
    /// Text that is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
}

/// A message and one of its fields, by name: `Vote.height`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Name of the message.
    pub message: &'static str,
    /// Name of the field; empty where it is not a known one.
    pub field: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)?;
        if !self.field.is_empty() {
            write!(f, ".{}", self.field)?;
        }
        Ok(())
    }
}

/// The type of a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// `bool`: 0 or 1.
    Bool,
    /// `int32` or an enum: sign-extended to 64 bits on the wire.
    Int32,
    /// `int64`.
    Int64,
    /// `uint32`.
    Uint32,
    /// `bytes`, or a submessage that is read on its own.
    Bytes,
    /// `string`.
    Text,
}

/// The fields 1 to N of one message, in the order of their numbers.
#[derive(Debug)]
pub struct Schema<const N: usize> {
    /// Name of the message.
    pub name: &'static str,
    /// Name and type of each field.
    pub fields: [(&'static str, Shape); N],
}

impl<const N: usize> Schema<N> {
    /// The place of field `number`.
    #[must_use]
    pub fn place(&self, number: usize) -> Place {
        let field = number.checked_sub(1).and_then(|at| self.fields.get(at));
        Place {
            message: self.name,
            field: field.map_or("", |(name, _)| name),
        }
    }

    /// Reads one level of a message whose fields have to stand in the order of their numbers.
    ///
    /// # Errors
    /// Where and how the bytes break the encoding.
    pub fn read_in_order<'a>(
        &self,
        bytes: &'a [u8],
        unknown: &mut Unknown,
    ) -> Result<Record<'a, N>, (Place, Fault)> {
        let mut cursor = Cursor::new(bytes);
        let mut last = 0;
        while !cursor.is_empty() {
            let (number, wire) = cursor.tag().map_err(|fault| (self.place(0), fault))?;
            let place = self.place(usize::try_from(number).unwrap_or_default());
            if number <= last && !cfg!(mutant = "no_order") {
                let fault = if number == last {
                    Fault::Duplicate
                } else {
                    Fault::Order
                };
                return Err((place, fault));
            }
            last = number;
            cursor.skip(wire).map_err(|fault| (place, fault))?;
        }
        self.read(bytes, unknown)
    }

    /// Reads one level of a message.
    ///
    /// # Errors
    /// Where and how the bytes break the encoding.
    pub fn read<'a>(
        &self,
        bytes: &'a [u8],
        unknown: &mut Unknown,
    ) -> Result<Record<'a, N>, (Place, Fault)> {
        let mut record = Record { slots: [None; N] };
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let (number, wire) = cursor.tag().map_err(|fault| (self.place(0), fault))?;
            let at = usize::try_from(number).map_or(usize::MAX, |number| number - 1);
            let (Some((_, shape)), Some(slot)) = (self.fields.get(at), record.slots.get_mut(at))
            else {
                unknown.note(self.name, number);
                cursor.skip(wire).map_err(|fault| (self.place(0), fault))?;
                continue;
            };
            let value = cursor.value(wire, *shape).and_then(|value| {
                if slot.is_none() {
                    Ok(value)
                } else {
                    Err(Fault::Duplicate)
                }
            });
            *slot = Some(value.map_err(|fault| (self.place(at + 1), fault))?);
        }
        Ok(record)
    }
}

/// The fields of one message that were there; numbers start at 1.
#[derive(Debug)]
pub struct Record<'a, const N: usize> {
    slots: [Option<Value<'a>>; N],
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
}

impl<'a, const N: usize> Record<'a, N> {
    /// A varint field; 0 if it was not there.
    #[must_use]
    pub fn int64(&self, number: usize) -> i64 {
        match self.slot(number) {
            Some(Value::Number(value)) => value,
            _ => 0,
        }
    }

    /// An `int32` or enum field; 0 if it was not there.
    #[must_use]
    pub fn int32(&self, number: usize) -> i32 {
        // The reader has checked the range of every field that the schema calls an int32.
        i32::try_from(self.int64(number)).unwrap_or_default()
    }

    /// A `uint32` field; 0 if it was not there.
    #[must_use]
    pub fn uint32(&self, number: usize) -> u32 {
        u32::try_from(self.int64(number)).unwrap_or_default()
    }

    /// A `bool` field; false if it was not there.
    #[must_use]
    pub fn flag(&self, number: usize) -> bool {
        self.int64(number) != 0
    }

    /// A bytes field; empty if it was not there.
    #[must_use]
    pub fn bytes(&self, number: usize) -> &'a [u8] {
        self.submessage(number).unwrap_or_default()
    }

    /// The bytes of a submessage, told from an absent one.
    #[must_use]
    pub fn submessage(&self, number: usize) -> Option<&'a [u8]> {
        match self.slot(number) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A string field; empty if it was not there.
    #[must_use]
    pub fn text(&self, number: usize) -> &'a str {
        match self.slot(number) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    fn slot(&self, number: usize) -> Option<Value<'a>> {
        *self.slots.get(number.checked_sub(1)?)?
    }
}

/// Unknown fields, each noted once.
#[derive(Debug, Default)]
pub struct Unknown {
    seen: Vec<(&'static str, u32)>,
    told: usize,
}

impl Unknown {
    /// Remembers that a message had a field that its schema does not name.
    pub fn note(&mut self, message: &'static str, number: u32) {
        if self.seen.len() < MAX_NOTED && !self.seen.contains(&(message, number)) {
            self.seen.push((message, number));
        }
    }

    /// What was noted since the last call, as `SignVoteRequest.7`.
    pub fn take(&mut self) -> Vec<String> {
        let new = self.seen.get(self.told..).unwrap_or_default();
        let named = new.iter().map(|(name, number)| format!("{name}.{number}"));
        let named = named.collect();
        self.told = self.seen.len();
        named
    }
}

/// How a field's value is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// 0: a varint.
    Varint,
    /// 1: eight bytes.
    Eight,
    /// 2: a length and that many bytes.
    Delimited,
    /// 5: four bytes.
    Four,
}

/// A place within bytes; every read moves it forward or fails.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Field number (1 to 2²⁹ − 1) and wire type.
    ///
    /// # Errors
    /// `Fault` if there is no tag that proto3 has.
    pub fn tag(&mut self) -> Result<(u32, Wire), Fault> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Fault::FieldNumber)?;
        if number == 0 || number >= 1 << 29 {
            return Err(Fault::FieldNumber);
        }
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Eight,
            2 => Wire::Delimited,
            5 => Wire::Four,
            _ => return Err(Fault::WireType),
        };
        Ok((number, wire))
    }

    /// A length and that many bytes.
    ///
    /// # Errors
    /// `Fault` if fewer are left.
    pub fn delimited(&mut self) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
        self.take(len)
    }

    /// Steps over the value of a field that nobody asks for.
    ///
    /// # Errors
    /// `Fault` if it is not whole.
    pub fn skip(&mut self, wire: Wire) -> Result<(), Fault> {
        match wire {
            Wire::Varint => self.varint().map(|_| ()),
            Wire::Eight => self.take(8).map(|_| ()),
            Wire::Delimited => self.delimited().map(|_| ()),
            Wire::Four => self.take(4).map(|_| ()),
        }
    }

    fn value(&mut self, wire: Wire, shape: Shape) -> Result<Value<'a>, Fault> {
        match (shape, wire) {
            (Shape::Bytes, Wire::Delimited) => self.delimited().map(Value::Bytes),
            (Shape::Text, Wire::Delimited) => {
                let text = std::str::from_utf8(self.delimited()?).map_err(|_| Fault::Utf8)?;
                Ok(Value::Text(text))
            }
            (Shape::Bytes | Shape::Text, _) => Err(Fault::WireType),
            (_, Wire::Varint) => {
                let value = self.varint()?.cast_signed();
                let fits = match shape {
                    Shape::Bool => matches!(value, 0 | 1),
                    Shape::Int32 => i32::try_from(value).is_ok(),
                    Shape::Uint32 => u32::try_from(value).is_ok(),
                    Shape::Int64 | Shape::Bytes | Shape::Text => true,
                };
                if fits {
                    Ok(Value::Number(value))
                } else {
                    Err(Fault::Range)
                }
            }
            _ => Err(Fault::WireType),
        }
    }

    /// A varint in its shortest form: nobody writes another, and two forms of one message would be two messages.
    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(Fault::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let needless = byte == 0 && shift != 0;
                return if needless {
                    Err(Fault::Varint)
                } else {
                    Ok(value)
                };
            }
        }
        Err(Fault::Varint)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, Fault> {
        Cursor::new(bytes).varint()
    }

    #[test]
    fn a_varint_has_one_form() {
        assert_eq!(varint(&[0]), Ok(0));
        assert_eq!(varint(&[0x80, 0x01]), Ok(128));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(varint(&most), Ok(u64::MAX));
        assert_eq!(varint(&[0x80, 0x00]), Err(Fault::Varint));
        assert_eq!(varint(&[0x81, 0x80, 0x00]), Err(Fault::Varint));
        assert_eq!(varint(&[0x80]), Err(Fault::Truncated));
        assert_eq!(varint(&[]), Err(Fault::Truncated));
        let too_wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(varint(&too_wide), Err(Fault::Varint));
        assert_eq!(varint(&[0xff; 11]), Err(Fault::Varint));
    }

    #[test]
    fn a_tag_is_a_field_that_proto3_has() {
        let tag = |bytes: &[u8]| Cursor::new(bytes).tag();
        assert_eq!(tag(&[0x08]), Ok((1, Wire::Varint)));
        assert_eq!(tag(&[0x00]), Err(Fault::FieldNumber));
        assert_eq!(tag(&[0x0b]), Err(Fault::WireType));
        assert_eq!(
            tag(&[0xfa, 0xff, 0xff, 0xff, 0x0f]),
            Ok(((1 << 29) - 1, Wire::Delimited))
        );
        assert_eq!(
            tag(&[0x82, 0x80, 0x80, 0x80, 0x10]),
            Err(Fault::FieldNumber)
        );
    }

    #[test]
    fn unknown_fields_are_told_once_and_bounded() {
        let mut unknown = Unknown::default();
        unknown.note("Vote", 13);
        unknown.note("Vote", 13);
        assert_eq!(unknown.take(), ["Vote.13"]);
        unknown.note("Vote", 13);
        assert_eq!(unknown.take(), Vec::<String>::new());
        for number in 0..1_000 {
            unknown.note("Vote", number);
        }
        assert_eq!(unknown.take().len(), MAX_NOTED - 1);
    }
}
