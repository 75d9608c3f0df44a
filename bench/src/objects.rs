//! Services and their EndpointSlices: one that is measured, and thousands beside it.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Where all of them are.
pub(crate) const NAMESPACE: &str = "default";

/// The port of a Service, and of its endpoints.
pub(crate) const PORT: u16 = 80;
pub(crate) const TARGET: u16 = 8080;

/// Endpoints of each Service.
pub(crate) const ENDPOINTS: u16 = 10;

/// The agents' `--service-cidr`, which is the API server's range, too.
pub(crate) const CIDRS: &str = "10.96.0.0/16,fd96::/112";

/// A Service whose endpoints are there.
pub(crate) struct Service {
    pub(crate) name: String,
    /// The last number of its ClusterIPs.
    pub(crate) number: u8,
    /// Of either family.
    pub(crate) backends: Vec<IpAddr>,
    pub(crate) node: String,
    /// Over TCP and UDP.
    pub(crate) node_port: Option<u16>,
}

impl Service {
    /// Where it is reached over a family.
    pub(crate) fn at(&self, ipv4: bool) -> SocketAddr {
        let address: IpAddr = if ipv4 {
            Ipv4Addr::new(10, 96, 0, self.number).into()
        } else {
            Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, self.number.into()).into()
        };
        SocketAddr::new(address, PORT)
    }

    /// The Service, and a slice of each family that it has backends of.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let families: Vec<bool> =
            [true, false].into_iter().filter(|ipv4| self.of_family(*ipv4).next().is_some()).collect();
        let addresses: Vec<IpAddr> = families.iter().map(|ipv4| self.at(*ipv4).ip()).collect();
        let ports: Vec<Value> = ["TCP", "UDP"]
            .map(|protocol| {
                json!({
                    "name": protocol.to_lowercase(), "protocol": protocol, "port": PORT,
                    "targetPort": TARGET, "nodePort": self.node_port,
                })
            })
            .into();
        let mut objects =
            vec![service(&self.name, &addresses, &Value::Array(ports), self.node_port.is_some())];
        for ipv4 in families {
            let backends = self.of_family(ipv4).collect::<Vec<_>>();
            objects.push(slice(&self.name, &backends, &self.node, &["tcp", "udp"], TARGET));
        }
        objects
    }

    fn of_family(&self, ipv4: bool) -> impl Iterator<Item = IpAddr> {
        self.backends.iter().copied().filter(move |backend| backend.is_ipv4() == ipv4)
    }
}

/// One of the many: its ClusterIP.
pub(crate) fn other_address(number: u16) -> IpAddr {
    // The first kibi of the range is others'.
    let [high, low] = (1024 + number).to_be_bytes();
    Ipv4Addr::new(10, 96, high, low).into()
}

/// The endpoints of one of the many: no two of all are equal.
pub(crate) fn other_endpoints(number: u16) -> (Vec<IpAddr>, u16) {
    // All endpoints of a Service have one port.
    let (first, port) = (u32::from(number) * u32::from(ENDPOINTS), 8000);
    let address = |index: u32| IpAddr::from(Ipv4Addr::from_bits(0x0af4_8000 + index % 0x7ff8));
    let endpoints = (first..first + u32::from(ENDPOINTS)).map(address).collect();
    (endpoints, port + u16::try_from(first / 0x7ff8).unwrap_or(0))
}

/// The name of one of the many.
pub(crate) fn other_name(number: u16) -> String {
    format!("service-{number}")
}

/// One of the many: a Service and its slice, as a cluster has them.
pub(crate) fn other(number: u16) -> [Value; 2] {
    let name = other_name(number);
    let (endpoints, port) = other_endpoints(number);
    let ports = json!([{"name": "http", "protocol": "TCP", "port": PORT, "targetPort": port}]);
    [
        service(&name, &[other_address(number)], &ports, false),
        slice(&name, &endpoints, "elsewhere", &["http"], port),
    ]
}

fn service(name: &str, addresses: &[IpAddr], ports: &Value, node_ports: bool) -> Value {
    let families: Vec<&str> = addresses.iter().map(|a| if a.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "type": if node_ports { "NodePort" } else { "ClusterIP" },
            "clusterIP": addresses.first(),
            "clusterIPs": addresses,
            "ipFamilies": families,
            "ipFamilyPolicy": if families.len() == 2 { "RequireDualStack" } else { "SingleStack" },
            "selector": {"app.kubernetes.io/name": name},
            "ports": ports,
        },
    })
}

/// The name of a Service's slice of a family.
pub(crate) fn slice_name(service: &str, ipv4: bool) -> String {
    format!("{service}-ipv{}", if ipv4 { 4 } else { 6 })
}

/// The endpoints of a slice, as the controller writes them.
pub(crate) fn endpoints(service: &str, addresses: &[IpAddr], node: &str) -> Value {
    addresses
        .iter()
        .enumerate()
        .map(|(number, address)| {
            json!({
                "addresses": [address],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": node,
                "zone": "zone-a",
                "targetRef": {
                    "kind": "Pod", "namespace": NAMESPACE, "name": format!("{service}-6d4cf56db6-{number:05}"),
                    "uid": format!("3f0b9b2e-8f6c-4c1e-9d57-{number:012x}"),
                },
            })
        })
        .collect()
}

fn slice(service: &str, addresses: &[IpAddr], node: &str, ports: &[&str], port: u16) -> Value {
    let ipv4 = addresses.first().is_none_or(IpAddr::is_ipv4);
    let ports: Vec<Value> = ports
        .iter()
        .map(|name| {
            let protocol = if *name == "udp" { "UDP" } else { "TCP" };
            json!({"name": name, "protocol": protocol, "port": port})
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE,
            "name": slice_name(service, ipv4),
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": if ipv4 { "IPv4" } else { "IPv6" },
        "ports": ports,
        "endpoints": endpoints(service, addresses, node),
    })
}

/// Where the API server has objects of a kind.
pub(crate) fn path(object: &Value) -> Result<String> {
    let kind = object.get("kind").and_then(Value::as_str).context("an object without a kind")?;
    Ok(match kind {
        "EndpointSlice" => format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"),
        "Service" => format!("/api/v1/namespaces/{NAMESPACE}/services"),
        "Node" => "/api/v1/nodes".to_owned(),
        "Namespace" => "/api/v1/namespaces".to_owned(),
        "Pod" => {
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            format!("/api/v1/namespaces/{}/pods", namespace.context("a Pod without a namespace")?)
        }
        _ => anyhow::bail!("no path of {kind}"),
    })
}

/// Writes objects as one file of a directory of manifests, in one step. JSON is YAML, too.
pub(crate) fn write(dir: &Path, name: &str, objects: impl IntoIterator<Item = Value>) -> Result<()> {
    let mut text = String::new();
    for object in objects {
        let _ = writeln!(text, "---\n{object}");
    }
    let path = dir.join(format!("{name}.yaml"));
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_of_the_many_share_anything() {
        let (mut addresses, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..10_000 {
            assert!(addresses.insert(other_address(number)));
            let (own, port) = other_endpoints(number);
            for endpoint in own {
                assert!(endpoints.insert((endpoint, port)), "{endpoint}:{port}");
            }
        }
        assert_eq!(endpoints.len(), 100_000);
    }

    #[test]
    fn a_service_has_a_slice_of_each_family() {
        let service = Service {
            name: "web".into(),
            number: 80,
            backends: vec!["10.244.1.3".parse().unwrap(), "fd44:0:0:1::3".parse().unwrap()],
            node: "node1".into(),
            node_port: None,
        };
        let objects = service.objects();
        let text = |pointer: &str| objects.iter().map(|o| o.pointer(pointer).cloned()).collect::<Vec<_>>();
        assert_eq!(text("/spec/clusterIPs/1"), [Some(json!("fd96::50")), None, None]);
        assert_eq!(text("/addressType"), [None, Some(json!("IPv4")), Some(json!("IPv6"))]);
        assert_eq!(service.at(true).to_string(), "10.96.0.80:80");
    }
}
