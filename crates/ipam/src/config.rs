//! The allocator's part of a network configuration. Pure.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::json::{Element, Invalid};
use cni::{Args, Document, Route, code};
use ipnet::IpNet;

use crate::error::Error;
use crate::range::{Range, RangeSet};

/// host-local's directory, unless the configuration has another.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// What the allocator has to know of a network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory of this network's reservations.
    pub directory: PathBuf,
    /// An attachment gets one address of each; the order numbers the `last_reserved_ip.N` files.
    pub ranges: Vec<RangeSet>,
    /// The addresses that were asked for, in order, each once.
    pub requested: Vec<IpAddr>,
    /// Copied to the result.
    pub routes: Vec<Route>,
    /// A resolv.conf for the result's DNS.
    pub resolv_conf: Option<PathBuf>,
}

impl Config {
    /// Reads the whole network configuration (an IPAM plugin gets its caller's) and `CNI_ARGS`.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn read(config: &Document, args: &str) -> Result<Self, Error> {
        let root = config.root();
        let ipam = root.require("ipam")?;
        let network = root.require("name")?;
        let name = network.text()?;
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(network.invalid("must be a network's name, which names a directory").into());
        }
        let ranges = ranges(&root, &ipam)?;
        if root.word("cniVersion")?.is_none_or(|v| matches!(v, "0.1.0" | "0.2.0")) {
            single(&ranges, root.word("cniVersion")?.unwrap_or_default())?;
        }
        Ok(Self {
            directory: directory(ipam.word("dataDir")?.map(Path::new), name),
            ranges,
            requested: requested(&root, &Args::parse(args)?)?,
            routes: ipam.list("routes")?.iter().map(Route::read).collect::<Result<_, _>>()?,
            resolv_conf: ipam.word("resolvConf")?.map(PathBuf::from),
        })
    }
}

/// The directory of a network's reservations: in `ipam.dataDir`, or where host-local has them.
pub fn directory(data_dir: Option<&Path>, network: &str) -> PathBuf {
    data_dir.unwrap_or(Path::new(DATA_DIR)).join(network)
}

fn invalid(what: impl Into<String>) -> Error {
    cni::Error::new(code::CONFIG, what).into()
}

/// The range sets: those of the runtime, the single subnet of old configurations, the list.
fn ranges(root: &Element<'_>, ipam: &Element<'_>) -> Result<Vec<RangeSet>, Error> {
    let mut sets: Vec<Vec<Element<'_>>> = Vec::new();
    let runtime = root.get("runtimeConfig")?;
    let from_runtime = runtime.as_ref().map(|r| r.list("ipRanges")).transpose()?.unwrap_or_default();
    for set in from_runtime {
        sets.push(set.items()?);
    }
    if ipam.get("subnet")?.is_some() {
        sets.push(vec![ipam.clone()]);
    }
    for set in ipam.list("ranges")? {
        sets.push(set.items()?);
    }
    let mut ranges: Vec<RangeSet> = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        let set: Result<Vec<Range>, Invalid> = set.iter().map(Range::read).collect();
        let set = set.map_err(|e| e.to_string()).and_then(RangeSet::new);
        ranges.push(set.map_err(|what| invalid(format!("invalid range set {index}: {what}")))?);
    }
    if ranges.is_empty() {
        return Err(invalid("no IP ranges specified: set ipam.ranges or ipam.subnet"));
    }
    for (i, a) in ranges.iter().enumerate() {
        if let Some((j, _)) = ranges.iter().enumerate().skip(i + 1).find(|(_, b)| a.overlaps(b)) {
            return Err(invalid(format!("range set {i} overlaps with {j}")));
        }
    }
    Ok(ranges)
}

/// Results before 0.3.0 hold one address of each family.
fn single(ranges: &[RangeSet], version: &str) -> Result<(), Error> {
    let v4 = ranges.iter().filter(|set| set.is_ipv4()).count();
    if v4 > 1 || ranges.len() - v4 > 1 {
        let what = format!("CNI version {version} does not support more than 1 address per family");
        return Err(invalid(what));
    }
    Ok(())
}

/// The addresses asked for in `CNI_ARGS`, in `args.cni.ips` and by the runtime's capability.
fn requested(root: &Element<'_>, args: &Args) -> Result<Vec<IpAddr>, Error> {
    let mut requested = Vec::new();
    let mut add = |ip: IpAddr| {
        if !requested.contains(&ip) {
            requested.push(ip);
        }
    };
    if let Some(text) = args.get("IP") {
        let ip = host(text).ok_or_else(|| {
            cni::Error::new(code::ENVIRONMENT, format!("CNI_ARGS: IP: \"{text}\" is no IP address"))
        })?;
        add(ip);
    }
    let in_args = match root.get("args")? {
        Some(args) => args.get("cni")?,
        None => None,
    };
    for holder in [in_args, root.get("runtimeConfig")?].into_iter().flatten() {
        for element in holder.list("ips")? {
            let text = element.text()?;
            add(host(text).ok_or_else(|| element.invalid(format!("\"{text}\" is no IP address")))?);
        }
    }
    Ok(requested)
}

/// An address with or without a prefix length, which is ignored.
fn host(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpNet>().map(|net| net.addr()).or_else(|_| text.parse::<IpAddr>());
    ip.ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;
