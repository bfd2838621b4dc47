//! File systems of a test's own: small ones, and ones whose power can be cut.
//!
//! They are mounted and need root and loop devices. Where a machine does not permit that, a test that
//! needs one fails and says why, unless `FLEETCRON_SKIP_POWER_LOSS=1` says that it is to be skipped.
//! Each is unmounted when it is dropped, also after a panic.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Says that these tests are to be skipped.
const SKIP: &str = "FLEETCRON_SKIP_POWER_LOSS";

/// Shuts a file system down as the loss of power does: nothing that is not on the device comes there
/// any more, not even the file system's own journal (`EXT4_IOC_SHUTDOWN`, without a flush).
const CUT: &str = r#"open(my $d, "<", $ARGV[0]) or die "open: $!\n";
my $without_flush = pack("L", 2);
ioctl($d, 0x8004587d, $without_flush) or die "shutdown: $!\n";"#;

/// A file system of its own.
pub struct Disk {
    dir: TempDir,
    /// What is mounted there.
    mount: Vec<String>,
}

/// Whether the test is to be skipped; fails when the machine does not permit it.
pub fn is_skipped() -> bool {
    if std::env::var(SKIP).is_ok_and(|value| value == "1") {
        eprintln!("skipped, for {SKIP}=1");
        return true;
    }
    let tried = std::panic::catch_unwind(|| Disk::ext4(16, "defaults").cut());
    assert!(
        tried.is_ok(),
        "this test mounts file systems, which needs root, loop devices, mount, mkfs.ext4 and perl \
         (see above for what is missing here); {SKIP}=1 skips it"
    );
    false
}

impl Disk {
    /// An ext4 of so many MiB, on a loop device.
    pub fn ext4(mib: u64, options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let image = image.to_str().unwrap();
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0", image]);
        let options = format!("loop,{options}");
        Self::mounted(dir, &["-t", "ext4", "-o", &options, image])
    }

    /// A file system in memory of so many MiB.
    pub fn tmpfs(mib: u64) -> Self {
        let size = format!("size={mib}m");
        Self::mounted(tempfile::tempdir().unwrap(), &["-t", "tmpfs", "-o", &size, "none"])
    }

    fn mounted(dir: TempDir, mount: &[&str]) -> Self {
        fs::create_dir(dir.path().join("mounted")).unwrap();
        let disk = Self { dir, mount: mount.iter().map(ToString::to_string).collect() };
        disk.mount();
        disk
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    fn at(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn mount(&self) {
        let at = self.at();
        let mut args: Vec<&str> = self.mount.iter().map(String::as_str).collect();
        args.push(&at);
        run("mount", &args);
    }

    /// Cuts the power: from now on everything on it fails.
    pub fn cut(&self) {
        run("perl", &["-e", CUT, &self.at()]);
    }

    /// Unmounts and mounts it, as a machine does that starts again. Nobody may use it.
    pub fn remount(&self) {
        run("umount", &[&self.at()]);
        self.mount();
    }

    /// Mounts what is mounted with other options.
    pub fn change(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), &self.at()]);
    }

    /// Lets every write wait until [`Disk::thaw`].
    pub fn freeze(&self) {
        run("fsfreeze", &["-f", &self.at()]);
    }

    pub fn thaw(&self) {
        run("fsfreeze", &["-u", &self.at()]);
    }

    /// The name of its block device, such as `loop0`.
    pub fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let at = self.at();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(at.as_str())).unwrap();
        line.split(' ').next().unwrap().trim_start_matches("/dev/").to_owned()
    }

    /// Writes until there is no room for a single byte.
    pub fn fill(&self) -> Filled {
        let path = self.path().join("filled");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        for size in [1 << 20, 4_096, 1] {
            let bytes = vec![1; size];
            // What is written in part is the last of its size.
            while file.write(&bytes).is_ok_and(|written| written == size) {}
        }
        Filled(path)
    }
}

/// What fills a disk; it is taken away when this is dropped.
pub struct Filled(PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        // The disk itself may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let at = self.at();
        let quietly = |program: &str, args: &[&str]| {
            Command::new(program).args(args).output().is_ok_and(|ran| ran.status.success())
        };
        if is_mounted(&self.path()) {
            quietly("fsfreeze", &["-u", &at]);
            if !quietly("umount", &[&at]) {
                // Somebody uses it still: it goes with the last of them.
                quietly("umount", &["-l", &at]);
            }
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

fn run(program: &str, args: &[&str]) {
    let ran = Command::new(program).args(args).env("LC_ALL", "C").output();
    let ran = ran.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{program} {args:?}: {}", said.trim());
}
