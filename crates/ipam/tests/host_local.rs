//! Beside the reference plugin, on the same files.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cni::delegate::{self, Cause};
use cni::{Call, Document};
use common::files;
use ipam::{Error, Ipam, directory, reserved};
use serde_json::{Value, json};

struct Both {
    directory: tempfile::TempDir,
    path: String,
    config: Document,
}

impl Both {
    fn new(version: &str, ipam: &Value, more: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = json!({"cniVersion": version, "name": "net", "type": "x", "ipam": ipam});
        config["ipam"]["type"] = json!("host-local");
        config["ipam"]["dataDir"] = json!(directory.path());
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self {
            directory,
            path: common::plugins(),
            config: Document::parse(config.to_string().into()).unwrap(),
        }
    }

    fn dual(prefixes: [u8; 2]) -> Self {
        let ranges = json!([
            [{"subnet": format!("10.1.0.0/{}", prefixes[0])}],
            [{"subnet": format!("2001:db8:1::/{}", prefixes[1])}],
        ]);
        let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "2001:db8:2::/64", "gw": "2001:db8:1::9"}]);
        Self::new("1.0.0", &json!({"ranges": ranges, "routes": routes}), &json!({}))
    }

    fn call<'a>(&'a self, id: &'a str, args: &'a str) -> Call<'a> {
        let netns = Some("/nonexistent/netns");
        Call { container_id: id, netns, ifname: "eth0", args, path: &self.path, config: &self.config }
    }

    fn files(&self) -> BTreeMap<String, String> {
        files(&directory(Some(self.directory.path()), "net"))
    }

    /// The reservations alone.
    fn addresses(&self) -> BTreeMap<String, String> {
        let mut files = self.files();
        files.retain(|name, _| !name.starts_with("last_reserved_ip."));
        files
    }

    fn write(&self, name: &str, content: &str) {
        let directory = directory(Some(self.directory.path()), "net");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}

fn ours() -> Ipam {
    Ipam::InProcess
}

fn theirs() -> Ipam {
    Ipam::of_type("host-local")
}

/// Each call on two directories, in one by us and in the other by the reference.
fn same(version: &str, ipam: &Value, more: &Value, steps: &[(&str, &str, &str)]) {
    let (a, b) = (Both::new(version, ipam, more), Both::new(version, ipam, more));
    // What a host-local left that knew no interfaces.
    for both in [&a, &b] {
        both.write("10.1.2.50", "old");
        both.write("2001:db8:1::50", "old\n");
    }
    // Older versions have no CHECK.
    let checks = matches!(version, "0.4.0" | "1.0.0");
    for (verb, id, args) in steps.iter().filter(|(verb, ..)| checks || *verb != "CHECK") {
        let run = |ipam: Ipam, both: &Both| match *verb {
            "ADD" => ipam.add(&both.call(id, args)).map(Some),
            "CHECK" => ipam.check(&both.call(id, args)).map(|()| None),
            _ => ipam.del(&both.call(id, args)).map(|()| None),
        };
        let one = run(ours(), &a);
        // A delegate that failed is told DEL; do the same here, so that the files can be compared.
        if *verb == "ADD" && one.is_err() {
            ours().del(&a.call(id, "")).unwrap();
        }
        let other = run(theirs(), &b);
        match (one, other) {
            (Ok(one), Ok(other)) => assert_eq!(one, other, "{verb} {id}"),
            (Err(_), Err(_)) if *verb == "CHECK" => {}
            (
                Err(one),
                Err(Error::Delegate(delegate::Error {
                    cause: Cause::Reported(cni::Error { msg, .. }), ..
                })),
            ) => {
                assert!(one.to_string().starts_with(&msg), "{verb} {id}: {one} / {msg}");
            }
            (one, other) => panic!("{verb} {id}: {one:?} / {other:?}"),
        }
        assert_eq!(a.files(), b.files(), "{verb} {id}");
    }
}

const STEPS: [(&str, &str, &str); 15] = [
    ("ADD", "one", ""),
    ("CHECK", "one", ""),
    ("ADD", "two", "IP=10.1.2.40"),
    ("ADD", "three", ""),
    ("ADD", "three", ""),
    ("ADD", "four", "IP=10.1.2.1"),
    ("ADD", "five", "IP=10.9.9.9"),
    ("DEL", "two", ""),
    ("DEL", "nobody", ""),
    ("CHECK", "nobody", ""),
    ("ADD", "six", "FOO=1;IgnoreUnknown=1"),
    ("ADD", "seven", "IP=2001:db8:1::33"),
    ("CHECK", "old", ""),
    ("DEL", "old", ""),
    ("CHECK", "old", ""),
];

#[test]
fn the_same_calls_give_the_same_results_and_files() {
    let resolv = tempfile::NamedTempFile::new().unwrap();
    fs::write(&resolv, "nameserver 10.0.0.53\nsearch a b\n; no\ndomain c\noptions ndots:5\nsearch d\n")
        .unwrap();
    let (v4, v6) = (json!({"subnet": "10.1.2.0/26"}), json!({"subnet": "2001:db8:1::/122"}));
    let dual = json!({
        "ranges": [[v4], [v6]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "2001:db8:2::/64", "gw": "2001:db8:1::9"}],
        "resolvConf": resolv.path(),
    });
    let none = json!({});
    for version in ["1.0.0", "0.4.0", "0.3.1", "0.2.0", "0.1.0"] {
        same(version, &dual, &none, &STEPS);
    }
    // One subnet, as configurations had it before there were several.
    let top = json!({"subnet": "10.1.2.0/26", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.60", "gateway": "10.1.2.10"});
    same("0.2.0", &top, &none, &STEPS);
    // Ranges of every kind, and one family alone.
    let mut all = top.clone();
    all["ranges"] =
        json!([[{"subnet": "10.1.3.0/30"}, {"subnet": "10.1.4.0/29", "gateway": "10.9.0.1"}], [v6]]);
    same("1.0.0", &all, &json!({"runtimeConfig": {"ipRanges": [[{"subnet": "2001:db8:9::/126"}]]}}), &STEPS);
    same("1.0.0", &json!({"ranges": [[v6]]}), &none, &STEPS);
    // Addresses that are asked for in the configuration.
    let more =
        json!({"args": {"cni": {"ips": ["10.1.2.20"]}}, "runtimeConfig": {"ips": ["2001:db8:1::20/64"]}});
    same(
        "1.0.0",
        &dual,
        &more,
        &[("ADD", "one", ""), ("ADD", "two", ""), ("DEL", "one", ""), ("ADD", "two", "")],
    );
}

#[test]
fn each_releases_what_the_other_reserved() {
    let both = Both::dual([26, 122]);
    for (giver, taker) in [(ours(), theirs()), (theirs(), ours())] {
        giver.add(&both.call("x", "")).unwrap();
        taker.check(&both.call("x", "")).unwrap();
        taker.del(&both.call("x", "")).unwrap();
        assert!(giver.check(&both.call("x", "")).is_err());
        assert_eq!(both.addresses(), BTreeMap::new());
    }
}

/// ADD and DEL of a thousand attachments, ten at a time and now by one, now by the other: at the end the
/// files are those of the attachments that are left, and no other.
#[test]
fn both_at_once_give_no_address_twice_and_lose_none() {
    const WORKERS: usize = 10;
    const TURNS: usize = 1000;
    let both = Both::dual([24, 120]);
    let next = AtomicUsize::new(0);
    let living: Mutex<BTreeMap<String, Vec<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (both, next, living) = (&both, &next, &living);
            scope.spawn(move || {
                let mut mine: Vec<String> = Vec::new();
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= TURNS {
                        break;
                    }
                    // Threes against twos: every pair of who gives and who takes back occurs.
                    let ipam = if turn % 2 == 0 { ours() } else { theirs() };
                    if mine.len() > 3 || (turn % 3 == 0 && !mine.is_empty()) {
                        let id = mine.remove(turn % mine.len());
                        ipam.check(&both.call(&id, "")).unwrap();
                        // From here on somebody else may get them.
                        living.lock().unwrap().remove(&id).unwrap();
                        ipam.del(&both.call(&id, "")).unwrap();
                    } else {
                        let id = format!("w{worker}t{turn}");
                        let got = ipam.add(&both.call(&id, "")).unwrap().ips;
                        let got: Vec<String> = got.iter().map(|ip| ip.address.addr().to_string()).collect();
                        let mut living = living.lock().unwrap();
                        let double = living.values().flatten().find(|address| got.contains(address));
                        assert_eq!(double, None, "given twice");
                        living.insert(id.clone(), got);
                        mine.push(id);
                    }
                }
            });
        }
    });
    let living = living.into_inner().unwrap();
    let pairs =
        living.iter().flat_map(|(id, got)| got.iter().map(move |a| (a.clone(), format!("{id}\r\neth0"))));
    assert_eq!(both.addresses(), pairs.collect());
    assert!(living.len() >= WORKERS, "{living:?}");
    let directory = directory(Some(both.directory.path()), "net");
    let owners: BTreeSet<String> =
        reserved(&directory).unwrap().into_iter().map(|r| r.container_id).collect();
    assert!(owners.iter().eq(living.keys()), "{owners:?}");
    for (n, id) in living.keys().enumerate() {
        let ipam = if n % 2 == 0 { theirs() } else { ours() };
        ipam.del(&both.call(id, "")).unwrap();
    }
    assert_eq!(both.addresses(), BTreeMap::new());
}
