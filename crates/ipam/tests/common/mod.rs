//! What these tests share.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cni::{Call, CniResult, Document};
use ipam::{Error, Ipam};
use serde_json::{Value, json};

/// A network's directory, and the configuration that names it.
pub(crate) struct Network {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: Document,
}

impl Network {
    pub(crate) fn new(ipam: Value) -> Self {
        Self::within(&std::env::temp_dir(), ipam)
    }

    /// One whose directory is in this one.
    pub(crate) fn within(parent: &Path, mut ipam: Value) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        ipam["dataDir"] = json!(directory.path());
        let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "x", "ipam": ipam});
        let config = Document::parse(config.to_string().into()).unwrap();
        Self { directory, config }
    }

    pub(crate) fn dual() -> Self {
        Self::new(json!({
            "ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }))
    }

    pub(crate) fn call<'a>(&'a self, container_id: &'a str, ifname: &'a str, args: &'a str) -> Call<'a> {
        Call { container_id, netns: None, ifname, args, path: "", config: &self.config }
    }

    pub(crate) fn add(&self, id: &str) -> Result<CniResult, Error> {
        Ipam::InProcess.add(&self.call(id, "eth0", ""))
    }

    pub(crate) fn del(&self, id: &str) {
        Ipam::InProcess.del(&self.call(id, "eth0", "")).unwrap();
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().join("net")
    }

    /// The files named by addresses, and nothing that is left over.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let names =
            fs::read_dir(self.directory()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|n| n != "lock" && !n.starts_with("last_reserved_ip.")).collect();
        names.sort();
        names
    }
}

pub(crate) fn ips(allocation: &CniResult) -> Vec<String> {
    allocation.ips.iter().map(|ip| ip.address.to_string()).collect()
}

/// Every file but the lock, with its content; all have the mode that host-local gives.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(|e| e.unwrap()).filter(|e| e.file_name() != "lock");
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode, 0o100_600, "the mode of {name}");
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// The directory of the reference plugins.
pub(crate) fn plugins() -> String {
    testkit::reference("cni/host-local").parent().unwrap().to_str().unwrap().to_owned()
}

/// Ranges of IPv4, IPv6, and both.
pub(crate) fn families() -> [Value; 3] {
    let (v4, v6) = (json!([{"subnet": "10.1.2.0/24"}]), json!([{"subnet": "2001:db8:1::/64"}]));
    [json!({"ranges": [v4]}), json!({"ranges": [v6]}), json!({"ranges": [v4, v6]})]
}
