//! How soon the agent repairs drift.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Family, Lab, Target};

use crate::context::Bench;
use crate::results::{Better, Part, Table};

const NODE: &str = "node1";

/// The one table of this part.
const TABLE: &str = "heal/repair";

/// An agent that has just started looks by itself: what is measured begins later.
const SETTLE: Duration = Duration::from_secs(1);

/// How long one repair may take, in seconds.
const PATIENCE: u32 = 60;

/// A thing that is broken: the case's name, what is done, and what shows the state that must come back.
/// `HOST_SIDE` stands for the host side of a Pod's veth pair.
struct Break {
    case: &'static str,
    what: &'static str,
    line: &'static str,
    show: &'static str,
}

const BREAKS: &[Break] = &[
    Break {
        case: "link",
        what: "the node's own veth pair is deleted",
        line: "ip link del midokube-mido",
        show: "ip -br link show midokube-mido | awk '{print $1, $2}'; ip route show proto 109",
    },
    Break {
        case: "address",
        what: "an address of midokube-node is deleted",
        line: "ip addr del 10.244.1.2/24 dev midokube-node",
        show: "ip -o addr show dev midokube-node scope global | sed 's/ *valid.*//'",
    },
    Break {
        case: "route",
        what: "the cluster's IPv4 route is deleted",
        line: "ip route del 10.244.0.0/16",
        show: "ip route show proto 109",
    },
    Break {
        case: "overlay device",
        what: "midokube-vxlan is deleted",
        line: "ip link del midokube-vxlan",
        show: "ip -br link show midokube-vxlan | awk '{print $1, $2}'",
    },
    Break {
        case: "program",
        what: "from_endpoint is removed from the shared block",
        line: "tc filter del block 28009",
        show: "tc filter show block 28009 | grep -o 'from_endpoint direct-action'",
    },
    Break {
        case: "uplink program",
        what: "the pinned tcx link of from_uplink is removed",
        line: "find /sys/fs/bpf/midonet-kube -name 'uplink-*' -delete",
        show: "find /sys/fs/bpf/midonet-kube -name 'uplink-*'",
    },
    Break {
        case: "pin",
        what: "the pin of the routes map is removed",
        line: "find /sys/fs/bpf/midonet-kube -name 'routes*' -delete",
        show: "find /sys/fs/bpf/midonet-kube -name 'routes*'",
    },
    Break {
        case: "nft table",
        what: "the table inet midonet-kube is deleted",
        line: "nft delete table inet midonet-kube",
        show: "nft list table inet midonet-kube | sed 's/packets.*bytes [0-9]*//'",
    },
    Break {
        case: "forwarding",
        what: "net.ipv4.ip_forward is set to 0",
        line: "sysctl -qw net.ipv4.ip_forward=0",
        show: "cat /proc/sys/net/ipv4/ip_forward",
    },
    Break {
        case: "CNI configuration",
        what: "the CNI configuration is removed",
        line: "rm /etc/cni/net.d/10-midonet.conflist",
        show: "cat /etc/cni/net.d/10-midonet.conflist",
    },
    Break {
        case: "Pod",
        what: "the host side of a Pod's veth pair is set down",
        line: "ip link set HOST_SIDE down",
        show: "ip -br link show HOST_SIDE | awk '{print $1, $2}'",
    },
];

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("heal", "How soon the agent repairs what others break");
    part.note(
        "Two nodes, IPv4 and IPv6, one Pod. Each thing is broken by a program in the node, which then looks \
         until everything is as before: a figure has the start of that program and of those that look in it, \
         some milliseconds each. The agent starts anew in every round: what is broken again and again it \
         repairs more slowly.",
    );
    BREAKS.iter().for_each(|broken| part.case(broken.case, broken.what));
    part.tables.push(Table::new(TABLE, "broken to repaired", "ms", Better::Lower, ""));
    bench.progress.step("heal: nodes");
    let lab = bench.lab("heal", Family::Dual, 2, true)?;
    let pod = lab.add_pod(NODE, "bench", "a")?;
    let host_side = naming::pod_host_interface(&pod.key);
    for round in 1..=bench.rounds {
        bench.progress.step(&format!("heal: round {round} of {}", bench.rounds));
        lab.restart_agent(NODE)?;
        thread::sleep(SETTLE);
        for broken in BREAKS {
            bench.check()?;
            bench.progress.detail(&format!("heal: round {round} of {}, {}", bench.rounds, broken.case));
            let took = repair(&lab, broken, &host_side).with_context(|| format!("case {}", broken.case))?;
            part.record(TABLE, broken.case, took)?;
        }
    }
    Ok(part)
}

/// Breaks it: milliseconds until it is as it was.
fn repair(lab: &Lab, broken: &Break, host_side: &str) -> Result<f64> {
    let in_node = |line: &str| line.replace("HOST_SIDE", host_side);
    let script = format!(
        "show() {{ {show}; }}\n\
         before=$(show) || exit 3\n\
         start=$(date +%s%N)\n\
         {line} || exit 4\n\
         until [ \"$(show 2>/dev/null)\" = \"$before\" ]; do\n\
           [ $(($(date +%s%N) - start)) -lt {PATIENCE}000000000 ] || exit 5\n\
           sleep 0.002\n\
         done\n\
         echo $((($(date +%s%N) - start) / 1000))",
        show = in_node(broken.show),
        line = in_node(broken.line),
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
    let output = lab.enter(&Target::Node(NODE.to_owned()), &mut command)?.wait_with_output()?;
    let problem = match output.status.code() {
        Some(3) => "there is nothing to break",
        Some(4) => "it cannot be broken",
        Some(5) => "it is not repaired within a minute",
        _ => "the program that breaks it failed",
    };
    ensure!(output.status.success(), "{problem} ({})", output.status);
    let microseconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("no time said")?;
    Ok(microseconds / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let mut names: Vec<_> = BREAKS.iter().map(|broken| broken.case).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BREAKS.len());
    }
}
