//! Key files of every form, told apart by content, and never by length alone.

use subtle::ConstantTimeEq;
use subtle_encoding::base64;
use zeroize::Zeroizing;

use crate::{
    crypto::{Algorithm, PublicKey},
    key_file,
    keyring::providers::softsign::{FileFormat, Portable, memory::Secret},
};

mod error;
mod json;

pub use self::error::KeyError;

/// A consensus key as it was read.
pub(super) struct Parsed {
    pub(super) secret: Secret,
    pub(super) public_key: PublicKey,
}

impl Parsed {
    pub(super) fn new(scheme: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let none = KeyError::Secret { scheme };
        let public_key = scheme.public_half(secret).ok_or(none.clone())?;
        let secret = Secret::new(secret).ok_or(none)?;
        Ok(Self { secret, public_key })
    }

    /// What a key file holds. Of Ed25519 it is base64 of the seed, as ever, or of the scalar in big-endian ‖ prefix ‖ public key; else the
    /// scheme's name, a space, and base64 of the secret.
    pub(super) fn to_file(&self) -> Zeroizing<Vec<u8>> {
        let secret = self.secret.as_bytes();
        let scheme = self.public_key.algorithm();
        if scheme != Algorithm::Ed25519 {
            let encoded = Zeroizing::new(base64::encode(secret));
            return Zeroizing::new([scheme.name().as_bytes(), b" ", &encoded].concat());
        }
        let (first, second) = secret.split_at_checked(32).unwrap_or((secret, &[]));
        if second.is_empty() {
            return Zeroizing::new(base64::encode(first));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(96));
        bytes.extend(first.iter().rev());
        bytes.extend_from_slice(second);
        bytes.extend_from_slice(self.public_key.as_bytes());
        Zeroizing::new(base64::encode(bytes.as_slice()))
    }
}

/// A consensus key from a file's content. `format`, `scheme`: what the configuration says it is. A file that does not name its scheme
/// holds an Ed25519 key, unless `scheme` says otherwise.
pub(super) fn consensus(
    file: &[u8],
    format: Option<FileFormat>,
    scheme: Option<Algorithm>,
) -> Result<Parsed, KeyError> {
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
    let parsed = match format {
        FileFormat::Raw => raw(file, scheme)?,
        FileFormat::Base64 => match named(trimmed) {
            Some((scheme, rest)) => of_scheme(scheme, rest)?,
            None => match scheme {
                None | Some(Algorithm::Ed25519) => from_base64(trimmed)?,
                Some(scheme) => of_scheme(scheme, trimmed)?,
            },
        },
        FileFormat::Json => json::read(file)?,
    };
    let found = parsed.public_key.algorithm();
    match scheme {
        Some(wanted) if wanted != found => Err(KeyError::Other { found, wanted }),
        _ => Ok(parsed),
    }
}

/// A private key of 32 bytes, as a device takes them. `scheme`: what it must be; `None`: what the file says, else Ed25519.
pub(super) fn portable(
    file: &[u8],
    format: FileFormat,
    scheme: Option<Algorithm>,
) -> Result<Portable, KeyError> {
    let parsed = consensus(file, Some(format), scheme)?;
    let scheme = parsed.public_key.algorithm();
    if !matches!(scheme, Algorithm::Ed25519 | Algorithm::Secp256k1) {
        return Err(KeyError::NoDevice { scheme });
    }
    let mut secret = Zeroizing::new([0; 32]);
    if parsed.secret.as_bytes().len() != secret.len() {
        return Err(KeyError::NoSeed);
    }
    secret.copy_from_slice(parsed.secret.as_bytes());
    Ok(Portable {
        secret,
        public_key: parsed.public_key,
    })
}

/// The public key of a secp256k1 account key: base64 or raw, 32 bytes, big-endian.
pub(super) fn account(file: &[u8], format: Option<FileFormat>) -> Result<PublicKey, KeyError> {
    let decoded = match format {
        Some(FileFormat::Json) => return Err(KeyError::AccountJson),
        Some(FileFormat::Raw) => Zeroizing::new(file.to_vec()),
        Some(FileFormat::Base64) | None => decode(file.trim_ascii())?,
    };
    if decoded.len() != 32 {
        return Err(KeyError::AccountLength {
            found: decoded.len(),
        });
    }
    let scheme = Algorithm::Secp256k1;
    scheme
        .public_half(&decoded)
        .ok_or(KeyError::Secret { scheme })
}

/// 32 bytes.
fn raw(file: &[u8], scheme: Option<Algorithm>) -> Result<Parsed, KeyError> {
    if file.len() != 32 {
        return Err(KeyError::RawLength { found: file.len() });
    }
    Parsed::new(scheme.unwrap_or(Algorithm::Ed25519), file)
}

/// The scheme that stands before the base64, and the base64.
fn named(text: &[u8]) -> Option<(Algorithm, &[u8])> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    let (name, rest) = text.split_at_checked(at)?;
    Some((
        Algorithm::named(str::from_utf8(name).ok()?)?,
        rest.trim_ascii(),
    ))
}

fn of_scheme(scheme: Algorithm, text: &[u8]) -> Result<Parsed, KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    Parsed::new(scheme, &decode(text)?)
}

fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    key_file::from_base64(text).ok_or(KeyError::Encoding)
}

/// An Ed25519 key of 32, 64 or 96 bytes.
fn from_base64(text: &[u8]) -> Result<Parsed, KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    let bytes = decode(text)?;
    match bytes.len() {
        32 => Parsed::new(Algorithm::Ed25519, &bytes),
        64 => sixty_four(&bytes),
        96 => ninety_six(&bytes),
        found => Err(KeyError::Length { found }),
    }
}

/// Seed ‖ public key where the halves agree; else an expanded key, scalar ‖ prefix, as 0.15 read it.
fn sixty_four(bytes: &[u8]) -> Result<Parsed, KeyError> {
    let scheme = Algorithm::Ed25519;
    if let Some(seed) = scheme.secret_from_json(bytes) {
        return Parsed::new(scheme, &seed);
    }
    // An expanded key that was stored is clamped (RFC 8032, 5.1.5). Of damaged pairs of seed and public key one in 32 looks
    // like that; such a one has another public key than the record is bound to, and so does not sign either.
    if is_clamped(bytes.split_at(32).0) {
        Parsed::new(scheme, bytes)
    } else {
        Err(KeyError::Halves)
    }
}

/// A YubiHSM's export: scalar in big-endian ‖ prefix ‖ public key. A device reduces the scalar by the group's order, Yubico's tool for
/// making backups elsewhere leaves it clamped; that it is the right one, the public key says.
fn ninety_six(bytes: &[u8]) -> Result<Parsed, KeyError> {
    let (private, public_key) = bytes.split_at(64);
    let mut expanded = Zeroizing::new([0; 64]);
    expanded.copy_from_slice(private);
    expanded.split_at_mut(32).0.reverse();
    let parsed = Parsed::new(Algorithm::Ed25519, expanded.as_slice())?;
    // In constant time: 96 bytes of another form are secret in every part.
    if parsed.public_key.as_bytes().ct_eq(public_key).into() {
        Ok(parsed)
    } else {
        Err(KeyError::Expanded)
    }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// RFC 8032, 5.1.5: a multiple of 8, below 2^255, with bit 254 set. Little-endian.
fn is_clamped(scalar: &[u8]) -> bool {
    match scalar {
        [first, .., last] => first & 0x07 == 0 && last & 0xc0 == 0x40,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use sha2::{Digest, Sha512};
    use subtle_encoding::{base64, hex};

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
        consensus(file, format, None).map(|parsed| parsed.public_key.as_bytes().to_vec())
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
        let key = consensus(&base64::encode(&exported), None, None).expect("opens");
        assert!(exported.ends_with(key.public_key.as_bytes()));
        let seed = "497a8d9c4f7d93c961cf700f859b11d804fe5847cf8b3faae5f63620ce0c5456";
        let seed = hex::decode(seed).expect("hex");
        let seed = SigningKey::try_from(seed.as_slice()).expect("a seed");
        let signature = key.secret.sign(b"vote", &key.public_key).expect("signs");
        assert_eq!(signature.as_bytes(), seed.sign(b"vote").to_bytes());
        assert_eq!(*key.to_file(), base64::encode(&exported));
    }

    #[test]
    fn the_expanded_form_signs_what_the_seed_signs() {
        use ed25519_dalek::Signer;

        let key = consensus(&base64::encode(expanded()), None, None).expect("opens");
        let seed = SigningKey::try_from(pair().split_at(32).0).expect("a seed");
        let signature = key.secret.sign(b"vote", &key.public_key).expect("signs");
        assert_eq!(signature.as_bytes(), seed.sign(b"vote").to_bytes());
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
        let other_kind = r#"{"priv_key":{"type":"tendermint/PrivKeySr25519","value":"Lfa2uW//4KGvzLXhtoHGfI5Yd2DA2gC7pOfHSkFheGg="}}"#;
        let error = parse(other_kind.as_bytes(), None).expect_err("another kind");
        assert!(error.to_string().contains("`tendermint/PrivKeySr25519`"));
    }

    #[test]
    fn an_account_key_is_a_secp256k1_scalar_in_base64() {
        assert!(account(&base64::encode([7; 32]), None).is_ok());
        assert_eq!(
            account(&base64::encode([0; 32]), None),
            Err(KeyError::Secret {
                scheme: Algorithm::Secp256k1
            })
        );
        assert_eq!(
            account(&base64::encode([0xff; 32]), None),
            Err(KeyError::Secret {
                scheme: Algorithm::Secp256k1
            })
        );
        assert_eq!(
            account(&base64::encode([7; 31]), None),
            Err(KeyError::AccountLength { found: 31 })
        );
    }

    /// A secret of each scheme.
    fn secrets() -> Vec<(Algorithm, Vec<u8>)> {
        let mut secrets: Vec<_> = Algorithm::ALL
            .iter()
            .map(|scheme| (*scheme, vec![7; 32]))
            .collect();
        secrets.push((Algorithm::Ed25519, expanded()));
        secrets
    }

    #[test]
    fn what_is_written_is_read_as_the_same_key_and_taken_for_no_other() {
        for (scheme, secret) in secrets() {
            let key = Parsed::new(scheme, &secret).expect("a key");
            let file = key.to_file();
            let again = consensus(&file, None, None).expect("opens");
            assert_eq!(again.public_key, key.public_key);
            assert_eq!(again.secret.as_bytes(), secret);
            for wanted in Algorithm::ALL {
                let opened = consensus(&file, None, Some(*wanted)).map(|key| key.public_key);
                if *wanted == scheme {
                    assert_eq!(opened, Ok(key.public_key.clone()));
                } else if scheme != Algorithm::Ed25519 {
                    let (found, wanted) = (scheme, *wanted);
                    assert_eq!(opened, Err(KeyError::Other { found, wanted }));
                }
            }
        }
    }

    #[test]
    fn a_file_that_names_no_scheme_is_read_as_it_is_told() {
        let scheme = Algorithm::Secp256k1;
        let key = scheme.public_half(&[7; 32]).expect("a key");
        let text = base64::encode([7; 32]);
        for (file, format) in [(&text[..], None), (&[7; 32], Some(FileFormat::Raw))] {
            let opened = consensus(file, format, Some(scheme)).expect("opens");
            assert_eq!(opened.public_key, key);
            let opened = consensus(file, format, None).expect("opens");
            assert_eq!(opened.public_key.algorithm(), Algorithm::Ed25519);
        }
        let zero = base64::encode([0; 32]);
        let opened = consensus(&zero, None, Some(scheme)).map(|key| key.public_key);
        assert_eq!(opened, Err(KeyError::Secret { scheme }));
    }

    #[test]
    fn the_json_of_a_node_opens_every_scheme() {
        let to_text = |bytes: &[u8]| String::from_utf8(base64::encode(bytes)).expect("ASCII");
        let mut count = 0;
        for scheme in Algorithm::ALL {
            let key = scheme.public_half(&[7; 32]).expect("a key");
            let address = String::from_utf8(hex::encode_upper(key.address())).expect("ASCII");
            let mut value = vec![7; 32];
            if *scheme == Algorithm::Ed25519 {
                value.extend_from_slice(key.as_bytes());
            }
            for types in scheme.facts().json {
                for public in [key.as_bytes().to_vec(), key.later_bytes().into_owned()] {
                    let file = format!(
                        r#"{{"address":"{address}","pub_key":{{"type":"{}","value":"{}"}},"priv_key":{{"type":"{}","value":"{}"}}}}"#,
                        types.public,
                        to_text(&public),
                        types.private,
                        to_text(&value)
                    );
                    let opened = consensus(file.as_bytes(), None, None).expect("opens");
                    assert_eq!(opened.public_key, key);
                    let other = file.replace(types.public, "tendermint/PubKeySr25519");
                    let error = consensus(other.as_bytes(), None, None).map(|key| key.public_key);
                    assert_eq!(error, Err(KeyError::PubKey));
                    count += 1;
                }
            }
        }
        assert!(count >= 2 * Algorithm::ALL.len(), "{count}");
    }
}
