//! Previews of policies and waits for them, by a user with a kubeconfig: every node is asked through the API server.

use std::path::Path;
use std::process::{Command, Output};

use e2e::DEADLINE;
use serde_json::{Value, json};

use super::{Cluster, NODES, Pod};

/// How long a connection stays open that is to be cut.
const OPEN: &str = "sleep%20120";

pub(super) fn is_previewed_and_waited_for_on_every_node(cluster: &Cluster, pods: &[Pod]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deny.yaml");
    let write = |policy: &Value| std::fs::write(&file, policy.to_string()).unwrap();
    let preview = |words: &[&str]| {
        let file = file.to_str().unwrap();
        midokube(cluster, &[&["policy", "preview", "-f", file, "-o", "json"], words].concat())
    };
    let wait = |words: &[&str]| {
        let wait = ["policy", "wait", "networkpolicy/deny", "-n", "default", "-o", "json"];
        midokube(cluster, &[&wait, words].concat())
    };
    // A connection over each family, from a Pod of one node to one of another.
    let [client, server] = ["node1", "node2"].map(|node| pods.iter().find(|pod| pod.node == node).unwrap());
    for address in &server.addresses {
        let url = format!("http://{}/shell?cmd={OPEN}", std::net::SocketAddr::new(*address, 8080));
        let line = format!("curl -gsm150 '{url}' >/dev/null 2>&1 &");
        cluster.kubectl(&["exec", &client.name, "--", "sh", "-c", &line]);
    }
    write(&deny(false));
    let mut document = Value::Null;
    testkit::wait_until(DEADLINE, "the open connections would be cut", || {
        let output = preview(&[]);
        document = read(&output);
        output.status.code() == Some(4) && cut(&document, server).len() == server.addresses.len()
    });
    let nodes = document["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| node["node"].as_str().unwrap()).collect::<Vec<_>>(), NODES);
    assert!(nodes.iter().all(|node| node["error"].is_null()), "{document}");
    for one in cut(&document, server) {
        assert_eq!((&one["node"], &one["direction"]), (&json!(server.node), &json!("ingress")), "{one}");
        assert_eq!(one["after"]["policies"], json!(["default/deny"]), "{one}");
    }
    // An audit cuts nothing.
    write(&deny(true));
    let output = preview(&[]);
    assert!(output.status.success(), "{output:?}");
    write(&deny(false));

    // Nobody has it; then all, at once.
    let output = wait(&["--timeout", "2s"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("there is no NetworkPolicy default/deny"),
        "{said}"
    );
    let url = format!("http://{}/hostname", std::net::SocketAddr::new(server.addresses[0], 8080));
    let reaches = || cluster.tool("kubectl", &["exec", &client.name, "--", "curl", "-gsfm3", &url]).is_ok();
    for audit in [false, true, false] {
        write(&deny(audit));
        cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        let output = wait(&[]);
        let document = read(&output);
        assert!(output.status.success() && document["done"] == true, "{output:?}");
        assert_eq!(document["nodes"].as_array().unwrap().len(), NODES.len(), "{document}");
        assert_eq!(document["version"]["audit"], audit, "{document}");
        assert_eq!(reaches(), audit, "as soon as the wait has ended");
    }
    let output = wait(&["--for", "delete", "--timeout", "2s"]);
    assert!(output.status.code() == Some(1) && read(&output)["reason"].is_string(), "{output:?}");
    let delete = ["policy", "preview", "--delete", "networkpolicy/default/deny", "-o", "json"];
    assert!(midokube(cluster, &delete).status.success(), "to delete it cuts nothing");
    cluster.kubectl(&["delete", "networkpolicy", "deny"]);
    assert!(wait(&["--for", "delete"]).status.success());
    assert!(reaches(), "as soon as the wait has ended");

    a_node_that_cannot_be_asked_is_named(cluster, &file);
    who_may_not_exec_is_told(cluster, &file, directory.path());
    // They would be open for minutes.
    cluster.kubectl(&["exec", &client.name, "--", "sh", "-c", "for c in /proc/[0-9]*/comm; do [ \"$(cat $c 2>/dev/null)\" = curl ] && kill ${c//[!0-9]/}; done; true"]);
}

/// Agents whose image has no such program.
fn a_node_that_cannot_be_asked_is_named(cluster: &Cluster, file: &Path) {
    let label =
        json!({"metadata": {"labels": {"k8s-app": "midonet-kube-node"}}, "spec": {"nodeName": "node3"}});
    let image = ["run", "no-agent", "--image=localhost/agnhost:1", "--image-pull-policy=Never"];
    cluster.kubectl(&[&image[..], &["--overrides", &label.to_string(), "--", "pause"]].concat());
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/no-agent", "--timeout=120s"]);
    let words =
        ["policy", "preview", "-f", file.to_str().unwrap(), "--agent-namespace", "default", "-o", "json"];
    let output = midokube(cluster, &words);
    let document = read(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let node = &document["nodes"][0];
    let error = node["error"].as_str().unwrap();
    assert!(
        node["node"] == "node3" && error.contains("no-agent") && error.contains("midokube"),
        "{document}"
    );
    cluster.kubectl(&["delete", "pod", "no-agent", "--wait=true", "--grace-period=1"]);
}

/// Its own rights are all that a user has.
fn who_may_not_exec_is_told(cluster: &Cluster, file: &Path, directory: &Path) {
    let token = cluster.kubectl(&["create", "token", "default"]);
    let config = std::fs::read_to_string(cluster.directory.join("pki/admin.conf")).unwrap();
    let own = directory.join("nobody.conf");
    std::fs::write(&own, &config).unwrap();
    let own = own.to_str().unwrap();
    for set in [
        &["set-credentials", "nobody", "--token", token.trim()][..],
        &["set-context", "--current", "--user", "nobody"],
    ] {
        // kubectl's own KUBECONFIG is the administrator's.
        cluster.kubectl(&[&["config", "--kubeconfig", own], set].concat());
    }
    let output = midokube(cluster, &["policy", "preview", "-f", file.to_str().unwrap(), "--kubeconfig", own]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("right to list pods"), "{said}");
}

pub(super) fn midokube(cluster: &Cluster, words: &[&str]) -> Output {
    let mut command = Command::new(cluster.directory.join("midokube"));
    command.args(words).env("MIDOKUBE_BIN", e2e::programs()).output().unwrap()
}

fn read(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The connections to a Pod that would be cut, and come from another one.
fn cut(document: &Value, server: &Pod) -> Vec<Value> {
    let name = json!(format!("default/{}", server.name));
    let all = document["cut"].as_array().unwrap().iter();
    all.filter(|one| one["backendPod"] == name && one["state"] == "established").cloned().collect()
}

/// Lets nobody in to any Pod of the test.
fn deny(audit: bool) -> Value {
    let annotations = json!({"midonet.org/policy-audit": audit.to_string()});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "default", "annotations": annotations},
        "spec": {"podSelector": {"matchLabels": {"app": "echo"}}, "policyTypes": ["Ingress"]},
    })
}
