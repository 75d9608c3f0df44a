//! Policy in the datapath.

mod convert;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use anyhow::Result;
use datapath::policy::{Change, Counts, Found, Question, State};
use policy::{Changes, LocalId, SetId};

use self::convert::change;
use super::parts::Parts;
use crate::backend::{PolicyTables, Whereabouts};

impl Parts {
    /// Whether a change is about nothing but the sets of Pods whose ports are not bound yet: they are bound with them. A new
    /// Pod whose set is there already costs no connection another judgement.
    fn is_for_later(&self, change: &Change) -> bool {
        if *change != (Change { sets: change.sets.clone(), ..Change::default() }) || change.sets.is_empty() {
            return false;
        }
        let is_new = {
            let ports = self.ports();
            let bound: BTreeSet<u32> = ports.records.values().map(|port| port.host_ifindex).collect();
            change.sets.iter().all(|(ifindex, _)| !bound.contains(ifindex))
        };
        is_new && !self.tables.lock().datapath.is_policy_pending()
    }
}

impl PolicyTables for Parts {
    fn apply(&self, changes: Changes, replace: bool) -> Result<()> {
        let change = change(changes, replace);
        {
            let mut wanted = self.sets.wanted();
            if replace {
                wanted.clear();
            }
            wanted.extend(change.sets.iter().copied());
        }
        if self.is_for_later(&change) {
            return Ok(());
        }
        self.tables.lock().datapath.apply_policy(&change)?;
        Ok(())
    }

    fn admit(&self, pod: LocalId, set: SetId) {
        self.sets.wanted().insert(pod.0, set.0);
    }

    fn state(&self) -> State {
        self.tables.lock().datapath.policy_state()
    }

    fn counts(&self) -> Result<HashMap<u32, Counts>> {
        Ok(self.tables.lock().datapath.policy_counts()?)
    }

    fn find(&self, question: &Question) -> Result<Option<Found>> {
        Ok(self.tables.lock().datapath.find_verdict(question)?)
    }

    fn check_space(&self, changes: Changes) -> Result<()> {
        Ok(self.tables.lock().datapath.check_policy_space(&change(changes, false))?)
    }

    fn whereabouts(&self) -> Result<Whereabouts> {
        let datapath = &self.tables.lock().datapath;
        let (ports, routes) = (datapath.ports()?, datapath.routes()?);
        Ok(Whereabouts::new(&ports, &routes, &datapath.addresses()?, &datapath.nodes()?))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.applied().is_some_and(|applied| applied.outside.addresses.contains_key(&address))
    }
}
