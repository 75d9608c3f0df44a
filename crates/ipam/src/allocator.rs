//! The verbs of the allocator in this process.

use std::net::IpAddr;

use crate::error::Refusal;
use crate::store::{Reservation, Store};
use crate::{Allocation, Attachment, Call, Config, Dns, Error, IpConfig, RangeSet, resolv};

pub(crate) fn add(call: &Call<'_>) -> Result<Allocation, Error> {
    let config = Config::parse(call.config, call.args)?;
    let dns = config.resolv_conf.as_deref().map_or_else(|| Ok(Dns::default()), resolv::read)?;
    let store = Store::open(&config.directory)?;
    let owner = owner(call);
    let mut taken = Vec::new();
    match reserve(&store, &owner, &config, &mut taken) {
        Ok(ips) => Ok(Allocation { ips, routes: config.routes, dns }),
        Err(error) => {
            // Only what this call took: the same attachment may hold addresses of an earlier ADD.
            let ours = store.held_by(&owner).unwrap_or_default();
            for reservation in ours.iter().filter(|r| taken.contains(&r.address)) {
                let _ = reservation.release();
            }
            Err(error)
        }
    }
}

pub(crate) fn del(call: &Call<'_>) -> Result<(), Error> {
    let config = Config::parse(call.config, call.args)?;
    let store = Store::open(&config.directory)?;
    release(&store.held_by(&owner(call))?)
}

pub(crate) fn check(call: &Call<'_>) -> Result<(), Error> {
    let config = Config::parse(call.config, call.args)?;
    let store = Store::open(&config.directory)?;
    let owner = owner(call);
    if store.held_by(&owner)?.is_empty() {
        let Attachment { container_id, ifname } = owner;
        return Err(Error::NotFound { directory: store.directory().to_owned(), container_id, ifname });
    }
    Ok(())
}

pub(crate) fn status(call: &Call<'_>) -> Result<(), Error> {
    let config = Config::parse(call.config, call.args)?;
    let reserved = Store::open(&config.directory)?.reservations()?;
    let is_full = |set: &&RangeSet| {
        let used =
            reserved.iter().filter(|r| set.range_for(r.address).is_some_and(|x| x.gateway != r.address));
        used.count() as u128 >= set.capacity()
    };
    config.ranges.iter().find(is_full).map_or(Ok(()), |set| Err(Error::Exhausted(set.to_string())))
}

pub(crate) fn gc(call: &Call<'_>, valid: &[Attachment]) -> Result<(), Error> {
    let config = Config::parse(call.config, call.args)?;
    let store = Store::open(&config.directory)?;
    let mut reservations = store.reservations()?;
    reservations.retain(|r| !r.is_of(valid));
    release(&reservations)
}

/// Gives all back; the first error is told, after the rest was tried.
fn release(reservations: &[Reservation]) -> Result<(), Error> {
    reservations.iter().map(Reservation::release).fold(Ok(()), Result::and)
}

fn owner(call: &Call<'_>) -> Attachment {
    Attachment { container_id: call.container_id.to_owned(), ifname: call.ifname.to_owned() }
}

/// One address of every set; `taken` tells what was reserved, also when it fails.
fn reserve(
    store: &Store,
    owner: &Attachment,
    config: &Config,
    taken: &mut Vec<IpAddr>,
) -> Result<Vec<IpConfig>, Error> {
    let mut requested = config.requested.clone();
    let mut held = None;
    let mut ips = Vec::new();
    for (index, set) in config.ranges.iter().enumerate() {
        let wanted = requested.iter().position(|ip| set.range_for(*ip).is_some());
        let wanted = wanted.map(|at| requested.remove(at));
        let refuse = |reason| Error::Range { index, reason };
        if let Some(address) = wanted {
            if set.range_for(address).is_some_and(|range| range.gateway == address) {
                return Err(refuse(Refusal::Gateway(address)));
            }
        } else {
            let held = match &mut held {
                Some(held) => held,
                none => none.insert(store.held_by(owner)?),
            };
            if let Some(first) = held.iter().find(|r| set.range_for(r.address).is_some()) {
                let (address, container_id) = (first.address, owner.container_id.clone());
                return Err(refuse(Refusal::Duplicate { address, container_id }));
            }
        }
        let ip = claim(store, owner, index, set, wanted)?.ok_or_else(|| {
            let set = set.to_string();
            refuse(
                wanted.map_or(Refusal::Exhausted(set.clone()), |address| Refusal::Reserved { address, set }),
            )
        })?;
        taken.push(ip.address.addr());
        ips.push(ip);
    }
    if requested.is_empty() { Ok(ips) } else { Err(Error::Unused(requested)) }
}

/// Takes the wanted address, or the next free one; `None` if there is none.
fn claim(
    store: &Store,
    owner: &Attachment,
    index: usize,
    set: &RangeSet,
    wanted: Option<IpAddr>,
) -> Result<Option<IpConfig>, Error> {
    let pending = store.prepare(owner)?;
    let last = store.last_reserved(index);
    let one = wanted.and_then(|address| Some((address, set.range_for(address)?)));
    let all = one.is_none().then(|| set.candidates(last)).into_iter().flatten();
    for (address, range) in one.into_iter().chain(all) {
        if pending.claim(address)? {
            store.set_last_reserved(index, address);
            let prefix = range.subnet.prefix_len();
            let address = ipnet::IpNet::new(address, prefix).map_err(|e| Error::Config(e.to_string()))?;
            return Ok(Some(IpConfig { address, gateway: Some(range.gateway) }));
        }
    }
    Ok(None)
}
