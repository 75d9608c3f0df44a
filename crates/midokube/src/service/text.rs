//! A Service as text for people.

use terminal::output::{BAD, TITLE, paint};
use terminal::table::{UNKNOWN, WIDTH, fields, known, table, wrap};

use super::view::{Backend, Details, View};
use crate::answer;
use crate::services::{self, CLUSTER, LOCAL, Port, socket};

/// How long a line of the narrow form is that says why a backend is not used.
const USE: usize = 32;

/// The Service, then each of its ports with its backends, below titles.
pub(super) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let mut sections = vec![("Service".to_owned(), service(view, width))];
    for details in &view.ports {
        let (name, family) = (services::port_name(&details.port), services::family(&details.port));
        sections.push((format!("Port {name}, {family}"), port(details, width)));
    }
    if !view.problems.is_empty() {
        sections.push(("Problems".to_owned(), answer::problems(&view.problems, width)));
    }
    let section = |(title, body): (String, String)| format!("{}\n{body}", paint(TITLE, &title));
    sections.into_iter().map(section).collect::<Vec<_>>().join("\n\n")
}

fn service(view: &View, width: Option<usize>) -> String {
    let served = match &view.ignored {
        None => "yes".to_owned(),
        Some(why) => format!("no: {why}"),
    };
    let mut rows = vec![
        ("name", format!("{}/{}", view.namespace, view.name)),
        ("type", known(&view.service_type).to_owned()),
        ("served", served),
    ];
    if let Some(port) = view.health_check_node_port {
        rows.push(("health checks", format!("port {port} of the node")));
    }
    fields(width, &rows)
}

fn port(Details { port, backends }: &Details, width: Option<usize>) -> String {
    let affinity = port.affinity_seconds.map_or_else(
        || "none".to_owned(),
        |_| format!("a client stays with its backend for {}", services::affinity(port)),
    );
    let connections = services::connections(port.counters);
    let mut rows = vec![
        ("frontends", services::frontends(port)),
        ("policy", services::policy(port)),
        ("affinity", affinity),
        ("connections", connections),
    ];
    if port.limits_sources {
        let none = "nowhere: no range is of this family".to_owned();
        let ranges = if port.source_ranges.is_empty() { none } else { port.source_ranges.join(", ") };
        rows.insert(2, ("load balancer from", ranges));
    }
    let about = fields(width, &rows);
    if backends.is_empty() {
        return format!("{about}\n {}", paint(BAD, "no endpoints"));
    }
    let text = |text: &Option<String>| text.as_deref().unwrap_or(UNKNOWN).to_owned();
    let address =
        |one: &Backend| one.port.map_or_else(|| one.address.clone(), |port| socket(&one.address, port));
    let active = |one: &Backend| one.active_connections.to_string();
    if width.is_none() {
        let header = ["BACKEND", "NODE", "ZONE", "STATE", "ACTIVE", "USED"];
        let row = |one: &Backend| {
            let used = used(port, one, None).replace('\n', "; ");
            [address(one), text(&one.node), text(&one.zone), state(one), active(one), used]
        };
        return format!("{about}\n{}", table(None, header, backends.iter().map(row)));
    }
    let header = ["BACKEND", "ZONE", "STATE", "ACTIVE", "USED"];
    let row = |one: &Backend| {
        let place = format!("{} on {}", address(one), text(&one.node));
        [place, text(&one.zone), state(one), active(one), used(port, one, Some(USE))]
    };
    format!("{about}\n{}", table(width, header, backends.iter().map(row)))
}

fn state(backend: &Backend) -> String {
    let state = match (backend.terminating, backend.serving, backend.ready) {
        (true, true, _) => "terminating, serving",
        (true, false, _) => "terminating",
        (false, _, true) => "ready",
        (false, _, false) => "not ready",
    };
    state.to_owned()
}

/// Whether each policy that the port has uses a backend, or why not.
fn used(port: &Port, backend: &Backend, width: Option<usize>) -> String {
    let answer = |why: &Option<String>| why.as_ref().map_or("yes".to_owned(), |why| format!("no: {why}"));
    let line = |text: String| wrap(width, &text);
    let (cluster, local) = (answer(&backend.not_in_cluster), answer(&backend.not_in_local));
    match (port.uses(CLUSTER), port.uses(LOCAL)) {
        (true, true) => [line(format!("{CLUSTER}: {cluster}")), line(format!("{LOCAL}: {local}"))].join("\n"),
        (false, true) => line(local),
        _ => line(cluster),
    }
}
