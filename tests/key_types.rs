//! Consensus keys of every kind on the wire: `tmkms start`, and a stand-in node that verifies with code of its own.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking"
)]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
#[path = "support/mod.rs"]
mod support;
#[path = "support/yubihsm/mod.rs"]
mod yubihsm;

use std::time::{Duration, Instant};

use node_side::{Answer, Ballot, Link, Listener, Signed, Validator, block, now};
use support::{process::run, signer::SignerHome};
use tmkms::{
    crypto::Algorithm,
    privval::{ChainId, Step},
};
use yubihsm::{Options, Simulator, words};

const PATIENCE: Duration = Duration::from_secs(30);
const CHAIN: &str = "keys-1";

/// A signer of one chain, and its node.
struct Bench {
    listener: Listener,
    home: SignerHome,
}

impl Bench {
    /// `provider`: the section with the key. `make` puts the key there.
    fn new(provider: &str, make: impl FnOnce(&SignerHome)) -> Self {
        let listener = Listener::bind("tcp://127.0.0.1:0").unwrap();
        let config = format!(
            "[[chain]]\nid = \"{CHAIN}\"\nstate_file = \"state.json\"\n\n\
             [[validator]]\nchain_id = \"{CHAIN}\"\naddr = \"{}\"\nsecret_key = \"identity.key\"\n\n{provider}",
            listener.addr().unwrap()
        );
        let home = SignerHome::with_config(env!("CARGO_BIN_EXE_tmkms"), &config);
        make(&home);
        home.init_record(CHAIN);
        Self { listener, home }
    }

    fn meet(&self) -> (Link, Validator) {
        let chain = ChainId::new(CHAIN).unwrap();
        Validator::await_signer(&self.listener, &chain, PATIENCE).unwrap()
    }

    /// What a node asks for in one height. All of it verifies; a repeat, also after the signer was killed and restarted, gets the same
    /// signature.
    fn makes_blocks(&self) {
        let process = self.home.start();
        let (mut link, validator) = self.meet();
        let mut last = None;
        for height in 1..=3 {
            for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
                let ballot = ballot(step, height);
                let first = sign(&mut link, &validator, &ballot);
                let again = sign(&mut link, &validator, &ballot);
                assert_eq!(first.signature, again.signature, "{step:?} {height}");
                last = Some((ballot, first));
            }
        }
        let nil = Ballot {
            block: None,
            ..ballot(Step::Prevote, 4)
        };
        sign(&mut link, &validator, &nil);
        let conflict = validator.ask(&mut link, &ballot(Step::Prevote, 4)).unwrap();
        assert!(
            matches!(conflict, Answer::Refused { code: 2, .. }),
            "{conflict:?}"
        );
        let before = sign(&mut link, &validator, &nil);
        process.kill();
        drop(link);

        let process = self.home.start();
        let (mut link, same) = self.meet();
        assert!(same.key == validator.key, "the key is another");
        let after = sign(&mut link, &validator, &nil);
        assert_eq!(after, before, "the repeat after a restart");
        let (old, _) = last.unwrap();
        let refused = validator.ask(&mut link, &old).unwrap();
        assert!(matches!(refused, Answer::Refused { .. }), "{refused:?}");
        sign(&mut link, &validator, &ballot(Step::Precommit, 4));
        let status = process.terminate(Duration::from_secs(5));
        assert_eq!(status.code(), Some(0));
    }
}

/// With a vote extension where there may be one.
fn ballot(step: Step, height: i64) -> Ballot {
    Ballot {
        step,
        height,
        round: 0,
        block: Some(block(height, 0)),
        timestamp: now(),
        extension: (step == Step::Precommit).then(|| b"extension".to_vec()),
    }
}

/// Has a ballot signed, however often it must be asked for. The signature is valid.
fn sign(link: &mut Link, validator: &Validator, ballot: &Ballot) -> Signed {
    let begun = Instant::now();
    loop {
        match validator.ask(link, ballot).unwrap() {
            Answer::Signed(signed) => return signed,
            Answer::TryAgain => assert!(begun.elapsed() < PATIENCE, "{ballot:?} is not signed"),
            other @ Answer::Refused { .. } => panic!("{ballot:?}: {other:?}"),
        }
    }
}

#[test]
fn a_soft_key_of_every_kind_makes_blocks() {
    for scheme in Algorithm::ALL {
        let provider = format!(
            "[[providers.softsign]]\nchain_ids = [\"{CHAIN}\"]\npath = \"consensus.key\"\n"
        );
        let bench = Bench::new(&provider, |home| {
            run(home
                .command()
                .args(["generate", "--type", scheme.name(), "consensus.key"]));
        });
        bench.makes_blocks();
    }
}

#[test]
fn a_secp256k1_key_in_a_device_makes_blocks_and_repeats_its_signatures() {
    let hsm = Simulator::start(Options::default());
    words::apply(&hsm, "auth 4 password-of-the-validator sign-ecdsa");
    words::apply(&hsm, "k256 1 7");
    let provider = format!(
        "[[providers.yubihsm]]\nadapter = {{ type = \"http\", addr = \"tcp://{}\", timeout_ms = 1000 }}\n\
         auth = {{ key = 4, password = \"password-of-the-validator\" }}\n\
         keys = [{{ chain_ids = [\"{CHAIN}\"], key = 1, type = \"consensus\" }}]\n",
        hsm.addr()
    );
    let bench = Bench::new(&provider, |_| {});
    bench.makes_blocks();
    // Had the device been asked again, it would have given another signature: it draws its nonces.
    let repeated = hsm.device().count(yubihsm::codes::command::SIGN_ECDSA);
    // Three heights of a proposal, a prevote, a precommit and its extension; the vote for nil; the last precommit and its extension.
    assert_eq!(repeated, 3 * 4 + 1 + 2);
}

#[test]
fn a_node_that_hangs_up_at_the_sight_of_the_key_is_explained() {
    let provider =
        format!("[[providers.softsign]]\nchain_ids = [\"{CHAIN}\"]\npath = \"consensus.key\"\n");
    for (scheme, asks, is_explained) in [
        ("ml_dsa_65", 1, true),
        ("ml_dsa_65", 2, false),
        ("ed25519", 1, false),
    ] {
        let bench = Bench::new(&provider, |home| {
            run(home
                .command()
                .args(["generate", "--type", scheme, "consensus.key"]));
        });
        let process = bench.home.start();
        let (mut link, _) = bench.meet();
        // Who asks again has taken the key.
        for _ in 1..asks {
            let chain = ChainId::new(CHAIN).unwrap();
            Validator::meet(&mut link, &chain).unwrap();
        }
        drop(link);
        // It dials again, and has told by then why the first connection ended.
        let (_link, _) = bench.meet();
        let log = bench.home.log();
        let explained = log.contains("does this node know ml_dsa_65 keys?");
        assert_eq!(explained, is_explained, "{log}");
        let _ = process.terminate(Duration::from_secs(5));
    }
}
