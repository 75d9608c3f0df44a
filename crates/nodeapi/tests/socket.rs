//! Both ends of the socket: a call goes through, only root is heard, an absent agent is said so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nodeapi::original::mido_net_kube_node_client::MidoNetKubeNodeClient;
use nodeapi::original::mido_net_kube_node_server::{MidoNetKubeNode, MidoNetKubeNodeServer};
use nodeapi::original::{
    AddPodAnnotationReply, AddPodAnnotationRequest, DeletePodAnnotationReply, DeletePodAnnotationRequest,
};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(5);

struct Echo;

#[tonic::async_trait]
impl MidoNetKubeNode for Echo {
    async fn add_pod_annotation(
        &self,
        request: Request<AddPodAnnotationRequest>,
    ) -> Result<Response<AddPodAnnotationReply>, Status> {
        let reply = AddPodAnnotationReply { error: request.into_inner().key, ..Default::default() };
        Ok(Response::new(reply))
    }

    async fn delete_pod_annotation(
        &self,
        _: Request<DeletePodAnnotationRequest>,
    ) -> Result<Response<DeletePodAnnotationReply>, Status> {
        std::future::pending().await
    }
}

/// Serves [`Echo`] until the test ends.
fn serve(socket: &Path) {
    let incoming = nodeapi::incoming(nodeapi::listen(socket).unwrap(), |_| {});
    tokio::spawn(
        Server::builder().add_service(MidoNetKubeNodeServer::new(Echo)).serve_with_incoming(incoming),
    );
}

#[tokio::test]
async fn a_call_goes_through_and_a_hung_agent_meets_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/api");
    serve(&socket);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));

    let channel = nodeapi::connect(&socket, Duration::from_secs(1)).await.unwrap();
    let mut client = MidoNetKubeNodeClient::new(channel);
    let request = AddPodAnnotationRequest { key: "midonet.org/mac-address".into(), ..Default::default() };
    let reply = client.add_pod_annotation(request).await.unwrap().into_inner();
    assert_eq!(reply.error, "midonet.org/mac-address");

    let hung = client.delete_pod_annotation(DeletePodAnnotationRequest::default());
    let error = tokio::time::timeout(DEADLINE, hung).await.expect("the client's own deadline").unwrap_err();
    assert!(error.message().contains("Timeout expired"), "{error}");
}

#[tokio::test]
async fn a_second_agent_takes_the_place_of_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    drop(nodeapi::listen(&socket).unwrap());
    serve(&socket);
    nodeapi::connect(&socket, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn an_absent_agent_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let error = nodeapi::connect(&socket, DEADLINE).await.unwrap_err().to_string();
    assert!(
        error.contains(&socket.display().to_string()) && error.contains("is midonet-kube-node running"),
        "{error}"
    );
}
