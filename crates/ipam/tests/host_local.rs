//! Beside the reference plugin, on the same files.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use ipam::{Call, Error, Ipam};
use serde_json::json;

/// The folder of the reference plugins.
fn plugins() -> String {
    testkit::reference("cni/host-local").parent().unwrap().to_str().unwrap().to_owned()
}

struct Both {
    folder: tempfile::TempDir,
    path: String,
    config: Vec<u8>,
}

impl Both {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "x",
            "ipam": {
                "type": "host-local", "dataDir": folder.path(),
                "ranges": [[{"subnet": "10.1.2.0/26"}], [{"subnet": "2001:db8:1::/122"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "2001:db8:2::/64", "gw": "2001:db8:1::9"}],
            },
        });
        Self { folder, path: plugins(), config: config.to_string().into() }
    }

    fn call<'a>(&'a self, id: &'a str, args: &'a str) -> Call<'a> {
        let netns = Some("/nonexistent/netns");
        Call { container_id: id, netns, ifname: "eth0", args, path: &self.path, config: &self.config }
    }

    /// Every file but the lock, with its content.
    fn files(&self) -> BTreeSet<(String, String)> {
        let directory = std::fs::read_dir(self.folder.path().join("net")).unwrap();
        let entries = directory.map(|e| e.unwrap()).filter(|e| e.file_name() != "lock");
        entries
            .map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap()))
            .collect()
    }
}

fn ours() -> Ipam {
    Ipam::InProcess
}

fn theirs() -> Ipam {
    Ipam::of_type("host-local")
}

#[test]
fn the_same_calls_give_the_same_results_and_files() {
    let (a, b) = (Both::new(), Both::new());
    let steps: [(&str, &str, &str); 9] = [
        ("ADD", "one", ""),
        ("ADD", "two", "IP=10.1.2.40"),
        ("ADD", "three", ""),
        ("ADD", "three", ""),
        ("ADD", "four", "IP=10.1.2.1"),
        ("ADD", "five", "IP=10.9.9.9"),
        ("DEL", "two", ""),
        ("DEL", "nobody", ""),
        ("ADD", "six", "FOO=1;IgnoreUnknown=1"),
    ];
    for (verb, id, args) in steps {
        let run = |ipam: Ipam, both: &Both| match verb {
            "ADD" => ipam.add(&both.call(id, args)).map(Some),
            _ => ipam.del(&both.call(id, args)).map(|()| None),
        };
        // A delegate that failed is told DEL; do the same here, so that the files can be compared.
        let one = run(ours(), &a).inspect_err(|_| ours().del(&a.call(id, "")).unwrap());
        let other = run(theirs(), &b);
        match (one, other) {
            (Ok(one), Ok(other)) => assert_eq!(one, other, "{verb} {id}"),
            (Err(one), Err(Error::Delegate { msg, .. })) => {
                assert!(one.to_string().starts_with(&msg), "{verb} {id}: {one} / {msg}");
            }
            (one, other) => panic!("{verb} {id}: {one:?} / {other:?}"),
        }
        assert_eq!(a.files(), b.files(), "{verb} {id}");
    }
}

#[test]
fn each_releases_what_the_other_reserved() {
    let both = Both::new();
    for (giver, taker) in [(ours(), theirs()), (theirs(), ours())] {
        giver.add(&both.call("x", "")).unwrap();
        taker.check(&both.call("x", "")).unwrap();
        taker.del(&both.call("x", "")).unwrap();
        assert!(
            both.files().iter().all(|(name, _)| name.starts_with("last_reserved_ip.")),
            "{:?}",
            both.files()
        );
    }
}

#[test]
fn both_at_once_never_share_an_address() {
    let both = Both::new();
    let given: Vec<String> = std::thread::scope(|scope| {
        let both = &both;
        let workers: Vec<_> = (0..10)
            .map(|worker| {
                scope.spawn(move || {
                    let ipam = if worker % 2 == 0 { ours() } else { theirs() };
                    let ids = (0..5).map(|turn| format!("w{worker}t{turn}"));
                    let got = ids.map(|id| ipam.add(&both.call(&id, "")).unwrap());
                    got.flat_map(|a| a.ips).map(|ip| ip.address.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    assert_eq!(given.len(), 100);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 100);
}
