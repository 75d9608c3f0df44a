//! What the tests of Services share: three Pods and three Pods with `hostNetwork`, one of each on every node, clients,
//! and Services whose EndpointSlices the test writes itself. So every condition, hint and duplicate is one object away,
//! and what the controllers would make of Pods is upstream's to test (`tests/cluster/conformance`).

use std::collections::BTreeSet;
use std::fmt;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::outage::{add, delete};
use super::{Cluster, NODES};

/// How long a change of an object may take until it holds.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// How many seconds an answer may take: a busy machine takes its time.
const PATIENCE: u32 = 8;

/// How many seconds without an answer are none.
const SILENCE: u32 = 2;

/// The name of the network namespace on every node that stands for a Pod.
pub(super) const CLIENT: &str = "service-client";

/// Where the Pods with `hostNetwork` listen.
pub(super) const HOST_PORT: u16 = 9080;

/// Where requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// A Pod of that node, which is no Service's backend.
    Pod(&'static str),
    /// A process of that node, or one of its Pods with `hostNetwork`.
    Node(&'static str),
    /// The Pod `web1`, `web2` or `web3`, of node1 and so on.
    Web(usize),
    /// A host outside the cluster.
    Outside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

pub(super) const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Where requests go to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct To(pub(super) Protocol, pub(super) IpAddr, pub(super) u16);

impl fmt::Debug for To {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}", self.0, SocketAddr::new(self.1, self.2))
    }
}

/// What a Service's endpoint has besides its address: merged into the object.
pub(super) type Endpoint = (usize, Value);

pub(super) fn ready(web: usize) -> Endpoint {
    (web, json!({"conditions": {"ready": true, "serving": true, "terminating": false}}))
}

pub(super) fn terminating(web: usize) -> Endpoint {
    (web, json!({"conditions": {"ready": false, "serving": true, "terminating": true}}))
}

pub(super) fn dead(web: usize) -> Endpoint {
    (web, json!({"conditions": {"ready": false, "serving": false, "terminating": true}}))
}

pub(super) const REFUSED: &[&str] = &["refused"];
pub(super) const TIMEOUT: &[&str] = &["timeout"];

pub(super) struct Scene<'a> {
    pub(super) cluster: &'a Cluster,
    /// The addresses of `web1`, `web2` and `web3`: IPv4, IPv6.
    pub(super) webs: Vec<[IpAddr; 2]>,
    /// The addresses of the nodes.
    pub(super) nodes: Vec<[IpAddr; 2]>,
}

/// A Service that is there, until it is deleted.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// Its ClusterIPs: IPv4, IPv6.
    pub(super) addresses: [IpAddr; 2],
    /// The nodePort of each of its ports, or 0.
    pub(super) node_ports: Vec<u16>,
    pub(super) object: Value,
}

impl Service {
    /// Its ClusterIPs, over TCP and UDP.
    pub(super) fn cluster(&self) -> Vec<To> {
        both(self.addresses, 80)
    }

    /// Its NodePorts at these addresses, over TCP and UDP: these are its first two ports.
    pub(super) fn node(&self, addresses: [IpAddr; 2]) -> Vec<To> {
        let [tcp, udp] = [self.node_ports[0], self.node_ports[1]];
        addresses.iter().flat_map(|a| [To(Protocol::Tcp, *a, tcp), To(Protocol::Udp, *a, udp)]).collect()
    }
}

/// What makes a Service one of type NodePort.
pub(super) fn node_port() -> Value {
    json!({"spec": {"type": "NodePort"}})
}

pub(super) fn both(addresses: [IpAddr; 2], port: u16) -> Vec<To> {
    PROTOCOLS.iter().flat_map(|protocol| addresses.map(|address| To(*protocol, address, port))).collect()
}

impl<'a> Scene<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let mut manifest = String::new();
        for (node, number) in NODES.iter().zip(1..) {
            for (name, port, host) in [("web", 8080, false), ("host", HOST_PORT, true)] {
                manifest.push_str(
                    &POD.replace("NAME", &format!("{name}{number}"))
                        .replace("NODE", node)
                        .replace("PORT", &port.to_string())
                        .replace("HOST", &host.to_string()),
                );
            }
        }
        let path = cluster.directory.join("web.yaml");
        std::fs::write(&path, manifest).unwrap();
        cluster.kubectl(&["apply", "-f", path.to_str().unwrap()]);
        cluster.kubectl(&["wait", "--for=condition=Ready", "pods", "-l", "app=web", "--timeout=120s"]);
        for node in NODES {
            add(cluster, node, CLIENT);
        }
        let addresses = |name: &str| {
            let pod = cluster.json(&["get", "pod", name]);
            pair(&pod["status"]["podIPs"].as_array().unwrap().iter().map(|ip| ip["ip"].clone()).collect())
        };
        let webs = (1..=NODES.len()).map(|number| addresses(&format!("web{number}"))).collect();
        let nodes = (1..=NODES.len()).map(|number| addresses(&format!("host{number}"))).collect();
        Self { cluster, webs, nodes }
    }

    pub(super) fn end(self) {
        self.cluster.kubectl(&["delete", "pods", "-l", "app=web", "--wait=true"]);
        for node in NODES {
            delete(self.cluster, node, CLIENT);
        }
    }

    /// Applies an object, in YAML's subset JSON.
    pub(super) fn apply(&self, object: &Value) {
        self.cluster.kubectl(&["apply", "-f", &self.written(object)]);
    }

    pub(super) fn written(&self, object: &Value) -> String {
        let path = self.cluster.directory.join("object.json");
        std::fs::write(&path, object.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A Service of both families with the ports 80 of TCP and UDP, `changed` by a merge, with these endpoints.
    pub(super) fn serve(&self, name: &'static str, changed: &Value, endpoints: &[Endpoint]) -> Service {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"], "ports": [
                {"name": "tcp", "protocol": "TCP", "port": 80}, {"name": "udp", "protocol": "UDP", "port": 80}]}});
        merge(&mut object, changed);
        self.apply(&object);
        self.endpoints(name, endpoints);
        self.service(name)
    }

    /// The Service as it is now.
    pub(super) fn service(&self, name: &'static str) -> Service {
        let object = self.cluster.json(&["get", "service", name]);
        let ports = object["spec"]["ports"].as_array().unwrap();
        let node_ports = ports
            .iter()
            .map(|port| port["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0))
            .collect();
        let addresses = pair(object["spec"]["clusterIPs"].as_array().unwrap());
        Service { name, addresses, node_ports, object }
    }

    /// Changes a Service by a merge.
    pub(super) fn change(&self, name: &str, patch: &Value) {
        self.cluster.kubectl(&["patch", "service", name, "--type=merge", "-p", &patch.to_string()]);
    }

    /// Writes the Service's two slices.
    pub(super) fn endpoints(&self, service: &str, endpoints: &[Endpoint]) {
        for family in 0..2 {
            self.apply(&self.slice(service, "", family, endpoints));
        }
    }

    /// The same, with the Pods that have their nodes' network in the place of the others.
    pub(super) fn host_endpoints(&self, service: &str, endpoints: &[Endpoint]) {
        for family in 0..2 {
            let mut slice = self.slice(service, "", family, endpoints);
            for (index, (web, _)) in endpoints.iter().enumerate() {
                slice["endpoints"][index]["addresses"] = json!([self.nodes[web - 1][family]]);
            }
            for port in slice["ports"].as_array_mut().unwrap() {
                port["port"] = HOST_PORT.into();
            }
            self.apply(&slice);
        }
    }

    /// A slice; `suffix` tells several of one family apart.
    pub(super) fn slice(&self, service: &str, suffix: &str, family: usize, endpoints: &[Endpoint]) -> Value {
        let (kind, number) = [("IPv4", 4), ("IPv6", 6)][family];
        let endpoint = |(web, more): &Endpoint| {
            let mut value = json!({"addresses": [self.webs[web - 1][family]], "nodeName": NODES[web - 1]});
            merge(&mut value, more);
            value
        };
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
            "metadata": {"name": format!("{service}-{number}{suffix}"), "labels": {"kubernetes.io/service-name": service, "test": service},
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now()}},
            "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": [{"name": "tcp", "protocol": "TCP", "port": 8080}, {"name": "udp", "protocol": "UDP", "port": 8080}]})
    }

    /// Deletes a Service with its slices.
    pub(super) fn forget(&self, service: &str) {
        self.cluster.kubectl(&["delete", "endpointslices", "-l", &format!("test={service}")]);
        self.cluster.kubectl(&["delete", "service", service, "--ignore-not-found"]);
    }

    /// Deletes whatever Services and slices a failed check left.
    pub(super) fn forget_all(&self) {
        let all =
            [("endpointslices", "test"), ("services", "!component"), ("pods,deployments", "app=rolling")];
        for (kind, selector) in all {
            let _result = self.cluster.tool("kubectl", &["delete", kind, "-l", selector, "--wait=true"]);
        }
        for kind in ["pod/with-ports", "servicecidr/more"] {
            let _result =
                self.cluster.tool("kubectl", &["delete", kind, "--ignore-not-found", "--wait=false"]);
        }
    }

    /// Runs a line of bash there.
    pub(super) fn sh(&self, from: From, line: &str) -> String {
        match from {
            From::Pod(node) => {
                let netns = format!("--net=/run/netns/{CLIENT}");
                self.cluster.enter(node, &["nsenter", &netns, "bash", "-c", line])
            }
            From::Node(node) => self.cluster.enter(node, &["bash", "-c", line]),
            From::Outside => self.cluster.enter("fabric", &["bash", "-c", line]),
            From::Web(number) => {
                self.cluster.kubectl(&["exec", &format!("web{number}"), "--", "bash", "-c", line])
            }
        }
    }

    /// Who answers so many requests, each of a connection of its own; `refused`, `timeout`, or curl's error. After one
    /// that took its time no more are made.
    pub(super) fn ask(&self, from: From, to: To, path: &str, times: usize) -> Vec<String> {
        self.ask_for(PATIENCE, from, to, path, times)
    }

    /// The same, each of them for so many seconds.
    fn ask_for(&self, seconds: u32, from: From, to: To, path: &str, times: usize) -> Vec<String> {
        let To(protocol, address, port) = to;
        let one = match protocol {
            Protocol::Tcp => format!(
                "curl -vgsSm{seconds} http://{}{path} 2>/tmp/e.$$; e=$?; case $e in 0) ;; \
                 7) grep -q 'Connection refused' /tmp/e.$$ && echo -n refused || echo -n unreachable ;; \
                 28) echo -n timeout ;; *) echo -n curl: $e ;; esac; rm -f /tmp/e.$$; [ $e != 28 ] || break",
                SocketAddr::new(address, port)
            ),
            Protocol::Udp => format!(
                "exec 3<>/dev/udp/{address}/{port}; echo {} >&3; timeout {seconds} dd bs=9000 count=1 <&3 2>/dev/null; \
                 case $? in 0) ;; 124) echo timeout; break ;; *) echo -n refused ;; esac; exec 3>&-",
                path.trim_start_matches('/')
            ),
        };
        let said = self.sh(from, &format!("for i in $(seq {times}); do {one}; echo; done; true"));
        said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Waits until exactly these answer.
    pub(super) fn expect(&self, from: From, to: To, want: &[&str]) {
        let want: BTreeSet<&str> = want.iter().copied().collect();
        // Refusals are limited in number: whoever asks often gets none for some time. Of two backends that answer one may be
        // alone four times in a row, sooner or later: after a failed try it takes more.
        let (first, later) = match want.len() {
            1 if want.contains("refused") => (1, 1),
            1 => (4, 16),
            backends => (12 * backends, 12 * backends),
        };
        let seconds = if want.contains("timeout") { SILENCE } else { PATIENCE };
        let end = Instant::now() + DEADLINE;
        for times in iter::once(first).chain(iter::repeat(later)) {
            let said = self.ask_for(seconds, from, to, "/hostname", times);
            let got: BTreeSet<&str> = said.iter().map(String::as_str).collect();
            if got == want {
                return;
            }
            assert!(Instant::now() < end, "{to:?} from {from:?}: {got:?}, not {want:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until some backend answers.
    pub(super) fn expect_some(&self, from: From, to: To) {
        testkit::wait_until(DEADLINE, &format!("somebody answers at {to:?}"), || {
            let said = self.ask(from, to, "/hostname", 1).pop().unwrap_or_default();
            !["", "refused", "unreachable", "timeout"].contains(&said.as_str()) && !said.contains("curl")
        });
    }

    /// The same for several.
    pub(super) fn expect_all(&self, from: From, to: &[To], want: &[&str]) {
        for to in to {
            self.expect(from, *to, want);
        }
    }

    /// The client's address as the backend sees it.
    pub(super) fn client_address(&self, from: From, to: To) -> IpAddr {
        let said = self.ask(from, to, "/clientip", 1);
        let told: Result<SocketAddr, _> = said[0].parse();
        told.unwrap_or_else(|error| panic!("{to:?} from {from:?} told {said:?}: {error}")).ip()
    }

    /// The addresses of a node's client.
    pub(super) fn client(&self, node: &'static str) -> [IpAddr; 2] {
        let said = self.sh(From::Pod(node), "ip -br address show scope global dev eth0");
        let found = said.split_whitespace().filter_map(|word| word.split_once('/')?.0.parse().ok());
        let found: Vec<IpAddr> = found.collect();
        [found[0], found[1]]
    }
}

/// IPv4 first.
fn pair(list: &Vec<Value>) -> [IpAddr; 2] {
    let mut found: Vec<IpAddr> = list.iter().map(|value| value.as_str().unwrap().parse().unwrap()).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    assert!(found.len() == 2 && found[0].is_ipv4() && found[1].is_ipv6(), "{list:?}");
    [found[0], found[1]]
}

/// RFC 7396, without what removes.
pub(super) fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(value), Value::Object(patch)) => {
            for (key, patch) in patch {
                merge(value.entry(key).or_insert(Value::Null), patch);
            }
        }
        (value, patch) => *value = patch.clone(),
    }
}

/// As an annotation says a time.
fn now() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: web}}
spec:
  nodeName: NODE
  hostNetwork: HOST
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: localhost/agnhost:1
    imagePullPolicy: Never
    args: [netexec, --http-port=PORT, --udp-port=PORT]
    readinessProbe: {httpGet: {path: /hostname, port: PORT}, periodSeconds: 1}
---
"#;
