//! State records: this version's, damaged in place, and those of other programs.

use std::{fs, path::PathBuf};

use ed25519_dalek::SigningKey;
use tmkms::{
    crypto::PublicKey,
    privval::{BlockId, ChainId, ConsensusMsg, Echo, Hrs, Step, Timestamp, canonical},
    protection::{
        Guard, Policy, Record, convert,
        store::file::{self, FileStore},
    },
};

use crate::targets::{Target, hold};

/// When a file of another program was last written, in Unix seconds.
const MODIFIED: u64 = 1_700_000_000;

const OTHERS: [&str; 7] = [
    r#"{"height":"36","round":"0","step":2,"block_id":{"hash":"","parts":{"total":0,"hash":""}}}"#,
    r#"{"height":"36","round":"0","step":6,"block_id":null}"#,
    r#"{"height":"36","round":0,"step":3,"signature":"AAAA","signbytes":"22080211240000000000000022"}"#,
    r#"{"height":"36","round":"0","step":1}"#,
    r#"{"height":"0","round":"0","step":0,"block_id":{"hash":"4141414141414141414141414141414141414141414141414141414141414141","part_set_header":{"total":"3","hash":"4242424242424242424242424242424242424242424242424242424242424242"}}}"#,
    r#"{"height":"36","round":"0","step":2,"noncesig":"AAAA","signature":"AAAA","signbytes":"AAAA"}"#,
    r#"{"address":"AD7DAE5FEC609CF02F9BDE7D81D0C3CD66141563","pub_key":{"type":"tendermint/PubKeyEd25519","value":"8mv0sqLoTOt6U8PxrndAh3myAGR4L7rb3w42WVnuRTQ="},"last_height":"36","last_round":"0","last_step":3,"last_signature":"AAAA","last_signbytes":"22"}"#,
];

pub(crate) struct Records {
    _home: tempfile::TempDir,
    path: PathBuf,
    chain: ChainId,
    key: PublicKey,
    /// The bytes of a record that has signed in both of its slots, and the state that they stand for.
    whole: Vec<u8>,
    last: Hrs,
}

impl Records {
    pub(crate) fn new() -> Self {
        let home = super::scratch();
        let path = home.path().join("state.json");
        let chain = ChainId::new("test_chain_id").expect("a chain ID");
        let key = SigningKey::from_bytes(&[3; 32]).verifying_key();
        let key = PublicKey::ed25519(key.as_bytes()).expect("a point");
        file::create(&path, &chain, &key, &Record::never_signed()).expect("a new record");
        let opened = FileStore::open(&path, &chain, &key).expect("the record just made");
        let guard = Guard::new(opened.store);
        let mut last = Record::never_signed().hrs;
        for height in 10..14 {
            let msg = precommit(&chain, height, 0x41);
            last = msg.hrs;
            let _permit = guard
                .judge(msg, Policy::default())
                .expect("a first signature");
        }
        drop(guard);
        let whole = fs::read(&path).expect("the record just written");
        Self {
            _home: home,
            path,
            chain,
            key,
            whole,
            last,
        }
    }

    /// A damaged record is refused, or stands for no less than what was signed.
    fn damaged(&self, content: &[u8]) -> Result<String, String> {
        // In place: a new file would be refused as a copy, whatever is in it.
        fs::write(&self.path, content).map_err(|e| e.to_string())?;
        match FileStore::open(&self.path, &self.chain, &self.key) {
            Err(error) => {
                let said = format!("{:?} {error}", error.hint());
                hold!(said.len() < 4_000, "{} bytes said", said.len());
                hold!(
                    content != self.whole,
                    "the whole record is refused: {error}"
                );
                // A test's directory has another name in every run.
                Ok(super::without_quotes(
                    &said.replace(&*self.path.to_string_lossy(), ""),
                ))
            }
            Ok(opened) => {
                let hrs = opened.store.record().hrs;
                hold!(hrs >= self.last, "the floor fell to {hrs}");
                let guard = Guard::new(opened.store);
                let conflict = precommit(&self.chain, self.last.height, 0x43);
                hold!(
                    guard.judge(conflict, Policy::default()).is_err(),
                    "another block at {} was permitted",
                    self.last
                );
                Ok("opened".to_owned())
            }
        }
    }
}

impl Target for Records {
    /// Another program's file, which begins with a brace, or edits of this run's own record: it names its file's number and
    /// birth, so that its bytes would mean nothing in another run.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = vec![
            vec![],
            // Header, first slot, second slot, region: a byte changed, two taken out, three put in, all cut off.
            vec![0, 40, 0, 1, 1, 0x58],
            vec![0x10, 20, 0, 1, 1, 0x31],
            vec![0x20, 20, 0, 2, 0],
            vec![0x30, 20, 0, 0, 3, 0x20, 0x20, 0x20],
            vec![0x10, 0, 0xff, 0xff, 0],
            vec![0x10, 20, 0, 1, 1, 0x31, 0x20, 20, 0, 1, 1, 0x31],
        ];
        all.extend(OTHERS.map(|text| text.as_bytes().to_vec()));
        all
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        if input.first() != Some(&b'{') {
            let content = edited(self.whole.clone(), input);
            // `open` would convert it and so give this record's name to another file.
            if convert::read(&content, MODIFIED).is_ok() {
                return Ok("another format".to_owned());
            }
            return self.damaged(&content);
        }
        match convert::read(input, MODIFIED) {
            Err(why) => {
                hold!(why.len() < 1_000, "{} bytes said", why.len());
                Ok(super::without_quotes(&why))
            }
            Ok(found) => {
                let Hrs { height, round, .. } = found.record.hrs;
                hold!(height >= 0 && round >= 0, "a floor of {height}/{round}");
                hold!(
                    convert::read(input, MODIFIED).as_ref() == Ok(&found),
                    "two readings differ"
                );
                Ok(format!(
                    "{} {}",
                    found.format,
                    found.record.sign_bytes.is_some()
                ))
            }
        }
    }

    fn longest(&self) -> usize {
        32 << 10
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\"height\":",
            "\"round\":",
            "\"step\":",
            "\"block_id\":",
            "\"hash\":",
            "\"parts\":",
            "\"part_set_header\":",
            "\"total\":",
            "\"signature\":",
            "\"signbytes\":",
            "\"9223372036854775807\"",
            "9223372036854775808",
            "-1",
            "null",
            "\"\"",
            "{",
            "}",
            "[",
            "]",
            ",",
            "tmkms",
            "1e3",
            "\"last_height\":",
        ]
    }
}

/// Carries out edits: two bytes of offset, two of how many go, one of how many come, and those.
fn edited(mut content: Vec<u8>, mut edits: &[u8]) -> Vec<u8> {
    while let Some(([high, low, more, less, count], rest)) = edits.split_first_chunk::<5>() {
        let start = usize::from(u16::from_be_bytes([*high, *low])).min(content.len());
        let end = (start + usize::from(u16::from_be_bytes([*more, *less]))).min(content.len());
        let (new, rest) = rest.split_at(rest.len().min(usize::from(*count)));
        content.splice(start..end, new.iter().copied());
        edits = rest;
    }
    content
}

fn precommit(chain: &ChainId, height: i64, byte: u8) -> ConsensusMsg {
    let hrs = Hrs {
        height,
        round: 0,
        step: Step::Precommit,
    };
    let block = BlockId {
        hash: [byte; 32],
        parts_total: 1,
        parts_hash: [byte; 32],
    };
    ConsensusMsg {
        hrs,
        block_id: Some(block),
        pol_round: -1,
        sign_bytes: canonical::sign_bytes(
            chain,
            hrs.step,
            (height, 0, -1),
            Some(&block),
            Timestamp {
                seconds: 1_700_000_000 + height,
                nanos: 0,
            },
        ),
        echo: Echo::default(),
    }
}
