//! Drops as a table for people.

use terminal::table::{UNKNOWN, WIDTH, table, wrap};
use terminal::units::{bytes, seconds};

use super::view::{Drop, End, View};
use crate::answer::matching;

/// What stands for nothing of its kind.
const NONE: &str = "-";

/// What stands for those that are not told apart.
const OTHERS: &str = "others";

/// Who decided what no policy did.
const NO_POLICY: &str = "none";

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
        let path = format!("{} {} -> {}", protocol(drop), source(drop), destination(drop));
        let why = match &drop.claimed {
            _ if drop.decided_by != NO_POLICY => format!("{} {}: {}", drop.direction, drop.verdict, drop.why),
            Some(claimed) => format!("{}: {} (as {claimed})", drop.reason, drop.why),
            None => format!("{}: {}", drop.reason, drop.why),
        };
        [path, wrap(Some(WHY), &why), drop.packets.to_string(), seconds(drop.last_seconds)]
    };
    table(Some(WIDTH), ["DROP", "WHY", "PACKETS", "LAST"], drops.iter().map(row))
}

fn wide_table(drops: &[Drop]) -> String {
    let text = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let row = |drop: &Drop| {
        [
            drop.last.clone(),
            drop.first.clone(),
            drop.direction.clone(),
            drop.verdict.clone(),
            protocol(drop),
            named(drop, &drop.source),
            text(drop.source.socket()),
            named(drop, &drop.destination),
            text(drop.destination.socket()),
            drop.packets.to_string(),
            bytes(drop.bytes),
            text(drop.interface.clone()),
            text(drop.claimed.as_ref().map(ToString::to_string)),
            drop.reason.clone(),
            drop.why.clone(),
            drop.remedy.clone(),
        ]
    };
    let header = [
        "LAST",
        "FIRST",
        "DIRECTION",
        "VERDICT",
        "PROTOCOL",
        "SENDER",
        "SOURCE",
        "RECEIVER",
        "DESTINATION",
        "PACKETS",
        "BYTES",
        "INTERFACE",
        "CLAIMED",
        "REASON",
        "WHY",
        "REMEDY",
    ];
    table(None, header, drops.iter().map(row))
}

/// The name of an end of a row, if it has one.
fn named(drop: &Drop, end: &End) -> String {
    let nobody = if drop.others && end.address.is_none() { OTHERS } else { NONE };
    end.name().unwrap_or_else(|| nobody.to_owned())
}

fn protocol(drop: &Drop) -> String {
    drop.protocol.as_ref().map_or_else(|| UNKNOWN.to_owned(), |protocol| protocol.to_uppercase())
}

/// Who sent it: a Pod, a node, an address alone, or whatever is at an interface.
fn source(drop: &Drop) -> String {
    let End { address, .. } = &drop.source;
    let interface = || drop.interface.as_ref().map(|interface| format!("interface {interface}"));
    let others = || drop.others.then(|| OTHERS.to_owned());
    let found = drop.source.name().or_else(|| address.clone()).or_else(interface).or_else(others);
    found.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Whom it was for, with the port.
fn destination(drop: &Drop) -> String {
    let port = drop.destination.port.map(|port| format!(":{port}")).unwrap_or_default();
    let named = drop.destination.name().map(|name| format!("{name}{port}"));
    let others = || drop.others.then(|| OTHERS.to_owned());
    let found = named.or_else(|| drop.destination.socket()).or_else(others);
    found.unwrap_or_else(|| UNKNOWN.to_owned())
}
