//! Clocks that differ.

use super::super::cluster::Cluster;
use super::super::finding::Finding;

/// So many milliseconds clocks may differ: more, and logs and Events of two nodes cannot be put in order.
const LIMIT: i64 = 2_000;

pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let known = cluster.nodes.iter().filter_map(|node| Some((node.name.as_str(), node.clock?)));
    let mut known: Vec<(&str, (i64, i64))> = known.filter(|(_, (least, most))| least <= most).collect();
    known.sort_unstable_by_key(|(name, (least, most))| (least + most, *name));
    // That of the node in the middle; of two that of the first.
    let Some((_, (middle_least, middle_most))) = known.get(known.len().saturating_sub(1) / 2).copied() else {
        return Vec::new();
    };
    let skewed = known.iter().filter_map(|(name, (least, most))| {
        let (ahead, behind) = (least - middle_most, middle_least - most);
        let (by, how) = if ahead > LIMIT { (ahead, "ahead of") } else { (behind, "behind") };
        (by > LIMIT).then(|| {
            let problem = format!("its clock is at least {} s {how} those of most nodes", by / 1000);
            Finding::warning("clock_skew", format!("Node {name}"), problem)
                .remedy("have it synchronized: chrony, systemd-timesyncd or ntpd; see `timedatectl` there")
                .of([*name])
        })
    });
    skewed.collect()
}
