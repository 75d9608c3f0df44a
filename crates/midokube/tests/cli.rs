//! The program as people meet it: what it says and how it ends. As root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Output};

use nodeapi::v1::node_server::{Node, NodeServer};
use nodeapi::v1::{
    Agent, BindPortReply, BindPortRequest, CheckPortReply, Network, ReleasePortReply, ReleasePortRequest,
    StatusReply, StatusRequest,
};
use tonic::{Request, Response, Status, async_trait};

fn midokube(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_midokube")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An agent that knows only its status, or refuses to tell it.
struct Fake {
    status: Option<StatusReply>,
}

#[async_trait]
impl Node for Fake {
    async fn bind_port(&self, _: Request<BindPortRequest>) -> Result<Response<BindPortReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn release_port(
        &self,
        _: Request<ReleasePortRequest>,
    ) -> Result<Response<ReleasePortReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn check_port(&self, _: Request<BindPortRequest>) -> Result<Response<CheckPortReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        self.status.clone().map(Response::new).ok_or_else(|| Status::unavailable("the datapath is gone"))
    }
}

/// Runs `midokube status` against such an agent.
fn status_of(fake: Fake, format: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent/api");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = {
        let _context = runtime.enter();
        nodeapi::listen(&socket).unwrap()
    };
    let server = tonic::transport::Server::builder().add_service(NodeServer::new(fake));
    runtime.spawn(server.serve_with_incoming(nodeapi::incoming(listener, |_| {})));
    midokube(&["status", "--socket", socket.to_str().unwrap(), "-o", format])
}

fn reply() -> StatusReply {
    let agent = Agent { node: "node7".into(), ready: true, ..Agent::default() };
    let network = Network { kind: "embedded".into(), mtu: 1450, ..Network::default() };
    StatusReply { agent: Some(agent), network: Some(network), ..StatusReply::default() }
}

#[test]
fn status_shows_the_agents_answer_in_every_form() {
    for (format, want) in
        [("table", "node                  node7"), ("json", "\"node\": \"node7\""), ("yaml", "node: node7")]
    {
        let output = status_of(Fake { status: Some(reply()) }, format);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(want), "{}", text(&output.stdout));
    }
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let output = status_of(Fake { status: None }, "table");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("refused") && said.contains("the datapath is gone"), "{said}");
}

#[test]
fn no_agent_is_told_with_a_remedy() {
    let output = midokube(&["status", "--socket", "/nowhere/api"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("/nowhere/api") && said.contains("is midonet-kube-node running"), "{said}");
    assert_eq!(said.matches("os error 2").count(), 1, "a cause is told twice: {said}");
}

#[test]
fn down_without_a_lab_is_success_and_everything_else_says_what_to_do() {
    let nowhere = ["lab", "--dir", "/nowhere"];
    let run = |arguments: &[&str]| midokube(&[nowhere.as_slice(), arguments].concat());
    assert!(run(&["down"]).status.success());
    for arguments in [["status"].as_slice(), &["exec", "node1", "true"], &["pod", "add", "node1", "a"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("midokube lab up"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_failed_up_leaves_nothing() {
    let binaries = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\n[ \"$1\" = install ] && exit 0\necho broken on purpose >&2\nexit 3\n";
    for name in ["midonet-kube-node", "midonet-kube-cni"] {
        let path = binaries.path().join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let dir = format!("/run/midokube-cli-test-{}", std::process::id());
    let output = midokube(&["lab", "--dir", &dir, "demo", "--bin-dir", binaries.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("the agent of node1 has ended") && said.contains("broken on purpose"), "{said}");
    assert!(!Path::new(&dir).exists());
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = midokube(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("midokube"));
    }
}
