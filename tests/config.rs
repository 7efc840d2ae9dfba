//! Configurations of every era open and mean what they meant; what is wrong is said with its place and its remedy.
//!
//! `tests/config/NAME.toml` stands beside `NAME.resolved`, `tests/config/errors/NAME.toml` beside `NAME.error`. With
//! `TMKMS_WRITE_EXPECTATIONS` set, missing or differing expectation files are written instead of compared: read the diff.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot set up its case has to say so"
)]

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tmkms::{
    codec::{Family, node::Pin},
    config::{Config, ConsensusKey, Error, networks, template},
    connection::{Address, Group},
};

const ERAS: [&str; 18] = [
    "0.0.1",
    "0.1-tcp",
    "0.1-unix",
    "0.2-announcement",
    "0.3",
    "0.4",
    "0.5",
    "0.6",
    "0.7",
    "0.8",
    "0.9",
    "0.10",
    "0.11",
    "0.12",
    "0.13",
    "0.14",
    "0.15",
    "1.0",
];

fn cases(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(directory);
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    paths
}

/// Parses a text as the file `tmkms.toml` of an empty directory; paths are shown relative to that directory.
fn parse(text: &str) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tmkms.toml");
    let prefix = format!("{}/", home.path().display());
    let shown = match Config::parse_in(text, &path, Some(home.path())) {
        Ok(config) => Ok(config.resolved()),
        Err(error) => Err(report(&error)),
    };
    let strip = |text: String| text.replace(&prefix, "");
    shown.map(strip).map_err(strip)
}

fn report(error: &Error) -> String {
    let mut text = String::new();
    for problem in error.problems() {
        text += &format!("error: {problem}\n");
        text += &format!(
            "hint: {}
",
            problem.hint.as_deref().expect("every error has a hint")
        );
    }
    if let Error::Invalid { omitted: 1.., .. } = error {
        text += error.to_string().lines().last().unwrap();
        text += "\n";
    }
    text
}

/// Complains unless `found` is what stands in the file.
fn compare(expectation: &Path, found: &str, complaints: &mut Vec<String>) {
    let expected = fs::read_to_string(expectation).unwrap_or_default();
    if expected == found {
        return;
    }
    if env::var_os("TMKMS_WRITE_EXPECTATIONS").is_some() {
        fs::write(expectation, found).unwrap();
    } else {
        let name = expectation.display();
        complaints.push(format!(
            "{name}\n--- expected\n{expected}--- found\n{found}"
        ));
    }
}

#[test]
fn a_file_of_every_era_resolves_to_what_it_meant() {
    let cases = cases("");
    let mut complaints = Vec::new();
    for path in &cases {
        match parse(&fs::read_to_string(path).unwrap()) {
            Ok(resolved) => compare(
                &path.with_extension("").with_added_extension("resolved"),
                &resolved,
                &mut complaints,
            ),
            Err(error) => complaints.push(format!("{}\n{error}", path.display())),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for era in ERAS {
        let there = cases
            .iter()
            .any(|path| path.file_stem().is_some_and(|stem| stem == era));
        assert!(there, "no file of {era}");
    }
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_remedy() {
    let cases = cases("errors");
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    let mut complaints = Vec::new();
    for path in &cases {
        match parse(&fs::read_to_string(path).unwrap()) {
            Ok(resolved) => complaints.push(format!("{} opened:\n{resolved}", path.display())),
            Err(error) => compare(&path.with_extension("error"), &error, &mut complaints),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_file_that_was_cut_off_or_lost_a_line_never_stops_the_reader() {
    let mut parsed = 0;
    for path in cases("").into_iter().chain(cases("errors")) {
        let text = fs::read_to_string(path).unwrap();
        let cuts = text
            .char_indices()
            .step_by(11)
            .map(|(end, _)| text[..end].to_owned());
        let lines: Vec<&str> = text.lines().collect();
        let gaps = (0..lines.len()).map(|gap| {
            let (before, after) = lines.split_at(gap);
            [before, &after[1..]].concat().join("\n")
        });
        for mutant in cuts.chain(gaps) {
            match Config::parse_in(&mutant, Path::new("tmkms.toml"), None) {
                Ok(config) => assert!(!config.resolved().is_empty()),
                Err(error) => assert!(!error.problems().is_empty()),
            }
            parsed += 1;
        }
    }
    assert!(parsed > 1_000, "only {parsed} texts");
}

#[test]
fn no_error_ever_quotes_a_secret() {
    const SECRET: &str = "s3cret-Pa55w0rd";
    let texts = [
        format!(
            "[[providers.yubihsm]]\nauth = {{ key = 1, password = \"{SECRET}\" }}\n[[validator]]\nadress = 1\n"
        ),
        format!("[[providers.yubihsm]]\nauth = {{ key = 1, password = \"{SECRET} }}\n"),
        format!("[[providers.fortanixdsm]]\napi_key = {SECRET}\n"),
        format!("[[providers.fortanixdsm]]\napi_key = '{SECRET}\n"),
        format!("[[providers.fortanixdsm]]\napi_key = \"{SECRET}\" x\n"),
        format!("[[providers.softsign]]\npassword = \"{SECRET}\"\n"),
        format!("[providers.yubihsm]\npassword = \"{SECRET}\"\n"),
        format!("[[providers.yubihsm]]\npassword = \"{SECRET}\\q\"\n"),
        format!("[[providers.yubihsm]]\nauth = \"{SECRET}\"\n"),
        format!("[[providers.yubihsm]]\nauth = {{ key = \"{SECRET}\", password = 5 }}\n"),
        format!("[[providers.yubihsm]]\nauth = {{ key = 1, password_env = \"{SECRET}\" }}\n"),
        format!(
            "[[providers.yubihsm]]\nauth = {{ key = 1, password_credential = \"/{SECRET}\" }}\n"
        ),
        format!(
            "[[providers.yubihsm]]\nadapter = {{ type = \"usb\" }}\nauth = {{ key = 1, password = \"{SECRET}\" }}\n"
        ),
    ];
    for text in texts {
        match Config::parse_in(&text, Path::new("tmkms.toml"), None) {
            Ok(config) => {
                let shown = format!("{} {config:?}", config.resolved());
                assert!(!shown.contains(SECRET), "{shown}");
            }
            Err(error) => {
                let shown = format!("{error} {error:?} {:?}", error.hint());
                assert!(!shown.contains(SECRET), "{shown}");
            }
        }
    }
}

#[test]
fn odd_texts_are_answered_and_not_choked_on() {
    let small = SMALL.trim_start();
    let with_mark = format!("\u{feff}{small}");
    assert_eq!(parse(&with_mark), parse(small));
    let typo = with_mark.replace("id =", "di =");
    assert!(
        parse(&typo)
            .unwrap_err()
            .contains("tmkms.toml:2:1: unknown key `di`")
    );

    let nested = format!("chain = {}", "[".repeat(100_000));
    assert!(parse(&nested).unwrap_err().contains("not valid TOML"));
    let tables = format!("chain = {}", "{ a = ".repeat(100_000));
    assert!(parse(&tables).unwrap_err().contains("not valid TOML"));
    let keys: String = (0..20_000).map(|n| format!("key{n} = 1\n")).collect();
    assert!(parse(&keys).unwrap_err().ends_with("and 19990 more\n"));
    assert!(
        parse("\0")
            .unwrap_err()
            .contains("tmkms.toml:1:1: not valid TOML")
    );
}

#[test]
fn a_thousand_chains_fit_in_one_file() {
    let mut text = String::new();
    for n in 0..1_000 {
        text += &format!(
            "[[chain]]\nid = \"c-{n}\"\n[[validator]]\nchain_id = \"c-{n}\"\naddr = \"unix:///run/{n}\"\n\
             [[providers.softsign]]\nchain_ids = [\"c-{n}\"]\npath = \"{n}.key\"\n"
        );
    }
    let config = Home::new().parse(&text).unwrap();
    assert_eq!(config.chains.len(), 1_000);
    assert_eq!(config.validators.len(), 1_000);
    assert_eq!(config.softsign.len(), 1_000);
    assert_eq!(config.warnings, []);
}

#[test]
fn every_spelling_of_a_protocol_version_is_understood() {
    let with = |version: &str| {
        let line = format!("protocol_version = \"{version}\"\nsecret_key");
        Home::new().parse(&SMALL.replace("secret_key", &line))
    };
    for pin in Pin::ALL {
        let config = with(pin.spelling).unwrap();
        assert_eq!(config.validators[0].protocol, Some(pin));
        // Requests of old nodes name no chain.
        let warned = !config.warnings.is_empty();
        assert_eq!(warned, pin.family != Family::Protobuf, "{}", pin.spelling);
        assert!(
            config
                .warnings
                .iter()
                .all(|it| it.to_string().contains("c-1"))
        );
    }
    for unknown in ["v0.25", "v0.41", "v3", "V0.34", "0.34", ""] {
        assert!(with(unknown).is_err(), "{unknown}");
    }
    let config = Home::new().parse(SMALL).unwrap();
    assert_eq!(config.validators[0].protocol, None);
}

#[test]
fn a_socket_that_is_bound_here_may_be_shared_with_a_group() {
    let with = |lines: &str| {
        let addr = "addr = \"unix-listen:///run/x.sock\"\n";
        let text = SMALL.replace(
            "addr = \"tcp://127.0.0.1:26658\"\n",
            &format!("{addr}{lines}"),
        );
        let config = Home::new().parse(&text).unwrap();
        let Address::UnixListen(_, access) = config.validators[0].addr.clone() else {
            panic!("{:?}", config.validators[0].addr);
        };
        (access.mode, access.group, config.warnings.len())
    };
    assert_eq!(with(""), (0o600, None, 1));
    let name = Some(Group::Name("tendermint".to_owned()));
    let both = "socket_mode = \"0660\"\nsocket_group = \"tendermint\"\n";
    assert_eq!(with(both), (0o660, name, 1));
    let number = "socket_mode = \"660\"\nsocket_group = \"1000\"\n";
    assert_eq!(with(number), (0o660, Some(Group::Id(1000)), 1));
    assert_eq!(with("socket_mode = \"0666\"\n"), (0o666, None, 2));
}

#[test]
fn what_cannot_be_served_says_so_in_one_line() {
    let text = format!("{SMALL}\n[[providers.fortanixdsm]]\n");
    let config = Home::new().parse(&text).unwrap();
    assert_eq!(config.unbuilt.len(), 1);
    assert_eq!(
        config.unbuilt[0].to_string(),
        "[[providers.fortanixdsm]] in line 15 is understood, but this version cannot serve it"
    );
}

/// A home with one chain whose files are named relatively.
const SMALL: &str = r#"
[[chain]]
id = "c-1"
state_file = "state.json"

[[validator]]
addr = "tcp://127.0.0.1:26658"
chain_id = "c-1"
secret_key = "identity.key"

[[providers.softsign]]
chain_ids = ["c-1"]
path = "consensus.key"
"#;

struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["etc", "cwd"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str) {
        fs::write(self.path(name), name).unwrap();
    }

    fn parse(&self, text: &str) -> Result<Config, Error> {
        Config::parse_in(text, &self.path("etc/tmkms.toml"), Some(&self.path("cwd")))
    }
}

#[test]
fn a_file_at_the_old_place_is_used_with_a_warning_and_two_are_refused_by_name() {
    let home = Home::new();
    let config = home.parse(SMALL).unwrap();
    assert_eq!(config.chains[0].state_file, home.path("etc/state.json"));
    assert_eq!(config.warnings, []);

    home.put("cwd/state.json");
    home.put("cwd/consensus.key");
    let config = home.parse(SMALL).unwrap();
    assert_eq!(config.chains[0].state_file, home.path("cwd/state.json"));
    assert_eq!(config.softsign[0].path, home.path("cwd/consensus.key"));
    assert_eq!(config.warnings.len(), 2);
    assert!(
        config.warnings[0]
            .to_string()
            .contains("only in the working directory")
    );

    home.put("etc/state.json");
    let error = home.parse(SMALL).unwrap_err().to_string();
    for name in ["etc/state.json", "cwd/state.json"] {
        let path = home.path(name);
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn two_chains_on_one_record_are_found_through_links() {
    let second = |state_file: &str| {
        format!("{SMALL}\n[[chain]]\nid = \"c-2\"\nstate_file = \"{state_file}\"\n")
    };
    let home = Home::new();
    home.put("etc/state.json");
    symlink(home.path("etc/state.json"), home.path("etc/soft.json")).unwrap();
    fs::hard_link(home.path("etc/state.json"), home.path("etc/hard.json")).unwrap();
    home.put("etc/other.json");
    for name in [
        "./state.json",
        "soft.json",
        "hard.json",
        "../etc/state.json",
    ] {
        let error = home.parse(&second(name)).expect_err(name).to_string();
        assert!(
            error.contains("chains c-1 and c-2 share one state file"),
            "{error}"
        );
    }
    home.parse(&second("other.json")).unwrap();
}

#[test]
fn a_hook_runs_in_the_directory_of_the_configuration() {
    let home = Home::new();
    let text = SMALL.replace(
        "state_file = \"state.json\"",
        "state_file = \"state.json\"\nstate_hook = { cmd = [\"./height\"] }",
    );
    let config = home.parse(&text).unwrap();
    let hook = config.chains[0].state_hook.as_ref().unwrap();
    assert_eq!(hook.directory, home.path("etc"));
}

#[test]
fn a_file_is_loaded_from_its_place_and_a_missing_one_is_named() {
    let home = Home::new();
    let path = home.path("etc/tmkms.toml");
    let error = Config::load(&path).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()));
    assert!(error.hint().unwrap().contains("tmkms init"));

    fs::write(&path, SMALL).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.softsign[0].path, home.path("etc/consensus.key"));
    assert_eq!(config.warnings, []);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(
        config.warnings[0].hint,
        Some(format!("chmod o-w {}", path.display()))
    );

    fs::write(&path, b"[[chain]]\nid = \"\xff\"\n").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}:2:7: the file is not UTF-8 text", path.display())
    );
    assert!(
        Config::load(&home.path("etc")).is_err(),
        "a directory is no file"
    );
}

#[test]
fn a_password_in_a_file_that_others_can_read_is_refused_with_the_chmod_line() {
    let home = Home::new();
    let path = home.path("etc/tmkms.toml");
    let file = |auth: &str| {
        format!(
            "[[providers.yubihsm]]\nadapter = {{ type = \"usb\" }}\nauth = {{ key = 1, {auth} }}\n"
        )
    };
    fs::write(&path, file("password = \"secret\"")).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Config::load(&path).unwrap_err();
        let place = format!("{}:3:30: `password` stands in a file", path.display());
        assert!(error.to_string().starts_with(&place), "{error}");
        let chmod = format!("chmod 600 {}", path.display());
        assert!(error.hint().unwrap().starts_with(&chmod), "{mode:o}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Config::load(&path).unwrap();
    }
    // Without a password in it the file is nobody's secret.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, file("password_file = \"password\"")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Config::load(&path).unwrap();
}

#[test]
fn the_key_of_a_chain_is_found_in_whatever_holds_it() {
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/1.0-devices.toml"),
    );
    let config = Home::new().parse(&text.unwrap()).unwrap();
    let keys = |id: &str| {
        let chain = config.chains.iter().find(|chain| chain.id.as_str() == id);
        let keys = chain.map(|chain| config.consensus_keys(chain));
        keys.unwrap_or_default()
    };
    let key = |id: &str| keys(id).first().map(|key| key.key);
    assert!(matches!(
        key("b-1"),
        Some(ConsensusKey::YubiHsm { index: 1, key, .. }) if key.key == 1
    ));
    assert!(matches!(
        key("f-1"),
        Some(ConsensusKey::Ledger { index: 2, .. })
    ));
    assert!(key("other").is_none());
    // An account key signs for no chain, whatever it names.
    let text = SMALL.replace("path =", "key_type = \"account\"\npath =");
    assert!(Home::new().parse(&text).is_err());
}

#[test]
fn the_example_in_the_repository_is_what_init_writes() {
    let chain = networks::ALL[0].template().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tmkms.toml.example");
    let mut complaints = Vec::new();
    compare(&example, &template::render(&[chain]), &mut complaints);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
