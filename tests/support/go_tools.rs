//! Programs that are built from their Go modules, once, and kept under `target/nodes/`.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use super::{process::run, skip};

/// A program of the Go world that a test needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// Tendermint v0.26.4, whose node beats its heart when it waits for transactions.
    TendermintV026,
    /// Tendermint v0.27.4, the gaia-9002 era; over unix it dials its signer.
    TendermintV027,
    /// Tendermint v0.28.1: the names of later messages, the votes of earlier ones.
    TendermintV028,
    /// Tendermint v0.32.14, the last one with the legacy handshake.
    TendermintV032,
    /// Tendermint v0.33.9, the last one before protobuf.
    TendermintV033,
    /// Tendermint v0.34.24, the first protobuf generation.
    TendermintV034,
    /// CometBFT v0.38.25, the main line.
    CometBftV038,
    /// CometBFT v0.40.0.
    CometBftV040,
    /// CometBFT v1.0.1, with messages of its own.
    CometBftV1,
    /// The same, built to know BLS12-381 keys.
    CometBftV1WithBls,
    /// CometBFT's end-to-end application node v0.38.25, whose vote extensions are not empty.
    E2eNodeV038,
    /// The same, v0.40.0, which can make them as long as one wants.
    E2eNodeV040,
    /// The same, v1.0.1.
    E2eNodeV1,
    /// The last official conformance test of remote signers.
    Harness,
    /// A node's side of `noise://`, made of go-libp2p v0.47.0 alone.
    Libp2pNoise,
}

/// Nodes before protobuf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Amino {
    /// v0.26 and v0.27: over unix the node dials, and a lost signer is lost until the node is restarted.
    OneDial,
    /// v0.28 to v0.33.
    Dialled,
}

/// How a tool is built.
enum Recipe {
    /// `go install PACKAGE@VERSION`.
    Install(&'static str),
    /// `go build PACKAGE` in a module under `tests/interop/`: for modules whose replace directives `go install` refuses, or that need another
    /// version of something. With the tag that CometBFT wants for BLS12-381, and that the others do not know.
    Module(&'static str, &'static str),
}

impl Tool {
    /// The directory under `target/nodes/` and the name of the program in it.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::TendermintV026 => ("tendermint-v0.26.4", "tendermint"),
            Self::TendermintV027 => ("tendermint-v0.27.4", "tendermint"),
            Self::TendermintV028 => ("tendermint-v0.28.1", "tendermint"),
            Self::TendermintV032 => ("tendermint-v0.32.14", "tendermint"),
            Self::TendermintV033 => ("tendermint-v0.33.9", "tendermint"),
            Self::TendermintV034 => ("tendermint-v0.34.24", "tendermint"),
            Self::CometBftV038 => ("cometbft-v0.38.25", "cometbft"),
            Self::CometBftV040 => ("cometbft-v0.40.0", "cometbft"),
            Self::CometBftV1 => ("cometbft-v1.0.1", "cometbft"),
            Self::CometBftV1WithBls => ("cometbft-v1.0.1-bls12381", "cometbft"),
            Self::E2eNodeV038 => ("e2e-node-v0.38.25", "node"),
            Self::E2eNodeV040 => ("e2e-node-v0.40.0", "node"),
            Self::E2eNodeV1 => ("e2e-node-v1.0.1", "node"),
            Self::Harness => ("tm-signer-harness-v0.34.24", "tm-signer-harness"),
            Self::Libp2pNoise => ("go-libp2p-v0.47.0", "libp2p-noise"),
        }
    }

    fn recipe(self) -> Recipe {
        let node = "github.com/tendermint/tendermint/cmd/tendermint";
        match self {
            Self::TendermintV026 => Recipe::Module("tendermint-v0.26", node),
            Self::TendermintV027 => Recipe::Module("tendermint-v0.27", node),
            Self::TendermintV028 => Recipe::Module("tendermint-v0.28", node),
            Self::TendermintV032 => Recipe::Module("tendermint-v0.32", node),
            Self::TendermintV033 => Recipe::Module("tendermint-v0.33", node),
            Self::TendermintV034 => Recipe::Module("tendermint-v0.34", node),
            Self::CometBftV038 => {
                Recipe::Install("github.com/cometbft/cometbft/cmd/cometbft@v0.38.25")
            }
            Self::CometBftV040 => {
                Recipe::Install("github.com/cometbft/cometbft/cmd/cometbft@v0.40.0")
            }
            Self::CometBftV1 => Recipe::Install("github.com/cometbft/cometbft/cmd/cometbft@v1.0.1"),
            Self::CometBftV1WithBls => Recipe::Module(
                "cometbft-v1-bls12381",
                "github.com/cometbft/cometbft/cmd/cometbft",
            ),
            Self::E2eNodeV038 => {
                Recipe::Install("github.com/cometbft/cometbft/test/e2e/node@v0.38.25")
            }
            Self::E2eNodeV040 => {
                Recipe::Install("github.com/cometbft/cometbft/test/e2e/node@v0.40.0")
            }
            Self::E2eNodeV1 => Recipe::Install("github.com/cometbft/cometbft/test/e2e/node@v1.0.1"),
            Self::Harness => Recipe::Module(
                "tendermint-v0.34",
                "github.com/tendermint/tendermint/tools/tm-signer-harness",
            ),
            Self::Libp2pNoise => Recipe::Module("libp2p-noise", "."),
        }
    }

    /// For an end-to-end node, which has no `init` of its own: the node of its library, which has.
    pub fn of_end_to_end(self) -> Option<Self> {
        match self {
            Self::E2eNodeV038 => Some(Self::CometBftV038),
            Self::E2eNodeV040 => Some(Self::CometBftV040),
            Self::E2eNodeV1 => Some(Self::CometBftV1),
            _ => None,
        }
    }

    /// Whether the node speaks amino, and whether it is so old that over unix it dials its signer, and once only.
    pub fn amino(self) -> Option<Amino> {
        match self {
            Self::TendermintV026 | Self::TendermintV027 => Some(Amino::OneDial),
            Self::TendermintV028 | Self::TendermintV032 | Self::TendermintV033 => {
                Some(Amino::Dialled)
            }
            _ => None,
        }
    }

    /// The program, built if need be. Without Go: `None`, said loudly on behalf of `test`.
    pub fn program(self, test: &str) -> Option<PathBuf> {
        let (dir, name) = self.place();
        let home = target_dir().join("nodes");
        let program = home.join(dir).join(name);
        if self.is_current(&program) {
            return Some(program);
        }
        if Command::new("go").arg("version").output().is_err() {
            skip(
                test,
                "building its node needs Go, and there is no `go` on the PATH",
            );
            return None;
        }
        std::fs::create_dir_all(&home).expect("target/ can be written");
        // Tests run in parallel threads and processes: the first one builds, the others wait for it.
        let lock = File::create(home.join(format!("{dir}.lock"))).expect("target/ can be written");
        lock.lock().expect("a lock on a local file");
        if !self.is_current(&program) {
            self.build(&home, dir);
        }
        assert!(program.exists(), "{} was not built", program.display());
        Some(program)
    }

    /// Whether the program is there, and no older than the module that it was built in.
    fn is_current(self, program: &Path) -> bool {
        let age = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
        let Ok(built) = age(program) else {
            return false;
        };
        match self.recipe() {
            Recipe::Install(_) => true,
            Recipe::Module(module, _) => std::fs::read_dir(interop(module))
                .expect("the modules lie beside the tests")
                .flatten()
                .all(|file| age(&file.path()).is_ok_and(|changed| changed <= built)),
        }
    }

    /// Builds beside the final place and moves it there, so that a build cut short leaves nothing that looks finished.
    fn build(self, home: &Path, dir: &str) {
        let partial = home.join(format!("{dir}.partial"));
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::create_dir_all(&partial).expect("target/ can be written");
        let mut go = Command::new("go");
        match self.recipe() {
            Recipe::Install(package) => go.env("GOBIN", &partial).args(["install", package]),
            Recipe::Module(module, package) => go
                .current_dir(interop(module))
                .args([OsStr::new("build"), OsStr::new("-tags=bls12381")])
                .args([OsStr::new("-o"), partial.as_os_str()])
                .arg(package),
        };
        run(&mut go);
        let _ = std::fs::remove_dir_all(home.join(dir));
        std::fs::rename(&partial, home.join(dir)).expect("a rename within one directory");
    }
}

/// Cargo's target directory, wherever `CARGO_TARGET_DIR` puts it.
pub fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's directory for tests lies in the target directory")
        .to_owned()
}

fn interop(module: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/interop")
        .join(module)
}
