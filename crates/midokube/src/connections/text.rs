//! Connections as a table for people.

use terminal::table::{WIDTH, table};
use terminal::units::seconds;

use super::view::{Connection, View};
use crate::answer::matching;

/// What stands for nothing of its kind.
const NONE: &str = "-";

/// A row for each connection, and a line that says how many others match.
pub(super) fn text(view: &View, wide: bool) -> String {
    let rows = &view.connections;
    let show = if wide { wide_table } else { narrow_table };
    matching(rows, view.matching, "connections", show)
}

fn narrow_table(connections: &[Connection]) -> String {
    let row = |one: &Connection| {
        let path = format!("{} {} -> {}", one.protocol.to_uppercase(), one.client, one.frontend);
        let backend = match (is_translated(one), &one.translated_client) {
            (false, None) => NONE.to_owned(),
            (_, None) => one.backend.to_string(),
            (_, Some(source)) => format!("{}\nfrom {source}", one.backend),
        };
        [path, backend, service(one), one.state.clone(), seconds(one.idle_seconds)]
    };
    let header = ["CONNECTION", "BACKEND", "SERVICE", "STATE", "IDLE"];
    table(Some(WIDTH), header, connections.iter().map(row))
}

fn wide_table(connections: &[Connection]) -> String {
    let row = |one: &Connection| {
        [
            one.protocol.to_uppercase(),
            one.client.to_string(),
            one.frontend.to_string(),
            if is_translated(one) { one.backend.to_string() } else { NONE.to_owned() },
            one.translated_client.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string),
            service(one),
            one.state.clone(),
            seconds(one.idle_seconds),
        ]
    };
    let header = ["PROTOCOL", "CLIENT", "FRONTEND", "BACKEND", "SOURCE", "SERVICE", "STATE", "IDLE"];
    table(None, header, connections.iter().map(row))
}

/// Whether it leads elsewhere than the client says.
fn is_translated(connection: &Connection) -> bool {
    connection.frontend != connection.backend
}

fn service(connection: &Connection) -> String {
    connection.service.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string)
}
