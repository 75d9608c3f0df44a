//! Where Services' addresses are from: what the agent was told, and the cluster's ServiceCIDRs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use objects::{Key, ServiceCidr};

use super::addresses::Nodes;
use crate::facts::overlap;
use crate::problem::SERVICE;
use crate::{Desired, Problem, Ranges, RouteTarget};

/// The ServiceCIDRs.
#[derive(Debug, Default)]
pub(crate) struct Cidrs {
    objects: BTreeMap<Key, Arc<ServiceCidr>>,
    /// Those that are new, changed or gone, or all if that is not known.
    due: BTreeSet<Key>,
    /// Whether the tables may differ from what is wanted.
    is_due: bool,
}

impl Cidrs {
    pub(crate) fn set(&mut self, key: &Key, object: Option<Arc<ServiceCidr>>) {
        match object {
            Some(object) => drop(self.objects.insert(key.clone(), object)),
            None => drop(self.objects.remove(key)),
        }
        self.due.insert(key.clone());
        self.is_due = true;
    }

    /// Has all of it computed again: the nodes' addresses changed, or the tables were cleared.
    pub(crate) fn invalidate(&mut self) {
        self.due.extend(self.objects.keys().cloned());
        self.is_due = true;
    }

    /// Brings the tables up to date. There are few ranges: all are compared.
    pub(crate) fn solve(&mut self, desired: &mut Desired, ranges: &Ranges) {
        if !std::mem::take(&mut self.is_due) {
            return;
        }
        let mut wanted: BTreeSet<IpNet> = ranges.service.iter().map(IpNet::trunc).collect();
        for (key, object) in &self.objects {
            let mut problems = Vec::new();
            let mut tell = |problem: String, remedy: &str| {
                problems.push(Problem::new(SERVICE, format!("ServiceCIDR {key}"), problem, remedy));
            };
            object.defects.iter().for_each(|defect| tell(defect.problem.clone(), &defect.remedy));
            for cidr in &object.cidrs {
                match fault(*cidr, ranges, &desired.nodes) {
                    None => drop(wanted.insert(*cidr)),
                    Some(why) => {
                        let problem = format!(
                            "its range {cidr} is left out, what has an address of it is not kept apart: {why}"
                        );
                        tell(problem, "delete it, and create one with another range");
                    }
                }
            }
            desired.problems.set(&problem_key(key), Some(problems).filter(|all| !all.is_empty()));
        }
        for key in std::mem::take(&mut self.due).iter().filter(|key| !self.objects.contains_key(key)) {
            desired.problems.set(&problem_key(key), None);
        }
        let gone: Vec<IpNet> =
            desired.service_cidrs.keys().filter(|cidr| !wanted.contains(cidr)).copied().collect();
        for cidr in gone {
            desired.service_cidrs.set(&cidr, None);
            desired.routes.set(&cidr, None);
        }
        for cidr in wanted {
            desired.service_cidrs.set(&cidr, Some(()));
            desired.routes.set(&cidr, Some(RouteTarget::Services));
        }
    }
}

fn problem_key(key: &Key) -> Arc<str> {
    format!("ServiceCIDR {key}").into()
}

/// Why a range cannot be Services' alone.
fn fault(cidr: IpNet, ranges: &Ranges, nodes: &Nodes) -> Option<String> {
    if let Some(cluster) = ranges.cluster.iter().find(|cluster| overlap(cluster, &cidr)) {
        return Some(format!("it overlaps the Pods' addresses {cluster}"));
    }
    let mut within = nodes.range(cidr.network()..=cidr.broadcast());
    let (address, _): (&IpAddr, _) = within.next()?;
    Some(format!("it holds the address {address} of a Node"))
}
