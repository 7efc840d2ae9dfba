//! `tmkms yubihsm setup`: what will happen, two questions, and then the work.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use subtle_encoding::hex;
use zeroize::Zeroizing;

use crate::{
    commands::{
        Failure, Global, note, output, prompt,
        yubihsm::{
            Which,
            connect::{Login, Reach},
            defer_signals, now,
        },
    },
    key_file,
    keyring::providers::yubihsm::{
        Credentials, Device, Entry, Filter, ObjectType, SerialNumber,
        setup::{
            Left, Phrase, Progress, Provision, Report, Role, SetupError, TEMPORARY_KEY, WORDS,
            WRAP_KEY_LEN, WrapKey, login, temporary,
        },
    },
};

/// Bytes of random numbers that the device adds to a new phrase.
const FROM_DEVICE: u16 = 32;

#[derive(clap::Args, Debug)]
pub(in crate::commands) struct Setup {
    #[command(flatten)]
    which: Which,

    /// Only print the phrase and what comes from it: needs neither a device nor a configuration
    #[arg(short, long, conflicts_with_all = ["dry_run", "write_report"])]
    print_only: bool,

    /// Say what would be erased and made, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Use a phrase that exists; it is asked for, and not shown while it is typed
    #[arg(short, long)]
    restore: bool,

    /// Write the report, which is also left in the device, to this new file
    #[arg(short, long, value_name = "FILE")]
    write_report: Option<PathBuf>,

    /// Install this wrap key too, as 0x0002: a file of 64 hex digits, or base64 of 32 bytes
    #[arg(long, value_name = "FILE")]
    second_wrapkey: Option<PathBuf>,
}

impl Setup {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        if let Some(path) = &self.write_report {
            super::keys::refuse_existing(path)?;
        }
        let second = self.second_wrapkey.as_deref().map(wrap_key).transpose()?;
        if self.print_only {
            let phrase = self.phrase(&[])?;
            let header =
                "This is what `tmkms yubihsm setup` would install. No device was changed.\n";
            return output(&Zeroizing::new(format!("{header}\n{}", *secrets(&phrase))));
        }
        let mut reach = self.which.reach(global)?;
        if !self.dry_run {
            refuse_in_use(&reach)?;
        }
        let restored = match self.restore {
            true => Some(self.phrase(&[])?),
            false => None,
        };
        if self.dry_run {
            return self.dry_run(&reach, restored.as_ref());
        }
        let mut login = log_in(&reach, restored.as_ref())?;
        let serial = login.device.info().serial;
        reach.pin(serial);
        let phrase = match restored {
            Some(phrase) => phrase,
            None => self.phrase(&random(&mut login))?,
        };
        note(&format!(
            "This process will *ERASE* the configured YubiHSM2 and reinitialize it:\n\n- YubiHSM serial: {serial}\n"
        ));
        note(&doomed(&mut login)?);
        output(&secrets(&phrase))?;
        // Writing 24 words on paper takes longer than a session lasts.
        let credentials = login.close();
        confirm(serial)?;
        let device = reach.open_or_explain(&credentials)?;
        let report = provision(&reach, device, &credentials, &phrase, second)?;
        output(&format!(
            "Success reinitialized YubiHSM (serial: {serial})\n"
        ))?;
        if let Some(path) = &self.write_report {
            key_file::create(path, report.to_json().as_bytes()).map_err(|error| {
                Failure::of(&error)
                    .maybe_hint(error.hint())
                    .and(Failure::new("the device is set up all the same; the report is in it, as opaque object 0xfffe"))
            })?;
            note(&format!("wrote the report {}", path.display()));
        }
        note("now put the validator's password where `auth` names it, and change `auth` to key 4");
        Ok(())
    }

    /// The phrase that was asked for, or a new one.
    fn phrase(&self, from_device: &[u8]) -> Result<Phrase, Failure> {
        if !self.restore {
            return Phrase::random(from_device).map_err(|error| no_random_numbers(&error));
        }
        let typed = prompt::secret("*** Enter mnemonic (separate words with spaces): ")?;
        let phrase = Phrase::parse(&typed).map_err(|error| {
            Failure::new("couldn't decode mnemonic")
                .cause(error.to_string())
                .hint(format!(
                    "type the {WORDS} words on one line, in their order"
                ))
        })?;
        note("Mnemonic phrase decoded/checksummed successfully!");
        Ok(phrase)
    }

    /// What would happen. The phrase is for logging in only.
    fn dry_run(&self, reach: &Reach, phrase: Option<&Phrase>) -> Result<(), Failure> {
        let mut login = log_in(reach, phrase)?;
        let serial = login.device.info().serial;
        let doomed = doomed(&mut login)?;
        let mut text = format!(
            "Nothing is changed: this is what setup would do to YubiHSM {serial}.\n{doomed}\n\nmade in this order:\n"
        );
        let mut line = |what: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "- {what}");
        };
        line("authkey 0xfffe (temporary, removed two steps later)");
        line("authkey 0x0001 [admin] in the place of the key of a new device");
        for role in Role::ALL.into_iter().skip(1) {
            line(&format!("authkey 0x{:04x} [{}]", role.id(), role.name()));
        }
        line("wrapkey 0x0001 [primary]");
        if self.second_wrapkey.is_some() {
            line("wrapkey 0x0002 [second]");
        }
        line("opaque 0xfffe: the report");
        output(&text)
    }
}

/// Erases and sets up, and gives the report.
fn provision(
    reach: &Reach,
    device: Device,
    credentials: &Credentials,
    phrase: &Phrase,
    second: Option<WrapKey>,
) -> Result<Report, Failure> {
    let serial = device.info().serial;
    let stamp = now();
    let report = Report::new(serial, hostname(), env::var("LOGNAME").ok(), &stamp);
    let report = report.map_err(|error| no_random_numbers(&error))?;
    // From here on a device could be left half set up: Ctrl-C has to wait, or to be pressed twice.
    defer_signals()?;
    Provision::new(phrase, second, report.clone(), &stamp)
        .run(
            device,
            &|| reach.open(credentials),
            &|credentials| reach.open(credentials),
            &mut |progress| tell(&progress),
        )
        .map_err(|error| explain(&error, serial))?;
    Ok(report)
}

/// What a validator signs with is not erased under its hands.
fn refuse_in_use(reach: &Reach) -> Result<(), Failure> {
    let how = match (reach.served_at, reach.signer()) {
        (Some(addr), _) => format!("its connector_server answers at {addr}"),
        (None, Some(process)) => format!("process {process} has the record of its chain"),
        (None, None) => return Ok(()),
    };
    let what = format!("`tmkms start` signs with the device: {how}");
    Err(Failure::new(what).hint("stop it first; nothing was erased"))
}

/// Everything that comes from a phrase, for paper: to be printed once and kept nowhere.
fn secrets(phrase: &Phrase) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2_048));
    let words: Vec<&str> = phrase.expose().split(' ').collect();
    let (first, second) = words.split_at(words.len() / 2);
    text.push_str("- key 0x0001: admin:\n\n");
    for half in [first, second] {
        text.push_str("    ");
        for (at, word) in half.iter().enumerate() {
            text.push_str(if at > 0 { " " } else { "" });
            text.push_str(word);
        }
        text.push('\n');
    }
    text.push('\n');
    for role in Role::ALL.into_iter().skip(1) {
        let name = format!("[{}]:", role.name());
        let _ = writeln!(
            text,
            "- authkey 0x{:04x} {name:<12} {}",
            role.id(),
            phrase.password(role).expose_secret()
        );
    }
    let wrap_key = Zeroizing::new(hex::encode(phrase.wrap_key().as_slice()));
    let _ = writeln!(
        text,
        "- wrapkey 0x0001 [primary]:   {}",
        String::from_utf8_lossy(&wrap_key)
    );
    text
}

/// A session that may erase the device: of the configuration; of a phrase that was typed, if another try went before; of a new device.
fn log_in(reach: &Reach, phrase: Option<&Phrase>) -> Result<Login, Failure> {
    let first = phrase.map(|phrase| vec![login(phrase, Role::Admin), temporary(phrase)]);
    reach.log_in_to_erase(first.unwrap_or_default())
}

/// Random numbers of the device, if its key may ask for them.
fn random(login: &mut Login) -> Zeroizing<Vec<u8>> {
    login.device.random(FROM_DEVICE).unwrap_or_else(|_| {
        note("the phrase is made of this system's random numbers only: the key may not ask the device for any");
        Zeroizing::new(Vec::new())
    })
}

/// What is on the device and will be gone.
fn doomed(login: &mut Login) -> Result<String, Failure> {
    let objects = login
        .device
        .list_objects(&Filter::default())
        .map_err(|error| Failure::of(&error).hint("nothing was erased"))?;
    let mut text = format!("erased, {} objects:", objects.len());
    for Entry {
        id, object_type, ..
    } in &objects
    {
        let label = match login.device.object_info(*id, *object_type) {
            Ok(Some(info)) => format!(" {:?}", info.label.text()),
            _ => String::new(),
        };
        let _ = write!(text, "\n- {object_type} 0x{id:04x}{label}");
        if (*object_type, *id) == (ObjectType::AUTHENTICATION_KEY, TEMPORARY_KEY) {
            text.push_str(", left of a set-up that was interrupted");
        }
    }
    Ok(text)
}

/// Asks twice.
fn confirm(serial: SerialNumber) -> Result<(), Failure> {
    let aborting = || Failure::new("Aborting").hint("nothing was erased");
    let sure = prompt::line("*** Are you SURE you want erase and reinitialize this HSM? (y/N): ")?;
    if !matches!(sure.trim(), "y" | "Y") {
        return Err(aborting());
    }
    let typed = prompt::line(
        "*** The words are on paper? Type the serial number of the HSM to erase it: ",
    )?;
    if typed.trim().parse() == Ok(serial) {
        Ok(())
    } else {
        Err(aborting())
    }
}

fn tell(progress: &Progress) {
    note(&match progress {
        Progress::Erased => "erased the device".to_owned(),
        Progress::Admin => "made the admin, key 0x0001; no temporary key is left".to_owned(),
        Progress::Role(role) => format!("made the {}, key 0x{:04x}", role.name(), role.id()),
        Progress::WrapKey(id) => format!("made wrap key 0x{id:04x}"),
        Progress::Reported => "left the report in opaque object 0xfffe".to_owned(),
        Progress::Again(reason) => format!("{reason}; trying again"),
    });
}

fn explain(error: &SetupError, serial: SerialNumber) -> Failure {
    let failure = Failure::of(error);
    match error.left {
        Left::Untouched => failure.hint("nothing was erased"),
        Left::WithAdmin => failure.and(
            Failure::new(format!(
                "YubiHSM {serial} was erased and is not wholly set up; its one all-powerful key is the admin, whose password is the phrase"
            ))
            .hint("`tmkms yubihsm setup -r` with that phrase does the rest"),
        ),
        Left::Unknown => failure.and(
            Failure::new(format!(
                "YubiHSM {serial} cannot be reached: the key of a new device, or the temporary key 0xfffe, may be on it"
            ))
            .hint("`tmkms yubihsm setup -r` with the phrase from above finds it and removes it"),
        ),
    }
}

/// A wrap key of 64 hex digits, or base64 of 32 bytes.
fn wrap_key(path: &Path) -> Result<WrapKey, Failure> {
    let file =
        key_file::read(path).map_err(|error| Failure::of(&error).maybe_hint(error.hint()))?;
    let text = file.trim_ascii();
    let bytes = if text.len() == 2 * WRAP_KEY_LEN {
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        hex::decode(lower.as_slice()).ok().map(Zeroizing::new)
    } else {
        key_file::from_base64(text)
    };
    let mut key = Zeroizing::new([0; WRAP_KEY_LEN]);
    match bytes {
        Some(bytes) if bytes.len() == WRAP_KEY_LEN => {
            key.copy_from_slice(&bytes);
            Ok(WrapKey(key))
        }
        _ => Err(
            Failure::new(format!("{} holds no wrap key", path.display()))
                .hint("64 hex digits, or base64 of 32 bytes"),
        ),
    }
}

fn no_random_numbers(error: &rand_core::Error) -> Failure {
    Failure::new("the system's random numbers cannot be read").cause(error.to_string())
}

/// As the system calls itself.
fn hostname() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
