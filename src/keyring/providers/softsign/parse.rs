//! Key files of every form, told apart by content, and never by length alone.

use std::{borrow::Cow, mem};

use ed25519_dalek::VerifyingKey;
use k256::elliptic_curve::group::GroupEncoding;
use ripemd::Ripemd160;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use subtle_encoding::hex;
use zeroize::Zeroizing;

use crate::{
    crypto::PublicKey,
    key_file,
    keyring::providers::softsign::{Curve, FileFormat, Portable, memory::Secret},
};

/// The kinds of private keys that nodes have besides Ed25519 (protocol.md 5.3, 10.1), as an error quotes them.
const OTHER_KINDS: [&str; 7] = [
    "`tendermint/PrivKeySecp256k1`",
    "`tendermint/PrivKeySecp256k1eth`",
    "`tendermint/PrivKeySr25519`",
    "`cometbft/PrivKeyBls12_381`",
    "`cometbft/PrivKeyMlDsa65`",
    "`cometbft/PrivKeySecp256k1eth`",
    "`tendermint/PrivKeyBls12_381`",
];

/// What a key file calls a secp256k1 consensus key.
const SECP256K1_PRIVATE: &str = "tendermint/PrivKeySecp256k1";

/// A consensus key from a file's content. `format`: what the configuration says it is.
pub(super) fn consensus(file: &[u8], format: Option<FileFormat>) -> Result<Secret, KeyError> {
    let trimmed = file.trim_ascii();
    let format = match format {
        Some(format) => format,
        None if trimmed.is_empty() => return Err(KeyError::Empty),
        // 32 random bytes are never all text; 32 letters are cut off base64, or a passphrase. Before JSON, since one random
        // key in 256 starts with a brace.
        None if file.len() == 32 && !is_text(file) => FileFormat::Raw,
        None if trimmed.starts_with(b"{") => FileFormat::Json,
        None => FileFormat::Base64,
    };
    match format {
        FileFormat::Raw => raw(file),
        FileFormat::Base64 => from_base64(trimmed),
        FileFormat::Json => json(file),
    }
}

/// A private key of 32 bytes, as a device takes them.
pub(super) fn portable(
    file: &[u8],
    format: FileFormat,
    curve: Curve,
) -> Result<Portable, KeyError> {
    let (secret, public_key) = match (curve, format) {
        (Curve::Ed25519, _) => {
            let secret = consensus(file, Some(format))?;
            let seed = secret.as_seed().ok_or(KeyError::NoSeed)?;
            (seed, secret.verifying_key().as_bytes().to_vec())
        }
        (Curve::Secp256k1, FileFormat::Json) => secp256k1_json(file)?,
        (Curve::Secp256k1, FileFormat::Base64 | FileFormat::Raw) => {
            let bytes = match format {
                FileFormat::Raw => Zeroizing::new(file.to_vec()),
                FileFormat::Base64 | FileFormat::Json => decode(file.trim_ascii())?,
            };
            let mut scalar = Zeroizing::new([0; 32]);
            if bytes.len() != scalar.len() {
                return Err(KeyError::AccountLength { found: bytes.len() });
            }
            scalar.copy_from_slice(&bytes);
            let public_key = account_public_key(&scalar)?.to_vec();
            (scalar, public_key)
        }
    };
    Ok(Portable {
        secret,
        public_key,
        curve,
    })
}

/// The compressed public key (33 bytes) of a secp256k1 account key: base64 or raw, 32 bytes, big-endian.
pub(super) fn account(file: &[u8], format: Option<FileFormat>) -> Result<[u8; 33], KeyError> {
    let decoded = match format {
        Some(FileFormat::Json) => return Err(KeyError::AccountJson),
        Some(FileFormat::Raw) => Zeroizing::new(file.to_vec()),
        Some(FileFormat::Base64) | None => decode(file.trim_ascii())?,
    };
    let scalar = decoded
        .as_slice()
        .try_into()
        .map_err(|_| KeyError::AccountLength {
            found: decoded.len(),
        })?;
    account_public_key(scalar)
}

/// The compressed public key (33 bytes) of a secp256k1 scalar (32 bytes, big-endian).
pub(super) fn account_public_key(scalar: &[u8; 32]) -> Result<[u8; 33], KeyError> {
    let secret = k256::SecretKey::from_slice(scalar).map_err(|_| KeyError::Scalar)?;
    let point = secret.public_key().to_projective().to_affine();
    let compressed = point.to_bytes();
    Ok(compressed.into())
}

/// Why the content of a file is no key. Never carries any of the content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Nothing in the file.
    #[error("the file is empty")]
    Empty,
    /// Neither JSON nor raw bytes nor base64.
    #[error("invalid encoding: neither base64 nor JSON nor 32 raw bytes")]
    Encoding,
    /// Base64 of a wrong number of bytes.
    #[error("invalid Ed25519 key size: expected 32, 64 or 96 bytes, but got {found}")]
    Length {
        /// How many bytes the base64 stands for.
        found: usize,
    },
    /// Said to be raw, but not 32 bytes.
    #[error("a raw key has 32 bytes, but this file has {found}")]
    RawLength {
        /// How many bytes the file has.
        found: usize,
    },
    /// 64 bytes that are neither seed and public key nor an expanded key.
    #[error("the second half is not the public key of the first, and the first is no expanded key")]
    Halves,
    /// 96 bytes whose public key belongs to another key.
    #[error("the public key in the file is not that of its scalar")]
    Expanded,
    /// Not the JSON of a key file.
    #[error("not a key file's JSON: {problem} at line {line}, column {column}")]
    Json {
        /// Syntax, an unexpected end, or a missing or wrong field.
        problem: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A key of a kind that does not sign votes here.
    #[error(
        "{found} is not `tendermint/PrivKeyEd25519`, the one kind of consensus key that this version signs with"
    )]
    Kind {
        /// The type that the file states, if it is a type of some node: anything else could be a key in the wrong place.
        found: &'static str,
    },
    /// `priv_key` holds no seed and public key.
    #[error("`priv_key` is not base64 of 64 bytes, seed and public key")]
    PrivKey,
    /// The halves of `priv_key` disagree.
    #[error("the second half of `priv_key` is not the public key of the first")]
    PrivKeyHalves,
    /// `pub_key` belongs to another key.
    #[error("`pub_key` is not the public key of `priv_key`")]
    PubKey,
    /// `address` belongs to another key.
    #[error("`address` is not the address of `priv_key`")]
    Address,
    /// An account key as JSON.
    #[error("an account key is base64, not JSON")]
    AccountJson,
    /// An account key of a wrong length.
    #[error("an account key has 32 bytes, but this one has {found}")]
    AccountLength {
        /// How many bytes the base64 stands for.
        found: usize,
    },
    /// An expanded key where a device needs the seed.
    #[error(
        "the file holds an expanded key, and a device takes nothing but the 32-byte seed that it was made from"
    )]
    NoSeed,
    /// Zero, or beyond the curve's order.
    #[error("not a secp256k1 private key")]
    Scalar,
}

impl KeyError {
    /// What the operator can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Halves | Self::Expanded | Self::PrivKeyHalves | Self::PubKey | Self::Address => {
                Some("the file is damaged or was put together by hand; take it from its backup")
            }
            Self::Encoding | Self::Empty | Self::Length { .. } | Self::RawLength { .. } => Some(
                "a key file is base64 of a 32-byte seed, or CometBFT's priv_validator_key.json",
            ),
            Self::NoSeed => Some(
                "import the backup that the device made (-t wrap), or the file that the key came from",
            ),
            Self::Json { .. }
            | Self::Kind { .. }
            | Self::PrivKey
            | Self::AccountJson
            | Self::AccountLength { .. }
            | Self::Scalar => None,
        }
    }
}

fn raw(file: &[u8]) -> Result<Secret, KeyError> {
    let seed = file
        .try_into()
        .map_err(|_| KeyError::RawLength { found: file.len() })?;
    Ok(Secret::seed(seed))
}

fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    key_file::from_base64(text).ok_or(KeyError::Encoding)
}

fn from_base64(text: &[u8]) -> Result<Secret, KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    let bytes = decode(text)?;
    if let Ok(seed) = bytes.as_slice().try_into() {
        Ok(Secret::seed(seed))
    } else if let Ok(bytes) = bytes.as_slice().try_into() {
        sixty_four(bytes)
    } else if let Ok(bytes) = bytes.as_slice().try_into() {
        ninety_six(bytes)
    } else {
        Err(KeyError::Length { found: bytes.len() })
    }
}

/// Seed ‖ public key where the halves agree; else an expanded key, scalar ‖ prefix, as 0.15 read it.
fn sixty_four(bytes: &[u8; 64]) -> Result<Secret, KeyError> {
    if let Some(secret) = seed_and_public_key(bytes) {
        return Ok(secret);
    }
    // An expanded key that was stored is clamped (RFC 8032, 5.1.5). Of damaged pairs of seed and public key one in 32 looks
    // like that; such a one has another public key than the record is bound to, and so does not sign either.
    if is_clamped(bytes.split_at(32).0) {
        Ok(Secret::expanded(bytes))
    } else {
        Err(KeyError::Halves)
    }
}

/// A YubiHSM's export: scalar in big-endian ‖ prefix ‖ public key. A device reduces the scalar by the group's order, Yubico's tool for
/// making backups elsewhere leaves it clamped; that it is the right one, the public key says.
fn ninety_six(bytes: &[u8; 96]) -> Result<Secret, KeyError> {
    let (private, public_key) = bytes.split_at(64);
    let mut expanded = Zeroizing::new([0; 64]);
    expanded.copy_from_slice(private);
    expanded.split_at_mut(32).0.reverse();
    let secret = Secret::expanded(&expanded);
    if is_key(&secret.verifying_key(), public_key) {
        Ok(secret)
    } else {
        Err(KeyError::Expanded)
    }
}

fn seed_and_public_key(bytes: &[u8; 64]) -> Option<Secret> {
    let (seed, public_key) = bytes.split_at(32);
    let secret = Secret::seed(seed.try_into().ok()?);
    is_key(&secret.verifying_key(), public_key).then_some(secret)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// In constant time: 64 bytes of another form are secret in both halves.
fn is_key(key: &VerifyingKey, bytes: &[u8]) -> bool {
    key.as_bytes().as_slice().ct_eq(bytes).into()
}

/// RFC 8032, 5.1.5: a multiple of 8, below 2^255, with bit 254 set. Little-endian.
fn is_clamped(scalar: &[u8]) -> bool {
    match scalar {
        [first, .., last] => first & 0x07 == 0 && last & 0xc0 == 0x40,
        _ => false,
    }
}

/// `priv_validator_key.json`, and `priv_validator.json`, which has the last signed state behind the key.
#[derive(Deserialize)]
struct JsonKey<'a> {
    #[serde(borrow)]
    address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub_key: Option<Typed<'a>>,
    #[serde(borrow)]
    priv_key: Typed<'a>,
}

/// Amino's JSON of a key. Borrowed from the file's wiped buffer.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

fn json(file: &[u8]) -> Result<Secret, KeyError> {
    let (key, bytes) = read_json(file, "tendermint/PrivKeyEd25519")?;
    let bytes = bytes.as_slice().try_into().map_err(|_| KeyError::PrivKey)?;
    let secret = seed_and_public_key(bytes).ok_or(KeyError::PrivKeyHalves)?;
    let public_key = secret.verifying_key();
    let address = PublicKey::Ed25519(public_key).address();
    key.agrees("tendermint/PubKeyEd25519", public_key.as_bytes(), &address)?;
    Ok(secret)
}

/// Whether a key file's JSON holds a secp256k1 key; anything else that is wrong with it is told by whoever reads it.
pub(super) fn is_secp256k1_json(file: &[u8]) -> bool {
    serde_json::from_slice::<JsonKey<'_>>(file)
        .is_ok_and(|key| key.priv_key.kind == SECP256K1_PRIVATE)
}

/// The scalar (32 bytes, big-endian) and compressed public key (33 bytes) of a secp256k1 consensus key's JSON.
fn secp256k1_json(file: &[u8]) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), KeyError> {
    let (key, bytes) = read_json(file, SECP256K1_PRIVATE)?;
    let mut scalar = Zeroizing::new([0; 32]);
    if bytes.len() != scalar.len() {
        return Err(KeyError::Scalar);
    }
    scalar.copy_from_slice(&bytes);
    let public_key = account_public_key(&scalar)?;
    // A Bitcoin address's hash, as CometBFT has it for these keys.
    let address: [u8; 20] = Ripemd160::digest(Sha256::digest(public_key)).into();
    key.agrees("tendermint/PubKeySecp256k1", &public_key, &address)?;
    Ok((scalar, public_key.to_vec()))
}

/// A key file's JSON, if its key is of the wanted kind, and the bytes of `priv_key`.
fn read_json<'a>(
    file: &'a [u8],
    wanted: &str,
) -> Result<(JsonKey<'a>, Zeroizing<Vec<u8>>), KeyError> {
    // The error's own text is not kept: it may quote a misplaced private key.
    let mut key: JsonKey<'_> = serde_json::from_slice(file).map_err(|e| KeyError::Json {
        problem: match e.classify() {
            serde_json::error::Category::Eof => "unexpected end",
            serde_json::error::Category::Data => "a missing or wrong field",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "syntax error",
        },
        line: e.line(),
        column: e.column(),
    })?;
    let value = match mem::take(&mut key.priv_key.value) {
        Cow::Borrowed(value) => Zeroizing::new(value.to_owned()),
        Cow::Owned(value) => Zeroizing::new(value),
    };
    if key.priv_key.kind != wanted {
        let found = OTHER_KINDS
            .iter()
            .find(|known| known.trim_matches('`') == key.priv_key.kind);
        let found = found.unwrap_or(&"its `type`");
        return Err(KeyError::Kind { found });
    }
    let bytes = decode(value.as_bytes()).map_err(|_| KeyError::PrivKey)?;
    Ok((key, bytes))
}

impl JsonKey<'_> {
    /// What the file states besides the private key must be about that key.
    fn agrees(&self, kind: &str, public_key: &[u8], address: &[u8; 20]) -> Result<(), KeyError> {
        if let Some(stated) = &self.pub_key {
            let same = stated.kind == kind
                && decode(stated.value.as_bytes())
                    .is_ok_and(|stated| stated.ct_eq(public_key).into());
            if !same {
                return Err(KeyError::PubKey);
            }
        }
        if let Some(stated) = &self.address {
            let stated = hex::decode(stated.to_ascii_lowercase());
            if stated.as_deref() != Ok(address.as_slice()) {
                return Err(KeyError::Address);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use sha2::{Digest, Sha512};
    use subtle_encoding::base64;

    use super::*;

    /// From a key file that CometBFT's documentation shows: seed ‖ public key.
    const VALUE: &str =
        "9giFjwnmAKCAI95l4Q32kXsau+itGrbsvz84CTLxGnJSPENCBVOUck5ntrGkyX+JzMwgleJCkXEIWPAoa/NioQ==";
    const PUBLIC: &str = "UjxDQgVTlHJOZ7axpMl/iczMIJXiQpFxCFjwKGvzYqE=";
    const ADDRESS: &str = "E74FBE24164CFC4F88E311C3AC92E63D0DC310D8";

    fn pair() -> Vec<u8> {
        base64::decode(VALUE).expect("base64")
    }

    fn public() -> Vec<u8> {
        base64::decode(PUBLIC).expect("base64")
    }

    /// The clamped scalar ‖ prefix, straight from RFC 8032.
    fn expanded() -> Vec<u8> {
        let mut bytes = Sha512::digest(pair().split_at(32).0).to_vec();
        let (scalar, _) = bytes.split_at_mut(32);
        if let [first, .., last] = scalar {
            *first &= 0xf8;
            *last = *last & 0x3f | 0x40;
        }
        bytes
    }

    fn parse(file: &[u8], format: Option<FileFormat>) -> Result<Vec<u8>, KeyError> {
        consensus(file, format).map(|secret| secret.verifying_key().as_bytes().to_vec())
    }

    fn file(address: &str, public: &str, value: &str) -> String {
        format!(
            r#"{{"address":"{address}","pub_key":{{"type":"tendermint/PubKeyEd25519","value":"{public}"}},
                "last_height":"7","priv_key":{{"type":"tendermint/PrivKeyEd25519","value":"{value}"}}}}"#
        )
    }

    #[test]
    fn every_form_of_a_file_opens_the_same_key() {
        let seed = pair().split_at(32).0.to_vec();
        let mut exported = expanded();
        exported.split_at_mut(32).0.reverse();
        exported.extend(public());
        let with_newline = [base64::encode(&seed), b"\n".to_vec()].concat();
        for (bytes, format) in [
            (seed.clone(), FileFormat::Raw),
            (base64::encode(&seed), FileFormat::Base64),
            (with_newline, FileFormat::Base64),
            (VALUE.into(), FileFormat::Base64),
            (base64::encode(expanded()), FileFormat::Base64),
            (base64::encode(exported), FileFormat::Base64),
            (file(ADDRESS, PUBLIC, VALUE).into(), FileFormat::Json),
        ] {
            assert_eq!(parse(&bytes, None), Ok(public()));
            assert_eq!(parse(&bytes, Some(format)), Ok(public()));
        }
    }

    /// Of a device, from the test files of the signstar project (`signstar_yubihsm2::backup`), which have its seed too.
    #[test]
    fn the_export_of_a_device_opens_and_signs_what_its_seed_signs() {
        use ed25519_dalek::Signer;

        let exported = concat!(
            "0751707a4b55ad0614b5c71d93bf9d66939d85f995df0e291133b3269266d20f",
            "a137a61588d7b8b6b53e8fdf3e9f13e4b357659e8189cfbabfcedc942c53cb73",
            "fc9d882412243cbcb5994ea9884a0ed296cb2f2a4f02ee0067edca645728fc2c",
        );
        let exported = hex::decode(exported).expect("hex");
        let secret = consensus(&base64::encode(&exported), None).expect("opens");
        assert!(exported.ends_with(secret.verifying_key().as_bytes()));
        let seed = "497a8d9c4f7d93c961cf700f859b11d804fe5847cf8b3faae5f63620ce0c5456";
        let seed = hex::decode(seed).expect("hex");
        let seed = SigningKey::try_from(seed.as_slice()).expect("a seed");
        assert_eq!(
            secret.sign(b"vote", &secret.verifying_key()),
            seed.sign(b"vote").to_bytes()
        );
        let written = secret.file_bytes(secret.verifying_key().as_bytes());
        assert_eq!(*written, exported);
    }

    #[test]
    fn the_expanded_form_signs_what_the_seed_signs() {
        use ed25519_dalek::Signer;

        let secret = consensus(&base64::encode(expanded()), None).expect("opens");
        let seed = SigningKey::try_from(pair().split_at(32).0).expect("a seed");
        assert_eq!(
            secret.sign(b"vote", &secret.verifying_key()),
            seed.sign(b"vote").to_bytes()
        );
    }

    #[test]
    fn halves_that_disagree_are_refused() {
        let mut broken = pair();
        let last = broken.pop().expect("64 bytes");
        broken.push(last ^ 1);
        let text = String::from_utf8(base64::encode(&broken)).expect("ASCII");
        assert_eq!(parse(text.as_bytes(), None), Err(KeyError::Halves));
        assert_eq!(
            parse(file(ADDRESS, PUBLIC, &text).as_bytes(), None),
            Err(KeyError::PrivKeyHalves)
        );

        let mut exported = expanded();
        exported.split_at_mut(32).0.reverse();
        exported.extend([0; 32]);
        assert_eq!(
            parse(&base64::encode(exported), None),
            Err(KeyError::Expanded)
        );
    }

    #[test]
    fn a_stated_public_key_or_address_must_be_that_of_the_key() {
        let other = "8mv0sqLoTOt6U8PxrndAh3myAGR4L7rb3w42WVnuRTQ=";
        assert_eq!(
            parse(file(ADDRESS, other, VALUE).as_bytes(), None),
            Err(KeyError::PubKey)
        );
        let address = "AD7DAE5FEC609CF02F9BDE7D81D0C3CD66141563";
        assert_eq!(
            parse(file(address, PUBLIC, VALUE).as_bytes(), None),
            Err(KeyError::Address)
        );
    }

    #[test]
    fn an_explicit_format_is_honoured() {
        let seed = pair().split_at(32).0.to_vec();
        let text = base64::encode(&seed);
        assert_eq!(
            parse(&text, Some(FileFormat::Raw)),
            Err(KeyError::RawLength { found: 44 })
        );
        assert_eq!(
            parse(&seed, Some(FileFormat::Base64)),
            Err(KeyError::Encoding)
        );
        assert!(matches!(
            parse(&text, Some(FileFormat::Json)),
            Err(KeyError::Json { .. })
        ));
    }

    #[test]
    fn a_raw_key_may_start_with_a_brace() {
        let mut seed = [0xfe; 32];
        seed.split_at_mut(1).0.fill(b'{');
        assert!(parse(&seed, None).is_ok());
    }

    #[test]
    fn thirty_two_letters_are_no_key_unless_the_format_says_raw() {
        let letters = [b'a'; 32];
        assert_eq!(parse(&letters, None), Err(KeyError::Length { found: 24 }));
        assert!(parse(&letters, Some(FileFormat::Raw)).is_ok());
    }

    #[test]
    fn an_error_never_quotes_the_key() {
        let misplaced = format!(r#"{{"priv_key":"{VALUE}"}}"#);
        let error = parse(misplaced.as_bytes(), None).expect_err("no object");
        assert!(!format!("{error} {error:?}").contains("9giFjw"));
        let other_kind = r#"{"priv_key":{"type":"tendermint/PrivKeySecp256k1","value":"Lfa2uW//4KGvzLXhtoHGfI5Yd2DA2gC7pOfHSkFheGg="}}"#;
        let error = parse(other_kind.as_bytes(), None).expect_err("another kind");
        assert!(error.to_string().contains("`tendermint/PrivKeySecp256k1`"));
    }

    #[test]
    fn an_account_key_is_a_secp256k1_scalar_in_base64() {
        assert!(account(&base64::encode([7; 32]), None).is_ok());
        assert_eq!(
            account(&base64::encode([0; 32]), None),
            Err(KeyError::Scalar)
        );
        assert_eq!(
            account(&base64::encode([0xff; 32]), None),
            Err(KeyError::Scalar)
        );
        assert_eq!(
            account(&base64::encode([7; 31]), None),
            Err(KeyError::AccountLength { found: 31 })
        );
    }
}
