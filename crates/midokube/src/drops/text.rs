//! Drops as a table for people.

use terminal::table::{UNKNOWN, WIDTH, table, wrap};
use terminal::units::{bytes, seconds};

use super::view::{Drop, End, View};
use crate::answer::matching;

/// What stands for nothing of its kind.
const NONE: &str = "-";

/// How long a line of the narrow form is that says why.
const WHY: usize = 52;

/// A row for each, and a line that says how many others match.
pub(super) fn text(view: &View, wide: bool) -> String {
    let rows = &view.drops;
    let show = if wide { wide_table } else { narrow_table };
    matching(rows, view.matching, "drops", show)
}

fn narrow_table(drops: &[Drop]) -> String {
    let row = |drop: &Drop| {
        let port = drop.destination.port.map(|port| format!(":{port}")).unwrap_or_default();
        let destination = match &drop.destination.pod {
            Some(pod) => format!("{pod}{port}"),
            None => drop.destination.socket(),
        };
        let path = format!("{} {} -> {destination}", protocol(drop), who(&drop.source));
        let why = format!("{} {}: {}", drop.direction, drop.verdict, drop.why);
        [path, wrap(Some(WHY), &why), drop.packets.to_string(), seconds(drop.last_seconds)]
    };
    table(Some(WIDTH), ["DROP", "WHY", "PACKETS", "LAST"], drops.iter().map(row))
}

fn wide_table(drops: &[Drop]) -> String {
    let pod = |end: &End| end.pod.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string);
    let row = |drop: &Drop| {
        [
            drop.last.clone(),
            drop.first.clone(),
            drop.direction.clone(),
            drop.verdict.clone(),
            protocol(drop),
            pod(&drop.source),
            drop.source.socket(),
            pod(&drop.destination),
            drop.destination.socket(),
            drop.packets.to_string(),
            bytes(drop.bytes),
            drop.reason.clone(),
            drop.why.clone(),
        ]
    };
    let header = [
        "LAST",
        "FIRST",
        "DIRECTION",
        "VERDICT",
        "PROTOCOL",
        "SOURCE POD",
        "SOURCE",
        "DESTINATION POD",
        "DESTINATION",
        "PACKETS",
        "BYTES",
        "REASON",
        "WHY",
    ];
    table(None, header, drops.iter().map(row))
}

fn protocol(drop: &Drop) -> String {
    drop.protocol.as_ref().map_or_else(|| UNKNOWN.to_owned(), |protocol| protocol.to_uppercase())
}

/// The Pod, or the address alone.
fn who(end: &End) -> String {
    end.pod.as_ref().map_or_else(|| end.address.clone(), ToString::to_string)
}
