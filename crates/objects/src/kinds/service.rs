mod api;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::defects::Defects;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};
use crate::network::{Family, Protocol};
use crate::shared::{Shared, shared};
use api::{ApiPort, ApiService, Spec, Status};

/// Whoever has this label is served by another proxy (KEP-2447), whatever its value.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";

/// How long a client stays with its endpoint if nothing else is said, and at most, in seconds.
const AFFINITY: u32 = 10_800;
const LONGEST_AFFINITY: i64 = 86_400;

/// A Service. What Kubernetes' API server sets by default, a manifest may leave out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What names it.
    pub key: Key,
    /// `namespace/name`; EndpointSlices share the text.
    pub id: Arc<str>,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// When the API server created it, in seconds since 1970. A manifest may leave it out.
    pub created: Option<i64>,
    /// Its type.
    pub kind: ServiceType,
    /// Why nothing of it is served. Nothing else of it is kept then.
    pub ignored: Option<Ignored>,
    /// Its addresses, at most one a family; its families are those.
    pub cluster_ips: Box<[IpAddr]>,
    /// Its ports.
    pub ports: Box<[PortSpec]>,
    /// Addresses that somebody else routes to nodes (`spec.externalIPs`).
    pub external_ips: Box<[IpAddr]>,
    /// Addresses of a load balancer that hands packets over as they are (`status.loadBalancer.ingress` with an `ip`, and
    /// the `ipMode` VIP or none).
    pub load_balancer_ips: Box<[IpAddr]>,
    /// From where its load balancer's addresses are reached, without host bits; empty: from everywhere.
    pub source_ranges: Box<[IpNet]>,
    /// Whether a range could not be read: then a family without any range is reached from nowhere.
    pub has_unreadable_range: bool,
    /// For how many seconds a client stays with its endpoint, 1 to 86,400.
    pub affinity: Option<u32>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// The port where load balancers ask for local endpoints; 0: none.
    pub health_check_node_port: u16,
    /// What of it is left out.
    pub defects: Box<[Invalid]>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Its name, which ports of EndpointSlices have, too; empty if there is one port alone.
    pub name: Arc<str>,
    /// What it is of.
    pub protocol: Protocol,
    /// The port of all the Service's addresses.
    pub port: u16,
    /// The port of all nodes; 0: none.
    pub node_port: u16,
}

/// The type of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ServiceType {
    /// An address of a ServiceCIDR.
    ClusterIp,
    /// A port of all nodes besides.
    NodePort,
    /// A load balancer besides.
    LoadBalancer,
    /// A name in DNS alone.
    ExternalName,
}

/// Why a Service is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ignored {
    /// It has the label `service.kubernetes.io/service-proxy-name`.
    OtherProxy,
    /// It is of type ExternalName.
    ExternalName,
    /// Its clusterIP is None.
    Headless,
    /// It has no clusterIP yet.
    NoAddress,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherProxy => "another proxy serves it (label service.kubernetes.io/service-proxy-name)",
            Self::ExternalName => "it is of type ExternalName: a name in DNS alone",
            Self::Headless => "it is headless (clusterIP: None)",
            Self::NoAddress => "it has no clusterIP",
        })
    }
}

impl ServiceType {
    /// As Kubernetes calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

impl Kind for Service {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true };

    const CACHED: bool = false;

    type Api = ApiService;

    fn trim(metadata: Metadata, api: ApiService) -> Result<Self, Invalid> {
        let spec = api.spec.unwrap_or_default();
        let kind = match spec.kind.as_deref().unwrap_or("ClusterIP") {
            "ClusterIP" => ServiceType::ClusterIp,
            "NodePort" => ServiceType::NodePort,
            "LoadBalancer" => ServiceType::LoadBalancer,
            "ExternalName" => ServiceType::ExternalName,
            other => return Err(Invalid::field("spec.type", format!("{other:?} is no type of a Service"))),
        };
        let ignored = ignored(kind, &spec, metadata.labels.contains_key(OTHER_PROXY));
        let key = Key::of_metadata(&Self::RESOURCE, &metadata);
        let mut service = Self {
            id: shared(&key.to_string()),
            key,
            uid: metadata.uid.map(String::into_boxed_str),
            created: metadata.creation_timestamp.map(|time| time.0.as_second()),
            kind,
            ignored,
            cluster_ips: Box::default(),
            ports: Box::default(),
            external_ips: Box::default(),
            load_balancer_ips: Box::default(),
            source_ranges: Box::default(),
            has_unreadable_range: false,
            affinity: None,
            internal_local: false,
            external_local: false,
            health_check_node_port: 0,
            defects: Box::default(),
        };
        if ignored.is_none() {
            let mut defects = Defects::default();
            service.read(spec, api.status.unwrap_or_default(), &mut defects);
            service.defects = defects.into_boxed();
        }
        Ok(service)
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

impl Service {
    /// Its address of a family.
    pub fn cluster_ip(&self, family: Family) -> Option<IpAddr> {
        self.cluster_ips.iter().copied().find(|address| Family::of(*address) == family)
    }

    fn read(&mut self, spec: Spec, status: Status, defects: &mut Defects) {
        let written = spec.cluster_ips.filter(|all| !all.is_empty());
        let written = written.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
        let mut cluster_ips = Vec::<IpAddr>::new();
        for address in addresses("spec.clusterIPs", written.iter(), defects) {
            if cluster_ips.iter().any(|other| Family::of(*other) == Family::of(address)) {
                defects
                    .add("spec.clusterIPs", format!("{address} is the second of its family: it is left out"));
            } else {
                cluster_ips.push(address);
            }
        }
        self.cluster_ips = cluster_ips.into();
        self.ports = ports(spec.ports.unwrap_or_default(), defects);
        let external_ips = spec.external_ips.unwrap_or_default();
        self.external_ips = addresses("spec.externalIPs", external_ips.iter(), defects).into();
        let ingress = status.load_balancer.and_then(|status| status.ingress).unwrap_or_default();
        let captured = ingress.iter().filter(|one| one.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
        let captured = captured.filter_map(|one| one.ip.as_ref()).filter(|ip| !ip.is_empty());
        let field = "status.loadBalancer.ingress";
        self.load_balancer_ips = addresses(field, captured, defects).into();
        self.read_ranges(spec.load_balancer_source_ranges.unwrap_or_default(), defects);
        let config = spec.session_affinity_config.and_then(|config| config.client_ip);
        self.affinity = match spec.session_affinity.as_deref().unwrap_or("None") {
            "ClientIP" => Some(affinity(config.and_then(|config| config.timeout_seconds), defects)),
            "None" => None,
            other => {
                defects.add("spec.sessionAffinity", format!("{other:?} is unknown: None is used"));
                None
            }
        };
        let mut is_local = |field: &str, policy: Option<String>| match policy.as_deref().unwrap_or("Cluster")
        {
            "Local" => true,
            "Cluster" => false,
            other => {
                defects.add(field, format!("{other:?} is unknown: Cluster is used"));
                false
            }
        };
        self.internal_local = is_local("spec.internalTrafficPolicy", spec.internal_traffic_policy);
        self.external_local = is_local("spec.externalTrafficPolicy", spec.external_traffic_policy);
        let port = spec.health_check_node_port.unwrap_or(0);
        self.health_check_node_port = u16::try_from(port).unwrap_or_else(|_| {
            defects.add("spec.healthCheckNodePort", format!("{port} is no port: it is left out"));
            0
        });
    }

    fn read_ranges(&mut self, texts: Vec<String>, defects: &mut Defects) {
        let mut ranges = Vec::new();
        for text in texts {
            match text.trim().parse::<IpNet>() {
                Ok(range) => ranges.push(range.trunc()),
                Err(_) => {
                    let problem = format!("{text:?} is no CIDR like 192.0.2.0/24: nobody is let in by it");
                    defects.add("spec.loadBalancerSourceRanges", problem);
                    self.has_unreadable_range = true;
                }
            }
        }
        self.source_ranges = ranges.into();
    }
}

/// As kube-proxy does it: whatever else an ExternalName has, nothing of it is served.
fn ignored(kind: ServiceType, spec: &Spec, has_other_proxy: bool) -> Option<Ignored> {
    let first = spec.cluster_ips.iter().flatten().next().or(spec.cluster_ip.as_ref());
    if has_other_proxy {
        Some(Ignored::OtherProxy)
    } else if kind == ServiceType::ExternalName {
        Some(Ignored::ExternalName)
    } else {
        match first.map_or("", String::as_str) {
            "" => Some(Ignored::NoAddress),
            "None" => Some(Ignored::Headless),
            _ => None,
        }
    }
}

fn addresses<'a>(field: &str, texts: impl Iterator<Item = &'a String>, defects: &mut Defects) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for text in texts {
        match text.parse::<IpAddr>() {
            Ok(address) => addresses.push(address.to_canonical()),
            Err(_) => defects.add(field, format!("{text:?} is no IP address: it is left out")),
        }
    }
    addresses
}

fn ports(all: Vec<ApiPort>, defects: &mut Defects) -> Box<[PortSpec]> {
    let mut ports = Vec::<PortSpec>::with_capacity(all.len());
    for ApiPort { name, protocol, port, node_port } in all {
        let name = name.map_or_else(|| shared(""), |Shared(name)| name);
        let field = if name.is_empty() { "spec.ports".to_owned() } else { format!("spec.ports[{name}]") };
        let protocol = protocol.as_deref().unwrap_or("TCP");
        let Some(protocol) = Protocol::named(protocol) else {
            defects.add(&field, format!("{protocol:?} is no protocol of Services: the port is left out"));
            continue;
        };
        let number = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let Some(port) = number else {
            let port = port.map_or_else(|| "none".to_owned(), |port| port.to_string());
            defects.add(&field, format!("its port is {port}, not 1 to 65535: it is left out"));
            continue;
        };
        if ports.iter().any(|other| other.name == name && other.protocol == protocol) {
            defects.add(&field, format!("{port}/{protocol} is the second port of that name: it is left out"));
            continue;
        }
        let written = node_port.unwrap_or(0);
        let node_port = u16::try_from(written).unwrap_or_else(|_| {
            defects.add(&field, format!("its nodePort is {written}, no port: it has none"));
            0
        });
        ports.push(PortSpec { name, protocol, port, node_port });
    }
    ports.into()
}

fn affinity(seconds: Option<i64>, defects: &mut Defects) -> u32 {
    let Some(seconds) = seconds else { return AFFINITY };
    let allowed = Some(seconds).filter(|seconds| (1..=LONGEST_AFFINITY).contains(seconds));
    allowed.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or_else(|| {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        defects.add(field, format!("{seconds} is not 1 to {LONGEST_AFFINITY}: {AFFINITY} is used"));
        AFFINITY
    })
}

#[cfg(test)]
mod tests;
