//! Our own calls: thin translations between messages and the agent.

use datapath::{Limit, Limits};
use model::Protocol;
use naming::PodKey;
use naming::alias::PortAlias;
use nodeapi::v1::node_server::Node;
use nodeapi::v1::{
    Bandwidth, BindPortReply, BindPortRequest, CheckPortReply, PortMapping, ReadyReply, ReadyRequest,
    ReleasePortReply, ReleasePortRequest, StatusReply, StatusRequest,
};
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::status;
use crate::agent::{Agent, Readiness};
use crate::backend::{BindError, BindRequest, HostPort};
use crate::{durations, policies};

/// Serves `midonetkube.node.v1`.
#[derive(Debug)]
pub struct NodeService {
    agent: Agent,
}

impl NodeService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent }
    }

    async fn bind(&self, request: BindRequest) -> Result<BindPortReply, Status> {
        let (request, host_ports_left) = self.agent.own_part(request);
        let admission = policies::admit(&self.agent, &request).await;
        let (pod, interface) = (&request.owner.pod, &request.host_ifname);
        self.agent.bind(&request).map_err(|error| {
            warn!(%pod, interface, %error, "port not bound");
            status_of(&error)
        })?;
        admission.bound();
        info!(%pod, interface, addresses = ?request.addresses, host_ports = ?request.host_ports, "port bound");
        Ok(BindPortReply { port_id: naming::pod_port_id(pod).to_string(), host_ports_left })
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn bind_port(&self, request: Request<BindPortRequest>) -> Result<Response<BindPortReply>, Status> {
        let request = request.into_inner();
        let began = request.began_monotonic_ns;
        let reply = match bind_request(request) {
            Ok(request) => self.bind(request).await,
            Err(status) => Err(status),
        };
        durations::note(&self.agent.durations().add, began, reply.is_ok());
        reply.map(Response::new)
    }

    async fn release_port(
        &self,
        request: Request<ReleasePortRequest>,
    ) -> Result<Response<ReleasePortReply>, Status> {
        let request = request.into_inner();
        let released = self.agent.release(&request.host_ifname, &request.container_id);
        durations::note(&self.agent.durations().del, request.began_monotonic_ns, released.is_ok());
        let released = released.map_err(|error| Status::internal(format!("{error:#}")))?;
        if let Some(port) = &released {
            info!(pod = %port.pod(), interface = port.host_ifname, "port released");
        }
        let host_ports_left = self.agent.left_host_ports(released.as_ref());
        Ok(Response::new(ReleasePortReply { host_ports_left }))
    }

    async fn check_port(
        &self,
        request: Request<BindPortRequest>,
    ) -> Result<Response<CheckPortReply>, Status> {
        let (request, host_ports_left) = self.agent.own_part(bind_request(request.into_inner())?);
        self.agent.backend().check(&request).map_err(|error| status_of(&error))?;
        Ok(Response::new(CheckPortReply { host_ports_left }))
    }

    async fn ready(&self, _: Request<ReadyRequest>) -> Result<Response<ReadyReply>, Status> {
        let serves = self.agent.problems().all().is_empty();
        let (ready, reason) = match (self.agent.known_readiness(), self.agent.readiness()) {
            (None, Readiness::Waiting(reason)) => return Err(Status::unavailable(reason)),
            (_, Readiness::Waiting(reason)) => (false, reason),
            (_, Readiness::Ready) => (true, String::new()),
        };
        Ok(Response::new(ReadyReply { ready, reason, serves }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let reply = status::report(&self.agent).map_err(|error| Status::internal(format!("{error:#}")))?;
        Ok(Response::new(reply))
    }
}

fn bind_request(message: BindPortRequest) -> Result<BindRequest, Status> {
    for (field, value) in [
        ("namespace", &message.namespace),
        ("name", &message.name),
        ("container_id", &message.container_id),
        ("ifname", &message.ifname),
        ("host_ifname", &message.host_ifname),
    ] {
        if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Status::invalid_argument(format!("{field} is empty or has spaces in it: {value:?}")));
        }
    }
    let addresses = message.addresses.iter().map(|text| {
        text.parse().map_err(|_| Status::invalid_argument(format!("addresses: {text:?} is no IP address")))
    });
    let Bandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst } =
        message.bandwidth.unwrap_or_default();
    let host_ports = message.port_mappings.iter().map(host_port);
    Ok(BindRequest {
        host_ports: host_ports.collect::<Result<_, _>>()?,
        limits: Limits {
            ingress: limit("ingress", ingress_rate, ingress_burst)?,
            egress: limit("egress", egress_rate, egress_burst)?,
            class: 0,
        },
        addresses: addresses.collect::<Result<_, _>>()?,
        mac: message.mac.parse().map_err(|error| Status::invalid_argument(format!("mac: {error}")))?,
        host_ifname: message.host_ifname,
        host_ifindex: message.host_ifindex,
        owner: PortAlias {
            pod: PodKey::new(message.namespace, message.name),
            container_id: message.container_id,
            ifname: message.ifname,
            pod_uid: Some(message.pod_uid).filter(|uid| !uid.is_empty()),
            // The agent does not ask for it; the interface's own alias has it.
            network: None,
        },
    })
}

/// A port mapping of CNI's: numbers from 1 on, an address or none.
fn host_port(mapping: &PortMapping) -> Result<HostPort, Status> {
    let PortMapping { host_port, container_port, protocol, host_ip } = mapping;
    let invalid = |what: String| Status::invalid_argument(format!("runtimeConfig.portMappings: {what}"));
    let number = |what: &str, number: u32| {
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        port.ok_or_else(|| invalid(format!("{what} {number}: must be 1 to 65535")))
    };
    let named = Protocol::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(protocol));
    let address = match host_ip.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid(format!("hostIP {text:?} is no IP address")))?),
    };
    Ok(HostPort {
        address,
        protocol: named.ok_or_else(|| invalid(format!("protocol {protocol:?}: must be tcp, udp or sctp")))?,
        port: number("hostPort", *host_port)?,
        container_port: number("containerPort", *container_port)?,
    })
}

/// A limit of CNI's: a rate of 0 is none.
fn limit(what: &str, rate: u64, burst: u64) -> Result<Option<Limit>, Status> {
    match (rate, burst) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) => Err(Status::invalid_argument(format!(
            "bandwidth: {what}: a rate of {rate} bit/s and a burst of {burst} bits: they go together"
        ))),
        (rate, burst) => Ok(Some(Limit { rate, burst })),
    }
}

fn status_of(error: &BindError) -> Status {
    let text = error.to_string();
    match error {
        BindError::Invalid(_) => Status::invalid_argument(text),
        BindError::Precondition(_) | BindError::Taken(_) => Status::failed_precondition(text),
        BindError::Unsupported(_) => Status::unimplemented(text),
        BindError::NotYet(_) => Status::unavailable(text),
        BindError::Full(_) => Status::resource_exhausted(text),
        BindError::Failed(_) => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn request() -> BindPortRequest {
        BindPortRequest {
            namespace: "default".into(),
            name: "web".into(),
            container_id: "c1".into(),
            ifname: "eth0".into(),
            host_ifname: "mido1".into(),
            mac: "02:00:00:00:00:07".into(),
            addresses: vec!["10.244.1.3".into(), "fd44::3".into()],
            ..BindPortRequest::default()
        }
    }

    #[test]
    fn limits_come_as_cni_has_them() {
        assert_eq!(bind_request(request()).unwrap().limits, Limits::default());
        let one = Bandwidth { egress_rate: 10, egress_burst: 80, ..Bandwidth::default() };
        let limits = |bandwidth| bind_request(BindPortRequest { bandwidth: Some(bandwidth), ..request() });
        let egress = Some(Limit { rate: 10, burst: 80 });
        assert_eq!(limits(one).unwrap().limits, Limits { egress, ..Limits::default() });
        for (half, want) in [
            (Bandwidth { ingress_rate: 10, ..one }, "ingress: a rate of 10 bit/s and a burst of 0 bits"),
            (Bandwidth { egress_rate: 0, ..one }, "egress: a rate of 0 bit/s and a burst of 80 bits"),
        ] {
            let status = limits(half).unwrap_err();
            assert!(status.code() == Code::InvalidArgument && status.message().contains(want), "{status}");
        }
    }

    #[test]
    fn host_ports_come_as_cni_has_them() {
        let mapping = |host_port, protocol: &str, host_ip: &str| PortMapping {
            host_port,
            container_port: 80,
            protocol: protocol.into(),
            host_ip: host_ip.into(),
        };
        let bind = |port| bind_request(BindPortRequest { port_mappings: vec![port], ..request() });
        for (host_ip, address) in [("", None), ("192.0.2.1", Some("192.0.2.1")), ("::", Some("::"))] {
            let address = address.map(|text| text.parse().unwrap());
            let want = HostPort { address, protocol: Protocol::Sctp, port: 8080, container_port: 80 };
            assert_eq!(bind(mapping(8080, "sctp", host_ip)).unwrap().host_ports, [want]);
        }
        for (wrong, want) in [
            (mapping(0, "tcp", ""), "hostPort 0: must be 1 to 65535"),
            (mapping(65_536, "tcp", ""), "hostPort 65536: must be 1 to 65535"),
            (PortMapping { container_port: 0, ..mapping(1, "tcp", "") }, "containerPort 0: must be"),
            (mapping(1, "icmp", ""), "protocol \"icmp\": must be tcp, udp or sctp"),
            (mapping(1, "tcp", "localhost"), "hostIP \"localhost\" is no IP address"),
        ] {
            let status = bind(wrong).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            let want = format!("runtimeConfig.portMappings: {want}");
            assert!(status.message().contains(&want), "{want} in {status}");
        }
    }
}
