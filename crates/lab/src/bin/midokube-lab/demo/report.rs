//! What the demo found, as text: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lab::{Pod, State, Target};
use nodeapi::v1::Counter;
use terminal::table::{UNKNOWN, WIDTH, join, table};
use terminal::units::bytes;

use super::check::Outcome;
use super::paths::Kind;
use super::service::Answers;

/// The Pods with their addresses; without a limit to the width, with MAC addresses and port ids, too.
pub(crate) fn pods(pods: &[Pod], width: Option<usize>) -> String {
    let common = |pod: &Pod| [pod.key.to_string(), pod.node.clone(), join(&pod.addresses())];
    if width.is_some() {
        return table(width, ["POD", "NODE", "ADDRESSES"], pods.iter().map(common));
    }
    let rows = pods.iter().map(|pod| {
        let [key, node, addresses] = common(pod);
        let mac = pod.mac.map_or_else(|| UNKNOWN.to_owned(), |mac| mac.to_string());
        [key, node, addresses, mac, naming::pod_port_id(&pod.key).to_string()]
    });
    table(None, ["POD", "NODE", "ADDRESSES", "MAC", "PORT ID"], rows)
}

/// How many paths of each kind work, by family.
pub(crate) fn kinds(outcomes: &[Outcome]) -> String {
    let mut kinds: BTreeMap<Kind, [(usize, usize); 2]> = BTreeMap::new();
    for outcome in outcomes {
        let [v4, v6] = kinds.entry(outcome.path.kind).or_default();
        let (works, all) = if outcome.path.address.is_ipv4() { v4 } else { v6 };
        *all += 1;
        *works += usize::from(outcome.works());
    }
    let cell = |(works, all): (usize, usize)| match all {
        0 => "-".to_owned(),
        _ if works == all => format!("{works} of {all}"),
        _ => format!("{works} of {all} !"),
    };
    table(
        Some(WIDTH),
        ["PATHS", "IPV4", "IPV6"],
        kinds.into_iter().map(|(kind, [v4, v6])| [kind.to_string(), cell(v4), cell(v6)]),
    )
}

/// From whom (rows) to whom (columns): which families work. A cell stands for all its paths.
pub(crate) fn matrix(state: &State, outcomes: &[Outcome]) -> String {
    let mut columns: Vec<String> = state.pods.iter().map(|pod| pod.key.name.clone()).collect();
    columns.extend(["own node", "other nodes", "gateway", "outside"].map(str::to_owned));
    let from_pods = state.pods.iter().map(|pod| Target::Pod(pod.key.clone()));
    let from_nodes = state.nodes.iter().map(|node| Target::Node(node.name.clone()));
    let width = columns.iter().map(String::len).max().unwrap_or(0);
    let line = |first: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!("  {cell:width$}")).collect();
        format!(" {first:width$}{cells}").trim_end().to_owned()
    };
    let mut lines = vec![line("FROM \\ TO", &columns)];
    for from in from_pods.chain(from_nodes) {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| cell(outcomes.iter().filter(|o| o.path.from == from && column_of(o) == column)))
            .collect();
        let name = match &from {
            Target::Pod(key) => &key.name,
            Target::Node(name) => name,
            Target::Fabric | Target::Outside => continue,
        };
        lines.push(line(name, &cells));
    }
    lines.join("\n")
}

fn column_of(outcome: &Outcome) -> &str {
    match outcome.path.kind {
        Kind::PodToOwnNode | Kind::PodToOwnUnderlay => "own node",
        Kind::PodToRemoteNode => "other nodes",
        _ => &outcome.path.to_name,
    }
}

fn cell<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let mut families: BTreeMap<&str, bool> = BTreeMap::new();
    for outcome in outcomes {
        *families.entry(outcome.path.family()).or_insert(true) &= outcome.works();
    }
    if families.is_empty() {
        return ".".to_owned();
    }
    let mark = |(family, works): (&str, bool)| {
        format!("{} {}", if works { "ok" } else { "NO" }, family.trim_start_matches("IPv"))
    };
    families.into_iter().map(mark).collect::<Vec<_>>().join(" ")
}

/// Every path that does not work, with its reasons.
pub(crate) fn failures(outcomes: &[Outcome]) -> String {
    let lines = outcomes
        .iter()
        .filter(|o| !o.works())
        .map(|o| format!("  {}\n    {}", o.path, o.problems.join("\n    ")));
    lines.collect::<Vec<_>>().join("\n")
}

/// The sum of what several nodes dropped, by reason.
pub(crate) fn drops<'a>(counters: impl Iterator<Item = &'a Counter>) -> Vec<Counter> {
    let mut sums: BTreeMap<&str, Counter> = BTreeMap::new();
    for counter in counters.filter(|c| c.verdict == "drop" && c.packets > 0) {
        match sums.get_mut(counter.name.as_str()) {
            Some(sum) => {
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
            None => {
                sums.insert(&counter.name, counter.clone());
            }
        }
    }
    sums.into_values().collect()
}

/// Counters with what they mean.
pub(crate) fn counters(counters: &[Counter]) -> String {
    let row = |c: &Counter| [c.name.clone(), c.packets.to_string(), bytes(c.bytes), c.help.clone()];
    table(None, ["REASON", "PACKETS", "BYTES", "MEANING"], counters.iter().map(row))
}

/// Least, middle and greatest of the times, in milliseconds.
pub(crate) fn spread(times: impl Iterator<Item = u64>) -> String {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    let show = |time: Option<&u64>| {
        let time = Duration::from_micros(time.copied().unwrap_or(0));
        format!("{:.1}", time.as_secs_f64() * 1000.0)
    };
    format!("{} / {} / {} ms", show(times.first()), show(times.get(times.len() / 2)), show(times.last()))
}

/// The last line, which scripts may read.
pub(crate) fn verdict(outcomes: &[Outcome], answers: &[Answers]) -> String {
    let works =
        outcomes.iter().filter(|o| o.works()).count() + answers.iter().filter(|a| a.is_good()).count();
    format!("demo: {works} of {} paths work", outcomes.len() + answers.len())
}
