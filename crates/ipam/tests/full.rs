//! File systems that are full or read-only: a clear refusal, nothing half-written, nothing reserved, and
//! everything works again when there is space.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use common::{Network, families, ips};
use ipam::{Error, Ipam};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Does something with a small file system that nobody else sees; it goes with the thread.
fn on_tmpfs(options: &str, work: impl FnOnce(&Path) + Send) {
    testkit::require_root();
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
            mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
            work(directory.path());
        });
    });
}

/// Writes pages until there is no space, and deletes this many.
fn leave_pages(ballast: &Path, pages: u64) {
    let mut file = File::create(ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len() / 4096 * 4096;
    file.set_len(length - pages * 4096).unwrap();
}

/// Makes files until there is no space, and deletes this many.
fn leave_files(ballast: &Path, files: usize) {
    fs::create_dir(ballast).unwrap();
    let made = (0..).take_while(|n| File::create(ballast.join(n.to_string())).is_ok()).count();
    for n in made - files..made {
        fs::remove_file(ballast.join(n.to_string())).unwrap();
    }
}

/// ADD with that much space left: all or nothing; then DEL, and again with enough space.
fn add_with_little_room(options: &str, leave: impl Fn(&Path) + Sync + Send) -> bool {
    let mut refused = false;
    for ranges in families() {
        let sets = ranges["ranges"].as_array().unwrap().len();
        on_tmpfs(options, |tmpfs| {
            let net = Network::within(tmpfs, ranges);
            let before = ips(&net.add("before").unwrap());
            let ballast = tmpfs.join("ballast");
            leave(&ballast);
            match net.add("a") {
                Ok(got) => assert_eq!(got.ips.len(), sets),
                Err(error) => {
                    refused = true;
                    assert_eq!(error.code(), 5);
                    let text = error.to_string();
                    assert!(text.contains(": No space left on device"), "{text}");
                    assert!(text.ends_with("; free space on that file system"), "{text}");
                    assert_eq!(net.addresses().len(), sets, "{text}");
                    assert!(Ipam::InProcess.check(&net.call("a", "eth0", "")).is_err());
                }
            }
            // Who had addresses before still has them, and no full disk keeps them from being given back.
            Ipam::InProcess.check(&net.call("before", "eth0", "")).unwrap();
            net.del("before");
            net.del("a");
            assert!(net.addresses().is_empty());
            if ballast.is_dir() {
                fs::remove_dir_all(ballast).unwrap();
            } else {
                fs::remove_file(ballast).unwrap();
            }
            let after = ips(&net.add("after").unwrap());
            assert!(after > before, "{after:?} / {before:?}");
            net.del("after");
            assert!(net.addresses().is_empty());
        });
    }
    refused
}

#[test]
fn on_a_full_file_system_nothing_is_reserved() {
    let refusals = (0..6).map(|pages| add_with_little_room("size=256k", move |at| leave_pages(at, pages)));
    assert_eq!(refusals.collect::<Vec<_>>(), [true, false, false, false, false, false]);
}

#[test]
fn without_inodes_nothing_is_reserved() {
    let refusals = (0..8).map(|files| add_with_little_room("nr_inodes=64", move |at| leave_files(at, files)));
    // tmpfs counts every further name of a file as a file.
    assert_eq!(refusals.collect::<Vec<_>>(), [true, true, true, false, false, false, false, false]);
}

#[test]
fn status_reports_a_full_file_system() {
    on_tmpfs("nr_inodes=64", |tmpfs| {
        let net = Network::dual();
        let status = |net: &Network| Ipam::InProcess.status(&net.call("", "", ""));
        status(&net).unwrap();
        let net = Network::within(tmpfs, families()[2].clone());
        status(&net).unwrap();
        leave_files(&tmpfs.join("ballast"), 0);
        let error = status(&net).unwrap_err().to_string();
        assert!(error.starts_with("cannot write to ") && error.contains("No space left"), "{error}");
    });
}

#[test]
fn a_read_only_file_system_is_told() {
    let remount = |tmpfs: &Path, flags| {
        let none = None::<&str>;
        mount(none, tmpfs, none, MsFlags::MS_REMOUNT | flags, none).unwrap();
    };
    for ranges in families() {
        on_tmpfs("size=1m", |tmpfs| {
            let (net, fresh) = (Network::within(tmpfs, ranges.clone()), Network::within(tmpfs, ranges));
            let got = ips(&net.add("a").unwrap());
            let files = net.addresses();
            remount(tmpfs, MsFlags::MS_RDONLY);
            let told = |result: Result<(), Error>| {
                let text = result.unwrap_err().to_string();
                assert!(text.contains(": Read-only file system"), "{text}");
                assert!(text.ends_with("; set ipam.dataDir to a directory that can be written"), "{text}");
            };
            told(net.add("b").map(drop));
            told(fresh.add("b").map(drop));
            told(Ipam::InProcess.del(&net.call("a", "eth0", "")));
            told(Ipam::InProcess.status(&net.call("", "", "")));
            told(Ipam::InProcess.gc(&net.call("", "", ""), &[]));
            Ipam::InProcess.check(&net.call("a", "eth0", "")).unwrap();
            assert_eq!(net.addresses(), files);
            remount(tmpfs, MsFlags::empty());
            assert!(ips(&net.add("b").unwrap()) > got);
            net.del("a");
            net.del("b");
            assert!(net.addresses().is_empty());
        });
    }
}
