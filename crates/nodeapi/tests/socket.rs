//! Both ends of the socket: a call goes through, only root is heard, an absent agent is said so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nodeapi::original::mido_net_kube_node_server::{MidoNetKubeNode, MidoNetKubeNodeServer};
use nodeapi::original::{
    AddPodAnnotationReply, AddPodAnnotationRequest, DeletePodAnnotationReply, DeletePodAnnotationRequest,
};
use nodeapi::{Client, Method};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(60);

const ADD: Method<AddPodAnnotationRequest, AddPodAnnotationReply> =
    Method::new("/nodeapi.MidoNetKubeNode/AddPodAnnotation");
const DELETE: Method<DeletePodAnnotationRequest, DeletePodAnnotationReply> =
    Method::new("/nodeapi.MidoNetKubeNode/DeletePodAnnotation");

struct Echo;

#[tonic::async_trait]
impl MidoNetKubeNode for Echo {
    async fn add_pod_annotation(
        &self,
        request: Request<AddPodAnnotationRequest>,
    ) -> Result<Response<AddPodAnnotationReply>, Status> {
        let key = request.into_inner().key;
        if key.is_empty() {
            return Err(Status::invalid_argument("no key: \u{201c}name one\u{201d}"));
        }
        Ok(Response::new(AddPodAnnotationReply { error: key, ..Default::default() }))
    }

    async fn delete_pod_annotation(
        &self,
        _: Request<DeletePodAnnotationRequest>,
    ) -> Result<Response<DeletePodAnnotationReply>, Status> {
        std::future::pending().await
    }
}

/// Serves [`Echo`] as long as the value lives.
fn serve(socket: &Path) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let incoming = runtime.block_on(async { nodeapi::incoming(nodeapi::listen(socket).unwrap(), |_| {}) });
    let service = Server::builder().add_service(MidoNetKubeNodeServer::new(Echo));
    runtime.spawn(service.serve_with_incoming(incoming));
    runtime
}

#[test]
fn a_call_goes_through_and_a_hung_agent_meets_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/api");
    let _agent = serve(&socket);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));

    let mut client = Client::connect(&socket, DEADLINE).unwrap();
    let request = |key: &str| AddPodAnnotationRequest { key: key.into(), ..Default::default() };
    // A short answer, one of many frames, and again on the same connection.
    for key in ["midonet.org/mac-address".to_owned(), "k".repeat(3 << 20), "last".to_owned()] {
        assert_eq!(client.call(&ADD, &request(&key)).unwrap().error, key);
    }
    let refused = client.call(&ADD, &request("")).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(refused.message(), "no key: \u{201c}name one\u{201d}");
    let absent: Method<AddPodAnnotationRequest, AddPodAnnotationReply> =
        Method::new("/nodeapi.Nobody/Nothing");
    assert_eq!(client.call(&absent, &request("x")).unwrap_err().code(), tonic::Code::Unimplemented);

    let mut client = Client::connect(&socket, Duration::from_secs(1)).unwrap();
    let start = Instant::now();
    let hung = client.call(&DELETE, &DeletePodAnnotationRequest::default()).unwrap_err();
    assert_eq!((hung.code(), hung.message()), (tonic::Code::DeadlineExceeded, "Timeout expired"));
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn calls_go_on_while_their_callers_do_other_things() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let _agent = serve(&socket);
    let mut client = Client::connect(&socket, DEADLINE).unwrap();
    let request = |key: &str| AddPodAnnotationRequest { key: key.into(), ..Default::default() };
    let pending = ["one", "two"].map(|key| client.start(&ADD, &request(key)).unwrap());
    let answers = pending.map(|pending| client.finish(pending).unwrap().error);
    assert_eq!(answers, ["one", "two"]);
}

#[test]
fn an_agent_that_ends_or_talks_nonsense_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    for (name, says) in [("silent", &b""[..]), ("stranger", b"HTTP/1.1 400 Bad Request\r\n\r\n")] {
        let socket = folder.path().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let stranger = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(says).unwrap();
        });
        let called = Client::connect(&socket, DEADLINE)
            .map_err(|error| Status::unavailable(error.to_string()))
            .and_then(|mut client| client.call(&ADD, &AddPodAnnotationRequest::default()));
        assert_eq!(called.unwrap_err().code(), tonic::Code::Unavailable, "{name}");
        stranger.join().unwrap();
    }
}

#[test]
fn a_second_agent_takes_the_place_of_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { drop(nodeapi::listen(&socket).unwrap()) });
    let _agent = serve(&socket);
    Client::connect(&socket, DEADLINE).unwrap();
}

#[test]
fn an_absent_agent_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let error = Client::connect(&socket, DEADLINE).err().unwrap().to_string();
    assert!(
        error.contains(&socket.display().to_string()) && error.contains("is midonet-kube-node running"),
        "{error}"
    );
}
