//! The plugin with the real agent under the specification's own runtime, `cnitool`: the cases of the reference's
//! ptp_test.go, in every version, with real packets.

use std::path::Path;

use e2e::{DEADLINE, TestLab};
use lab::{Family, Target};
use nodeapi::v1::ReleasePortRequest;
use nodeapi::{Client, call};
use serde_json::{Value, json};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const NETWORK: &str = "midonet-pod-network";
const SANDBOX: &str = "conformance";

/// A node with a real agent and a sandbox on it.
struct Node {
    lab: TestLab,
    directory: tempfile::TempDir,
    /// What the agent wrote for the plugin.
    plugin: Value,
}

impl Node {
    fn new(family: Family) -> Self {
        let lab = TestLab::up(1, family, &[]).unwrap();
        let node = Self { lab, directory: tempfile::tempdir().unwrap(), plugin: Value::Null };
        let list = node.run("cat", &["/etc/cni/net.d/10-midonet.conflist"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        node.run("ip", &["netns", "add", SANDBOX]);
        Self { plugin: list["plugins"][0].clone(), ..node }
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        self.lab.stdout(&Target::Node("node1".into()), program, args).unwrap()
    }

    fn inside(&self, command: &str) -> String {
        let words: Vec<&str> = ["netns", "exec", SANDBOX].into_iter().chain(command.split(' ')).collect();
        self.run("ip", &words)
    }

    /// What the next calls are made with.
    fn configure(&self, version: &str, plugin: &Value) {
        let list = json!({"cniVersion": version, "name": NETWORK, "plugins": [plugin]});
        std::fs::write(self.directory.path().join("10-net.conflist"), list.to_string()).unwrap();
    }

    fn cnitool(&self, verb: &str) -> Result<Value, String> {
        let reference = |name: &str| testkit::reference(name).to_str().unwrap().to_owned();
        let plugins = Path::new(&reference("cni/host-local")).parent().unwrap().display().to_string();
        let path = format!("CNI_PATH=/opt/cni/bin:{plugins}");
        let config = format!("NETCONFPATH={}", self.directory.path().display());
        let netns = format!("/run/netns/{SANDBOX}");
        let args = [&path, &config, &reference("cnitool"), verb, NETWORK, &netns];
        let output = self.lab.output(&Target::Node("node1".into()), "env", &args).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
        } else {
            Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
        }
    }

    fn must(&self, verb: &str) -> Value {
        self.cnitool(verb).unwrap_or_else(|error| panic!("cnitool {verb}: {error}"))
    }

    /// One ADD, CHECK and DEL; returns ADD's result.
    fn comes_and_goes(&self, version: &str) -> Value {
        self.must("status");
        let result = self.must("add");
        for (_, gateway) in addresses(&result) {
            self.inside(&format!("ping -c1 -W30 -q {gateway}"));
        }
        assert_eq!(self.cnitool("check").is_ok(), version >= "0.4.0", "{version}");
        self.must("del");
        let links = self.inside("ip link");
        assert!(!links.contains("eth0"), "{links}");
        self.must("del");
        assert!(self.lab.status("node1").unwrap().ports.is_empty());
        result
    }
}

/// Address and gateway, from a result of any shape.
fn addresses(result: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let old = ["ip4", "ip6"].into_iter().filter_map(|key| result.get(key)).map(|ip| (&ip["ip"], ip));
    let new = result["ips"].as_array().into_iter().flatten().map(|ip| (&ip["address"], ip));
    old.chain(new).map(|(address, ip)| (text(address), text(&ip["gateway"]))).collect()
}

#[test]
fn an_interface_comes_with_a_gateway_that_answers_and_goes() {
    for (family, count) in [(Family::V4, 1), (Family::V6, 1), (Family::Dual, 2)] {
        let node = Node::new(family);
        for version in VERSIONS {
            node.configure(version, &node.plugin);
            node.must("del"); // of what was never there
            let result = node.comes_and_goes(version);
            assert_eq!(addresses(&result).len(), count, "{version}: {result}");
        }
    }
}

#[test]
fn name_resolution_is_ipams_unless_the_network_says_any() {
    let node = Node::new(Family::Dual);
    let resolv_conf = node.directory.path().join("resolv.conf");
    std::fs::write(
        &resolv_conf,
        "nameserver 10.1.2.123\ndomain some.domain.test\nsearch search.test\noptions option1:foo\n",
    )
    .unwrap();
    let of_ipam = json!({
        "nameservers": ["10.1.2.123"], "domain": "some.domain.test",
        "search": ["search.test"], "options": ["option1:foo"],
    });
    for version in VERSIONS {
        for (dns, want) in [
            (json!(null), &of_ipam),
            (json!({}), &of_ipam),
            (json!({"nameservers": ["10.1.2.234"]}), &json!({"nameservers": ["10.1.2.234"]})),
            (json!({"domain": "someother.domain.test"}), &json!({"domain": "someother.domain.test"})),
            (json!({"search": ["search.elsewhere.test"]}), &json!({"search": ["search.elsewhere.test"]})),
            (json!({"options": ["option2:bar"]}), &json!({"options": ["option2:bar"]})),
            (json!({"nameservers": [], "search": [], "options": []}), &json!({})),
        ] {
            let mut plugin = node.plugin.clone();
            plugin["ipam"]["resolvConf"] = json!(resolv_conf);
            plugin["dns"] = dns;
            node.configure(version, &plugin);
            let result = node.must("add");
            node.must("del");
            // Since 1.0.0 an empty object is left out.
            assert_eq!(result.get("dns").unwrap_or(&json!({})), want, "{version}: {plugin}");
            assert_eq!(result.get("dns").is_none(), version >= "1.0.0" && *want == json!({}), "{version}");
        }
    }
}

#[test]
fn check_finds_what_the_datapath_lost_and_gc_clears_it() {
    let node = Node::new(Family::Dual);
    node.configure("1.1.0", &node.plugin);
    node.must("add");
    node.must("check");
    let ports = node.lab.status("node1").unwrap().ports;
    assert_eq!(ports.len(), 1);
    for (breaks, mends, want) in [
        (
            "ip -6 addr del ADDRESS dev eth0",
            "ip -6 addr add ADDRESS dev eth0 nodad noprefixroute",
            "lacks the address",
        ),
        ("ip route del default", "ip route add default via GATEWAY", "the route to 0.0.0.0/0"),
        (
            "sysctl -qw net.ipv6.conf.eth0.accept_ra=2",
            "sysctl -qw net.ipv6.conf.eth0.accept_ra=0",
            "accept_ra",
        ),
    ] {
        let fill = |command: &str| {
            let v6 = ports[0].addresses.iter().find(|address| address.contains(':')).unwrap();
            command.replace("ADDRESS", &format!("{v6}/64")).replace("GATEWAY", "10.244.1.1")
        };
        node.inside(&fill(breaks));
        let error = node.cnitool("check").unwrap_err();
        assert!(error.contains(want), "{breaks}: {error}");
        node.inside(&fill(mends));
        node.must("check");
    }
    release(&node.lab, &ports[0]);
    let error = node.cnitool("check").unwrap_err();
    assert!(error.contains("is not in the datapath"), "{error}");

    node.must("gc");
    assert!(node.lab.status("node1").unwrap().ports.is_empty());
    testkit::wait_until(DEADLINE, "the sandbox's end goes with the node's", || {
        !node.inside("ip link").contains("eth0")
    });
    let error = node.cnitool("check").unwrap_err();
    assert!(error.contains("prevResult") || error.contains("is unknown here"), "{error}");
}

/// The datapath forgets a port.
fn release(lab: &TestLab, port: &nodeapi::v1::Port) {
    let socket = lab.socket("node1").unwrap();
    let request = ReleasePortRequest {
        namespace: port.namespace.clone(),
        name: port.name.clone(),
        container_id: port.container_id.clone(),
        host_ifname: port.host_ifname.clone(),
        began_monotonic_ns: 0,
    };
    Client::connect(&socket, DEADLINE).unwrap().call(&call::RELEASE_PORT, &request).unwrap();
}

#[test]
fn status_follows_the_agent() {
    let node = Node::new(Family::Dual);
    node.configure("1.1.0", &node.plugin);
    node.must("status");
    node.lab.state().unwrap().nodes[0].agent.unwrap().kill(DEADLINE).unwrap();
    let error = node.cnitool("status").unwrap_err();
    assert!(error.contains("is midonet-kube-node running"), "{error}");
    node.lab.restart_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "the next agent is ready", || node.cnitool("status").is_ok());
}
