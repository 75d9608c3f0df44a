//! Repairs, counted by kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::drift::Drift;
use crate::leak::Kind;

/// What somebody else can break, as [`Drift::what`](crate::backend::Drift::what) names it.
const BROKEN: [&str; 27] = [
    "address",
    "block",
    "cni_config",
    "config",
    "datapath_address",
    "datapath_node",
    "datapath_policy",
    "datapath_route",
    "datapath_service",
    "endpoint",
    "forwarding",
    "limit",
    "link",
    "lock",
    "masquerade",
    "node_port",
    "overlay",
    "overlay_program",
    "pin",
    "plugin",
    "pod",
    "program",
    "route",
    "setting",
    "socket",
    "uplink",
    "uplink_program",
];

/// How many repairs there were, by kind. Clones are handles on one count.
#[derive(Debug, Clone)]
pub struct Repairs(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Default for Repairs {
    fn default() -> Self {
        let leaks = Kind::ALL.into_iter().filter(|kind| kind.is_repaired()).map(Kind::name);
        let kinds = BROKEN.into_iter().chain(leaks);
        Self(Arc::new(Mutex::new(kinds.map(|kind| (kind, 0)).collect())))
    }
}

impl Repairs {
    /// One more.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// Logs what was repaired, and counts it.
    pub fn note(&self, found: &[Drift]) {
        for finding in found {
            self.count(finding.what);
            warn!(what = finding.what, wrong = finding.detail, "somebody else changed it: repaired");
        }
    }

    /// Every kind with its count, also those that did not occur.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The kinds that the sources name: `Drift::new("kind", ...)` and the parts of a veth pair, `DifferenceKind::Name => "kind"`.
    fn named(directory: &Path, found: &mut BTreeMap<String, u64>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for (marker, is_part) in [("Drift::new(", false), ("DifferenceKind::", true)] {
                for rest in code.split(marker).skip(1) {
                    let rest =
                        if is_part { rest.split_once("=> ").map_or("", |(_, rest)| rest) } else { rest };
                    if let Some(kind) =
                        rest.trim_start().strip_prefix('"').and_then(|kind| kind.split('"').next())
                    {
                        found.insert(kind.to_owned(), 0);
                    }
                }
            }
        }
    }

    #[test]
    fn every_kind_is_there_from_the_start() {
        let mut found = BTreeMap::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 15, "{found:?}");
        let all = Repairs::default().all();
        let missing: Vec<_> = found.keys().filter(|kind| !all.contains_key(kind.as_str())).collect();
        assert!(missing.is_empty(), "add {missing:?} to BROKEN");
        let unused: Vec<_> = BROKEN.iter().filter(|kind| !found.contains_key(**kind)).collect();
        assert!(unused.is_empty(), "remove {unused:?} from BROKEN");
        assert!(all.values().all(|count| *count == 0));
    }
}
