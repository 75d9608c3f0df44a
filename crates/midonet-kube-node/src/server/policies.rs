//! What `midokube` shows of policies: what applies to Pods, and what becomes of a connection, from the kernel's tables.

mod explain;
mod preview;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datapath::policy::{Counts, Question};
use nodeapi::v1;
use nodeapi::v1::policies_server::Policies as Api;
use objects::Key;
use policy::{Applied, Direction, LocalId, Origin, RuleName, SetId};
use tonic::{Request, Response, Status};

use super::answers::internal;
use super::near;
use super::status::problem_message;
use super::turn::Turn;
use crate::agent::Agent;
use crate::backend::PortRecord;
use crate::memory;
use crate::policies::Policies;
use crate::problems::Origin as ProblemOrigin;

/// How long a preview may wait for others, and then take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves [`Api`]. One preview is answered at a time: it copies what is known.
#[derive(Debug)]
pub struct PoliciesService {
    agent: Agent,
    turn: Turn,
}

impl PoliciesService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent, turn: Turn::new("previews", PATIENCE) }
    }

    /// Answers away from the threads that serve calls.
    async fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Agent, &Policies) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        self.agent.packets()?;
        let Some(policies) = self.agent.policies().cloned() else {
            return Err(Status::failed_precondition("it enforces no policy (--policy off)"));
        };
        let done = self.agent.blocking(move |agent| Ok(work(agent, &policies))).await;
        done.map_err(|error| internal(&error))?.map(Response::new)
    }
}

#[tonic::async_trait]
impl Api for PoliciesService {
    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesReply>, Status> {
        let request = request.into_inner();
        self.answer(move |agent, policies| list(agent, policies, &request)).await
    }

    async fn explain_policy(
        &self,
        request: Request<v1::ExplainPolicyRequest>,
    ) -> Result<Response<v1::ExplainPolicyReply>, Status> {
        let request = request.into_inner();
        self.answer(move |agent, policies| explain::explain(agent, policies, &request)).await
    }

    async fn preview_policy(
        &self,
        request: Request<v1::PreviewPolicyRequest>,
    ) -> Result<Response<v1::PreviewPolicyReply>, Status> {
        let request = request.into_inner();
        let turn = self.turn.wait().await?;
        // The turn lasts until the work is done, also if the caller has gone.
        self.answer(move |agent, policies| {
            let _turn = turn;
            let reply = preview::preview(agent, policies, &request, Instant::now() + PATIENCE);
            memory::give_back();
            reply
        })
        .await
    }

    async fn get_policy_version(
        &self,
        request: Request<v1::GetPolicyVersionRequest>,
    ) -> Result<Response<v1::GetPolicyVersionReply>, Status> {
        let request = request.into_inner();
        self.answer(move |agent, policies| version::version(agent, policies, &request)).await
    }
}

/// What each rule decided, by its policy, direction and index, and each default deny.
#[derive(Debug, Default)]
struct Decided {
    rules: BTreeMap<(Key, Direction, u32), (Arc<str>, Counts)>,
    defaults: Vec<(Arc<RuleName>, Counts)>,
}

impl Decided {
    fn of(all: Vec<(Arc<RuleName>, Counts)>) -> Self {
        let mut decided = Self::default();
        for (name, counts) in all {
            match (&*name.policies, name.rule) {
                ([policy], Some(rule)) => {
                    let key = (policy.clone(), name.direction, rule);
                    let (_, known) = decided
                        .rules
                        .entry(key)
                        .or_insert_with(|| (Arc::clone(&name.name), Counts::default()));
                    *known = sum([*known, counts]);
                }
                _ => decided.defaults.push((name, counts)),
            }
        }
        decided
    }

    /// The rules of a policy, those that decided nothing included.
    fn rules(&self, policy: &Key, direction: Direction, count: usize) -> Vec<v1::PolicyRule> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let rule = |index| {
            let known = self.rules.get(&(policy.clone(), direction, index));
            v1::PolicyRule {
                index,
                name: known.map(|(name, _)| name.to_string()).unwrap_or_default(),
                counts: Some(counts_message(known.map(|(_, counts)| *counts).unwrap_or_default())),
            }
        };
        (0..count).map(rule).collect()
    }
}

fn list(
    agent: &Agent,
    policies: &Policies,
    request: &v1::ListPoliciesRequest,
) -> Result<v1::ListPoliciesReply, Status> {
    let mut ports = agent.backend().ports();
    if let Some(v1::PodName { namespace, name }) = &request.pod {
        ports.retain(|port| port.pod().namespace == *namespace && port.pod().name == *name);
        if ports.is_empty() {
            return Err(Status::not_found(format!(
                "there is no Pod {namespace}/{name} on this node; one with hostNetwork has no policy{}",
                near::pod(agent, namespace, name)
            )));
        }
    }
    ports.sort_by_cached_key(|port| (port.pod().namespace, port.pod().name));
    let counts = policies.counts(agent.packets()?.policy()).map_err(|error| internal(&error))?;
    let decided = Decided::of(counts);
    let pods: Result<_, _> = ports.iter().map(|port| pod_message(agent, policies, port, &decided)).collect();
    let ranges = explain::service_ranges(agent);
    let block = |(block, whose)| {
        format!("{whose}: {block} is of Services: policies see their endpoints, so that nothing matches it")
    };
    Ok(v1::ListPoliciesReply {
        pods: pods?,
        problems: agent
            .problems()
            .of(&[ProblemOrigin::Policies, ProblemOrigin::PolicyTables])
            .into_iter()
            .map(problem_message)
            .collect(),
        notes: policies.blocks_in(&ranges).into_iter().map(block).collect(),
    })
}

fn pod_message(
    agent: &Agent,
    policies: &Policies,
    port: &PortRecord,
    decided: &Decided,
) -> Result<v1::PodPolicies, Status> {
    let set = kernels_set(agent, port)?;
    let wanted = policies.of(LocalId(port.host_ifindex));
    let (state, reason) = match set {
        SetId::OPEN => ("open", String::new()),
        SetId::CLOSED => {
            let reason = wanted.as_ref().and_then(|pod| pod.closed.clone());
            (
                "closed",
                reason.unwrap_or_else(|| "its policy is not in force yet: see the problems".to_owned()),
            )
        }
        _ => ("policed", String::new()),
    };
    let applied = wanted.map(|pod| pod.policies).unwrap_or_default();
    let pod = port.pod();
    Ok(v1::PodPolicies {
        namespace: pod.namespace,
        name: pod.name,
        addresses: port.addresses.iter().map(ToString::to_string).collect(),
        state: state.to_owned(),
        reason,
        set: set.0,
        policies: applied_messages(&applied, decided),
    })
}

/// The set that the kernel has for a Pod.
fn kernels_set(agent: &Agent, port: &PortRecord) -> Result<SetId, Status> {
    let Some(address) = port.addresses.first() else { return Ok(SetId::OPEN) };
    let question = Question {
        pod: *address,
        direction: datapath::policy::Direction::Ingress,
        other: *address,
        port: None,
    };
    let found = agent.packets()?.policy().find(&question).map_err(|error| internal(&error))?;
    Ok(found.map_or(SetId::CLOSED, |found| SetId(found.set)))
}

/// The policies in their order, what comes in first; the default deny of NetworkPolicies stands behind them.
fn applied_messages(applied: &[Applied], decided: &Decided) -> Vec<v1::AppliedPolicy> {
    let mut messages = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let of_direction = || applied.iter().filter(move |one| one.direction == direction);
        let networks: BTreeSet<&Key> =
            of_direction().filter(|one| one.origin == Origin::NetworkPolicy).map(|one| &one.policy).collect();
        let mut default = (!networks.is_empty()).then(|| default_deny(direction, &networks, decided));
        for one in of_direction() {
            if one.origin == Origin::Baseline {
                messages.extend(default.take());
            }
            messages.push(applied_message(one, decided));
        }
        messages.extend(default);
    }
    messages
}

fn applied_message(applied: &Applied, decided: &Decided) -> v1::AppliedPolicy {
    let Applied { direction, origin, policy, priority, audit, rules, asked } = applied;
    let of_rules =
        decided.rules.range((policy.clone(), *direction, 0)..=(policy.clone(), *direction, u32::MAX));
    v1::AppliedPolicy {
        direction: direction.name().to_owned(),
        tier: origin.name().to_owned(),
        policies: vec![policy.to_string()],
        priority: priority.map(Into::into),
        audit: *audit,
        not_asked: !asked,
        default_deny: false,
        rules: decided.rules(policy, *direction, *rules),
        counts: Some(counts_message(sum(of_rules.map(|(_, (_, counts))| *counts)))),
    }
}

fn default_deny(direction: Direction, policies: &BTreeSet<&Key>, decided: &Decided) -> v1::AppliedPolicy {
    let is_it = |name: &RuleName| {
        name.direction == direction
            && name.origin == Origin::NetworkPolicy
            && name.policies.iter().collect::<BTreeSet<_>>() == *policies
    };
    let counts = decided.defaults.iter().filter(|(name, _)| is_it(name)).map(|(_, counts)| *counts);
    v1::AppliedPolicy {
        direction: direction.name().to_owned(),
        tier: Origin::NetworkPolicy.name().to_owned(),
        policies: policies.iter().map(ToString::to_string).collect(),
        default_deny: true,
        counts: Some(counts_message(sum(counts))),
        ..v1::AppliedPolicy::default()
    }
}

fn sum(all: impl IntoIterator<Item = Counts>) -> Counts {
    all.into_iter().fold(Counts::default(), |sum, one| Counts {
        allowed: sum.allowed.saturating_add(one.allowed),
        denied: sum.denied.saturating_add(one.denied),
        audited: sum.audited.saturating_add(one.audited),
    })
}

fn counts_message(Counts { allowed, denied, audited }: Counts) -> v1::PolicyCounts {
    v1::PolicyCounts { allowed, denied, audited }
}

#[cfg(test)]
mod tests;
