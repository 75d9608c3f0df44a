//! Which sets of verdicts Pods' ports are bound with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use datapath::policy::{CLOSED, Change, OPEN};
use datapath::{Datapath, Port, Role};

/// The sets that Pods' ports are bound with, by the index of the host side.
#[derive(Debug)]
pub(super) struct Sets {
    wanted: Mutex<BTreeMap<u32, u32>>,
    /// Of a Pod of which nothing is said.
    other: u32,
}

impl Sets {
    /// Goes on with what an agent before this one brought into force. Where that enforced nothing, Pods that run are not cut
    /// off until their policy is known; new ones are closed until then.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn take_over(datapath: &mut Datapath, on: bool) -> Result<Self> {
        if !on {
            datapath.policy_off()?;
            return Ok(Self { wanted: Mutex::default(), other: OPEN });
        }
        let ports = datapath.ports()?;
        let pods = ports.iter().filter(|port| port.role != Role::Node);
        let wanted: BTreeMap<u32, u32> = pods.map(|port: &Port| (port.ifindex, port.set)).collect();
        if datapath.policy_state().generation == 0 {
            let sets = wanted.iter().map(|(ifindex, set)| (*ifindex, *set)).collect();
            datapath.apply_policy(&Change { replace: true, sets, ..Change::default() })?;
        }
        Ok(Self { wanted: Mutex::new(wanted), other: CLOSED })
    }

    pub(super) fn wanted(&self) -> MutexGuard<'_, BTreeMap<u32, u32>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set of a port.
    pub(super) fn of(&self, ifindex: u32) -> u32 {
        self.wanted().get(&ifindex).copied().unwrap_or(self.other)
    }

    /// A port is gone.
    pub(super) fn forget(&self, ifindex: u32) {
        self.wanted().remove(&ifindex);
    }
}
