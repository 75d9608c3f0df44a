//! What this network is to reach, and whether it did: pure.

use serde::Serialize;

use crate::results::{Part, Table};
use crate::stats::{Summary, summary};

/// A bound on a median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One aim: a case's value in a table, or its ratio to another case's, within a bound.
struct Aim {
    table: &'static str,
    /// The first of these cases that was measured.
    cases: &'static [&'static str],
    /// `None`: the value itself.
    to: Option<&'static str>,
    bound: Bound,
}

const OURS: &[&str] = &["ours"];
/// Across nodes the fast path counts where there is one.
const ACROSS: &[&str] = &["ours-direct", "ours-device"];

const THROUGH: &[&str] = &["ClusterIP"];
const MANY: &[&str] = &["ours, 10,000"];

const fn ratio(table: &'static str, cases: &'static [&'static str], to: &'static str, bound: Bound) -> Aim {
    Aim { table, cases, to: Some(to), bound }
}

const fn value(table: &'static str, cases: &'static [&'static str], bound: Bound) -> Aim {
    Aim { table, cases, to: None, bound }
}

use Bound::{AtLeast, AtMost};

const AIMS: &[Aim] = &[
    // Not of both families: there ptp waits for duplicate address detection, and any ratio is met.
    ratio("add/ipv4-add", OURS, "ptp", AtMost(1.0 / 6.0)),
    ratio("add/ipv4-del", OURS, "ptp", AtMost(0.1)),
    ratio("add/ipv4-add", &["ours-host-local"], "ptp", AtMost(0.4)),
    ratio("add/crowd-add", OURS, "ptp", AtLeast(5.0)),
    ratio("add/density-add", &["1,000 Pods"], "10 Pods", AtMost(1.2)),
    ratio("add/density-del", &["1,000 Pods"], "10 Pods", AtMost(1.2)),
    ratio("same-node/rr", OURS, "veth", AtLeast(0.93)),
    ratio("same-node/crr", OURS, "veth", AtLeast(0.88)),
    ratio("same-node/rr", OURS, "bridge", AtLeast(1.1)),
    ratio("same-node/crr", OURS, "bridge", AtLeast(1.15)),
    ratio("same-node/udp", OURS, "bridge", AtLeast(1.3)),
    ratio("same-node/tcp1", OURS, "bridge", AtLeast(1.0)),
    ratio("same-node/tcp1", OURS, "routed", AtLeast(1.0)),
    ratio("same-node/tcp4", OURS, "bridge", AtLeast(1.0)),
    ratio("same-node/tcp4", OURS, "routed", AtLeast(1.0)),
    // What tracking connections may cost.
    ratio("same-node/rr", OURS, "before", AtLeast(0.97)),
    ratio("same-node/crr", OURS, "before", AtLeast(0.97)),
    ratio("same-node/udp", OURS, "before", AtLeast(0.97)),
    ratio("same-node/tcp1", OURS, "before", AtLeast(0.97)),
    ratio("same-node/tcp4", OURS, "before", AtLeast(0.97)),
    ratio("cross-node/rr", ACROSS, "before", AtLeast(0.97)),
    ratio("cross-node/crr", ACROSS, "before", AtLeast(0.97)),
    ratio("cross-node/udp", ACROSS, "before", AtLeast(0.97)),
    ratio("cross-node/tcp1", ACROSS, "before", AtLeast(0.97)),
    ratio("cross-node/tcp4", ACROSS, "before", AtLeast(0.97)),
    ratio("cross-node/rr", ACROSS, "flannel", AtLeast(1.4)),
    ratio("cross-node/crr", ACROSS, "flannel", AtLeast(1.3)),
    ratio("cross-node/udp", ACROSS, "flannel", AtLeast(1.8)),
    ratio("cross-node/rr", ACROSS, "flanneld", AtLeast(1.4)),
    ratio("cross-node/crr", ACROSS, "flanneld", AtLeast(1.3)),
    ratio("cross-node/udp", ACROSS, "flanneld", AtLeast(1.8)),
    ratio("cross-node/tcp1", ACROSS, "flannel", AtLeast(1.0)),
    ratio("cross-node/tcp4", ACROSS, "flannel", AtLeast(1.0)),
    ratio("flows/rr", &["on"], "off", AtLeast(0.98)),
    ratio("flows/crr", &["on"], "off", AtLeast(0.98)),
    ratio("flows/udp", &["on"], "off", AtLeast(0.98)),
    ratio("flows/rr", &["on, two nodes"], "off, two nodes", AtLeast(0.98)),
    ratio("flows/crr", &["on, two nodes"], "off, two nodes", AtLeast(0.98)),
    ratio("flows/udp", &["on, two nodes"], "off, two nodes", AtLeast(0.98)),
    value("flow-load/cpu", &["on, 5,000"], AtMost(5.0)),
    ratio("flow-load/rr", &["on, 100,000"], "off, 100,000", AtLeast(0.98)),
    ratio("datapath/cost", &["IPv4 Pod to Pod"], "empty program", AtMost(5.0)),
    ratio("datapath/cost", &["IPv6 Pod to Pod"], "empty program", AtMost(5.0)),
    ratio("datapath/cost", &["IPv4 ClusterIP"], "empty program", AtMost(7.3)),
    ratio("datapath/cost", &["IPv6 ClusterIP"], "empty program", AtMost(7.3)),
    value("datapath/first", &["IPv4 Pod to Pod"], AtMost(1500.0)),
    value("datapath/first", &["IPv6 Pod to Pod"], AtMost(1500.0)),
    value("datapath/sync", &["10,000 x 10"], AtMost(100.0)),
    ratio("services/same-node-ipv4-rr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/same-node-ipv4-crr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/same-node-ipv4-udp", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/same-node-ipv6-rr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/same-node-ipv6-crr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/same-node-ipv6-udp", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/cross-node-ipv4-rr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/cross-node-ipv4-crr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/cross-node-ipv4-udp", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/cross-node-ipv6-rr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/cross-node-ipv6-crr", THROUGH, "plain", AtLeast(0.95)),
    ratio("services/cross-node-ipv6-udp", THROUGH, "plain", AtLeast(0.95)),
    ratio("kube-proxy/rr", &["ours, 10"], "kube-proxy, 10", AtLeast(1.2)),
    ratio("kube-proxy/rr", &["ours, 1,000"], "kube-proxy, 1,000", AtLeast(1.2)),
    ratio("kube-proxy/rr", MANY, "kube-proxy, 10,000", AtLeast(1.2)),
    ratio("kube-proxy/crr", &["ours, 10"], "kube-proxy, 10", AtLeast(1.2)),
    ratio("kube-proxy/crr", &["ours, 1,000"], "kube-proxy, 1,000", AtLeast(1.2)),
    ratio("kube-proxy/crr", MANY, "kube-proxy, 10,000", AtLeast(1.2)),
    ratio("kube-proxy/udp", &["ours, 10"], "kube-proxy, 10", AtLeast(1.4)),
    ratio("kube-proxy/udp", &["ours, 1,000"], "kube-proxy, 1,000", AtLeast(1.4)),
    ratio("kube-proxy/udp", MANY, "kube-proxy, 10,000", AtLeast(1.4)),
    ratio("kube-proxy/nodeport-rr", &["ours, 10"], "kube-proxy, 10", AtLeast(1.1)),
    ratio("kube-proxy/nodeport-rr", MANY, "kube-proxy, 10,000", AtLeast(1.1)),
    ratio("kube-proxy/nodeport-crr", &["ours, 10"], "kube-proxy, 10", AtLeast(1.1)),
    ratio("kube-proxy/nodeport-crr", MANY, "kube-proxy, 10,000", AtLeast(1.1)),
    ratio("kube-proxy/rr", MANY, "ours, 10", AtLeast(0.95)),
    ratio("kube-proxy/crr", MANY, "ours, 10", AtLeast(0.95)),
    ratio("kube-proxy/udp", MANY, "ours, 10", AtLeast(0.95)),
    ratio("kube-proxy/nodeport-rr", MANY, "ours, 10", AtLeast(0.95)),
    ratio("kube-proxy/nodeport-crr", MANY, "ours, 10", AtLeast(0.95)),
    value("service-changes/change", &["event to map, p99"], AtMost(50.0)),
    value("service-changes/ready", &["start"], AtMost(2.0)),
    value("service-changes/memory", &["resident"], AtMost(60.0)),
    value("service-changes/idle", &["10,000 Services"], AtMost(20.0)),
    ratio("flood/rr", &["flood"], "quiet", AtLeast(0.9)),
    value("flood/idle", &["that work after it"], AtLeast(1000.0)),
    value("denials/cpu", &["log"], AtMost(5.0)),
    value("scale/ready", &["restart"], AtMost(1.0)),
    value("scale/memory", &["resident"], AtMost(30.0)),
    value("scale/ready", &["restart, API server"], AtMost(1.0)),
    value("scale/memory", &["resident, API server"], AtMost(30.0)),
    value("scale/change", &["change to packet"], AtMost(50.0)),
    value("scale/change", &["change to packet, API server"], AtMost(50.0)),
    value("scale/cpu", &["a change"], AtMost(5.0)),
    value("scale/cpu", &["a change, API server"], AtMost(5.0)),
    // What others break is back within a second.
    value("heal/repair", &["link"], AtMost(1000.0)),
    value("heal/repair", &["route"], AtMost(1000.0)),
    value("heal/repair", &["program"], AtMost(1000.0)),
    value("heal/repair", &["pin"], AtMost(1000.0)),
    value("heal/repair", &["nft table"], AtMost(1000.0)),
    value("heal/repair", &["CNI configuration"], AtMost(1000.0)),
    value("heal/repair", &["Pod"], AtMost(1000.0)),
    value("idle/cpu", &["0 Pods"], AtMost(20.0)),
    value("idle/cpu", &["30 Pods"], AtMost(20.0)),
    value("idle/wake-ups", &["0 Pods"], AtMost(2.0)),
    value("idle/wake-ups", &["30 Pods"], AtMost(2.0)),
    value("policy-changes/change", &["policy, from event, p99"], AtMost(50.0)),
    value("policy-changes/change", &["Pod label, from event, p99"], AtMost(50.0)),
    value("policy-changes/change", &["namespace label, from event, p99"], AtMost(50.0)),
];

/// What became of an aim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) table: String,
    pub(crate) title: String,
    pub(crate) case: &'static str,
    pub(crate) to: Option<&'static str>,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
    pub(crate) measured: Summary,
    pub(crate) met: bool,
    /// The rounds lie on both sides of the bound: another run may say otherwise.
    pub(crate) close: bool,
}

/// The aims of what was measured, each with its verdict.
pub(crate) fn evaluate(parts: &[Part]) -> Vec<Verdict> {
    let tables: Vec<&Table> = parts.iter().flat_map(|part| &part.tables).collect();
    AIMS.iter().filter_map(|aim| verdict(aim, &tables)).collect()
}

fn verdict(aim: &Aim, tables: &[&Table]) -> Option<Verdict> {
    let table = tables.iter().find(|table| table.id == aim.table)?;
    let case = aim.cases.iter().copied().find(|case| table.values(case).is_some())?;
    let measured = match aim.to {
        Some(to) => table.ratio(case, to)?,
        None => summary(table.values(case)?)?,
    };
    let within = |value: f64| match aim.bound {
        AtLeast(bound) => value >= bound,
        AtMost(bound) => value <= bound,
    };
    Some(Verdict {
        table: table.id.clone(),
        title: table.title.clone(),
        case,
        to: aim.to,
        unit: if aim.to.is_some() { "x" } else { table.unit },
        bound: aim.bound,
        measured,
        met: within(measured.median),
        close: within(measured.min) != within(measured.max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Better;

    fn part(id: &str, cases: &[(&str, &[f64])]) -> Part {
        let mut table = Table::new(id, "", "1/s", Better::Higher, "");
        for (case, values) in cases {
            values.iter().for_each(|value| table.record(case, *value));
        }
        let mut part = Part::new("test", "");
        part.tables.push(table);
        part
    }

    #[test]
    fn a_median_on_the_bound_is_met() {
        let part = part("cross-node/rr", &[("flannel", &[10.0]), ("ours-device", &[14.0])]);
        let [verdict] = evaluate(&[part]).try_into().unwrap();
        assert!(verdict.met && !verdict.close);
        assert_eq!(verdict.case, "ours-device");
    }

    #[test]
    fn the_fast_path_counts_where_there_is_one() {
        let cases: &[(&str, &[f64])] =
            &[("flannel", &[10.0]), ("ours-device", &[99.0]), ("ours-direct", &[11.0])];
        let [verdict] = evaluate(&[part("cross-node/rr", cases)]).try_into().unwrap();
        assert_eq!((verdict.case, verdict.met), ("ours-direct", false));
    }

    #[test]
    fn rounds_on_both_sides_of_a_bound_are_reported() {
        let part = part("add/ipv4-add", &[("ptp", &[10.0; 3]), ("ours", &[1.2, 1.5, 2.0])]);
        let [verdict] = evaluate(&[part]).try_into().unwrap();
        assert!(verdict.met && verdict.close);
    }

    #[test]
    fn what_was_not_measured_is_not_evaluated() {
        assert_eq!(evaluate(&[part("add/ipv4-add", &[("ours", &[1.0])])]), []);
    }
}
