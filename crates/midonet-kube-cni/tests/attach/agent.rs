//! A node agent that notes what it is asked and answers as it is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nodeapi::v1::node_server::{Node, NodeServer};
use nodeapi::v1::{
    Agent as AgentStatus, BindPortReply, BindPortRequest, CheckPortReply, ReadyReply, ReadyRequest,
    ReleasePortReply, ReleasePortRequest, StatusReply, StatusRequest,
};
use tonic::{Request, Response, Status};

/// The agent; it ends with this value.
pub(crate) struct Agent {
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    calls: Mutex<Vec<String>>,
    /// What BindPort is refused with.
    refusal: Mutex<Option<Status>>,
    /// Whether ReleasePort fails.
    refuses_releases: AtomicBool,
    /// Whether it serves no hostPorts.
    leaves_host_ports: AtomicBool,
    /// What Ready is answered with; ready, if nothing.
    ready: Mutex<Option<Result<ReadyReply, Status>>>,
    /// The last BindPort, refused or not.
    last_bind: Mutex<Option<BindPortRequest>>,
    bound: Mutex<Vec<BindPortRequest>>,
}

struct Service(Arc<State>);

impl Agent {
    /// Serves at that socket.
    pub(crate) fn start(socket: &Path) -> Self {
        let state = Arc::new(State::default());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (socket, service) = (PathBuf::from(socket), NodeServer::new(Service(state.clone())));
        let guard = runtime.enter();
        let incoming = nodeapi::incoming(nodeapi::listen(&socket).unwrap(), |_| {});
        drop(guard);
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { state, _runtime: runtime }
    }

    pub(crate) fn refuse(&self, status: Option<Status>) {
        *self.state.refusal.lock().unwrap() = status;
    }

    /// What it says of itself from now on.
    pub(crate) fn be(&self, ready: Result<ReadyReply, Status>) {
        *self.state.ready.lock().unwrap() = Some(ready);
    }

    pub(crate) fn refuse_releases(&self, refuse: bool) {
        self.state.refuses_releases.store(refuse, Ordering::Relaxed);
    }

    /// It serves no hostPorts from now on.
    pub(crate) fn leave_host_ports(&self) {
        self.state.leaves_host_ports.store(true, Ordering::Relaxed);
    }

    /// What it was asked since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.calls.lock().unwrap())
    }

    pub(crate) fn last_bind(&self) -> BindPortRequest {
        self.state.last_bind.lock().unwrap().clone().unwrap()
    }
}

impl State {
    fn note(&self, verb: &str, pod: (&str, &str), container_id: &str) {
        self.calls.lock().unwrap().push(format!("{verb} {}/{} {container_id}", pod.0, pod.1));
    }
}

#[tonic::async_trait]
impl Node for Service {
    async fn bind_port(&self, request: Request<BindPortRequest>) -> Result<Response<BindPortReply>, Status> {
        let request = request.into_inner();
        self.0.note("bind", (&request.namespace, &request.name), &request.container_id);
        *self.0.last_bind.lock().unwrap() = Some(request.clone());
        if let Some(status) = self.0.refusal.lock().unwrap().clone() {
            return Err(status);
        }
        // Another call of the plugin began at another time.
        self.0.bound.lock().unwrap().push(BindPortRequest { began_monotonic_ns: 0, ..request });
        let host_ports_left = self.0.leaves_host_ports.load(Ordering::Relaxed);
        Ok(Response::new(BindPortReply { host_ports_left, ..BindPortReply::default() }))
    }

    async fn release_port(
        &self,
        request: Request<ReleasePortRequest>,
    ) -> Result<Response<ReleasePortReply>, Status> {
        let request = request.into_inner();
        self.0.note("release", (&request.namespace, &request.name), &request.container_id);
        if self.0.refuses_releases.load(Ordering::Relaxed) {
            return Err(Status::internal(format!("the port of {} stays", request.name)));
        }
        let is_its = |bound: &BindPortRequest| bound.container_id == request.container_id;
        let mut bound = self.0.bound.lock().unwrap();
        let older = bound.iter().any(|bound| is_its(bound) && bound.port_mappings.is_empty());
        bound.retain(|bound| !is_its(bound));
        let host_ports_left = older || self.0.leaves_host_ports.load(Ordering::Relaxed);
        Ok(Response::new(ReleasePortReply { host_ports_left }))
    }

    async fn check_port(
        &self,
        request: Request<BindPortRequest>,
    ) -> Result<Response<CheckPortReply>, Status> {
        let request = request.into_inner();
        self.0.note("check", (&request.namespace, &request.name), &request.container_id);
        let bound = self.0.bound.lock().unwrap();
        if bound.contains(&request) {
            let host_ports_left = self.0.leaves_host_ports.load(Ordering::Relaxed);
            Ok(Response::new(CheckPortReply { host_ports_left }))
        } else {
            Err(Status::failed_precondition(format!("{bound:?} is bound, not {request:?}")))
        }
    }

    async fn ready(&self, _: Request<ReadyRequest>) -> Result<Response<ReadyReply>, Status> {
        let ready = ReadyReply { ready: true, reason: String::new(), serves: true };
        self.0.ready.lock().unwrap().clone().unwrap_or(Ok(ready)).map(Response::new)
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let refusal = self.0.refusal.lock().unwrap().clone();
        let not_ready_reason = refusal.as_ref().map(|status| status.message().to_owned()).unwrap_or_default();
        let agent = AgentStatus { ready: refusal.is_none(), not_ready_reason, ..AgentStatus::default() };
        Ok(Response::new(StatusReply { agent: Some(agent), ..StatusReply::default() }))
    }
}
