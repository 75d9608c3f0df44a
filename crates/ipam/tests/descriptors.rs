//! Without file descriptors. A test of its own, since the limit is that of the whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::os::fd::AsRawFd;

use common::{Network, families, ips};
use ipam::{Error, Ipam};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Does something with this many descriptors left.
fn with_descriptors<T>(count: u64, work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let first_free = u64::try_from(File::open("/").unwrap().as_raw_fd()).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, first_free + count, hard).unwrap();
    let result = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

fn told(error: &Error) {
    assert_eq!(error.code(), 5);
    let text = error.to_string();
    assert!(text.contains(": Too many open files"), "{text}");
    assert!(
        text.ends_with("; raise the number of files that the container runtime may open (LimitNOFILE)"),
        "{text}"
    );
}

#[test]
fn without_descriptors_nothing_changes() {
    for ranges in families() {
        let net = Network::new(ranges);
        let mut given = ips(&net.add("before").unwrap());
        let before = net.addresses();
        let mut outcomes = Vec::new();
        for count in 0..8 {
            let call = net.call("before", "eth0", "");
            // Never "it has none" because nobody could look.
            with_descriptors(count, || Ipam::InProcess.check(&call)).unwrap_or_else(|error| told(&error));
            match with_descriptors(count, || net.add("a")) {
                Ok(got) => {
                    assert!(ips(&got) > given, "{got:?} after {given:?}");
                    given = ips(&got);
                    // What fails here must be told, and leave what can be given back later.
                    match with_descriptors(count - 1, || Ipam::InProcess.del(&net.call("a", "eth0", ""))) {
                        Ok(()) => {}
                        Err(error) => {
                            told(&error);
                            assert_eq!(net.addresses().len(), 2 * before.len());
                            net.del("a");
                        }
                    }
                    outcomes.push(true);
                }
                Err(error) => {
                    told(&error);
                    outcomes.push(false);
                }
            }
            assert_eq!(net.addresses(), before, "with {count}");
        }
        assert_eq!(outcomes, [false, false, false, false, true, true, true, true]);
        net.del("before");
        assert!(net.addresses().is_empty());
    }
}
