//! What Pods are made from.

use std::sync::Arc;

use serde_yaml_ng::{Mapping, Value};

use crate::entry::Entry;
use crate::kind::{Invalid, Key, Kind};
use crate::kinds::Pod;

/// A Pod, or what Pods are made from by a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its kind: `Pod`, `Deployment`.
    pub kind: &'static str,
    /// One of its Pods, by its own name. What controllers add to a template's labels is not there.
    pub pod: Arc<Pod>,
}

/// Where an object of a kind has its template.
#[derive(Debug)]
pub(super) struct Template {
    version: &'static str,
    pub(super) kind: &'static str,
    path: &'static [&'static str],
}

/// All kinds.
const TEMPLATES: [Template; 7] = [
    Template { version: "v1", kind: "Pod", path: &[] },
    Template { version: "apps/v1", kind: "Deployment", path: &["spec", "template"] },
    Template { version: "apps/v1", kind: "StatefulSet", path: &["spec", "template"] },
    Template { version: "apps/v1", kind: "DaemonSet", path: &["spec", "template"] },
    Template { version: "apps/v1", kind: "ReplicaSet", path: &["spec", "template"] },
    Template { version: "batch/v1", kind: "Job", path: &["spec", "template"] },
    Template { version: "batch/v1", kind: "CronJob", path: &["spec", "jobTemplate", "spec", "template"] },
];

impl Template {
    /// That of a kind.
    pub(super) fn of(version: &str, kind: &str) -> Option<&'static Self> {
        TEMPLATES.iter().find(|known| known.version == version && known.kind == kind)
    }

    /// Reads an object of this kind: what names it, and a Pod of it.
    ///
    /// # Errors
    /// Nothing names the object.
    pub(super) fn read(&self, value: &Value) -> Result<(Key, Result<Workload, Invalid>), String> {
        let field = |name: &str| {
            value.get("metadata").and_then(|metadata| metadata.get(name)).filter(|value| !value.is_null())
        };
        // Whoever creates it gets a name that begins so.
        let name = field("name").or_else(|| field("generateName")).and_then(Value::as_str);
        let key = Key::of(&Pod::RESOURCE, field("namespace").and_then(Value::as_str), name);
        let key = key.ok_or_else(|| format!("{}: metadata.name is missing", self.kind))?;
        let Some(template) = self.path.iter().try_fold(value, |value, field| value.get(field)) else {
            let problem = Invalid::field(&self.path.join("."), "it is missing, so that there is no Pod");
            return Ok((key, Err(problem)));
        };
        let mut metadata = match template.get("metadata") {
            Some(Value::Mapping(metadata)) => metadata.clone(),
            _ => Mapping::new(),
        };
        metadata.insert("name".into(), key.name().into());
        metadata.insert("namespace".into(), key.namespace().unwrap_or_default().into());
        let mut pod = Mapping::new();
        pod.insert("metadata".into(), metadata.into());
        for part in ["spec", "status"] {
            pod.extend(template.get(part).map(|value| (part.into(), value.clone())));
        }
        let pod = Value::from(pod);
        let read = Entry::<Pod>::read(|| &pod)?.object;
        Ok((key, read.map(|pod| Workload { kind: self.kind, pod: Arc::new(pod) })))
    }
}
