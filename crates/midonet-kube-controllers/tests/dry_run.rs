//! Translations of manifests, without any cluster: as many as a large cluster has, and what is wrong with single objects.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use translation::CustomResource;

fn command(manifests: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midonet-kube-controllers"));
    command.args(["--dry-run", "--manifests"]).arg(manifests);
    command
}

fn translations(output: &Output) -> Vec<CustomResource> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let documents = serde_yaml_ng::Deserializer::from_slice(&output.stdout);
    documents.map(|document| CustomResource::deserialize(document).unwrap()).collect()
}

fn node(number: u32) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: node-{number}\n  uid: n{number}\n  annotations:\n    \
         midonet.org/host-id: 44fb4381-c99d-4389-86c3-{number:012x}\n    midonet.org/tunnel-zone-id: \"\"\n    \
         midonet.org/tunnel-endpoint-ip: 192.0.{}.{}\n    midonet.org/mac-address: 02:00:00:00:{:02x}:{:02x}\n\
         spec: {{podCIDR: 10.{}.{}.0/24}}\nstatus: {{addresses: [{{type: InternalIP, address: 192.0.{}.{}}}]}}\n",
        number >> 8,
        number & 255,
        number >> 8,
        number & 255,
        number >> 8,
        number & 255,
        number >> 8,
        number & 255,
    )
}

fn pod(number: u32, nodes: u32) -> String {
    let (node, host) = (number % nodes, number / nodes + 3);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: web-{number}\n  namespace: default\n  uid: p{number}\n  \
         annotations: {{midonet.org/mac-address: \"02:00:01:{:02x}:{:02x}:{:02x}\"}}\nspec: {{nodeName: node-{node}}}\n\
         status: {{phase: Running, podIPs: [{{ip: 10.{}.{}.{host}}}]}}\n",
        number >> 16,
        (number >> 8) & 255,
        number & 255,
        node >> 8,
        node & 255,
    )
}

fn service(number: u32) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web-{number}, namespace: default, uid: s{number}}}\n\
         spec: {{clusterIP: 10.200.{}.{}, ports: [{{name: http, port: 80}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-{number}-1\n  \
         namespace: default\n  labels: {{kubernetes.io/service-name: web-{number}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080}}]\nendpoints:\n",
        number >> 8,
        number & 255,
    );
    for endpoint in 0..10 {
        let _ = writeln!(text, "- addresses: [10.0.{}.{}]", number & 255, 3 + endpoint);
    }
    text
}

/// 1,000 Nodes, 20,000 Pods and 2,000 Services of 10 endpoints each, in 46 files.
fn large(directory: &Path) {
    let write = |name: &str, text: String| fs::write(directory.join(name), text).unwrap();
    for part in 0..4 {
        write(&format!("nodes-{part}.yaml"), (part * 250..(part + 1) * 250).map(node).collect());
    }
    for part in 0..40 {
        write(&format!("pods-{part}.yaml"), (part * 500..(part + 1) * 500).map(|n| pod(n, 1000)).collect());
    }
    for part in 0..2 {
        write(&format!("services-{part}.yaml"), (part * 1000..(part + 1) * 1000).map(service).collect());
    }
}

#[test]
fn a_large_cluster_is_converted_in_seconds_within_300_mib() {
    let directory = tempfile::tempdir().unwrap();
    large(directory.path());
    let mut command = command(directory.path());
    let begin = children();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    let mut part = vec![0; 1 << 20];
    let mut peak = 0;
    loop {
        let length = stdout.read(&mut part).unwrap();
        if length == 0 {
            break;
        }
        text.extend_from_slice(&part[..length]);
        peak = peak.max(resident(child.id()));
    }
    let output = child.wait_with_output().unwrap();
    let took = children().saturating_sub(begin);
    eprintln!("{} bytes of YAML in {took:?}, at most {peak} KiB", text.len());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let count = text.windows(4).filter(|window| *window == b"---\n").count();
    // 3 of all, 5 of each Node, 3 of each Pod, 13 of each Service.
    assert_eq!(count, 3 + 5 * 1000 + 3 * 20_000 + 13 * 2000);
    assert!(peak < 300 << 10, "{peak} KiB");
    assert!(took < Duration::from_secs(5), "{took:?} of a processor");
}

/// What the processes that this one started and that have ended took of the processors.
fn children() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let time = |value: nix::sys::time::TimeVal| {
        Duration::new(value.tv_sec().try_into().unwrap(), u32::try_from(value.tv_usec()).unwrap() * 1000)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// The peak of a process's memory so far, in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

#[test]
fn what_is_wrong_is_told_on_standard_error_and_the_rest_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let bad = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: types, namespace: default}\nspec: {nodeName: [1]}\n";
    let lost = pod(1, 2).replace("node-1", "nowhere");
    let text = format!("{}{}{lost}{bad}", node(0), pod(0, 1));
    fs::write(directory.path().join("all.yaml"), text).unwrap();
    let output = command(directory.path()).output().unwrap();
    let all = translations(&output);
    let names: Vec<&str> = all.iter().map(|one| one.metadata.name.as_str()).collect();
    assert_eq!(all.len(), 3 + 5 + 3, "{names:?}");
    let of_pod = all.iter().find(|one| one.metadata.name == "pod.4.web-0").unwrap();
    assert_eq!(of_pod.metadata.owner_references[0].uid, "p0");
    assert_eq!(of_pod.metadata.finalizers, ["midonet.org/deleter"]);
    assert_eq!(of_pod.resources().count(), 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for want in ["Pod default/types: ", "Pod default/web-1: UnknownNode: "] {
        assert!(said.contains(want), "{want} in {said}");
    }
    // A file that cannot be read makes it fail; the others count.
    fs::write(directory.path().join("broken.yaml"), "a: [").unwrap();
    let broken = command(directory.path()).output().unwrap();
    let said = String::from_utf8(broken.stderr).unwrap();
    assert!(!broken.status.success() && said.contains("broken.yaml"), "{said}");
    assert_eq!(broken.stdout, output.stdout);
}

#[test]
fn a_closed_pipe_is_quiet_and_a_missing_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let text: String = (0..200).map(node).collect();
    fs::write(directory.path().join("nodes.yaml"), text).unwrap();
    let mut child = command(directory.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = command(&directory.path().join("nowhere")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("nowhere") && said.contains("make the directory"),
        "{said}"
    );
}

#[test]
fn translations_among_the_manifests_are_compared_with() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("nodes.yaml"), node(0) + &node(1)).unwrap();
    let first = command(directory.path()).output().unwrap();
    assert!(!String::from_utf8_lossy(&first.stdout).starts_with('#'));
    fs::write(directory.path().join("there.yaml"), &first.stdout).unwrap();
    let again = command(directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(
        said.starts_with("# 0 of the Translations there differ or are to come, 13 are as they"),
        "{said}"
    );
    assert!(said.ends_with(&*String::from_utf8_lossy(&first.stdout)));
    fs::write(directory.path().join("nodes.yaml"), node(0)).unwrap();
    let less = command(directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&less.stdout).into_owned();
    assert!(said.contains("# default/node.4.node-1: delete, 9 resources of Node node-1"), "{said}");
    assert_eq!(translations(&less).len(), 3 + 5);
}
