//! The number systems in which peer IDs are written.

/// The longest text that is looked at; a peer ID in hexadecimal has 83 characters.
const MAX: usize = 128;

const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE36: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

/// base58 of Bitcoin.
pub(super) fn to_base58(bytes: &[u8]) -> String {
    let mut digits = convert(bytes.iter().copied(), 256, 58);
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    digits.resize(digits.len() + zeros, 0);
    let letters = digits.iter().rev();
    letters
        .filter_map(|digit| BASE58.get(usize::from(*digit)))
        .map(|letter| char::from(*letter))
        .collect()
}

/// base58 of Bitcoin; `None` if another letter is in it.
pub(super) fn from_base58(text: &str) -> Option<Vec<u8>> {
    number(text.as_bytes(), BASE58, 58)
}

/// What follows a letter that says how it is written.
pub(super) fn from_multibase(text: &str) -> Option<Vec<u8>> {
    let (base, digits) = text.as_bytes().split_first()?;
    match base {
        b'b' => base32(digits),
        b'B' => base32(&lowered(digits)?),
        b'k' => number(digits, BASE36, 36),
        b'K' => number(&lowered(digits)?, BASE36, 36),
        b'z' => number(digits, BASE58, 58),
        b'f' if digits.len() <= MAX => subtle_encoding::hex::decode(digits).ok(),
        b'F' => subtle_encoding::hex::decode(lowered(digits)?).ok(),
        _ => None,
    }
}

/// Capital letters as small ones; `None` if small ones are among them.
fn lowered(digits: &[u8]) -> Option<Vec<u8>> {
    let mixed = digits.iter().any(u8::is_ascii_lowercase);
    (!mixed && digits.len() <= MAX).then(|| digits.to_ascii_lowercase())
}

/// A number in some base as bytes; each leading zero is a byte.
fn number(digits: &[u8], alphabet: &[u8], base: u32) -> Option<Vec<u8>> {
    if digits.len() > MAX {
        return None;
    }
    let values: Vec<u8> = digits
        .iter()
        .map(|digit| value(*digit, alphabet))
        .collect::<Option<_>>()?;
    let zeros = values.iter().take_while(|value| **value == 0).count();
    let mut bytes = convert(values.into_iter(), base, 256);
    bytes.resize(bytes.len() + zeros, 0);
    bytes.reverse();
    Some(bytes)
}

/// Groups of five bits, without padding; what is left over must be zero.
fn base32(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.len() > MAX || matches!(digits.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in digits {
        bits = bits << 5 | u32::from(value(*digit, BASE32)?);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

fn value(digit: u8, alphabet: &[u8]) -> Option<u8> {
    let place = alphabet.iter().position(|letter| *letter == digit)?;
    u8::try_from(place).ok()
}

/// The digits of a number in another base, the lowest first; leading zeros are lost.
fn convert(digits: impl Iterator<Item = u8>, from: u32, to: u32) -> Vec<u8> {
    let mut converted: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u32::from(digit);
        for slot in &mut converted {
            carry += u32::from(*slot) * from;
            *slot = low(carry % to);
            carry /= to;
        }
        while carry > 0 {
            converted.push(low(carry % to));
            carry /= to;
        }
    }
    converted
}

fn low(digit: u32) -> u8 {
    u8::try_from(digit).expect("no base here is above 256")
}
