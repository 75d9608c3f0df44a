//! Denials in words.

use std::time::SystemTime;

use objects::PodRef;

use crate::protocols;

/// A protocol's name, or its number; `None`: it is not known.
pub(super) fn protocol_name(number: u8) -> Option<String> {
    (number != 0).then(|| protocols::protocol_name(number))
}

/// A point of time, in UTC.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// Where it was decided, seen from the Pod whose policy it was.
pub(super) fn direction(ingress: bool) -> &'static str {
    if ingress { "ingress" } else { "egress" }
}

/// A Pod's namespace and name.
pub(super) fn key(PodRef { namespace, name, .. }: &PodRef) -> String {
    format!("{namespace}/{name}")
}
