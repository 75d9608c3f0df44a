//! Our own calls: thin translations between messages and the agent.

use naming::PodKey;
use naming::alias::PortAlias;
use nodeapi::v1::node_server::Node;
use nodeapi::v1::{
    BindPortReply, BindPortRequest, CheckPortReply, ReleasePortReply, ReleasePortRequest, StatusReply,
    StatusRequest,
};
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::agent::Agent;
use crate::network::{BindError, BindRequest};
use crate::status;

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
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn bind_port(&self, request: Request<BindPortRequest>) -> Result<Response<BindPortReply>, Status> {
        let request = bind_request(request.into_inner())?;
        let (pod, interface) = (request.pod(), &request.host_ifname);
        self.agent.bind(&request).map_err(|error| {
            warn!(%pod, interface, %error, "port not bound");
            status_of(&error)
        })?;
        info!(%pod, interface, addresses = ?request.addresses, "port bound");
        Ok(Response::new(BindPortReply { port_id: naming::pod_port_id(pod).to_string() }))
    }

    async fn release_port(
        &self,
        request: Request<ReleasePortRequest>,
    ) -> Result<Response<ReleasePortReply>, Status> {
        let request = request.into_inner();
        let released = self
            .agent
            .release(&request.host_ifname, &request.container_id)
            .map_err(|error| Status::internal(format!("{error:#}")))?;
        if let Some(port) = released {
            info!(pod = %port.pod(), interface = port.host_ifname, "port released");
        }
        Ok(Response::new(ReleasePortReply {}))
    }

    async fn check_port(
        &self,
        request: Request<BindPortRequest>,
    ) -> Result<Response<CheckPortReply>, Status> {
        let request = bind_request(request.into_inner())?;
        self.agent.with_network(|network| network.check(&request)).map_err(|error| status_of(&error))?;
        Ok(Response::new(CheckPortReply {}))
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
    Ok(BindRequest {
        addresses: addresses.collect::<Result<_, _>>()?,
        mac: message.mac.parse().map_err(|error| Status::invalid_argument(format!("mac: {error}")))?,
        host_ifname: message.host_ifname,
        host_ifindex: message.host_ifindex,
        alias: PortAlias {
            pod: PodKey::new(message.namespace, message.name),
            container_id: message.container_id,
            ifname: message.ifname,
            pod_uid: Some(message.pod_uid).filter(|uid| !uid.is_empty()),
        },
    })
}

fn status_of(error: &BindError) -> Status {
    let text = error.to_string();
    match error {
        BindError::Invalid(_) => Status::invalid_argument(text),
        BindError::Precondition(_) => Status::failed_precondition(text),
        BindError::NotYet(_) => Status::unavailable(text),
        BindError::Full(_) => Status::resource_exhausted(text),
        BindError::Failed(_) => Status::internal(text),
    }
}
