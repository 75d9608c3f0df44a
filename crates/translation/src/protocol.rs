//! Protocols that MidoNet translates.

/// The number and the name of a protocol that MidoNet translates.
pub(crate) fn protocol(name: &str) -> Option<(u8, &'static str)> {
    match name {
        "" | "TCP" => Some((6, "TCP")),
        "UDP" => Some((17, "UDP")),
        _ => None,
    }
}
