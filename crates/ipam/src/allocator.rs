//! The verbs of the allocator in this process.

use std::collections::HashSet;
use std::net::IpAddr;

use cni::{Attachment, Call, CniResult, Dns, Ip, code};
use ipnet::IpNet;

use crate::config::Config;
use crate::error::{Error, Refusal};
use crate::range::{Range, RangeSet};
use crate::resolv;
use crate::store::{Pending, Store, key};

/// How many addresses are tried one by one before the directory is listed: a range that is nearly full may
/// have tens of thousands in a row that are taken.
const TRIES: usize = 1000;

pub(crate) fn add(call: &Call<'_>) -> Result<CniResult, Error> {
    let config = Config::read(call.config, call.args)?;
    let dns = config.resolv_conf.as_deref().map_or_else(|| Ok(Dns::default()), resolv::read)?;
    let mut store = Store::open(&config.directory)?;
    let owner = call.attachment();
    let held = store.held(&key(&owner))?;
    // What an old host-local reserved for the container counts, too.
    let old = store.held(owner.container_id.trim())?;
    let addresses: Vec<IpAddr> = held.iter().chain(&old).map(|r| r.address).collect();
    let mut result = reserve(&store, &owner, &config, &addresses);
    if result.as_ref().is_err_and(is_full) && store.repair()?.1 {
        result = reserve(&store, &owner, &config, &addresses);
    }
    let ips = result?;
    store.note(&owner, &held, &ips.iter().map(|ip| ip.address.addr()).collect::<Vec<_>>());
    Ok(CniResult { interfaces: Vec::new(), ips, routes: config.routes, dns })
}

pub(crate) fn del(call: &Call<'_>) -> Result<(), Error> {
    let config = Config::read(call.config, call.args)?;
    let mut store = Store::open(&config.directory)?;
    let owner = call.attachment();
    let mut held = store.held(&key(&owner))?;
    // The reference asks once for every range set, and when it finds nothing, for the container alone.
    if held.is_empty() || config.ranges.len() > 1 {
        held.extend(store.held(owner.container_id.trim())?);
    }
    store.release(&held)
}

pub(crate) fn check(call: &Call<'_>) -> Result<(), Error> {
    let config = Config::read(call.config, call.args)?;
    let mut store = Store::open(&config.directory)?;
    let owner = call.attachment();
    if store.held(&key(&owner))?.is_empty() && store.held(owner.container_id.trim())?.is_empty() {
        let Attachment { container_id, ifname } = owner;
        return Err(Error::NotFound { directory: store.path().to_owned(), container_id, ifname });
    }
    Ok(())
}

pub(crate) fn status(call: &Call<'_>) -> Result<(), Error> {
    let config = Config::read(call.config, call.args)?;
    let mut store = Store::open(&config.directory)?;
    store.writable()?;
    let full = |store: &Store| -> Result<Option<&RangeSet>, Error> {
        let mut used = vec![0; config.ranges.len()];
        store.addresses(|address| {
            for (set, used) in config.ranges.iter().zip(&mut used) {
                *used += u128::from(set.range_for(address).is_some_and(|range| range.gateway != address));
            }
        })?;
        Ok(config.ranges.iter().zip(used).find(|(set, used)| *used >= set.capacity()).map(|(set, _)| set))
    };
    match full(&store)? {
        Some(_) if store.repair()?.1 => full(&store)?,
        found => found,
    }
    .map_or(Ok(()), |set| Err(Error::Exhausted(set.to_string())))
}

pub(crate) fn gc(call: &Call<'_>, valid: &[Attachment]) -> Result<(), Error> {
    let config = Config::read(call.config, call.args)?;
    let old = |owner: &Attachment| owner.container_id.trim().as_bytes().to_owned();
    let valid: HashSet<Vec<u8>> = valid.iter().flat_map(|o| [key(o).into_bytes(), old(o)]).collect();
    Store::open(&config.directory)?.retain(|_, reservation| valid.contains(reservation.owner())).map(drop)
}

/// Whether an address was refused whose reservation a crash may have left without an owner.
fn is_full(error: &Error) -> bool {
    matches!(error, Error::Range { reason: Refusal::Exhausted(_) | Refusal::Reserved { .. }, .. })
}

/// One address of every set, or none at all: what the attachment `held` before stays as it is.
fn reserve(store: &Store, owner: &Attachment, config: &Config, held: &[IpAddr]) -> Result<Vec<Ip>, Error> {
    let mut ips = Vec::new();
    let result = reserve_each(store, owner, config, held, &mut ips);
    if result.is_err() {
        store.undo(&ips.iter().map(|ip| ip.address.addr()).collect::<Vec<_>>());
    }
    result.map(|()| ips)
}

fn reserve_each(
    store: &Store,
    owner: &Attachment,
    config: &Config,
    held: &[IpAddr],
    ips: &mut Vec<Ip>,
) -> Result<(), Error> {
    let pending = store.prepare(owner)?;
    let mut requested = config.requested.clone();
    for (index, set) in config.ranges.iter().enumerate() {
        let refuse = |reason| Error::Range { index, reason };
        let wanted = requested.iter().position(|ip| set.range_for(*ip).is_some());
        let wanted = wanted.map(|at| requested.remove(at));
        let last = store.last(index);
        let (address, range) = match wanted.and_then(|address| Some((address, set.range_for(address)?))) {
            Some((address, range)) if range.gateway == address => {
                return Err(refuse(Refusal::Gateway(address)));
            }
            Some((address, _)) if !pending.claim(address)? => {
                return Err(refuse(Refusal::Reserved { address, set: set.to_string() }));
            }
            Some(wanted) => wanted,
            None => {
                if let Some(address) = held.iter().copied().find(|ip| set.range_for(*ip).is_some()) {
                    let container_id = owner.container_id.clone();
                    return Err(refuse(Refusal::Duplicate { address, container_id }));
                }
                let full = || refuse(Refusal::Exhausted(set.to_string()));
                claim_next(store, &pending, set, last.address())?.ok_or_else(full)?
            }
        };
        let net = IpNet::new(address, range.subnet.prefix_len())
            .map_err(|e| cni::Error::new(code::CONFIG, e.to_string()))?;
        ips.push(Ip { interface: None, address: net, gateway: Some(range.gateway) });
        last.set(address);
    }
    if requested.is_empty() { Ok(()) } else { Err(Error::Unused(requested)) }
}

/// Takes the next free address; `None` if there is none.
fn claim_next<'a>(
    store: &Store,
    pending: &Pending<'_>,
    set: &'a RangeSet,
    last: Option<IpAddr>,
) -> Result<Option<(IpAddr, &'a Range)>, Error> {
    let mut candidates = set.candidates(last);
    for (address, range) in candidates.by_ref().take(TRIES) {
        if pending.claim(address)? {
            return Ok(Some((address, range)));
        }
    }
    let mut candidates = candidates.peekable();
    if candidates.peek().is_none() {
        return Ok(None);
    }
    let mut taken = Vec::new();
    store.addresses(|address| taken.extend(set.range_for(address).map(|_| address)))?;
    taken.sort_unstable();
    for (address, range) in candidates.filter(|(address, _)| taken.binary_search(address).is_err()) {
        if pending.claim(address)? {
            return Ok(Some((address, range)));
        }
    }
    Ok(None)
}
