//! Pods that answer, objects, and whether one reaches the other.

use std::net::IpAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use e2e::{DEADLINE, TestLab, pod};
use lab::probe::{EchoServer, ping, tcp_echo, udp_echo};
use lab::{Family, Pod, Target};
use naming::PodKey;
use plumbing::NetNs;
use serde_json::{Value, json};

/// How long nothing may come.
pub(crate) const QUIET: Duration = Duration::from_millis(400);

/// A lab of three nodes, and the servers in its Pods.
pub(crate) struct Scene {
    pub(crate) lab: TestLab,
    servers: Vec<(PodKey, EchoServer)>,
}

impl Scene {
    pub(crate) fn new(agent_args: &[&str]) -> Self {
        Self::of(3, agent_args)
    }

    /// The same with that many nodes.
    pub(crate) fn of(nodes: u8, agent_args: &[&str]) -> Self {
        Self::in_lab(TestLab::up(nodes, Family::Dual, agent_args).unwrap())
    }

    /// The same of two nodes, with the programs in that directory.
    pub(crate) fn with_programs(programs: &Path) -> Self {
        Self::in_lab(TestLab::with_programs(2, Family::Dual, &[], programs).unwrap())
    }

    fn in_lab(lab: TestLab) -> Self {
        let scene = Self { lab, servers: Vec::new() };
        for (namespace, team) in [("shop", "shop"), ("other", "guests")] {
            scene.namespace(namespace, json!({"team": team}), &json!({}));
        }
        scene
    }

    /// Writes a namespace. Kubernetes gives each the label of its name.
    pub(crate) fn namespace(&self, name: &str, mut labels: Value, annotations: &Value) {
        labels["kubernetes.io/metadata.name"] = name.into();
        let metadata = json!({"name": name, "labels": labels, "annotations": annotations});
        self.lab
            .write_manifest(
                &format!("namespace-{name}"),
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
            )
            .unwrap();
    }

    /// Adds a Pod with the label `app`, which answers at a port with the name `echo`.
    pub(crate) fn pod(&mut self, node: &str, namespace: &str, name: &str, app: &str) -> Pod {
        let pod = self.silent_pod(node, namespace, name, app);
        let netns = self.netns(&e2e::pod(&pod));
        self.servers.push((pod.key.clone(), EchoServer::start(&netns, &pod.addresses()).unwrap()));
        pod
    }

    /// Ends the servers of a Pod that is gone, whose namespace they keep.
    pub(crate) fn end_servers(&mut self, of: &Pod) {
        self.servers.retain(|(key, _)| *key != of.key);
    }

    /// The same without a server.
    pub(crate) fn silent_pod(&self, node: &str, namespace: &str, name: &str, app: &str) -> Pod {
        let ports: Vec<Value> = ["TCP", "UDP"]
            .iter()
            .map(|protocol| {
                json!({"name": "echo", "containerPort": lab::probe::ECHO_PORT, "protocol": protocol})
            })
            .collect();
        let object = json!({
            "metadata": {"labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "image": "none", "ports": ports}]},
        });
        self.lab.add_pod_like(node, namespace, name, object).unwrap()
    }

    pub(crate) fn netns(&self, of: &Target) -> NetNs {
        self.lab.netns(of).unwrap()
    }

    /// Writes a NetworkPolicy, or replaces the one of this name.
    pub(crate) fn policy(&self, namespace: &str, name: &str, spec: &Value) {
        let metadata = json!({"namespace": namespace, "name": name, "uid": name, "generation": 1});
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec,
        });
        self.lab.write_manifest(&format!("policy-{namespace}-{name}"), &object).unwrap();
    }

    /// The same of a ClusterNetworkPolicy.
    pub(crate) fn cluster_policy(&self, name: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": name}, "spec": spec,
        });
        self.lab.write_manifest(&format!("cluster-{name}"), &object).unwrap();
    }

    /// What `midokube` says on a node.
    pub(crate) fn midokube(&self, number: u8, arguments: &str) -> Output {
        let program = testkit::bin("midokube");
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.lab.output(&node(number), program.to_str().unwrap(), &words).unwrap()
    }

    /// The same as a document. With an exit status of 4, too: it tells that something is denied.
    pub(crate) fn document(&self, number: u8, arguments: &str) -> Value {
        let output = self.midokube(number, &format!("{arguments} -o json"));
        let told = serde_json::from_slice(&output.stdout);
        told.unwrap_or_else(|_| panic!("{arguments}: {output:?}"))
    }

    /// Removes an object by its file's name.
    pub(crate) fn remove(&self, file: &str) {
        std::fs::remove_file(self.lab.manifests().join(format!("{file}.yaml"))).unwrap();
    }

    /// From now on a Pod is reached from there, over both families and protocols.
    pub(crate) fn is_reached(&self, from: &Target, to: &Pod) {
        for address in to.addresses() {
            self.gets_an_answer(from, address);
        }
    }

    /// Over TCP and UDP.
    pub(crate) fn gets_an_answer(&self, from: &Target, to: IpAddr) {
        let netns = self.netns(from);
        let told = tcp_echo(&netns, to, DEADLINE).and_then(|_| udp_echo(&netns, to, DEADLINE));
        told.unwrap_or_else(|error| panic!("{from:?} to {to}: {error:#}"));
    }

    /// From now on it is not, and stays so.
    pub(crate) fn is_not_reached(&self, from: &Target, to: &Pod) {
        for address in to.addresses() {
            self.gets_no_answer(from, address);
        }
    }

    /// Over TCP and UDP, nor by a ping: from some time on, and it stays so.
    pub(crate) fn gets_no_answer(&self, from: &Target, to: IpAddr) {
        let netns = self.netns(from);
        testkit::wait_until(DEADLINE, &format!("{from:?} does not reach {to}"), || {
            tcp_echo(&netns, to, QUIET).is_err()
        });
        assert!(tcp_echo(&netns, to, QUIET).is_err(), "{from:?} reaches {to} over TCP");
        assert!(udp_echo(&netns, to, QUIET).is_err(), "{from:?} reaches {to} over UDP");
        assert!(ping(&netns, to, QUIET).is_err(), "{from:?} pings {to}");
    }

    /// Who of these Pods reaches one, and that the others do not. All of them try at once.
    pub(crate) fn only(&self, reach: &[&Pod], others: &[&Pod], to: &Pod) {
        std::thread::scope(|scope| {
            for address in to.addresses() {
                for from in others {
                    scope.spawn(move || self.gets_no_answer(&pod(from), address));
                }
                for from in reach {
                    scope.spawn(move || self.gets_an_answer(&pod(from), address));
                }
            }
        });
    }
}

/// How often something is done: as the environment says, else that often.
pub(crate) fn times(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |times| times.parse().unwrap_or_else(|_| panic!("{variable}={times}")))
}

/// The node with this number.
pub(crate) fn node(number: u8) -> Target {
    Target::Node(format!("node{number}"))
}

/// A selector of the label `app`.
pub(crate) fn app(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}

/// Denies whatever comes to the Pods of a selector.
pub(crate) fn deny_ingress(pods: &Value) -> Value {
    json!({"podSelector": pods, "policyTypes": ["Ingress"]})
}

/// Lets these peers in alone, at all ports.
pub(crate) fn allow_from(pods: &Value, peers: &Value) -> Value {
    json!({"podSelector": pods, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]})
}
