//! Power cuts on real file systems (D3): the disk as it is at the instant of the reply is mounted again, and must know of it.
//!
//! A file system in a file, mounted through a loop device: what it was told to sync is in the file, all else is in the kernel's
//! memory. A copy of the file is the disk after a power cut. Mounting takes root.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise; the claimer is shared with a test that uses more of it"
)]

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tmkms::protection::{Record, store::file::create};

#[path = "support/claimer.rs"]
mod claimer;

use claimer::{BLOCKS, Claimer, Said, chain, claim, key, open};

/// Cuts per file system; a release run takes more by `TMKMS_TEST_POWER_CUTS`.
const CUTS: usize = 20;

/// Cuts after a conversion, per file system.
const CONVERSIONS: usize = 3;

const MIB: u64 = 1024 * 1024;

struct FileSystem {
    name: &'static str,
    make: &'static [&'static str],
    /// The smallest image that it can be made in.
    size: u64,
    /// A copy has the same identity as the original.
    options: &'static str,
}

#[test]
fn ext4_keeps_what_was_signed_through_a_power_cut() {
    run(&FileSystem {
        name: "ext4",
        make: &["mkfs.ext4", "-q", "-F"],
        size: 32 * MIB,
        options: "loop",
    });
}

#[test]
fn xfs_keeps_what_was_signed_through_a_power_cut() {
    run(&FileSystem {
        name: "xfs",
        make: &["mkfs.xfs", "-q", "-f"],
        size: 320 * MIB,
        options: "loop,nouuid",
    });
}

#[test]
fn btrfs_keeps_what_was_signed_through_a_power_cut() {
    run(&FileSystem {
        name: "btrfs",
        make: &["mkfs.btrfs", "-q", "-f"],
        size: 128 * MIB,
        options: "loop",
    });
}

fn run(system: &FileSystem) {
    let name = system.name;
    if !rustix::process::geteuid().is_root() {
        return skip(name, "mounting takes root", true);
    }
    if !is_installed(system.make[0]) {
        // ext4's tools are on every machine that has ext4; the others' need not be.
        return skip(
            name,
            &format!("there is no {}", system.make[0]),
            name == "ext4",
        );
    }
    let cuts = env::var("TMKMS_TEST_POWER_CUTS").map_or(CUTS, |text| text.parse().unwrap());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = directory.path().join("image");
    fs::File::create(&image)
        .unwrap()
        .set_len(system.size)
        .unwrap();
    succeed(
        Command::new(system.make[0])
            .args(&system.make[1..])
            .arg(&image),
    );
    let mount_point = directory.path().join("mounted");
    fs::create_dir(&mount_point).unwrap();

    let mut taken = Vec::new();
    {
        let mounted = Mounted::mount(&image, &mount_point, system.options);
        let Some(_mounted) = mounted else {
            return skip(name, "this system does not mount it", name == "ext4");
        };
        let disk = Disk {
            image: &image,
            mount_point: &mount_point,
        };
        taken.extend(cut_while_signing(&disk, cuts));
        taken.extend((0..CONVERSIONS).map(|number| cut_after_conversion(&disk, number)));
    }
    assert_eq!(taken.len(), cuts + CONVERSIONS);
    for cut in &taken {
        let _mounted = Mounted::mount(&cut.copy, &mount_point, system.options)
            .unwrap_or_else(|| panic!("{name} does not mount after a power cut"));
        let (height, block) = (cut.height, cut.block);
        let mut store = open(&mount_point.join(&cut.record)).unwrap().store;
        for other in BLOCKS.into_iter().filter(|other| *other != block) {
            let answer = claim(&mut store, height, other);
            assert_ne!(
                answer,
                Some(other),
                "{name}: height {height} was signed twice"
            );
        }
        assert_eq!(
            claim(&mut store, height, block),
            Some(block),
            "{name}: a repeat"
        );
    }
    say(&format!(
        "{name}: {} power cuts, nothing signed twice",
        taken.len()
    ));
}

/// A mounted image.
struct Disk<'a> {
    image: &'a Path,
    mount_point: &'a Path,
}

/// The disk at the instant of a reply, and what the reply said.
struct Cut {
    /// The record's name on the disk.
    record: String,
    height: i64,
    block: u8,
    copy: PathBuf,
}

impl Disk<'_> {
    /// The disk as it is now. The system's memory of the mounted file system is not asked, and holes stay holes.
    fn cut(&self, name: &str, record: &str, height: i64, block: u8) -> Cut {
        let copy = self.image.with_file_name(name);
        let mut command = Command::new("cp");
        succeed(
            command
                .args(["--sparse=always", "--reflink=auto"])
                .arg(self.image)
                .arg(&copy),
        );
        Cut {
            record: record.to_owned(),
            height,
            block,
            copy,
        }
    }
}

/// One, two or three signatures between two cuts; the power goes at the instant of the last one's reply.
fn cut_while_signing(disk: &Disk<'_>, cuts: usize) -> Vec<Cut> {
    let record = disk.mount_point.join("record");
    create(&record, &chain(), &key(), &Record::never_signed()).unwrap();
    let mut claimer = Claimer::asked(&record);
    assert_eq!(claimer.next(), Some(Said::Held(claimer.child.id())));
    let mut height = 0;
    (0..cuts)
        .map(|cut| {
            let block = BLOCKS[cut % 3];
            for _ in 0..=cut % 3 {
                height += 1;
                assert_eq!(claimer.claim(height, block), Said::Signed(height, block));
            }
            disk.cut(&format!("cut-{cut}"), "record", height, block)
        })
        .collect()
}

/// The original tmkms's record, long on the disk, is converted; the power goes at the reply to the first request after it.
fn cut_after_conversion(disk: &Disk<'_>, number: usize) -> Cut {
    let name = format!("state-{number}.json");
    let record = disk.mount_point.join(&name);
    fs::write(
        &record,
        r#"{"height":"36","round":"0","step":2,"block_id":null}"#,
    )
    .unwrap();
    fs::File::open(&record).unwrap().sync_all().unwrap();
    fs::File::open(disk.mount_point)
        .unwrap()
        .sync_all()
        .unwrap();
    let mut claimer = Claimer::asked(&record);
    assert_eq!(claimer.next(), Some(Said::Held(claimer.child.id())));
    assert_eq!(claimer.claim(37, 0xaa), Said::Signed(37, 0xaa));
    disk.cut(&format!("converted-{number}"), &name, 37, 0xaa)
}

/// A mounted file system; unmounted when it is dropped, whatever happened. The loop device goes with it.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` if the system refuses.
    fn mount(image: &Path, point: &Path, options: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-o", options]).arg(image).arg(point);
        let output = command.output().unwrap();
        if !output.status.success() {
            say(&String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self(point.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmount = |options: &[&str]| {
            let status = Command::new("umount").args(options).arg(&self.0).status();
            status.is_ok_and(|status| status.success())
        };
        // Lazily where something still holds a file open: a panic is on its way then.
        if !unmount(&[]) && !unmount(&["--lazy"]) {
            say(&format!("{} stays mounted", self.0.display()));
        }
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn is_installed(program: &str) -> bool {
    let status = Command::new(program)
        .arg("-V")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok()
}

fn skip(name: &str, why: &str, must_run: bool) {
    let demanded = must_run && env::var_os("CI").is_some();
    assert!(
        !demanded,
        "power cuts on {name} could not run: {why}, and CI is set"
    );
    say(&format!("*** SKIPPED: power cuts on {name}: {why} ***"));
}

/// Straight to the handle: the test runner keeps the output of a test that passes.
fn say(line: &str) {
    let line = format!("\n{}\n", line.trim_end());
    io::stderr().write_all(line.as_bytes()).unwrap();
}
