//! Loading the programs that follow, and attaching them to those at work.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::{Mutex, PoisonError};

use aya::maps::{Map, MapData, RingBuf};
use aya::programs::SchedClassifier;
use aya::{Ebpf, Endianness};
use aya_obj::Object;
use aya_obj::btf::BtfKind;

use super::{FOLLOWED, RING};
use crate::error::{Error, Result, chain};
use crate::layout::Config;
use crate::layout::follow::Followed;
use crate::programs::{PROGRAMS, info};
use crate::sys::{RawMap, When, attach_tracing, btf, load_tracing};

pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/follow.bpf.o"));

/// Capabilities that allow to watch programs (capabilities(7)): one of them is needed.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;

/// Why the kernel lets nobody watch, by what /proc/self/status says.
fn refused(status: &str) -> String {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    let why = if [CAP_SYS_ADMIN, CAP_PERFMON].iter().any(|capability| effective & 1 << capability != 0) {
        "it is locked down to confidentiality, by the boot parameter lockdown= or the distribution's rule for Secure Boot \
         (kernel_lockdown(7))"
    } else {
        "the agent lacks CAP_PERFMON"
    };
    format!("the kernel lets no program watch others (EPERM): {why}; a trace without --live works")
}

/// The programs at work, and what they count.
pub struct Source {
    programs: Vec<Traced>,
    counters: MapData,
    pub(super) tunnel_port: [u8; 2],
    pub(super) node_mac: [u8; 6],
}

/// A program that is followed.
struct Traced {
    name: &'static str,
    program: OwnedFd,
    /// The id of its BTF.
    btf: u32,
}

impl Source {
    pub(super) fn new(ebpf: &Ebpf, counters: Option<MapData>, config: &Config) -> Result<Self> {
        let traced = |name: &'static str| {
            let id = info(ebpf, name)?.btf_id().ok_or_else(|| {
                failed(&format!(
                    "the kernel has no type information (BTF) of {name}: is CONFIG_DEBUG_INFO_BTF on?"
                ))
            })?;
            let program: &SchedClassifier = ebpf
                .program(name)
                .and_then(|program| program.try_into().ok())
                .ok_or_else(|| failed(&format!("{name} is missing")))?;
            let fd = program.fd().map_err(|error| failed(&chain(&error)))?;
            let program = fd.as_fd().try_clone_to_owned().map_err(|error| failed(&error.to_string()))?;
            Ok(Traced { name, program, btf: id })
        };
        Ok(Self {
            programs: PROGRAMS.into_iter().map(traced).collect::<Result<_>>()?,
            counters: counters.ok_or_else(|| failed("no program uses map counters"))?,
            tunnel_port: config.tunnel_port,
            node_mac: config.node_mac,
        })
    }
}

/// What follows now.
pub(super) struct Loaded {
    pub(super) ring: RingBuf<MapData>,
    pub(super) followed: RawMap,
    pub(super) links: Vec<OwnedFd>,
}

/// The object, fitted to this kernel. That takes the kernel's own types, some ten thousand of them: once.
fn object() -> Result<Object> {
    static FITTED: Mutex<Option<Object>> = Mutex::new(None);
    let mut fitted = FITTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(object) = &*fitted {
        return Ok(object.clone());
    }
    let mut object = Object::parse(OBJECT).map_err(|error| failed(&chain(&error)))?;
    let kernel = aya::Btf::from_sys_fs().map_err(|error| {
        failed(&format!("the kernel's own type information (BTF) cannot be read: {}", chain(&error)))
    })?;
    object.relocate_btf(&kernel).map_err(|error| failed(&chain(&error)))?;
    *fitted = Some(object.clone());
    Ok(object)
}

/// Makes the maps and programs anew, and has them run.
pub(super) fn load(source: &Source, followed: &Followed) -> Result<Loaded> {
    let mut object = object()?;
    // Those that nobody reads here are held until the programs have them.
    let mut maps = make_maps(&mut object, source)?;
    let mut take = |name: &str| maps.remove(name).ok_or_else(|| failed(&format!("map {name} is missing")));
    let (followed_map, ring) = (take(FOLLOWED)?, take(RING)?);
    let followed_map = RawMap::new(followed_map).map_err(|error| Error::map("open", FOLLOWED, &error))?;
    let written = followed_map.set(&0u32.to_ne_bytes(), bytemuck::bytes_of(followed));
    written.map_err(|error| Error::map("write", FOLLOWED, &error))?;
    let ring = RingBuf::try_from(Map::RingBuf(ring)).map_err(|error| Error::map("open", RING, &error))?;
    let mut links = Vec::new();
    for traced in &source.programs {
        let data = btf(traced.btf).map_err(|error| failed(&format!("BTF of {}: {error}", traced.name)))?;
        let types = aya::Btf::parse(&data, Endianness::default()).map_err(|error| failed(&chain(&error)))?;
        let function = types.id_by_type_name_kind(traced.name, BtfKind::Func);
        let function = function.map_err(|error| failed(&chain(&error)))?;
        // What sees packets return is there first: it wants to have seen them begin.
        for (when, suffix) in [(When::Returns, "returns"), (When::Begins, "begins")] {
            let name = format!("{}_{suffix}", traced.name);
            links.push(attach(&object, &name, when, traced, function)?);
        }
    }
    Ok(Loaded { ring, followed: followed_map, links })
}

fn attach(object: &Object, name: &str, when: When, traced: &Traced, function: u32) -> Result<OwnedFd> {
    let program = object.programs.get(name);
    let code = program.and_then(|program| object.functions.get(&program.function_key()));
    let code = code.ok_or_else(|| failed(&format!("{name} is missing")))?;
    let fd = load_tracing(when, &code.instructions, &object.license, traced.program.as_fd(), function);
    let fd = fd.map_err(|(error, said)| {
        if error.kind() == ErrorKind::PermissionDenied && said.is_empty() {
            return failed(&refused(fs::read_to_string("/proc/self/status").unwrap_or_default().as_str()));
        }
        failed(&format!("{name}: {error}: {said}"))
    })?;
    attach_tracing(&fd).map_err(|error| failed(&format!("{name} cannot be attached: {error}")))
}

/// Makes the object's maps, and has its programs use them, and the datapath's `counters`.
fn make_maps(object: &mut Object, source: &Source) -> Result<HashMap<String, MapData>> {
    let mut made = HashMap::new();
    for (name, map) in object.maps.iter().filter(|(name, _)| *name != "counters") {
        // Without the numbers of its types, which mean nothing to the kernel: the object's BTF is not loaded.
        let plain = aya_obj::Map::new_from_params(
            map.map_type(),
            map.key_size(),
            map.value_size(),
            map.max_entries(),
            map.map_flags(),
        );
        let map = MapData::create(plain, name, None);
        let map = map.map_err(|error| failed(&format!("map {name} cannot be made: {}", chain(&error))))?;
        made.insert(name.clone(), map);
    }
    let declared: Vec<_> = object.maps.drain().collect();
    let fds = declared.iter().map(|(name, map)| {
        let fd = made.get(name).unwrap_or(&source.counters).fd().as_fd().as_raw_fd();
        (name.as_str(), fd, map)
    });
    let sections: HashSet<_> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(fds, &sections).map_err(|error| failed(&chain(&error)))?;
    object.relocate_calls(&sections).map_err(|error| failed(&chain(&error)))?;
    Ok(made)
}

fn failed(reason: &str) -> Error {
    Error::Follow(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_is_told_what_is_missing() {
        for (mask, want) in [
            ("000000c000201000", "locked down"),
            ("0000000000200000", "locked down"),
            ("0000008000001000", "lacks CAP_PERFMON"),
            ("nonsense", "lacks CAP_PERFMON"),
        ] {
            let told = refused(&format!("Name:\tx\nCapEff:\t{mask}\nCapBnd:\t0\n"));
            assert!(told.contains(want), "{mask}: {told}");
        }
    }
}
