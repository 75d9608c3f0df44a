//! From what all nodes know to what is wrong: pure.

mod addresses;
mod agents;
mod clocks;
mod paths;
mod settings;
mod tables;
#[cfg(test)]
mod tests;

use super::cluster::Cluster;
use super::finding::{Finding, merged};

/// Everything that is wrong, the worst first.
pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let all = [
        agents::judge(cluster),
        settings::judge(cluster),
        addresses::judge(cluster),
        paths::judge(cluster),
        tables::judge(cluster),
        clocks::judge(cluster),
    ];
    merged(all.into_iter().flatten().collect())
}
