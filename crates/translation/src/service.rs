use std::net::{IpAddr, Ipv4Addr};

use midonet::{FlowAction, Resource, Rule, RuleType};
use naming::sub_id;
use uuid::Uuid;

use crate::endpoints::Slices;
use crate::ids::Ids;
use crate::name::sha1_hex;
use crate::protocol::protocol;
use crate::set::Set;
use crate::wanted::Wanted;
use crate::{AddressType, EndpointSlice, Reason, Service, rules};

/// What MidoNet is to hold of a Service and its endpoints.
pub(crate) fn convert<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice> + Clone,
    ids: &Ids,
    set: &mut Set,
) -> Wanted {
    let ipv6 = slices.clone().any(|slice| slice.address_type == AddressType::Ipv6);
    let Some(cluster_ip) = cluster_ip(service, ipv6, set) else {
        return Wanted::Set(Vec::new());
    };
    let ports = ports(service, cluster_ip, ids, set);
    not_offered(service, set);
    let slices = Slices::read(slices, set);
    let serving: Vec<_> = ports.iter().map(|port| slices.serving(&port.name, port.protocol_name)).collect();
    // The order keeps an installation of midonet-kubernetes in service while it is taken over, see the crate's documentation.
    let chains: Vec<_> = ports.iter().flat_map(|port| port.chains(ids)).collect();
    if !chains.is_empty() {
        set.add("Service", &service.name, chains);
    }
    for (port, endpoints) in ports.iter().zip(&serving) {
        port.balance(endpoints, ids, set);
    }
    for (port, endpoints) in ports.iter().zip(&serving) {
        for endpoint in endpoints {
            port.endpoint(*endpoint, ids, set);
        }
    }
    for port in &ports {
        port.entry(ids, set);
    }
    Wanted::Set(std::mem::take(&mut set.translations))
}

/// The address that the Service is reached at, if it has one and MidoNet is given it.
fn cluster_ip(service: &Service, ipv6_endpoints: bool, set: &mut Set) -> Option<Ipv4Addr> {
    match service.kind.as_str() {
        "" | "ClusterIP" => {}
        "ExternalName" => return None,
        kind => {
            let message = format!(
                "it is of type {kind}: MidoNet is given Services of type ClusterIP alone, as by midonet-kubernetes"
            );
            set.problem(Reason::ServiceTypeNotOffered, message);
            return None;
        }
    }
    let mut ipv4 = None;
    let mut ipv6 = Vec::new();
    for text in service.cluster_ips.iter().filter(|text| !matches!(text.as_str(), "" | "None")) {
        match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => {
                ipv4.get_or_insert(address);
            }
            Ok(IpAddr::V6(_)) => ipv6.push(text.clone()),
            Err(_) => {
                set.problem(Reason::InvalidAddress, format!("its cluster IP \"{text}\" is no IP address"));
            }
        }
    }
    if ipv6_endpoints && ipv6.is_empty() && ipv4.is_some() {
        ipv6.push("of its endpoints".into());
    }
    set.passed_over("it is not reached at its IPv6 addresses", &ipv6);
    ipv4
}

/// Tells what of the Service is not done as it says.
fn not_offered(service: &Service, set: &mut Set) {
    if service.session_affinity {
        set.problem(
            Reason::SessionAffinityNotOffered,
            "its sessionAffinity is ClientIP: MidoNet takes an endpoint at random for each connection".into(),
        );
    }
    if service.local_traffic {
        set.problem(
            Reason::LocalTrafficNotOffered,
            "its internalTrafficPolicy is Local: MidoNet uses the endpoints of all nodes".into(),
        );
    }
}

/// The ports that MidoNet is given.
fn ports(service: &Service, cluster_ip: Ipv4Addr, ids: &Ids, set: &mut Set) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::with_capacity(service.ports.len());
    for port in &service.ports {
        let name = &port.name;
        let Some((protocol, protocol_name)) = protocol(&port.protocol) else {
            let protocol = &port.protocol;
            let message =
                format!("its port \"{name}\" is of protocol {protocol}: MidoNet is given TCP and UDP alone");
            set.problem(Reason::ProtocolNotOffered, message);
            continue;
        };
        if port.port == 0 {
            set.problem(Reason::InvalidPort, format!("its port \"{name}\" has no number"));
            continue;
        }
        if ports.iter().any(|other| other.name == *name) {
            set.problem(
                Reason::InvalidPort,
                format!("it has two ports named \"{name}\": the first one is used"),
            );
            continue;
        }
        let key = format!("{}/{name}", service.key());
        ports.push(Port {
            service: service.name.clone(),
            name: name.clone(),
            chain: ids.service_chain(&key),
            key,
            cluster_ip,
            protocol,
            protocol_name,
            port: port.port,
        });
    }
    ports
}

/// A port of a Service that MidoNet is given.
struct Port {
    service: String,
    name: String,
    /// `namespace/service/name`.
    key: String,
    chain: Uuid,
    cluster_ip: Ipv4Addr,
    protocol: u8,
    protocol_name: &'static str,
    port: u16,
}

impl Port {
    fn part(&self, part: &str) -> Uuid {
        sub_id(&self.chain, part)
    }

    /// Where the rule is that takes an endpoint.
    fn dnat_chain(&self) -> Uuid {
        self.part("DNAT Chain")
    }

    /// Where the endpoints' jumps are, and nothing else: they come and go, each in front of those that there are.
    fn endpoints_chain(&self) -> Uuid {
        self.part("Endpoints Chain")
    }

    /// The three chains behind the Service's, and all rules whose order matters: they are posted last to first.
    fn chains(&self, ids: &Ids) -> Vec<Resource> {
        let (dnat, endpoints, end) = (self.dnat_chain(), self.endpoints_chain(), self.part("End Chain"));
        let untranslated = Rule::new(self.part(&format!("Return {}", self.cluster_ip)), RuleType::Return);
        vec![
            Resource::top(ids.chain(self.chain, format!("KUBE-SVC-{}", self.key))),
            Resource::top(ids.chain(dnat, format!("KUBE-DNAT-{}", self.key))),
            Resource::top(ids.chain(endpoints, format!("KUBE-EPS-{}", self.key))),
            Resource::top(ids.chain(end, format!("KUBE-END-{}", self.key))),
            Resource::of(end, Rule::new(self.part("Accept Translated"), RuleType::Accept)),
            Resource::of(end, rules::to_address(self.cluster_ip, untranslated)),
            Resource::of(self.chain, Rule::jump(self.part("Jump To End"), end)),
            Resource::of(self.chain, Rule::jump(self.part("Jump To Endpoints"), endpoints)),
            Resource::of(self.chain, Rule::jump(self.part("Jump To DNAT"), dnat)),
        ]
    }

    /// The rule that takes one of the endpoints. Its key says all that is in it: another list is another rule.
    fn balance(&self, endpoints: &[(Ipv4Addr, u16)], ids: &Ids, set: &mut Set) {
        if endpoints.is_empty() {
            return;
        }
        let list: Vec<_> = endpoints.iter().map(|(address, port)| format!("{address}:{port}")).collect();
        let hash = sha1_hex(list.join(",").as_bytes());
        let id = ids.endpoints_dnat(&format!("{}/{}/{hash}", self.key, self.cluster_ip));
        let rule = Rule {
            flow_action: Some(FlowAction::Continue),
            nat_targets: Some(endpoints.iter().copied().map(rules::target).collect()),
            ..Rule::new(id, RuleType::Dnat)
        };
        set.add(
            "Endpoints-DNAT",
            &format!("{}/{}/{}/{hash}", self.service, self.name, self.cluster_ip),
            vec![Resource::of(self.dnat_chain(), rules::to_address(self.cluster_ip, rule))],
        );
    }

    /// What an endpoint sends to itself by way of the Service comes from the cluster IP, so that the answer comes back
    /// through MidoNet.
    fn endpoint(&self, (address, port): (Ipv4Addr, u16), ids: &Ids, set: &mut Set) {
        let key = format!(
            "{}/{}/{}/{address}/{port}/{}",
            self.service, self.name, self.cluster_ip, self.protocol_name
        );
        let chain = ids.endpoint_chain(&key);
        // Not the ids of the original's jump and SNAT rule, which are others: in another chain, and for the last endpoint.
        let jump = Rule {
            nw_src_address: Some(address),
            nw_src_length: 32,
            ..Rule::jump(sub_id(&chain, "Jump From Itself"), chain)
        };
        set.add(
            "Endpoints-Port",
            &key,
            vec![
                Resource::top(ids.chain(chain, format!("KUBE-SEP-{key}"))),
                Resource::of(
                    chain,
                    rules::snat(sub_id(&chain, "SNAT From Itself"), address, self.cluster_ip),
                ),
                Resource::of(self.endpoints_chain(), rules::to_port(address, self.protocol, port, jump)),
            ],
        );
    }

    /// The jump that packets to the Service take.
    fn entry(&self, ids: &Ids, set: &mut Set) {
        let key = format!("{}/{}/{}/{}", self.key, self.cluster_ip, self.protocol, self.port);
        let jump = Rule::jump(ids.service_jump(&key), self.chain);
        let jump = rules::to_port(self.cluster_ip, self.protocol, self.port, jump);
        set.add("Service-Port", &key, vec![Resource::of(ids.services_chain(), jump)]);
    }
}
