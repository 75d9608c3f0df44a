//! A MidoNet behind the controllers of the shipped manifest: it has what the cluster has, whatever happens to either.
//!
//! MidoNet's REST API is a stand-in that answers as a real one did. What is pushed to it is simulated; the cluster's packets are
//! carried by the embedded network meanwhile.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use midonet_standin::{Access, Standin, Store};
use naming::annotation;
use plumbing::NetNs;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::midonet_network::{End, Network};
use super::{Cluster, DEPLOYMENT, NODES};

/// Above the longest of the controllers' own pauses: a Lease that nobody gave back, and a probe for what was lost.
const DEADLINE: Duration = Duration::from_secs(180);

/// The fabric's address, where MidoNet is, and its port.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(172, 30, 0, 1), 8443);

const PASSWORD: &str = "not-the-manifests-own";

/// Pods of the Deployment: two of them are on one node.
const REPLICAS: usize = 4;

/// A Node without a kubelet.
const GUEST: &str = "guest";

const CONTROLLERS: [&str; 3] = ["-n", "kube-system", "deployment/midonet-kube-controllers"];

pub(super) fn a_midonet_has_what_the_cluster_has(cluster: &Cluster) {
    let midonet = MidoNet::start(cluster);
    midonet.install_controllers();
    let objects = cluster.directory.join("midonet.yaml");
    let deployment = DEPLOYMENT.replace("echo", "midonet").replace("REPLICAS", &REPLICAS.to_string());
    std::fs::write(&objects, format!("{SERVICE}---{deployment}")).unwrap();
    let objects = objects.to_str().unwrap();
    cluster.kubectl(&["apply", "-f", objects]);
    cluster.kubectl(&["rollout", "status", "deployment/midonet", "--timeout=300s"]);
    midonet.carries(REPLICAS, "at first");
    midonet.is_traced();

    midonet.nodes_come_and_go();
    cluster.kubectl(&["scale", "deployment/midonet", "--replicas=2"]);
    midonet.carries(2, "after Pods went");
    cluster.kubectl(&["rollout", "restart", "deployment/midonet"]);
    cluster.kubectl(&["rollout", "status", "deployment/midonet", "--timeout=300s"]);
    midonet.carries(2, "after all Pods were replaced");

    midonet.standin.with_store(Store::lose_topology);
    midonet.carries(2, "after MidoNet lost everything");
    midonet.the_leader_is_killed();
    cluster.kubectl(&["scale", "deployment/midonet", &format!("--replicas={REPLICAS}")]);
    midonet.carries(REPLICAS, "with another leader");

    cluster.kubectl(&["delete", "-f", objects, "--wait=true"]);
    testkit::wait_until(DEADLINE, "MidoNet has nothing of the Service", || {
        !midonet.resources().iter().any(|resource| resource.contains("default/midonet"))
    });
    midonet.uninstall();
}

struct MidoNet<'a> {
    cluster: &'a Cluster,
    standin: Standin,
    /// It serves as long as this lives.
    _runtime: Runtime,
}

impl<'a> MidoNet<'a> {
    /// In the fabric, with a host for each node. A host of MidoNet has the name of its Node.
    fn start(cluster: &'a Cluster) -> Self {
        let mut store = Store::new(1);
        store.set_access(Access::Tokens {
            user: "admin".into(),
            password: PASSWORD.into(),
            project: Some("admin".into()),
            lifetime: 3600,
        });
        for node in NODES {
            store.add_host(host(node), node);
        }
        let pid = std::fs::read_to_string(cluster.directory.join("fabric/pid")).unwrap();
        let fabric = NetNs::of_process(pid.trim().parse().unwrap()).unwrap();
        let runtime = Runtime::new().unwrap();
        let standin = fabric.run(|| runtime.block_on(Standin::start_tls_at(store, ADDRESS.into())));
        // The agents of a MidoNet's nodes say what the MAC addresses of these are.
        for (number, node) in NODES.iter().enumerate() {
            let mac = format!("{}=02:00:00:00:01:{number:02x}", annotation::MAC_ADDRESS);
            cluster.kubectl(&["annotate", "node", node, &mac]);
        }
        Self { cluster, standin: standin.unwrap().unwrap(), _runtime: runtime }
    }

    /// Those objects of the manifest that are the controllers' own: another network's agents are on the nodes.
    fn install_controllers(&self) {
        let manifest = include_str!("../../../deploy/midonet-kube-midonet.yaml");
        let own: Vec<&str> = manifest
            .split("\n---\n")
            .filter(|object| object.contains("app.kubernetes.io/component: controllers"))
            .collect();
        let authority = self.standin.ca_pem().unwrap().trim_end().replace('\n', "\n    ");
        let manifest = own
            .join("\n---\n")
            .replace("FILL-IN-THE-PASSWORD", PASSWORD)
            .replace("FILL-IN-THE-CERTIFICATE-AUTHORITY", &authority);
        assert!(!manifest.contains("FILL-IN"), "{manifest}");
        std::fs::write(self.manifest(), manifest).unwrap();
        let config = json!({"data": {"midonet.api": self.standin.url()}}).to_string();
        let map = ["-n", "kube-system", "configmap/midonet-kube-config"];
        self.cluster.kubectl(&[&["patch"][..], &map, &["--type=merge", "-p", &config]].concat());
        self.cluster.kubectl(&["apply", "-f", &self.manifest()]);
        self.cluster.kubectl(&[&["rollout", "status", "--timeout=300s"][..], &CONTROLLERS].concat());
    }

    fn manifest(&self) -> String {
        self.cluster.directory.join("midonet-controllers.yaml").to_str().unwrap().to_owned()
    }

    /// From now on all packets come to where they should, and no others.
    fn carries(&self, pods: usize, when: &str) {
        let until = Instant::now() + DEADLINE;
        while let Err(why) = self.check(pods) {
            assert!(Instant::now() < until, "{when}: {why}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn check(&self, count: usize) -> Result<(), String> {
        let resources =
            self.standin.with_store(|store| store.resources()).map_err(|error| error.to_string())?;
        let mut network = Network::of(&resources)?;
        let pods = self.pods();
        if pods.len() != count {
            return Err(format!("there are {} Pods, not {count}", pods.len()));
        }
        let nodes = self.nodes();
        network.carries_between(&pods, &nodes)?;
        let service = self.cluster.json(&["get", "service", "midonet"]);
        let address: Ipv4Addr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
        network.spreads(&pods, &nodes, (address, 80))?;
        network.carries_nothing_else(&pods, address)
    }

    /// The Pods that are there to stay.
    fn pods(&self) -> Vec<End> {
        let list = self.cluster.json(&["get", "pods", "-l", "app=midonet"]);
        let pods = list["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).filter_map(pod_end).collect()
    }

    fn nodes(&self) -> Vec<End> {
        let list = self.cluster.json(&["get", "nodes"]);
        list["items"].as_array().unwrap().iter().filter_map(node_end).collect()
    }

    /// What MidoNet has, as text.
    fn resources(&self) -> Vec<String> {
        let resources = self.standin.with_store(|store| store.resources()).unwrap();
        let text = |resource: &midonet::Resource| format!("{:?}", resource.body);
        resources.iter().map(text).collect()
    }

    /// By a user with a kubeconfig, as the documentation says.
    fn is_traced(&self) {
        let pods = self.cluster.json(&["get", "pods", "-l", "app=midonet"]);
        let client = format!("default/{}", pods["items"][0]["metadata"]["name"].as_str().unwrap());
        let trace = |to: &str, port: &str| {
            let output = super::policy::midokube(self.cluster, &["trace", &client, to, port]);
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
        };
        let service = "service/default/midonet";
        for to in [service, "node/node1", "node/node3"] {
            let (status, said, stderr) = trace(to, "tcp/80");
            assert!(status == Some(0) && said.contains("Verdict: arrives"), "{to}: {said}{stderr:?}");
        }
        let (status, said, stderr) = trace(service, "tcp/81");
        assert!(status == Some(4) && said.contains("DOES NOT ARRIVE"), "{said}{stderr:?}");
    }

    fn nodes_come_and_go(&self) {
        self.standin.with_store(|store| store.add_host(host(GUEST), GUEST));
        let file = self.cluster.directory.join("guest.yaml");
        std::fs::write(&file, NODE).unwrap();
        let has_it = || self.resources().iter().any(|resource| resource.contains(&format!("\"{GUEST}\"")));
        self.cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        let patch =
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.99"}]}}).to_string();
        self.cluster.kubectl(&["patch", "node", GUEST, "--subresource=status", "--type=merge", "-p", &patch]);
        testkit::wait_until(DEADLINE, "MidoNet has a new Node", has_it);
        self.cluster.kubectl(&["delete", "node", GUEST]);
        testkit::wait_until(DEADLINE, "MidoNet has nothing of a Node that is gone", || !has_it());
        self.carries(REPLICAS, "after a Node came and went");
    }

    /// It gives nothing back, as on a node that lost its power.
    fn the_leader_is_killed(&self) {
        let leader = || {
            let lease = self.cluster.json(&["-n", "kube-system", "get", "lease", "midonet-kube-controllers"]);
            lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
        };
        let former = leader();
        // It names itself by its host, which is the node: it is on the host's network.
        let (node, _) = former.split_once('_').unwrap();
        self.cluster.enter(node, &["pkill", "-9", "-f", "^/bin/midonet-kube-controllers"]);
        testkit::wait_until(DEADLINE, "another one leads", || {
            let now = leader();
            !now.is_empty() && now != former
        });
    }

    /// As the documentation says: then MidoNet has nothing of the cluster any more.
    fn uninstall(&self) {
        self.cluster.kubectl(&[
            "delete",
            "customresourcedefinition/translations.midonet.org",
            "--timeout=180s",
        ]);
        let left = self.standin.with_store(|store| store.resources()).unwrap();
        assert!(left.is_empty(), "{left:?}");
        self.cluster.kubectl(&["delete", "-f", &self.manifest(), "--ignore-not-found", "--wait=true"]);
        let map = ["-n", "kube-system", "configmap/midonet-kube-config"];
        let config = json!({"data": {"midonet.api": null}}).to_string();
        self.cluster.kubectl(&[&["patch"][..], &map, &["--type=merge", "-p", &config]].concat());
        for node in NODES {
            for key in [
                annotation::MAC_ADDRESS,
                annotation::TUNNEL_ENDPOINT_IP,
                annotation::HOST_ID,
                annotation::TUNNEL_ZONE_ID,
            ] {
                self.cluster.kubectl(&["annotate", "node", node, &format!("{key}-")]);
            }
        }
    }
}

/// The id of a node's host in MidoNet.
pub(super) fn host(node: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, node.as_bytes())
}

fn pod_end(pod: &Value) -> Option<End> {
    let (name, node) = (pod["metadata"]["name"].as_str()?, pod["spec"]["nodeName"].as_str()?);
    let addresses = pod["status"]["podIPs"].as_array()?.iter();
    let address = addresses.filter_map(|ip| ip["ip"].as_str()?.parse().ok()).next()?;
    let mac = pod["metadata"]["annotations"][annotation::MAC_ADDRESS].as_str()?.parse().ok()?;
    let interface = naming::pod_host_interface(&naming::PodKey::new("default", name));
    Some(End { node: node.to_owned(), interface, mac, address })
}

fn node_end(node: &Value) -> Option<End> {
    let name = node["metadata"]["name"].as_str()?;
    let cidrs = node["spec"]["podCIDRs"].as_array()?.iter();
    let cidr = cidrs
        .filter_map(|cidr| cidr.as_str()?.parse::<ipnet::IpNet>().ok())
        .find(|cidr| cidr.addr().is_ipv4())?;
    let std::net::IpAddr::V4(address) = naming::subnet::node(cidr).ok()? else { return None };
    let mac = node["metadata"]["annotations"][annotation::MAC_ADDRESS].as_str()?.parse().ok()?;
    Some(End { node: name.to_owned(), interface: naming::interface::MIDO.to_owned(), mac, address })
}

const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: midonet}
spec:
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  selector: {app: midonet}
  ports:
  - {port: 80, targetPort: 8080}
";

/// Nothing runs there.
const NODE: &str = r"
apiVersion: v1
kind: Node
metadata:
  name: guest
spec:
  podCIDR: 10.244.200.0/24
  podCIDRs: [10.244.200.0/24]
  unschedulable: true
";
