//! Client and server: calls, unauthorized peers, absent agents.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nodeapi::legacy::mido_net_kube_node_server::{MidoNetKubeNode, MidoNetKubeNodeServer};
use nodeapi::legacy::{
    AddPodAnnotationReply, AddPodAnnotationRequest, DeletePodAnnotationReply, DeletePodAnnotationRequest,
};
use nodeapi::{Client, Method, Socket};
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
    let tempdir = tempfile::tempdir().unwrap();
    let socket = tempdir.path().join("run/api");
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
    let tempdir = tempfile::tempdir().unwrap();
    let socket = tempdir.path().join("api");
    let _agent = serve(&socket);
    let mut client = Client::connect(&socket, DEADLINE).unwrap();
    let request = |key: &str| AddPodAnnotationRequest { key: key.into(), ..Default::default() };
    let pending = ["one", "two"].map(|key| client.start(&ADD, &request(key)).unwrap());
    let answers = pending.map(|pending| client.finish(pending).unwrap().error);
    assert_eq!(answers, ["one", "two"]);
}

#[test]
fn an_agent_that_ends_or_talks_nonsense_is_unavailable() {
    let tempdir = tempfile::tempdir().unwrap();
    for (name, says) in [("silent", &b""[..]), ("other", b"HTTP/1.1 400 Bad Request\r\n\r\n")] {
        let socket = tempdir.path().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let other = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(says).unwrap();
        });
        let called = Client::connect(&socket, DEADLINE)
            .map_err(|error| Status::unavailable(error.to_string()))
            .and_then(|mut client| client.call(&ADD, &AddPodAnnotationRequest::default()));
        assert_eq!(called.unwrap_err().code(), tonic::Code::Unavailable, "{name}");
        other.join().unwrap();
    }
}

#[test]
fn a_second_agent_replaces_one_that_ended() {
    let tempdir = tempfile::tempdir().unwrap();
    let socket = tempdir.path().join("api");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { drop(nodeapi::listen(&socket).unwrap()) });
    let _agent = serve(&socket);
    Client::connect(&socket, DEADLINE).unwrap();
}

/// Serves [`Echo`] where `recreate` can be tried.
fn serve_socket(path: &Path) -> (tokio::runtime::Runtime, Socket) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(async { nodeapi::listen(path).unwrap() });
    let socket = listener.socket();
    let service = Server::builder().add_service(MidoNetKubeNodeServer::new(Echo));
    runtime.spawn(service.serve_with_incoming(nodeapi::incoming(listener, |_| {})));
    (runtime, socket)
}

#[test]
fn a_removed_or_replaced_socket_is_recreated_and_calls_in_progress_continue() {
    let tempdir = tempfile::tempdir().unwrap();
    let path = tempdir.path().join("run/api");
    let (runtime, socket) = serve_socket(&path);
    let request = |key: &str| AddPodAnnotationRequest { key: key.into(), ..Default::default() };
    let mut before = Client::connect(&path, DEADLINE).unwrap();
    assert_eq!(before.call(&ADD, &request("before")).unwrap().error, "before");
    assert_eq!(socket.problem(), None);

    let directory = path.parent().unwrap();
    let breaks: [(&str, &dyn Fn()); 6] = [
        ("is gone", &|| std::fs::remove_file(&path).unwrap()),
        ("is gone", &|| std::fs::remove_dir_all(directory).unwrap()),
        ("is gone", &|| std::fs::rename(directory, tempdir.path().join("elsewhere")).unwrap()),
        ("replaced by another file", &|| {
            std::fs::remove_file(&path).unwrap();
            drop(UnixListener::bind(&path).unwrap());
        }),
        ("replaced by another file", &|| {
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        }),
        ("mode 666", &|| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap()),
    ];
    for (problem, break_it) in breaks {
        break_it();
        let told = socket.problem().unwrap();
        assert!(told.contains(problem) && told.contains(path.to_str().unwrap()), "{told}");
        runtime.block_on(async { socket.recreate().unwrap() });
        assert_eq!(socket.problem(), None, "{problem}");
        let mut after = Client::connect(&path, DEADLINE).unwrap();
        assert_eq!(after.call(&ADD, &request("after")).unwrap().error, "after", "{problem}");
        assert_eq!(before.call(&ADD, &request("still")).unwrap().error, "still", "{problem}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = runtime.block_on(async { socket.recreate().unwrap_err().to_string() });
    assert!(error.contains("remove what is there"), "{error}");
    std::fs::remove_dir(&path).unwrap();
    runtime.block_on(async { socket.recreate().unwrap() });
    Client::connect(&path, DEADLINE).unwrap();
}

#[test]
fn a_directory_that_is_there_keeps_its_mode_and_must_be_roots_alone() {
    let tempdir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listen =
        |directory: &Path| runtime.block_on(async { nodeapi::listen(&directory.join("api")).map(drop) });
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let directory = tempdir.path().join("run");
    std::fs::create_dir(&directory).unwrap();
    for (owner, group, set) in [(0, 0, 0o755), (0, 0, 0o750), (0, 7009, 0o755), (0, 0, 0o775)] {
        std::os::unix::fs::chown(&directory, Some(owner), Some(group)).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(set)).unwrap();
        listen(&directory).unwrap();
        assert_eq!((mode(&directory), mode(&directory.join("api"))), (set, 0o600));
    }
    for (owner, group, set) in [(7009, 0, 0o755), (0, 0, 0o757), (0, 7009, 0o775), (0, 0, 0o1777)] {
        std::os::unix::fs::chown(&directory, Some(owner), Some(group)).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(set)).unwrap();
        let error = listen(&directory).unwrap_err().to_string();
        let remedy = format!("chown root {}", directory.display());
        assert!(error.contains(&remedy) && error.contains(&format!("mode {set:o}")), "{error}");
        assert_eq!(mode(&directory), set);
    }
    // What somebody else has there stays.
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&directory, Some(0), Some(0)).unwrap();
    std::fs::remove_file(directory.join("api")).unwrap();
    std::fs::write(directory.join("api"), "another's").unwrap();
    let error = listen(&directory).unwrap_err().to_string();
    assert!(error.contains("it is no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(directory.join("api")).unwrap(), "another's");
    let made = tempdir.path().join("new/below");
    listen(&made).unwrap();
    assert_eq!((mode(&made), mode(made.parent().unwrap())), (0o700, 0o700));
}

#[test]
fn an_absent_agent_is_named_with_the_remedy() {
    let tempdir = tempfile::tempdir().unwrap();
    let socket = tempdir.path().join("api");
    let error = Client::connect(&socket, DEADLINE).err().unwrap().to_string();
    assert!(
        error.contains(&socket.display().to_string()) && error.contains("is midonet-kube-node running"),
        "{error}"
    );
}
