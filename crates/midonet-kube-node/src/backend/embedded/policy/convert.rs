//! The judge's tables in the datapath's words.

use std::sync::Arc;

use datapath::policy as tables;
use policy::{Changes, Direction, Entry, EntryKey, List, Origin, Verdict};

use super::super::services::protocol_of;

/// How the tables change.
pub(super) fn change(changes: Changes, replace: bool) -> tables::Change {
    let Changes {
        rules,
        lists,
        entries,
        classes,
        blocks,
        pods,
        removed_entries,
        removed_lists,
        removed_rules,
    } = changes;
    tables::Change {
        replace,
        rules: rules.into_iter().map(|(rule, _)| rule.0).collect(),
        lists: lists.iter().map(|(id, list)| (id.0, Arc::new(list_of(list)))).collect(),
        entries: entries
            .into_iter()
            .map(|Entry { key, list }| tables::Entry { key: key_of(key), list: list.0 })
            .collect(),
        classes: classes.into_iter().map(|(address, class)| (address, class.map(|class| class.0))).collect(),
        blocks: blocks.into_iter().map(|(block, class)| (block, class.map(|class| class.0))).collect(),
        sets: pods.into_iter().map(|(pod, set)| (pod.0, set.0)).collect(),
        removed_entries: removed_entries.into_iter().map(key_of).collect(),
        removed_lists: removed_lists.into_iter().map(|list| list.0).collect(),
        removed_rules: removed_rules.into_iter().map(|rule| rule.0).collect(),
    }
}

fn key_of(EntryKey { set, direction, class }: EntryKey) -> tables::EntryKey {
    tables::EntryKey { set: set.0, direction: direction_of(direction), class: class.map(|class| class.0) }
}

fn direction_of(direction: Direction) -> tables::Direction {
    match direction {
        Direction::Ingress => tables::Direction::Ingress,
        Direction::Egress => tables::Direction::Egress,
    }
}

fn list_of(List { others, intervals }: &List) -> tables::List {
    let interval = |one: &policy::Interval| tables::Interval {
        protocol: protocol_of(one.protocol),
        first: one.first,
        last: one.last,
        verdict: verdict_of(one.verdict),
    };
    tables::List { others: verdict_of(*others), intervals: intervals.iter().map(interval).collect() }
}

fn verdict_of(Verdict { allow, audit, reject, origin, rule }: Verdict) -> tables::Verdict {
    let origin = match origin {
        Origin::Admin => tables::Origin::Admin,
        Origin::NetworkPolicy => tables::Origin::NetworkPolicy,
        Origin::Baseline => tables::Origin::Baseline,
        Origin::Nothing => tables::Origin::Nothing,
    };
    tables::Verdict { allow, audit, reject, origin, rule: rule.0 }
}
