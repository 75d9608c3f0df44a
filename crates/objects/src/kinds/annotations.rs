//! What this project's annotations say of policies.

use std::collections::BTreeMap;

use super::defects::Defects;
use super::fields::quoted;

/// On a policy or a namespace: what would be denied passes, and is only told.
const AUDIT: &str = "midonet.org/policy-audit";
/// On a namespace: what becomes of packets that are denied.
const DENY: &str = "midonet.org/policy-deny";

/// Whether nothing is to be dropped. What is neither `true` nor `false` is no reason to let anything pass.
pub(super) fn audit(annotations: &BTreeMap<String, String>, defects: &mut Defects) -> bool {
    one_of(annotations, AUDIT, ["false", "true"], defects)
}

/// Whether senders are to be told.
pub(super) fn reject(annotations: &BTreeMap<String, String>, defects: &mut Defects) -> bool {
    one_of(annotations, DENY, ["drop", "reject"], defects)
}

/// Whether it has the second of these values; the first one is the default.
fn one_of(
    annotations: &BTreeMap<String, String>,
    key: &str,
    [first, second]: [&str; 2],
    defects: &mut Defects,
) -> bool {
    match annotations.get(key).map(String::as_str) {
        None => false,
        Some(value) if value == first => false,
        Some(value) if value == second => true,
        Some(other) => {
            let problem = format!("{} is neither {first:?} nor {second:?}: it is {first:?}", quoted(other));
            defects.add(&format!("metadata.annotations[{key}]"), problem);
            false
        }
    }
}
