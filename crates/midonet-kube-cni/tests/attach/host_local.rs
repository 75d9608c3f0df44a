//! The allocator alone, as other plugins execute it, beside the reference's `host-local`: the same calls, the same
//! answers, the same files. The cases are those of the reference's own host_local_test.go.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::node::Answer;
use crate::schema::{VERSIONS, assert_error, assert_result, has_check};

/// One of the two plugins, with a data directory of its own.
struct Plugin {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Plugin {
    fn both() -> [Self; 2] {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("midonet-kube-ipam");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_midonet-kube-cni"), &program).unwrap();
        let reference = testkit::reference("cni/host-local");
        [Self { directory, program }, Self { directory: tempfile::tempdir().unwrap(), program: reference }]
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Another network plugin's call of its IPAM plugin.
    fn call(&self, verb: &str, container_id: &str, ifname: &str, config: &Value) -> Answer {
        let mut config = config.clone();
        config["ipam"]["dataDir"] = json!(self.data());
        let mut command = Command::new(&self.program);
        command.env_clear().envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container_id),
            ("CNI_NETNS", "/some/where"),
            ("CNI_IFNAME", ifname),
            ("CNI_PATH", "/some/where"),
        ]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        Answer::of(&child.wait_with_output().unwrap())
    }

    /// Every file that host-local knows of a network, with its contents.
    fn files(&self, network: &str) -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(self.data().join(network)).into_iter().flatten();
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        files
            .map(|path| (name(&path), std::fs::read_to_string(&path).unwrap()))
            .filter(|(name, _)| !name.starts_with('.'))
            .collect()
    }
}

/// The same call of both; they must agree. Returns the answer if it is a success.
fn both(plugins: &[Plugin; 2], verb: &str, (id, ifname): (&str, &str), config: &Value) -> Option<Value> {
    let [ours, reference] = plugins.each_ref().map(|plugin| plugin.call(verb, id, ifname, config));
    let version = config["cniVersion"].as_str().unwrap();
    let place = format!("{version} {verb} {id} {ifname} {config}");
    assert_eq!(ours.ok, reference.ok, "{place}: {} {}", ours.json, reference.json);
    assert_eq!(ours.stderr, "", "{place}");
    let name = config["name"].as_str().unwrap();
    let [our_files, their_files] = plugins.each_ref().map(|plugin| plugin.files(name));
    assert_eq!(our_files, their_files, "{place}");
    if !ours.ok {
        assert_error(version, &ours.json);
        return None;
    }
    assert_eq!(ours.json, reference.json, "{place}");
    if verb == "ADD" {
        assert_result(version, &ours.json);
    }
    Some(ours.json)
}

fn config(version: &str, ipam: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = json!("host-local");
    // The rest is the calling plugin's own.
    json!({"cniVersion": version, "name": "mynet", "type": "ipvlan", "master": "foo0", "mtu": "auto", "ipam": ipam})
}

fn resolv_conf(plugins: &[Plugin; 2]) -> PathBuf {
    let path = plugins[0].directory.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 192.0.2.3\nsearch a.test b.test\noptions ndots:5\n").unwrap();
    path
}

#[test]
fn addresses_of_both_families_come_and_go() {
    for version in VERSIONS {
        let plugins = Plugin::both();
        let config = config(
            version,
            &json!({
                "resolvConf": resolv_conf(&plugins),
                "ranges": [
                    [{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}],
                    [{"subnet": "2001:db8:1::0/64"}],
                ],
                "routes": [
                    {"dst": "0.0.0.0/0"}, {"dst": "::/0"},
                    {"dst": "192.168.0.0/16", "gw": "1.1.1.1"},
                    {"dst": "2001:db8:2::0/64", "gw": "2001:db8:3::1", "mtu": 1400, "priority": 7, "scope": 0},
                ],
            }),
        );
        let eth0 = ("dummy", "eth0");
        both(&plugins, "ADD", eth0, &config).unwrap();
        let files = plugins[0].files("mynet");
        for (name, contents) in [
            ("10.1.2.2", "dummy\r\neth0"),
            ("2001:db8:1::2", "dummy\r\neth0"),
            ("last_reserved_ip.0", "10.1.2.2"),
            ("last_reserved_ip.1", "2001:db8:1::2"),
        ] {
            assert_eq!(files[name], contents, "{version}");
        }
        assert_eq!(both(&plugins, "CHECK", eth0, &config).is_some(), has_check(version));
        both(&plugins, "DEL", eth0, &config).unwrap();
        assert!(!plugins[0].files("mynet").contains_key("10.1.2.2"));
        assert!(both(&plugins, "CHECK", eth0, &config).is_none());
        both(&plugins, "DEL", eth0, &config).unwrap();
    }
}

#[test]
fn each_interface_is_an_attachment_of_its_own() {
    for version in VERSIONS {
        let plugins = Plugin::both();
        let net = |name: &str, subnet: &str| {
            let mut config = config(version, &json!({"ranges": [[{"subnet": subnet}]]}));
            config["name"] = json!(name);
            config
        };
        let nets = [net("mynet0", "10.1.2.0/24"), net("mynet1", "2001:db8::/64")];
        both(&plugins, "ADD", ("dummy", "eth0"), &nets[0]).unwrap();
        both(&plugins, "ADD", ("dummy", "eth1"), &nets[1]).unwrap();
        both(&plugins, "DEL", ("dummy", "eth0"), &nets[0]).unwrap();
        assert_eq!(plugins[0].files("mynet1")["2001:db8::2"], "dummy\r\neth1");
        both(&plugins, "DEL", ("dummy", "eth1"), &nets[1]).unwrap();
    }
}

#[test]
fn a_repeated_add_fails_and_another_container_gets_the_next() {
    for version in VERSIONS {
        let plugins = Plugin::both();
        let config =
            config(version, &json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00::/64"}]]}));
        both(&plugins, "ADD", ("dummy", "eth0"), &config).unwrap();
        assert!(both(&plugins, "ADD", ("dummy", "eth0"), &config).is_none());
        let second = both(&plugins, "ADD", ("dummy1", "eth0"), &config).unwrap();
        assert!(second.to_string().contains("10.1.2.3/24"), "{second}");
        assert!(both(&plugins, "ADD", ("dummy", "eth0"), &config).is_none());
        for id in ["dummy", "dummy1", "unknown"] {
            both(&plugins, "DEL", (id, "eth0"), &config).unwrap();
        }
    }
}

#[test]
fn the_old_format_is_released() {
    for version in VERSIONS {
        let plugins = Plugin::both();
        let config = config(version, &json!({"subnet": "10.1.2.0/24"}));
        both(&plugins, "ADD", ("dummy", "eth0"), &config).unwrap();
        for plugin in &plugins {
            std::fs::write(plugin.data().join("mynet/10.1.2.2"), "dummy").unwrap();
        }
        both(&plugins, "DEL", ("dummy", "eth0"), &config).unwrap();
        assert!(!plugins[0].files("mynet").contains_key("10.1.2.2"));
    }
}

#[test]
fn requested_addresses_are_given_or_refused() {
    let one = json!([[{"subnet": "10.1.2.0/24"}]]);
    let two = json!([[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.3.0/24"}]]);
    let dual =
        json!([[{"subnet": "172.16.1.0/24"}, {"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/48"}]]);
    for version in VERSIONS {
        let many = version >= "0.3.0";
        for (ranges, ips, works) in [
            (&one, json!(["10.1.2.88"]), true),
            (&one, json!(["10.1.2.88/24"]), true),
            // host-local's words before 0.3.0: "does not support more than 1 address per family".
            (&two, json!(["10.1.2.88", "10.1.3.77"]), many),
            (&dual, json!(["10.1.2.88", "2001:db8:1::999"]), true),
            (&one, json!(["10.1.2.88", "10.9.9.9"]), false),
            (&one, json!(["10.9.9.9"]), false),
            (&one, json!(["10.1.2.1"]), false),
        ] {
            for place in ["args", "runtimeConfig"] {
                let plugins = Plugin::both();
                let mut config = config(version, &json!({"ranges": ranges}));
                let asked = json!({"ips": ips});
                config[place] = if place == "args" { json!({"cni": asked}) } else { asked };
                let answer = both(&plugins, "ADD", ("dummy", "eth0"), &config);
                assert_eq!(answer.is_some(), works, "{config}");
                assert_eq!(plugins[0].files("mynet").contains_key("10.1.2.88"), works, "{config}");
            }
        }
    }
}

#[test]
fn bad_configurations_are_refused_alike() {
    for version in VERSIONS {
        for ipam in [
            json!({}),
            json!({"ranges": []}),
            json!({"ranges": [[{"subnet": "10.1.2.3/24"}]]}),
            json!({"ranges": [[{"subnet": "10.1.2.0/31"}]]}),
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "2001:db8::/64"}]]}),
            json!({"subnet": "10.1.2.0/24", "resolvConf": "/nonexistent/resolv.conf"}),
        ] {
            let plugins = Plugin::both();
            assert!(both(&plugins, "ADD", ("dummy", "eth0"), &config(version, &ipam)).is_none());
        }
    }
}
