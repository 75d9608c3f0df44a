//! host-local's allocator.go, on a map instead of files. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::Attachment;
use serde_json::{Value, json};

/// A range as it is configured, in numbers.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) base: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) start: Option<u32>,
    pub(crate) end: Option<u32>,
    /// Relative to the subnet, and maybe outside of it.
    pub(crate) gateway: Option<u32>,
}

pub(crate) fn plus(address: IpAddr, n: u32) -> IpAddr {
    match address {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() + n).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() + u128::from(n)).into(),
    }
}

impl Range {
    fn size(&self) -> u32 {
        1 << (if self.base.is_ipv4() { 32 } else { 128 } - self.prefix)
    }

    fn first(&self) -> u32 {
        self.start.unwrap_or(1)
    }

    fn last(&self) -> u32 {
        self.end.unwrap_or(self.size() - if self.base.is_ipv4() { 2 } else { 1 })
    }

    fn gateway(&self) -> u32 {
        self.gateway.unwrap_or(1)
    }

    /// All its addresses, gateway included, in order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (self.first()..=self.last()).map(|n| plus(self.base, n))
    }

    pub(crate) fn json(&self) -> Value {
        let at = |n: Option<u32>| n.map(|n| plus(self.base, n));
        let subnet = format!("{}/{}", self.base, self.prefix);
        json!({"subnet": subnet, "rangeStart": at(self.start), "rangeEnd": at(self.end), "gateway": at(self.gateway)})
    }
}

/// What host-local's directory holds, and how it changes.
pub(crate) struct Model {
    pub(crate) sets: Vec<Vec<Range>>,
    pub(crate) reserved: BTreeMap<IpAddr, Attachment>,
    pub(crate) last: BTreeMap<usize, IpAddr>,
}

impl Model {
    fn range_of(&self, set: usize, address: IpAddr) -> Option<&Range> {
        self.sets[set].iter().find(|range| range.addresses().any(|a| a == address))
    }

    /// `RangeIter`: a cursor that goes around the set, from the last address or the first range's start,
    /// until it is back where it began.
    pub(crate) fn next_free(&self, set: usize) -> Option<IpAddr> {
        let ring: Vec<(IpAddr, bool)> = self.sets[set]
            .iter()
            .flat_map(|range| range.addresses().map(|a| (a, a == plus(range.base, range.gateway()))))
            .collect();
        let last = self.last.get(&set).and_then(|last| ring.iter().position(|(a, _)| a == last));
        let begin = last.map_or(0, |last| last + 1);
        let turn = (0..ring.len()).map(|n| ring[(begin + n) % ring.len()]);
        turn.filter(|(_, gateway)| !gateway).map(|(a, _)| a).find(|a| !self.reserved.contains_key(a))
    }

    /// `IPAllocator.Get`
    fn get(&mut self, set: usize, owner: &Attachment, requested: Option<IpAddr>) -> Result<IpAddr, String> {
        let text: Vec<String> = self.sets[set]
            .iter()
            .map(|range| format!("{}-{}", plus(range.base, range.first()), plus(range.base, range.last())))
            .collect();
        let text = text.join(",");
        let address = if let Some(address) = requested {
            let range = self.range_of(set, address).unwrap();
            if address == plus(range.base, range.gateway()) {
                return Err(format!("requested ip {address} is subnet's gateway"));
            }
            if self.reserved.contains_key(&address) {
                return Err(format!("requested IP address {address} is not available in range set {text}"));
            }
            address
        } else {
            let held = self.reserved.iter().filter(|(_, o)| *o == owner).map(|(a, _)| *a);
            if held.into_iter().any(|a| self.range_of(set, a).is_some()) {
                // Which of several it names is the order of the directory.
                return Err(format!(" has been allocated to {}, duplicate", owner.container_id));
            }
            self.next_free(set).ok_or(format!("no IP addresses available in range set: {text}"))?
        };
        self.reserved.insert(address, owner.clone());
        self.last.insert(set, address);
        Ok(address)
    }

    /// `cmdAdd`
    pub(crate) fn add(
        &mut self,
        owner: &Attachment,
        mut requested: Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, String> {
        let mut got = Vec::new();
        let result = (0..self.sets.len()).try_for_each(|set| {
            let wanted = requested.iter().position(|a| self.range_of(set, *a).is_some());
            let wanted = wanted.map(|at| requested.remove(at));
            let address = self
                .get(set, owner, wanted)
                .map_err(|e| format!("failed to allocate for range {set}: {e}"))?;
            got.push(address);
            Ok(())
        });
        let unused = || Err("failed to allocate all requested IPs:".to_owned());
        let result = result.and_then(|()| if requested.is_empty() { Ok(()) } else { unused() });
        if result.is_err() {
            self.reserved.retain(|address, _| !got.contains(address));
        }
        result.map(|()| got)
    }

    /// Every file with its content.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let reserved =
            self.reserved.iter().map(|(a, o)| (a.to_string(), format!("{}\r\n{}", o.container_id, o.ifname)));
        let last = self.last.iter().map(|(set, a)| (format!("last_reserved_ip.{set}"), a.to_string()));
        reserved.chain(last).collect()
    }
}
