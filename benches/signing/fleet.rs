//! A signer process and the validators that it signs for.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rand_core::RngCore;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tmkms::privval::ChainId;

use crate::{
    node_side::{Link, Listener, Validator},
    process::Process,
};

/// A signer's binary.
pub(crate) struct Program {
    /// How the report calls it.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl Program {
    pub(crate) fn new(name: &'static str, path: &Path) -> Self {
        Self {
            name,
            path: path.to_owned(),
        }
    }
}

/// How the signer reaches its nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

/// What a fleet is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) transport: Transport,
    /// Chains in the one process, with one consensus key (the original takes no more) and a record for each.
    pub(crate) chains: usize,
    /// Whether vote extensions are signed; the original's default is that they are not.
    pub(crate) extensions: bool,
}

/// One chain's node.
pub(crate) struct Member {
    pub(crate) link: Link,
    pub(crate) validator: Validator,
    /// The next height to ask for.
    pub(crate) height: i64,
}

/// One signer process and its nodes, all connected.
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    process: Process,
    // Listeners remove their sockets when they go.
    _listeners: Vec<Listener>,
}

impl Fleet {
    /// Starts `program` with a home of its own below `dir` and waits until every chain is connected.
    pub(crate) fn launch(program: &Program, dir: &Path, order: Order) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let home = dir.join(format!("signer-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&home).expect("our own directory");
        let ids: Vec<String> = (0..order.chains).map(|n| format!("bench-{n}")).collect();
        let listeners: Vec<Listener> = ids
            .iter()
            .map(|id| {
                let addr = match order.transport {
                    Transport::Tcp => "tcp://127.0.0.1:0".to_owned(),
                    Transport::Unix => format!("unix://{}", home.join(id).display()),
                };
                Listener::bind(&addr).unwrap_or_else(|error| panic!("cannot bind {addr}: {error}"))
            })
            .collect();
        write_config(&home, &ids, &listeners, order);
        init_records(program, &home, &ids);
        let mut command = Command::new(&program.path);
        command
            .current_dir(&home)
            .env_remove("RUST_LOG")
            .args(["start", "-c"])
            .arg(home.join("tmkms.toml"));
        let mut process = Process::start(program.name, &mut command, &home.join("log"));
        let members = listeners
            .iter()
            .zip(&ids)
            .map(|(listener, id)| connect(listener, id, &mut process))
            .collect();
        Self {
            members,
            process,
            _listeners: listeners,
        }
    }

    /// The most memory that the process ever had resident, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .expect("Linux tells the peak of a running process")
    }
}

/// 1,000 nodes need more descriptors than a shell usually allows.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("the descriptor limit stays at {:?}: {error}", limit.current);
    }
}

fn connect(listener: &Listener, id: &str, process: &mut Process) -> Member {
    let chain = ChainId::new(id).expect("our own chain ID");
    let begun = Instant::now();
    loop {
        let link = listener.accept(|| begun.elapsed() > Duration::from_secs(30));
        // A signer may have given up a dial that waited too long, and then dials anew.
        let met = match link {
            Ok(Some(mut link)) => {
                Validator::meet(&mut link, &chain).map(|validator| (link, validator))
            }
            Ok(None) => panic!("{id} was not dialled:\n{}", process.output()),
            Err(error) => Err(error),
        };
        match met {
            Ok((link, validator)) => {
                return Member {
                    link,
                    validator,
                    height: 1,
                };
            }
            Err(error) if process.is_running() => eprintln!("{id}: {error}, again …"),
            Err(error) => panic!("{id}: {error}:\n{}", process.output()),
        }
    }
}

/// A configuration that the original reads and that means the same to us.
fn write_config(home: &Path, ids: &[String], listeners: &[Listener], order: Order) {
    let mut config = String::new();
    let path = |name: &str| home.join(name).display().to_string();
    for id in ids {
        let _ = write!(
            config,
            "[[chain]]\nid = \"{id}\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"{}\"\nsign_extensions = {}\n\n",
            path(&format!("{id}.state")),
            order.extensions
        );
    }
    // A node of ours sends no pings: while the last of a thousand connects, the first must not count as dead.
    for (id, listener) in ids.iter().zip(listeners) {
        let addr = listener.addr().expect("a bound listener has an address");
        let _ = write!(
            config,
            "[[validator]]\nchain_id = \"{id}\"\naddr = \"{addr}\"\nsecret_key = \"{}\"\n\
             protocol_version = \"v0.38\"\nreconnect = true\ntimeout = 60\n\n",
            path("identity.key")
        );
    }
    let _ = write!(
        config,
        "[[providers.softsign]]\nchain_ids = {ids:?}\nkey_type = \"consensus\"\npath = \"{}\"\n",
        path("consensus.key")
    );
    write_private(&home.join("tmkms.toml"), &config);
    for name in ["identity.key", "consensus.key"] {
        let mut seed = [0; 32];
        rand_core::OsRng.fill_bytes(&mut seed);
        let text = subtle_encoding::base64::encode(seed);
        write_private(&home.join(name), &String::from_utf8_lossy(&text));
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("our own directory");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
}

/// `state init` for every chain. The original has no such command: it fails, and there the record appears by itself.
fn init_records(program: &Program, home: &Path, ids: &[String]) {
    let workers = 4;
    std::thread::scope(|scope| {
        for share in ids.chunks(ids.len().div_ceil(workers)) {
            scope.spawn(move || {
                for id in share {
                    let _ = Command::new(&program.path)
                        .current_dir(home)
                        .args(["state", "init", id, "-c"])
                        .arg(home.join("tmkms.toml"))
                        .output();
                }
            });
        }
    });
}
