//! The rules of the table.
//!
//! What Pods send out of the cluster gets the node's own address as its source. What the node's own processes send to a
//! hostPort or NodePort at one of the node's own addresses never passes an interface where the datapath would see it: it
//! is translated here, once for a connection, and enters the network like everything else that is for Pods. A hostPort
//! leads to its Pod, a NodePort to the gateway, where the datapath chooses the endpoint.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::batch::{Batch, Hook};
use super::element::{Elements, add_all};
use super::expression::Expression;
use super::set::{Kind, Set};
use super::{OUTPUT, POSTROUTING, TABLE};
use crate::error::Result;
use crate::family::Family;

/// What the table does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The addresses of Pods: what they send to the outside gets the node's own address as its source.
    pub pod_cidrs: Vec<IpNet>,
    /// The interface that leads to Pods: what leaves there is none of the outside's.
    pub inside: String,
    /// The ports that such a source gets: none of them may be a NodePort or a hostPort, or what comes back is taken for a
    /// new connection there.
    pub source_ports: RangeInclusive<u16>,
    /// The node's ports that lead to Pods, for the node's own processes; `None`: they are not served here.
    pub services: Option<LocalServices>,
}

/// The node's ports that lead to Pods, for the node's own processes. Which these are say the elements of the table's sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalServices {
    /// The addresses of the gateway, one of each family: it stands for every NodePort.
    pub gateways: Vec<IpAddr>,
    /// The families in which NodePorts are served at loopback addresses. HostPorts always are.
    pub loopback: Vec<Family>,
}

impl Rules {
    /// Creates the table, or replaces it, with these elements in its sets, in one transaction.
    ///
    /// # Errors
    /// The kernel refuses; it may lack nf_tables or its NAT.
    pub fn apply(&self, elements: &Elements) -> Result<()> {
        let mut batch = Batch::default();
        batch.add_table(TABLE);
        batch.delete_table(TABLE);
        batch.add_table(TABLE);
        batch.add_nat_chain(TABLE, POSTROUTING, Hook::SOURCE);
        for cidr in &self.pod_cidrs {
            batch.add_rule(TABLE, POSTROUTING, &self.leaves(*cidr));
        }
        if let Some(services) = &self.services {
            for (set, id) in Set::ALL.into_iter().zip(1..) {
                batch.add_set(TABLE, set, id);
            }
            batch.add_nat_chain(TABLE, OUTPUT, Hook::DESTINATION_OF_OWN);
            for rule in services.rules() {
                batch.add_rule(TABLE, OUTPUT, &rule);
            }
            for gateway in &services.gateways {
                batch.add_rule(TABLE, POSTROUTING, &self.enters(Family::of(*gateway)));
            }
            add_all(&mut batch, elements);
        }
        batch.commit("replace the nftables table inet midonet-kube")
    }

    /// What Pods send to the outside.
    fn leaves(&self, source: IpNet) -> Vec<Expression> {
        let mut rule = Expression::source_in(source);
        rule.extend(Expression::output_interface(&self.inside, false));
        rule.push(Expression::Counter);
        rule.extend(Expression::masquerade(&self.source_ports));
        rule
    }

    /// What the node's own processes send to one of its ports from a loopback address, to which nobody can answer. From any
    /// other, they are seen as who they are.
    fn enters(&self, family: Family) -> Vec<Expression> {
        let mut rule = Expression::family(family);
        rule.extend(Expression::output_interface(&self.inside, true));
        rule.extend(Expression::destination_is_translated());
        rule.extend(Expression::source_is_loopback(family));
        rule.push(Expression::Counter);
        rule.extend(Expression::masquerade(&self.source_ports));
        rule
    }
}

impl LocalServices {
    /// The most specific first: a port at one address, one at all of them, one of every node.
    fn rules(&self) -> Vec<Vec<Expression>> {
        let mut others = Expression::destination_is_not_own();
        others.push(Expression::Return);
        let mut rules = vec![others];
        for gateway in &self.gateways {
            let family = Family::of(*gateway);
            let mut add = |conditions: &[Vec<Expression>], to: Vec<Expression>| {
                let mut rule = Expression::family(family);
                rule.extend(conditions.iter().flatten().cloned());
                rule.push(Expression::Counter);
                rule.extend(to);
                rules.push(rule);
            };
            for kind in [Kind::HostPortsAt, Kind::HostPorts] {
                let mapped = Expression::in_set(Set { kind, family });
                add(&[mapped], Expression::to_mapped(family));
            }
            let ports = Expression::in_set(Set { kind: Kind::NodePorts, family });
            let served = Expression::in_set(Set { kind: Kind::NodePortAddresses, family });
            add(&[served, ports.clone()], Expression::to_address(*gateway));
            if self.loopback.contains(&family) {
                let loopback = Expression::destination_is_loopback(family);
                add(&[loopback, ports], Expression::to_address(*gateway));
            }
        }
        rules
    }
}
