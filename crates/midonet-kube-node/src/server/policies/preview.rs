//! What other policies would change for connections that live, and for what was dropped of late.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datapath::State;
use datapath::drops::Drop;
use datapath::uptime;
use nodeapi::v1;
use objects::PolicyManifests;
use policy::{Direction, Origin, Problem, RuleId, RuleName, SetId, Verdict};
use tonic::Status;

use super::version::name;
use crate::agent::Agent;
use crate::backend::{Connection, ServiceRecord, Whereabouts};
use crate::policies::words::decision;
use crate::policies::{Candidates, Ends, Judgement, Policies, Ruling, Snapshot, does_not_fit, judge_again};
use crate::server::answers::internal;
use crate::server::connections::{self, Latest};
use crate::server::drops;

/// Connections between so many different ends are judged, in some 100 MiB: more than any node should have.
const MOST_ENDS: usize = 1 << 20;

/// What was dropped longer ago does not count.
const RECENT: Duration = Duration::from_secs(3600);

/// Whose deletion and application is tried, and what is wrong with it already.
struct Wanted {
    candidates: Candidates,
    problems: Vec<v1::Problem>,
}

/// What the connections between some ends are now, and would be.
#[derive(Debug, Clone, Copy)]
struct Change {
    now: Judgement,
    after: Judgement,
}

impl Change {
    /// Whether connections are cut, and whose verdict it is; `None`: nothing changes for them.
    fn kind(&self) -> Option<(bool, Direction)> {
        match (self.now.denied(), self.after.denied()) {
            (None, Some(direction)) => Some((true, direction)),
            (Some(direction), None) => Some((false, direction)),
            _ => None,
        }
    }
}

/// Nobody is asked.
const PASSES: Judgement = Judgement { egress: Ruling::NotAsked, ingress: Ruling::NotAsked };

/// The names of rules, as of when they decided.
type Names = HashMap<RuleId, Arc<RuleName>>;

/// Answers from the tables as they are now.
///
/// # Errors
/// The request cannot mean anything, not all objects are known yet, the tables cannot be read, or it takes too long.
pub(super) fn preview(
    agent: &Agent,
    policies: &Policies,
    request: &v1::PreviewPolicyRequest,
    until: Instant,
) -> Result<v1::PreviewPolicyReply, Status> {
    let limit = connections::limit(request.limit)?;
    let Wanted { candidates, problems } = read(request)?;
    let packets = agent.packets()?;
    let at = packets.policy().whereabouts().map_err(|error| internal(&error))?;
    let mut ends = HashMap::new();
    let (mut judged, mut left_out) = (0, 0);
    let live = |connection: &Connection| connection.state != State::Closed;
    packets
        .connections(until, &live, &mut |connection| match take(&mut ends, &connection) {
            true => judged += 1,
            false => left_out += 1,
        })
        .map_err(|error| internal(&error))?;
    // The same copy says what is now and what would be: the difference is by these policies alone.
    let mut snapshot = policies.snapshot().map_err(Status::unavailable)?;
    let mut reply = v1::PreviewPolicyReply {
        node: agent.node_name().to_owned(),
        connections: judged,
        problems,
        notes: notes(&snapshot, &candidates, left_out),
        ..v1::PreviewPolicyReply::default()
    };
    let mut dropped = recent(packets.drops().map_err(|error| internal(&error))?, &at);
    let names_now = judge(&mut ends, &at, &snapshot, |change, judgement| change.now = judgement);
    dropped.retain_mut(|(_, ends, judgement)| {
        *judgement = judge_again(ends, &at, &snapshot);
        judgement.denied().is_some()
    });
    let known = snapshot.problems();
    let changes = snapshot.change(candidates);
    let new = snapshot.problems().into_iter().filter(|problem| !known.contains(problem));
    reply.problems.extend(new.map(problem_message));
    if let Some(full) = does_not_fit(packets.policy(), changes).map_err(|error| internal(&error))? {
        reply.problems.push(full_message(&full));
        return Ok(reply);
    }
    let names_after = judge(&mut ends, &at, &snapshot, |change, judgement| change.after = judgement);
    (reply.drops, reply.drop_count) = allowed_drops(agent, dropped, &at, &snapshot, limit);
    drop(snapshot);
    ends.retain(|_, change| change.kind().is_some());
    ends.shrink_to_fit();
    if ends.is_empty() {
        return Ok(reply);
    }
    let (mut cut, mut allowed) = (Latest::new(limit), Latest::new(limit));
    let concerned = |connection: &Connection| live(connection) && ends.contains_key(&Ends::from(connection));
    packets
        .connections(until, &concerned, &mut |connection| match ends
            .get(&Ends::from(&connection))
            .and_then(Change::kind)
        {
            Some((true, _)) => cut.add(connection),
            Some((false, _)) => allowed.add(connection),
            None => {}
        })
        .map_err(|error| internal(&error))?;
    let services = packets.services(None).map_err(|error| internal(&error))?;
    let services = services.iter().map(|record| (record.number, record)).collect();
    let told = Told { policies, ends: &ends, names_now: &names_now, names_after: &names_after, services };
    (reply.cut_count, reply.allowed_count) = (cut.matching, allowed.matching);
    reply.cut = told.messages(cut);
    reply.allowed = told.messages(allowed);
    Ok(reply)
}

/// What policy denied of late, and between whom.
fn recent(drops: Vec<Drop>, at: &Whereabouts) -> Vec<(Drop, Ends, Judgement)> {
    let now = uptime();
    let is_denied = |drop: &Drop| {
        let is_by_policy = ["policy_ingress", "policy_egress", "policy_unknown"].contains(&drop.reason);
        is_by_policy && !drop.audit && now.saturating_sub(drop.last) <= RECENT
    };
    let drops = drops.into_iter().filter(is_denied);
    drops.filter_map(|drop| Some((drop, Ends::of_drop(&drop, at)?, PASSES))).collect()
}

/// What of it would pass, the last ones first, and how many there are.
fn allowed_drops(
    agent: &Agent,
    mut dropped: Vec<(Drop, Ends, Judgement)>,
    at: &Whereabouts,
    snapshot: &Snapshot,
    limit: usize,
) -> (Vec<v1::ChangedDrop>, u64) {
    let mut after = HashMap::new();
    dropped.retain(|(_, ends, _)| {
        let judgement = judge_again(ends, at, snapshot);
        let passes = judgement.denied().is_none();
        if passes {
            after.insert(*ends, judgement);
        }
        passes
    });
    let count = dropped.len() as u64;
    dropped.sort_unstable_by_key(|(drop, ..)| Reverse((drop.last, drop.source, drop.destination, drop.port)));
    dropped.truncate(limit);
    let mut names = Names::new();
    for judgement in dropped.iter().filter_map(|(_, ends, _)| after.get(ends)) {
        add_names(&mut names, judgement, snapshot);
    }
    let rows: Vec<Drop> = dropped.iter().map(|(drop, ..)| *drop).collect();
    let told = drops::messages(agent, &rows);
    let told = told.into_iter().zip(&dropped).map(|(drop, (_, ends, now))| {
        let direction = now.denied().unwrap_or(Direction::Ingress);
        let after = after.get(ends).map(|after| ruling(after.of(direction), direction, &names));
        v1::ChangedDrop { drop: Some(drop), after }
    });
    (told.collect(), count)
}

/// Notes between whom a connection is. Whether it is judged: `false` if there are too many.
fn take(ends: &mut HashMap<Ends, Change>, connection: &Connection) -> bool {
    let of = Ends::from(connection);
    if ends.len() >= MOST_ENDS && !ends.contains_key(&of) {
        return false;
    }
    ends.entry(of).or_insert(Change { now: PASSES, after: PASSES });
    true
}

/// Judges all of them; returns the names of the rules that decided.
fn judge(
    ends: &mut HashMap<Ends, Change>,
    at: &Whereabouts,
    snapshot: &Snapshot,
    mut note: impl FnMut(&mut Change, Judgement),
) -> Names {
    let mut known = Names::new();
    for (ends, change) in ends {
        let judgement = judge_again(ends, at, snapshot);
        add_names(&mut known, &judgement, snapshot);
        note(change, judgement);
    }
    known
}

/// Adds the names of the rules that decided.
fn add_names(names: &mut Names, judgement: &Judgement, snapshot: &Snapshot) {
    for ruling in [judgement.egress, judgement.ingress] {
        if let Ruling::Said(_, Verdict { rule, .. }) = ruling
            && !names.contains_key(&rule)
            && let Some(name) = snapshot.rule(rule)
        {
            names.insert(rule, name);
        }
    }
}

/// What is to be tried.
fn read(request: &v1::PreviewPolicyRequest) -> Result<Wanted, Status> {
    let v1::PreviewPolicyRequest { objects, namespace, deleted, .. } = request;
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    let (mut candidates, mut problems) = (Candidates::default(), Vec::new());
    for text in objects {
        let found = PolicyManifests::read(text, namespace).map_err(Status::invalid_argument)?;
        candidates.policies.extend(found.policies);
        candidates.cluster_policies.extend(found.cluster_policies);
        problems.extend(found.invalid.into_iter().map(|(object, invalid)| v1::Problem {
            what: "object".into(),
            object,
            problem: format!("{}; one that is in force stays as it is", invalid.problem),
            remedy: invalid.remedy,
        }));
    }
    candidates.deleted = deleted.iter().map(name).collect::<Result<_, _>>()?;
    let Candidates { policies, cluster_policies, deleted } = &candidates;
    if policies.is_empty() && cluster_policies.is_empty() && deleted.is_empty() && problems.is_empty() {
        return Err(Status::invalid_argument(
            "there is no NetworkPolicy and no ClusterNetworkPolicy to be applied or deleted",
        ));
    }
    Ok(Wanted { candidates, problems })
}

/// What else there is to know.
fn notes(snapshot: &Snapshot, candidates: &Candidates, left_out: u64) -> Vec<String> {
    let mut notes: Vec<String> = candidates
        .deleted
        .iter()
        .filter(|name| !snapshot.has(name))
        .map(|name| format!("{name} does not exist: to delete it changes nothing"))
        .collect();
    if !snapshot.in_force {
        notes.push("not all that this node knows is in force: it is compared with what it knows".to_owned());
    }
    if left_out > 0 {
        notes.push(format!("{left_out} connections were not judged: there are too many"));
    }
    notes
}

fn problem_message(Problem { what, object, problem, remedy }: Problem) -> v1::Problem {
    v1::Problem { what: what.to_owned(), object, problem, remedy }
}

fn full_message(full: &str) -> v1::Problem {
    v1::Problem {
        what: "policy_full".into(),
        object: "policies".into(),
        problem: format!("it does not fit, so that nothing of it would come into force: {full}"),
        remedy: "raise the setting that is named, or have fewer or simpler policies".into(),
    }
}

/// What is told of connections.
struct Told<'a> {
    policies: &'a Policies,
    ends: &'a HashMap<Ends, Change>,
    names_now: &'a Names,
    names_after: &'a Names,
    services: HashMap<u32, &'a ServiceRecord>,
}

impl Told<'_> {
    /// Those that were active last stand first.
    fn messages(&self, latest: Latest) -> Vec<v1::ChangedConnection> {
        let connections = latest.into_sorted();
        let now = uptime();
        let ends = connections.iter().flat_map(|one| [one.client.ip(), one.backend.ip()]);
        let mut pods = self.policies.pods_at(ends.map(|address| (address, now))).into_iter();
        let mut next = || {
            let key = pods.next().flatten()?;
            let namespace = key.namespace().unwrap_or_default().to_owned();
            Some(v1::PodName { namespace, name: key.name().to_owned() })
        };
        let told = connections.into_iter().filter_map(|connection| {
            let (client_pod, backend_pod) = (next(), next());
            let change = self.ends.get(&Ends::from(&connection))?;
            let (_, direction) = change.kind()?;
            Some(v1::ChangedConnection {
                client_pod,
                backend_pod,
                connection: Some(connections::message(connection, &self.services)),
                direction: direction.name().to_owned(),
                now: Some(ruling(change.now.of(direction), direction, self.names_now)),
                after: Some(ruling(change.after.of(direction), direction, self.names_after)),
            })
        });
        told.collect()
    }
}

fn ruling(ruling: Ruling, direction: Direction, names: &Names) -> v1::PolicyDecision {
    let nothing =
        Verdict { allow: true, audit: false, reject: false, origin: Origin::Nothing, rule: RuleId::NONE };
    match ruling {
        Ruling::NotAsked => decision(SetId::OPEN, direction, Some(nothing), None),
        Ruling::Closed => decision(SetId::CLOSED, direction, None, None),
        Ruling::Said(set, verdict) => {
            decision(set, direction, Some(verdict), names.get(&verdict.rule).map(|name| &**name))
        }
    }
}

#[cfg(test)]
mod tests {
    use objects::Key;
    use tonic::Code;

    use super::*;
    use crate::policies::PolicyName;

    const POLICY: &str = r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"},
        "spec": {"podSelector": {}}}"#;

    fn request(objects: &[&str], deleted: Vec<v1::PolicyName>) -> v1::PreviewPolicyRequest {
        let objects = objects.iter().map(|text| (*text).to_owned()).collect();
        v1::PreviewPolicyRequest { objects, deleted, ..v1::PreviewPolicyRequest::default() }
    }

    fn policy(kind: &str, namespace: &str, name: &str) -> v1::PolicyName {
        v1::PolicyName { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn what_is_tried_is_read_from_manifests_and_names() {
        let names = vec![policy("NetworkPolicy", "shop", "b"), policy("ClusterNetworkPolicy", "", "c")];
        let invalid = POLICY.replace("networking.k8s.io/v1", "policy.networking.k8s.io/v1alpha2");
        let invalid = invalid.replace("NetworkPolicy", "ClusterNetworkPolicy");
        let Wanted { candidates, problems } = read(&request(&[POLICY, &invalid], names)).unwrap();
        assert_eq!(candidates.policies[0].key, Key::namespaced("default", "a"));
        let deleted = [PolicyName::Network(Key::namespaced("shop", "b")), PolicyName::Cluster(Key::new("c"))];
        assert_eq!(candidates.deleted, deleted);
        assert_eq!((problems.len(), &*problems[0].object), (1, "ClusterNetworkPolicy a"));
        let elsewhere = v1::PreviewPolicyRequest { namespace: "shop".into(), ..request(&[POLICY], vec![]) };
        assert_eq!(read(&elsewhere).unwrap().candidates.policies[0].key, Key::namespaced("shop", "a"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let service = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}"#;
        for (wrong, want) in [
            (request(&[], vec![]), "there is no NetworkPolicy and no"),
            (request(&[service], vec![]), "there is no NetworkPolicy and no"),
            (request(&["a: [1"], vec![]), "line 1"),
            (request(&[], vec![policy("NetworkPolicy", "", "a")]), "a NetworkPolicy has a namespace"),
            (request(&[], vec![policy("ClusterNetworkPolicy", "a", "a")]), "a ClusterNetworkPolicy none"),
            (request(&[], vec![policy("Service", "a", "a")]), "\"Service\""),
            (request(&[], vec![policy("NetworkPolicy", "a", "")]), "it has no name"),
        ] {
            let status = read(&wrong).err().unwrap();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(want), "{want} in {status}");
        }
    }

    #[test]
    fn a_verdict_of_either_end_that_changes_is_told() {
        use Direction::{Egress, Ingress};
        let says = |allow| {
            let verdict = Verdict {
                allow,
                audit: false,
                reject: false,
                origin: Origin::NetworkPolicy,
                rule: RuleId(1),
            };
            Ruling::Said(SetId(7), verdict)
        };
        let (yes, no, none) = (says(true), says(false), Ruling::NotAsked);
        for (now, after, want) in [
            ((none, none), (none, no), Some((true, Ingress))),
            ((yes, yes), (no, no), Some((true, Egress))),
            ((none, Ruling::Closed), (none, yes), Some((false, Ingress))),
            ((no, none), (none, none), Some((false, Egress))),
            ((no, yes), (yes, no), None),
            ((yes, none), (none, yes), None),
        ] {
            let judgement = |(egress, ingress)| Judgement { egress, ingress };
            let change = Change { now: judgement(now), after: judgement(after) };
            assert_eq!(change.kind(), want, "{change:?}");
        }
    }
}
