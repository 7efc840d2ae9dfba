use std::sync::Mutex;

use super::*;
use crate::{
    chain::Attempt,
    codec::node::Pin,
    crypto::Algorithm,
    keyring::format::{KeyFormat, format_key},
    kms::opening::candidates::AskDevice,
    privval::ChainId,
    protection::{
        Record,
        store::file::{self, RecordPath, Whose},
    },
};

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        let mut told = self.0.lock().expect("nothing panics while it is held");
        told.push(event.clone());
    }
}

impl Told {
    fn how_often(&self, what: &str) -> usize {
        let told = self.0.lock().expect("nothing panics while it is held");
        let has = |event: &&Event| match event {
            Event::Warning { text, .. } | Event::Notice { text } => text.contains(what),
            Event::Stopped { reason, .. } => reason.contains(what),
            _ => false,
        };
        told.iter().filter(has).count()
    }
}

struct Home {
    directory: tempfile::TempDir,
    told: Arc<Told>,
}

impl Home {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            told: Arc::default(),
        }
    }

    fn chain(&self) -> chain::Config {
        chain::Config {
            id: ChainId::new("waiting-1").expect("a chain ID"),
            key_format: None,
            state_file: self.directory.path().join("record"),
            state_hook: None,
            sign_extensions: true,
            strict_rounds: false,
        }
    }

    fn key(&self) -> Key {
        self.key_named("key")
    }

    fn key_named(&self, name: &str) -> Key {
        let path = self.directory.path().join(name);
        softsign::generate(Algorithm::Ed25519, &path).expect("a new file");
        softsign::open(&softsign::Config {
            chain_ids: Vec::new(),
            key_type: softsign::KeyType::Consensus,
            scheme: None,
            key_format: None,
            path,
            state_file: None,
        })
        .expect("as it was made")
    }

    fn make_record(&self, key: &Key) {
        let chain = self.chain();
        let record = Record::never_signed();
        file::create(
            &chain.state_file,
            &chain.id,
            key.signer.public_key(),
            &record,
        )
        .expect("a new file");
    }

    fn wait_for(&self, ask: AskDevice) -> Served {
        let sink: Arc<dyn Sink> = self.told.clone();
        wait_for(
            &self.chain(),
            self.candidates(vec![ask], &[]),
            &sink,
            Arc::new(()),
        )
    }

    fn candidates(&self, devices: Vec<AskDevice>, names: &[&str]) -> Candidates {
        let record = RecordPath {
            state_file: self.chain().state_file,
            whose: Whose::First,
            one_of_several: !names.is_empty(),
        };
        let names = names.iter().map(|name| name.parse().expect("a name"));
        Candidates {
            devices: devices
                .into_iter()
                .map(|ask| (ask, record.clone()))
                .collect(),
            names: names.collect(),
            failed: None,
        }
    }
}

/// A provider whose device is away for the first tries.
fn away_for(
    mut tries: u32,
    then: impl Fn() -> Result<Key, ProviderError> + Send + 'static,
) -> AskDevice {
    Box::new(move || {
        let Some(left) = tries.checked_sub(1) else {
            return then();
        };
        tries = left;
        Err(ProviderError::NotReady {
            device: "device 7".into(),
            reason: "it is not plugged in".into(),
            hint: Some("plug it in".into()),
        })
    })
}

#[test]
fn a_chain_opens_when_its_key_is_there_and_both_are_told_once() {
    let home = Home::new();
    let key = home.key();
    home.make_record(&key);
    let public = key.signer.public_key().clone();
    let served = home.wait_for(away_for(3, move || Ok(key.clone())));
    for _ in 0..3 {
        assert!(matches!(served.try_open(), Attempt::NotYet));
    }
    let why = "it is not plugged in (hint: plug it in)";
    assert_eq!(home.told.how_often(why), 1);
    for _ in 0..2 {
        match served.try_open() {
            Attempt::Open(chain) => assert_eq!(*chain.public_key(), public),
            other => unreachable!("{other:?}"),
        }
    }
    assert_eq!(home.told.how_often("it is served now"), 1);
}

#[test]
fn of_a_key_that_is_there_at_once_no_wait_is_told() {
    let home = Home::new();
    let key = home.key();
    home.make_record(&key);
    let served = home.wait_for(away_for(0, move || Ok(key.clone())));
    assert!(matches!(served.try_open(), Attempt::Open(_)));
    assert_eq!(home.told.how_often("served"), 0);
    assert_eq!(home.told.how_often("added consensus"), 1);
}

#[test]
fn a_device_counts_as_looked_for_after_the_first_try_whatever_comes_of_it() {
    let home = Home::new();
    for tries in [0, 1] {
        let looked = Arc::new(());
        let sink: Arc<dyn Sink> = home.told.clone();
        let served = wait_for(
            &home.chain(),
            home.candidates(vec![away_for(tries, no_key)], &[]),
            &sink,
            looked.clone(),
        );
        assert_eq!(Arc::strong_count(&looked), 2);
        let _ = served.try_open();
        assert_eq!(Arc::strong_count(&looked), 1);
    }
}

#[test]
fn a_record_that_does_not_open_when_the_key_comes_stops_that_chain_with_the_reason() {
    let home = Home::new();
    let key = home.key();
    let served = home.wait_for(away_for(1, move || Ok(key.clone())));
    assert!(matches!(served.try_open(), Attempt::NotYet));
    for _ in 0..2 {
        assert!(matches!(served.try_open(), Attempt::Failed));
    }
    assert_eq!(home.told.how_often("tmkms state init waiting-1"), 1);
    let Served::Waiting(waiting) = served else {
        unreachable!("it waited");
    };
    let failed = waiting.failure().expect("it failed");
    assert!(failed.reason.contains("record"), "{failed:?}");
    assert!(failed.hint.is_some());
}

fn no_key() -> Result<Key, ProviderError> {
    Err(ProviderError::Unusable {
        device: "device 7".into(),
        reason: "it has no key 9".into(),
        hint: None,
    })
}

#[test]
fn a_device_that_comes_without_the_key_stops_that_chain() {
    let home = Home::new();
    let served = home.wait_for(away_for(2, no_key));
    for _ in 0..2 {
        assert!(matches!(served.try_open(), Attempt::NotYet));
    }
    assert!(matches!(served.try_open(), Attempt::Failed));
    assert_eq!(home.told.how_often("it has no key 9"), 1);
}

fn hex_of(key: &Key) -> String {
    format_key(key.signer.public_key(), Some(&KeyFormat::Hex))
}

#[test]
fn of_several_devices_the_one_with_the_named_key_is_waited_for_and_no_other_is_asked_twice() {
    let home = Home::new();
    let (other, meant) = (home.key_named("other"), home.key_named("meant"));
    home.make_record(&meant);
    let public = meant.signer.public_key().clone();
    let name = hex_of(&meant);
    let mut asked = 0;
    let wrong: AskDevice = Box::new(move || {
        asked += 1;
        assert!(asked < 2, "it has another key");
        Ok(other.clone())
    });
    let right = away_for(2, move || Ok(meant.clone()));
    let candidates = home.candidates(vec![wrong, right], &[&name]);
    let sink: Arc<dyn Sink> = home.told.clone();
    let served = wait_for(&home.chain(), candidates, &sink, Arc::new(()));
    for _ in 0..2 {
        assert!(matches!(served.try_open(), Attempt::NotYet));
    }
    match served.try_open() {
        Attempt::Open(chain) => assert_eq!(*chain.public_key(), public),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_name_that_no_key_has_stops_that_chain_and_says_so() {
    let home = Home::new();
    let (here, meant) = (home.key_named("here"), home.key_named("meant"));
    home.make_record(&here);
    let name = hex_of(&meant);
    let device = away_for(1, move || Ok(here.clone()));
    let candidates = home.candidates(vec![device], &[&name]);
    let sink: Arc<dyn Sink> = home.told.clone();
    let served = wait_for(&home.chain(), candidates, &sink, Arc::new(()));
    assert!(matches!(served.try_open(), Attempt::NotYet));
    assert!(matches!(served.try_open(), Attempt::Failed));
    assert_eq!(home.told.how_often(&name), 1);
}

#[test]
fn a_protocol_version_names_a_generation_and_switches_nothing_off() {
    let home = Home::new();
    let (on, mut off) = (home.chain(), home.chain());
    off.sign_extensions = false;
    for pin in Pin::ALL {
        let validator = client::Config {
            addr: Address::parse("tcp://127.0.0.1:1").expect("an address"),
            chain_id: on.id.clone(),
            reconnect: true,
            public_key: None,
            protocol: Some(pin),
            timeout: Duration::from_secs(10),
            secret_key: None,
            max_height: None,
            sign_raw_bytes: Vec::new(),
            sign_bytes: false,
        };
        let options = codec_options(&on, &validator);
        assert!(options.sign_extensions, "{}", pin.spelling);
        assert_eq!(options.v2, pin.spelling == "v2");
        assert!(!codec_options(&off, &validator).sign_extensions);
    }
}
