//! Writing text into a fixed buffer by hand: no allocation and no formatting machinery between a request and its permit.

/// A cursor over a buffer. What does not fit is dropped and remembered.
pub(super) struct Text<'a> {
    rest: &'a mut [u8],
    overflowed: bool,
}

impl<'a> Text<'a> {
    /// Starts at the buffer's beginning.
    pub(super) fn over(buffer: &'a mut [u8]) -> Self {
        Self {
            rest: buffer,
            overflowed: false,
        }
    }

    /// Whether everything fitted.
    pub(super) fn fits(&self) -> bool {
        !self.overflowed
    }

    /// How many bytes of the buffer are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Appends bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        match std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            Some((head, rest)) => {
                head.copy_from_slice(bytes);
                self.rest = rest;
            }
            None => self.overflowed = true,
        }
        self
    }

    /// Appends text.
    pub(super) fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Appends a number without leading zeros.
    pub(super) fn decimal(&mut self, number: u64) -> &mut Self {
        let digits = digits(number);
        let leading = digits.iter().take(19).take_while(|d| **d == b'0').count();
        self.bytes(digits.split_at(leading).1)
    }

    /// Appends a number in 20 digits.
    pub(super) fn decimal20(&mut self, number: u64) -> &mut Self {
        self.bytes(&digits(number))
    }

    /// Appends 8 lower-case hex digits.
    pub(super) fn hex32(&mut self, number: u32) -> &mut Self {
        self.hex(&number.to_be_bytes())
    }

    /// Appends bytes as lower-case hex digits.
    pub(super) fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.bytes(&[hex_digit(byte >> 4), hex_digit(byte & 0x0f)]);
        }
        self
    }
}

/// Reads a number that [`Text::decimal`] wrote (a sign or white space is none).
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn digits(mut number: u64) -> [u8; 20] {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
    }
    digits
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Text<'_>)) -> String {
        let mut buffer = [b' '; 40];
        let mut text = Text::over(&mut buffer);
        write(&mut text);
        assert!(text.fits());
        String::from_utf8_lossy(&buffer).trim_end().to_owned()
    }

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        for number in [0, 1, 9, 10, 36, 1_700_000_000, u64::MAX] {
            assert_eq!(written(|text| _ = text.decimal(number)), number.to_string());
            assert_eq!(
                written(|text| _ = text.decimal20(number)),
                format!("{number:020}")
            );
            assert_eq!(decimal(&number.to_string()), Some(number));
        }
        for number in [0, 0x1234_abcd, u32::MAX] {
            assert_eq!(
                written(|text| _ = text.hex32(number)),
                format!("{number:08x}")
            );
        }
        assert_eq!(decimal("+1"), None);
        assert_eq!(decimal(""), None);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut buffer = [0; 3];
        let mut text = Text::over(&mut buffer);
        assert!(text.str("abc").fits());
        assert!(!text.str("d").fits());
    }
}
