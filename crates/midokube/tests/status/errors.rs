//! An agent that cannot be asked: what is said about it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nodeapi::v1::StatusReply;
use tonic::Status;

use super::support::{FakeAgent, full, midokube, text};

/// Runs `status` with this socket, which has to fail, and returns what it says.
fn complaint(socket: &Path, more: &[&str]) -> String {
    complaint_of(midokube(&["status"]).arg("--socket").arg(socket).args(more))
}

fn complaint_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    for debug in ["Some(", "None", "Err(", "Os {", "DeadlineExceeded", "Unavailable", "Unimplemented"] {
        assert!(!said.contains(debug), "{debug} is in: {said}");
    }
    said
}

fn says(said: &str, wanted: &[&str]) {
    for want in wanted {
        assert!(said.contains(want), "{want} is not in: {said}");
    }
}

#[test]
fn no_socket() {
    let said = complaint(Path::new("/nowhere/api"), &[]);
    says(&said, &["no socket /nowhere/api", "midonet-kube-node does not run", "--socket"]);
}

#[test]
fn a_socket_without_a_listener() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api");
    drop(UnixListener::bind(&socket).unwrap());
    says(&complaint(&socket, &[]), &["no process listens", socket.to_str().unwrap(), "its log"]);
}

#[test]
fn another_user_gets_the_command_for_root() {
    let dir = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let program = dir.path().join("midokube");
    testkit::copy_program(Path::new(env!("CARGO_BIN_EXE_midokube")), &program);
    let directory = dir.path().join("agent");
    fs::create_dir(&directory).unwrap();
    let socket = directory.join("api");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    let mut nobody = Command::new(program);
    let socket = socket.to_str().unwrap();
    nobody.uid(65534).gid(65534).current_dir("/").args(["status", "ports", "--socket", socket]);
    says(
        &complaint_of(&mut nobody),
        &["root alone", &format!("sudo midokube status ports --socket {socket}")],
    );

    nobody.env("MIDONETKUBE_SOCKET", socket);
    let mut from_environment = Command::new(dir.path().join("midokube"));
    from_environment.uid(65534).gid(65534).current_dir("/").arg("status").env("MIDONETKUBE_SOCKET", socket);
    says(&complaint_of(&mut from_environment), &[&format!("sudo midokube status --socket {socket}")]);
}

#[test]
fn an_agent_that_does_not_answer_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api");
    // The kernel accepts the connection, and no process reads from it.
    let _listener = UnixListener::bind(&socket).unwrap();
    let said = complaint(&socket, &["--timeout", "300ms"]);
    says(&said, &[socket.to_str().unwrap(), "did not answer within 300ms", "--timeout 1.2s"]);
}

#[test]
fn a_socket_of_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api");
    let listener = UnixListener::bind(&socket).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    says(&complaint(&socket, &[]), &[socket.to_str().unwrap()]);
    other.join().unwrap();
}

#[test]
fn an_agent_that_refuses_gives_its_reason() {
    let agent = FakeAgent::answering(|| Err(Status::unavailable("the datapath is gone")));
    let said = complaint(&agent.socket(), &[]);
    says(&said, &["the datapath is gone", agent.socket().to_str().unwrap(), "log"]);
}

#[test]
fn an_agent_of_another_version() {
    let unknown = FakeAgent::answering(|| Err(Status::unimplemented("")));
    says(&complaint(&unknown.socket(), &[]), &["does not implement", "different versions"]);
    let less = FakeAgent::with(StatusReply { network: None, ..full() });
    says(&complaint(&less.socket(), &[]), &[env!("CARGO_PKG_VERSION"), "different versions"]);
}

#[test]
fn an_older_agents_drops_are_read() {
    let mut reply = full();
    for counter in &mut reply.counters {
        counter.verdict.clear();
    }
    let shown = text(&FakeAgent::with(reply).run(&["status", "drops"]).stdout);
    assert!(
        shown.contains("source_ip") && shown.contains("multicast") && !shown.contains("local"),
        "{shown}"
    );
}
