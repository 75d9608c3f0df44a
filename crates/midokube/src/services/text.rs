//! Services as a table for people.

use terminal::table::{UNKNOWN, WIDTH, table};
use terminal::units::seconds;

use super::port::{Counters, Port};

/// What stands for nothing of its kind.
const NONE: &str = "-";

/// A row for each port.
pub(super) fn text(ports: &[Port], wide: bool) -> String {
    if ports.is_empty() {
        return " none".to_owned();
    }
    let name = |port: &Port| format!("{}/{}", port.namespace, port.name);
    let in_use = |port: &Port| format!("{} of {}", port.backends(), port.endpoints);
    if !wide {
        let header = ["SERVICE", "PORT", "FRONTENDS", "BACKENDS", "POLICY", "AFFINITY", "CONNECTIONS"];
        let row = |port: &Port| {
            let frontends: Vec<_> = port.frontends.iter().map(ToString::to_string).collect();
            let frontends = if frontends.is_empty() { NONE.to_owned() } else { frontends.join("\n") };
            let (affinity, connections) = (affinity(port), connections(port.counters));
            [name(port), port_name(port), frontends, in_use(port), policy(port), affinity, connections]
        };
        return table(Some(WIDTH), header, ports.iter().map(row));
    }
    let header = [
        "SERVICE",
        "PORT",
        "FAMILY",
        "FRONTENDS",
        "BACKENDS",
        "LOCAL",
        "POLICY",
        "AFFINITY",
        "CONNECTIONS",
        "REFUSED",
    ];
    let count = |port: &Port, which: fn(Counters) -> u64| {
        port.counters.map_or_else(|| UNKNOWN.to_owned(), |counters| which(counters).to_string())
    };
    let row = |port: &Port| {
        [
            name(port),
            port_name(port),
            family(port).to_owned(),
            frontends(port),
            in_use(port),
            port.local_backends.to_string(),
            policy(port),
            affinity(port),
            count(port, |counters| counters.connections),
            count(port, |counters| counters.refused),
        ]
    };
    table(None, header, ports.iter().map(row))
}

/// Every frontend with its kind.
pub(crate) fn frontends(port: &Port) -> String {
    let all: Vec<_> = port.frontends.iter().map(|one| format!("{} {one}", one.kind)).collect();
    if all.is_empty() { NONE.to_owned() } else { all.join(", ") }
}

/// `http/TCP`.
pub(crate) fn port_name(port: &Port) -> String {
    let protocol = port.protocol.to_uppercase();
    if port.port.is_empty() { protocol } else { format!("{}/{protocol}", port.port) }
}

/// As people write it.
pub(crate) fn family(port: &Port) -> &str {
    match port.family.as_str() {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        other => other,
    }
}

/// The internal traffic policy, and the external one if there is another.
pub(crate) fn policy(port: &Port) -> String {
    let is_own = |kind: &str| kind == "ClusterIP";
    let internal = port.frontends.iter().find(|one| is_own(&one.kind)).map(|one| one.inside.as_str());
    let external = port.frontends.iter().find(|one| !is_own(&one.kind)).map(|one| one.outside.as_str());
    match (internal, external) {
        (Some(internal), Some(external)) if internal != external => format!("{internal}/{external}"),
        (Some(policy), _) | (None, Some(policy)) => policy.to_owned(),
        (None, None) => NONE.to_owned(),
    }
}

/// For how long a client stays with its backend.
pub(crate) fn affinity(port: &Port) -> String {
    port.affinity_seconds.map_or_else(|| NONE.to_owned(), |affinity| seconds(affinity.into()))
}

/// What became of connections, in one cell.
pub(crate) fn connections(counters: Option<Counters>) -> String {
    match counters {
        None => UNKNOWN.to_owned(),
        Some(Counters { connections, refused: 0 }) => connections.to_string(),
        Some(Counters { connections, refused }) => format!("{connections}, {refused} refused"),
    }
}
