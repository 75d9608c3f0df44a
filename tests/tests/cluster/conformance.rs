//! Kubernetes' own specs of the network: `tests/cluster/conformance` runs all that are expected to pass.

use std::process::Command;

use super::Cluster;

/// So many Conformance specs there are for Kubernetes 1.37: fewer would be a filter that matches nothing.
const CONFORMANCE: usize = 47;

/// All specs but those of NetworkPolicy, whose nine Pods each take minutes of two cores: of these a choice, of every kind
/// some. `make conformance` runs all of them.
const FOCUS: &str = r"\[sig-network\] ([^N]|N[^e]|Ne[^t]|Net[^p])|Netpol API|Netpol.*(default-deny-all|one named port|updated namespace|overlapping both IPBlock|stacked|be controlled independently|using UDP should enforce policy based on Ports)";

/// So many specs of NetworkPolicy that chooses.
const POLICY: usize = 11;

pub(super) fn upstreams_specs_pass(cluster: &Cluster) {
    let mut command = Command::new(cluster.script.with_file_name("conformance"));
    // The slow ones take ten minutes each, and wait most of it. Other checks are made meanwhile, and take longer than these.
    command.env("FOCUS", FOCUS).env("SKIP", r"\[Slow\]").env("PROCS", "5");
    command.env("MIDOKUBE_CLUSTER_DIR", &cluster.directory);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (table, errors) = (text(&output.stdout), text(&output.stderr));
    eprintln!("{table}");
    let failed: Vec<&str> = table.lines().filter(|line| !line.starts_with("passed")).collect();
    assert!(
        output.status.success(),
        "specs of Kubernetes did not pass: {}\n{errors}{}",
        output.status,
        failed.join("\n")
    );
    let passed = table.lines().filter(|line| line.starts_with("passed") && line.contains("[Conformance]"));
    assert_eq!(passed.count(), CONFORMANCE, "Conformance specs passed");
    let passed = table.lines().filter(|line| line.starts_with("passed") && line.contains("Netpol"));
    assert_eq!(passed.count(), POLICY, "specs of NetworkPolicy passed");
}
