//! `midokube doctor` and `midokube sysdump`, from agents that say what is wanted.

use nodeapi::v1::paths_server::Paths;
use nodeapi::v1::{self, PathAnswer, PathProbe, ProbePathsReply, ProbePathsRequest, StatusReply};
use serde_json::Value;
use tonic::{Request, Response, Status, async_trait};

use super::support::{FakeAgent, full, midokube, text};

/// An agent whose paths are fine.
#[derive(Clone, Copy)]
pub(crate) struct FakePaths;

#[async_trait]
impl Paths for FakePaths {
    async fn probe_paths(&self, _: Request<ProbePathsRequest>) -> Result<Response<ProbePathsReply>, Status> {
        let answer = || Some(PathAnswer { outcome: "answered".into(), ..PathAnswer::default() });
        let path = PathProbe {
            node: "node8".into(),
            family: "ipv4".into(),
            large_bytes: 1450,
            plain: answer(),
            checksummed: answer(),
            unchecked: answer(),
            listens: true,
        };
        let heard = vec!["node8".into()];
        Ok(Response::new(ProbePathsReply { paths: vec![path], peers: 1, now_unix_ms: 7, heard }))
    }
}

/// What a node says with which nothing is wrong.
pub(crate) fn healthy(node: &str) -> StatusReply {
    let mut status = full();
    status.leaks.clear();
    status.problems.clear();
    status.ports.clear();
    if let Some(agent) = &mut status.agent {
        node.clone_into(&mut agent.node);
        agent.source_error.clear();
        env!("CARGO_PKG_VERSION").clone_into(&mut agent.version);
    }
    status
}

fn findings(document: &[u8]) -> Vec<String> {
    let document: Value = serde_json::from_slice(document).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    findings.map(|one| format!("{}: {}", one["what"], one["object"]).replace('"', "")).collect()
}

#[test]
fn its_exit_status_says_whether_anything_is_wrong() {
    let agent = FakeAgent::probing(healthy("node7"), FakePaths);
    let output = agent.run(&["doctor", "--this-node"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).ends_with("Findings\n none\n"), "{output:?}");
    let agent = FakeAgent::probing(full(), FakePaths);
    let output = agent.run(&["doctor", "--this-node"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    for want in ["error pod_cidr: Node b", "remedy: correct it", "error source: manifests", "no answer"] {
        assert!(said.contains(want), "{want} in {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    let output = midokube(&["doctor", "--this-node", "--socket", "/nonexistent/api"]).output().unwrap();
    let said = text(&output.stdout);
    assert!(
        output.status.code() == Some(1) && said.contains("there is no socket /nonexistent/api"),
        "{said}"
    );
}

#[test]
fn an_old_agent_is_named() {
    let mut old = healthy("node8");
    "0.0.1".clone_into(&mut old.agent.as_mut().unwrap().version);
    let network = old.network.as_mut().unwrap();
    network.pod_cidrs = vec!["10.244.2.0/24".into()];
    "172.30.0.12".clone_into(&mut network.tunnel_address);
    old.peers = vec![v1::Peer {
        node: "node7".into(),
        pod_cidrs: vec!["10.244.1.0/24".into()],
        tunnel_address: "172.30.0.11".into(),
    }];
    let (new, old) = (FakeAgent::probing(healthy("node7"), FakePaths), FakeAgent::with(old));
    let output = new
        .command(&["doctor", "--this-node", "-o", "json"])
        .arg("--socket")
        .arg(old.socket())
        .output()
        .unwrap();
    assert_eq!(findings(&output.stdout), ["agent_version: Node node8", "paths_not_probed: Node node8"]);
    let said = text(&output.stdout);
    assert!(
        said.contains("its agent has the version 0.0.1") && said.contains("does not implement the call"),
        "{said}"
    );
}

#[test]
fn facts_are_for_another_midokube() {
    let agent = FakeAgent::probing(full(), FakePaths);
    let output = agent.run(&["doctor", "--this-node", "--facts"]);
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&facts["node"], &facts["paths"][0]["plain"]["outcome"]),
        (&"node7".into(), &"answered".into())
    );
    assert!(facts["beganMs"].as_u64() <= facts["endedMs"].as_u64());
    assert_eq!(agent.run(&["doctor", "--facts"]).status.code(), Some(2), "of one node alone");
}

#[test]
fn an_archive_is_made_of_what_answers() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.tar.gz");
    let agent = FakeAgent::with(full());
    let words = ["sysdump", "--this-node", file.to_str().unwrap()];
    let output = agent.run(&words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("1 nodes: at most") && said.contains("missing: nodes/node7/drops.json: "),
        "{said}"
    );
    assert!(std::fs::metadata(&file).unwrap().len() > 500);
    let output = agent.run(&words);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("--force"), "{output:?}");
    let output = agent.run(&["sysdump", "--this-node", "/nonexistent/a.tar.gz"]);
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("cannot make the archive"),
        "{output:?}"
    );
}
