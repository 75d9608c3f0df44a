//! How fast Pods may be (CNI's capability "bandwidth"): what was asked for, and the queues that keep to it.
//!
//! The record is in the datapath's maps; the queues follow it. What a Pod receives waits in a token bucket at the host side
//! of its veth pair. What it sends waits in the shaper, and not at the container side, where a Pod with the right to change
//! its network could remove the limit. Nor is it merely dropped when it is too much: between Pods of one node, where an
//! answer takes microseconds, TCP then waits for timeouts and gets a fifth of the rate or less.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use datapath::{Limit, Limits};
use naming::interface;
use plumbing::shape::{self, Bucket, Queue, Shaper};

use super::ports::Ports;
use super::tables::Tables;
use crate::backend::{BindError, BindRequest, PortRecord};
use crate::drift::Drift;

/// Runtimes take bursts from nowhere, since Pods' annotations have none, and ask for as much as there can be:
/// kubelet for 2^31 - 1 bits, containerd for 2^32 - 1, CRI-O for 2^35 - 9. Taken at its word, a limit of 10 Mbit/s
/// would begin after minutes.
const NO_OPINION: u64 = (1 << 31) - 1;

/// The burst of who has none in mind: a hundredth of a second, and this many bytes at least.
const LEAST_OWN_BURST: u64 = 64 * 1024;

/// What a frame has besides an IP packet: its header and a VLAN tag.
const FRAME: u32 = 18;

/// The bucket that keeps to a limit; it holds at least one packet of the Pod's MTU.
fn bucket(limit: Limit, mtu: u32) -> Bucket {
    let rate = (limit.rate / 8).max(1);
    let size = if limit.burst < NO_OPINION { limit.burst / 8 } else { (rate / 100).max(LEAST_OWN_BURST) };
    let size = u32::try_from(size).unwrap_or(u32::MAX).min(Bucket::LARGEST);
    Bucket { rate, size: size.max(mtu.saturating_add(FRAME)) }
}

impl Ports {
    /// Makes the queues that keep to a port's limits, instead of those of the port before.
    pub(super) fn limit(
        &self,
        port: &PortRecord,
        before: Option<&PortRecord>,
        tables: &Tables,
    ) -> Result<()> {
        let Limits { ingress, egress, class } = port.limits;
        let same = before.filter(|before| before.host_ifindex == port.host_ifindex);
        if ingress.is_some() || same.is_some_and(|before| before.limits.ingress.is_some()) {
            shape::limit(port.host_ifindex, ingress.map(|limit| self.bucket(limit)))
                .with_context(|| format!("cannot limit what Pod {} gets", port.pod()))?;
        }
        match egress {
            None => self.unlimit(before, tables),
            Some(limit) => ensure_shaper(tables)?
                .set_class(Shaper::class(class), self.bucket(limit))
                .with_context(|| format!("cannot limit what Pod {} sends", port.pod())),
        }
    }

    /// Removes the class of a port that is gone; what else kept to its limits goes with its interface.
    pub(super) fn unlimit(&self, port: Option<&PortRecord>, tables: &Tables) -> Result<()> {
        match (shaper(tables), port.map(|port| port.limits.class)) {
            (Some(shaper), Some(class)) if class != 0 => Ok(shaper.delete_class(Shaper::class(class))?),
            _ => Ok(()),
        }
    }

    fn bucket(&self, limit: Limit) -> Bucket {
        bucket(limit, self.mtu.unwrap_or_default())
    }

    /// The limits with a class of the shaper, if they need one: that of the port before, or one that is free.
    pub(super) fn with_class(&self, port: &BindRequest) -> Result<Limits> {
        let own =
            self.records.get(&port.host_ifname).map(|before| before.limits.class).filter(|class| *class != 0);
        let class = match (port.limits.egress, own) {
            (None, _) => 0,
            (Some(_), Some(own)) => own,
            (Some(_), None) => {
                let used: BTreeSet<u32> = self.records.values().map(|port| port.limits.class).collect();
                let free = (1..=u16::MAX).map(Shaper::priority).find(|class| !used.contains(class));
                free.context("no class of the shaper is free")?
            }
        };
        Ok(Limits { class, ..port.limits })
    }

    /// Makes the shaper if a Pod needs it.
    pub(super) fn need_shaper(&self, tables: &Tables) -> Result<()> {
        if self.records.values().any(|port| port.limits.egress.is_some()) {
            ensure_shaper(tables)?;
        }
        Ok(())
    }

    /// What of Pods' limits is not kept.
    pub(super) fn drifted_limits(&self, tables: &Tables) -> Result<Vec<(&PortRecord, Drift)>> {
        let limited = self.records.values().filter(|port| port.limits != Limits::default());
        let limited: Vec<&PortRecord> = limited.collect();
        if limited.is_empty() {
            return Ok(Vec::new());
        }
        let links = plumbing::link::list()?;
        let links: BTreeMap<u32, &plumbing::Link> = links.iter().map(|link| (link.ifindex, link)).collect();
        let (host_sides, shaper) = (shape::limited()?, shaper(tables));
        let classes = shaper.map(Shaper::classes).transpose()?.unwrap_or_default();
        let shaper = shaper
            .map(|shaper| shaper.difference(interface::SHAPER, interface::SHAPED))
            .transpose()?
            .flatten();
        let mut found = Vec::new();
        for port in limited {
            // The interface of a Pod that is just going took its queue along.
            if links.get(&port.host_ifindex).is_none_or(|link| link.is_retired()) {
                continue;
            }
            let Limits { ingress, egress, class } = port.limits;
            let kept = |limit: Option<Limit>, queue: Option<&Queue>| {
                limit.is_none_or(|limit| queue == Some(&self.bucket(limit).queue()))
            };
            if !kept(ingress, host_sides.get(&port.host_ifindex)) {
                let what = format!("{} does not limit what Pod {} gets", port.host_ifname, port.pod());
                found.push((port, Drift::new("limit", what)));
            }
            if let Some(what) = shaper.as_ref().filter(|_| egress.is_some()) {
                found.push((port, Drift::new("limit", what)));
            } else if !kept(egress, classes.get(&Shaper::class(class))) {
                let what = format!("the shaper does not limit what Pod {} sends", port.pod());
                found.push((port, Drift::new("limit", what)));
            }
        }
        Ok(found)
    }

    /// Puts right what is not kept, and removes the classes of nobody.
    pub(super) fn restore_limits(&self, tables: &Tables) -> Result<()> {
        let wrong: Vec<PortRecord> =
            self.drifted_limits(tables)?.into_iter().map(|(port, _)| port.clone()).collect();
        wrong.iter().try_for_each(|port| self.limit(port, None, tables))?;
        let Some(shaper) = shaper(tables) else { return Ok(()) };
        let used: BTreeSet<u16> =
            self.records.values().map(|port| Shaper::class(port.limits.class)).collect();
        let all = shaper.classes()?.into_keys();
        all.filter(|class| !used.contains(class)).try_for_each(|class| shaper.delete_class(class))?;
        Ok(())
    }

    /// A runtime that asks for no limits now may have asked for some before.
    pub(super) fn check_limits(
        &self,
        request: &BindRequest,
        committed: Limits,
        tables: &Tables,
    ) -> Result<(), BindError> {
        let pod = &request.owner.pod;
        if request.limits != Limits::default() && request.limits != (Limits { class: 0, ..committed }) {
            return Err(BindError::Precondition(format!(
                "Pod {pod} has the limits {committed:?}, not {:?}",
                request.limits
            )));
        }
        let wrong = self
            .drifted_limits(tables)?
            .into_iter()
            .find(|(port, _)| port.host_ifname == request.host_ifname);
        wrong.map_or(Ok(()), |(_, drift)| Err(BindError::Precondition(drift.detail)))
    }
}

fn ensure_shaper(tables: &Tables) -> Result<Shaper> {
    let made = Shaper::ensure(interface::SHAPER, interface::SHAPED).context("cannot make the shaper")?;
    tables.lock().set_shaper(datapath::Shaper { entry: made.entry, exit: made.exit })?;
    Ok(made)
}

fn shaper(tables: &Tables) -> Option<Shaper> {
    tables.lock().shaper().map(|shaper| Shaper { entry: shaper.entry, exit: shaper.exit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_the_burst_and_a_packet() {
        for (rate, burst, mtu, want) in [
            (10_000_000, 800_000, 1450, (1_250_000, 100_000)),
            // Less than a packet, and more than fits.
            (10_000_000, 8, 1450, (1_250_000, 1468)),
            (10_000_000, 8, 9000, (1_250_000, 9018)),
            (1 << 50, (1 << 31) - 2, 1450, (1 << 47, (1 << 28) - 1)),
            (7, 80_000, 1450, (1, 10_000)),
            // What runtimes say who have no burst in mind.
            (10_000_000, (1 << 31) - 1, 1450, (1_250_000, 65_536)),
            (10_000_000, (1 << 32) - 1, 1450, (1_250_000, 65_536)),
            (1_000_000_000, (1 << 35) - 9, 1450, (125_000_000, 1_250_000)),
            (u64::MAX, u64::MAX, 1450, (u64::MAX / 8, Bucket::LARGEST)),
        ] {
            let bucket = bucket(Limit { rate, burst }, mtu);
            assert_eq!((bucket.rate, bucket.size), want, "{rate} {burst} {mtu}");
        }
    }
}
