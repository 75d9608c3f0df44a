//! Looking a verdict up as the programs do.

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::layout::policy::{
    CLASS_NONE, CLASS_OTHER, Class, SET_CLOSED, SET_OPEN, SetEntry, SetKey, Verdict as RawVerdict,
};
use crate::layout::{Address, RouteKey};
use crate::ports::Ports;
use crate::sys::RawMap;

use super::raw;
use super::tables::Policies;
use super::types::{Found, Origin, Question, Verdict};

/// Where no policy applies.
const OPEN: Verdict = Verdict { allow: true, audit: false, reject: false, origin: Origin::Nothing, rule: 0 };

impl Policies {
    /// What the kernel's tables say; `None`: no Pod has that address.
    pub(super) fn find(&self, ports: &Ports, question: &Question) -> Result<Option<Found>> {
        let Some(endpoint) = ports.endpoints.get(&question.pod.into())? else { return Ok(None) };
        let column = self.column();
        let class = self.class_of(question.other.into(), column)?;
        let mut found = Found { set: endpoint.set(column), class, entry: None, list: 0, verdict: None };
        if self.generation == 0 || found.set == SET_OPEN {
            found.verdict = Some(OPEN);
            return Ok(Some(found));
        }
        if found.set == SET_CLOSED {
            return Ok(Some(found));
        }
        for class in [class, CLASS_NONE] {
            let key = SetKey { set: found.set, class, direction: question.direction.raw() };
            let Some(entry) = read::<_, SetEntry>(&self.sets, "policy_sets", &key)? else { continue };
            let of_port = match question.port {
                Some((protocol, port)) if entry.list > 0 => {
                    let key = raw::ports_key(entry.list, protocol, port, 16);
                    read::<_, RawVerdict>(&self.ports, "policy_ports", &key)?
                }
                _ => None,
            };
            found.entry = Some(key.into());
            found.list = entry.list;
            found.verdict = Some(of_port.unwrap_or(entry.others).into());
            break;
        }
        Ok(Some(found))
    }

    fn class_of(&self, address: Address, column: usize) -> Result<u32> {
        let of = |class: Class| class.column.get(column).copied().unwrap_or(CLASS_OTHER);
        let exact = read::<_, Class>(&self.classes.map, "classes", &address)?.map(of);
        if let Some(class) = exact.filter(|class| *class != CLASS_NONE) {
            return Ok(class);
        }
        let key = RouteKey { prefix_length: 128, address };
        Ok(read::<_, Class>(&self.blocks.map, "block_classes", &key)?.map_or(CLASS_OTHER, of))
    }
}

fn read<K: Pod, V: Pod>(map: &RawMap, name: &'static str, key: &K) -> Result<Option<V>> {
    let value = map.get(bytemuck::bytes_of(key)).map_err(|error| Error::map("read", name, &error))?;
    let foreign = |_| Error::Foreign { map: name, value: "an entry of another size".to_owned() };
    value.map(|value| bytemuck::try_pod_read_unaligned(&value).map_err(foreign)).transpose()
}
