use serde::{Deserialize, Serialize};

use super::annotations::{audit, reject};
use super::defects::Defects;
use super::labels::Labels;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};

/// The label by which a namespace is selected by its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// A namespace, for the policies that select it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// What names it.
    pub key: Key,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// Its labels; `kubernetes.io/metadata.name` is always among them.
    pub labels: Labels,
    /// Whether senders to and from its Pods are told what is denied (`midonet.org/policy-deny: reject`).
    pub reject: bool,
    /// Whether what is denied to its Pods passes, and is only told (`midonet.org/policy-audit: "true"`).
    pub audit: bool,
    /// What of it is left out.
    pub defects: Box<[Invalid]>,
}

/// Nothing is read of it besides its metadata.
#[derive(Debug, Deserialize)]
pub struct ApiNamespace {}

impl Kind for Namespace {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Namespace", plural: "namespaces", namespaced: false };

    type Api = ApiNamespace;

    fn trim(metadata: Metadata, _: ApiNamespace) -> Result<Self, Invalid> {
        let mut defects = Defects::default();
        let reject = reject(&metadata.annotations, &mut defects);
        let audit = audit(&metadata.annotations, &mut defects);
        let mut labels = metadata.labels;
        labels.insert(NAME.to_owned(), metadata.name.clone());
        Ok(Self {
            key: Key::new(&metadata.name),
            uid: metadata.uid.map(String::into_boxed_str),
            labels: labels.into_iter().collect(),
            reject,
            audit,
            defects: defects.into_boxed(),
        })
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::entry::Entry;

    fn read(metadata: &serde_json::Value) -> Namespace {
        let mut object = json!({"metadata": metadata, "spec": {"finalizers": ["kubernetes"]}, "status": 7});
        object["metadata"]["name"] = "shop".into();
        Entry::<Namespace>::read(|| &object).unwrap().object.unwrap()
    }

    #[test]
    fn its_name_is_among_its_labels() {
        for (labels, want) in [
            (json!(null), vec![(NAME, "shop")]),
            (json!({"team": "a"}), vec![(NAME, "shop"), ("team", "a")]),
            (json!({NAME: "other"}), vec![(NAME, "shop")]),
        ] {
            let read = read(&json!({"labels": labels, "uid": "u"}));
            assert_eq!(read.labels.iter().collect::<Vec<_>>(), want);
            assert_eq!((read.key().to_string().as_str(), read.uid()), ("shop", Some("u")));
            assert!(read.defects.is_empty());
        }
    }

    #[test]
    fn annotations_say_how_is_denied() {
        for (annotations, want, defects) in [
            (json!(null), (false, false), 0),
            (json!({"midonet.org/policy-deny": "reject"}), (true, false), 0),
            (
                json!({"midonet.org/policy-deny": "drop", "midonet.org/policy-audit": "true"}),
                (false, true),
                0,
            ),
            (json!({"midonet.org/policy-audit": "false"}), (false, false), 0),
            (
                json!({"midonet.org/policy-deny": "Reject", "midonet.org/policy-audit": "yes"}),
                (false, false),
                2,
            ),
        ] {
            let read = read(&json!({"annotations": annotations}));
            assert_eq!(((read.reject, read.audit), read.defects.len()), (want, defects), "{annotations}");
        }
        let read = read(&json!({"annotations": {"midonet.org/policy-audit": "yes"}}));
        let want =
            "metadata.annotations[midonet.org/policy-audit]: \"yes\" is neither \"false\" nor \"true\"";
        assert!(read.defects[0].problem.starts_with(want), "{:?}", read.defects);
    }
}
