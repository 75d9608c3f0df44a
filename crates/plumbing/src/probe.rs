//! What the kernel does with Pods' packets, asked of the kernel itself: whether they are forwarded, where routes
//! lead, and whether ranges of addresses overlap. Each fault is named with its remedy; nothing is changed here.

mod fault;
mod firewall;
mod forwarding;
mod overlap;
mod packet;
mod question;
mod routes;
mod uplink;

use crate::error::Result;
use crate::netlink::Netlink;
use crate::{fib, link};

pub use fault::{Fault, KINDS};
pub use firewall::filters_tunnels;
pub use forwarding::{WrongSetting, wrong_settings};
pub use overlap::overlaps;
pub use question::Question;

/// Probes a node again and again. Firewall rules are read again only when they changed.
#[derive(Debug, Default)]
pub struct Probe {
    firewall: firewall::Firewall,
}

impl Probe {
    /// All faults in the namespace of this thread, sorted.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn faults(&mut self, question: &Question) -> Result<Vec<Fault>> {
        let mut netlink = Netlink::here()?;
        let links = link::list_in(&mut netlink)?;
        let mut faults = Vec::new();
        let Question { inside, tunnel_address, peers, .. } = question;
        let uplinks =
            uplink::uplinks(&mut netlink, inside, *tunnel_address, peers, &question.families(), &links)?;
        let routes = fib::all(&mut netlink)?;
        faults.extend(forwarding::faults(question, &uplinks, &links, &routes));
        faults.extend(routes::faults(&mut netlink, question, &links, &uplinks, &routes));
        faults.extend(self.firewall.faults(question, &links, &uplinks)?);
        faults.extend(overlap::faults(&mut netlink, question, &links)?);
        faults.sort();
        faults.dedup();
        Ok(faults)
    }
}
