//! The wanted parts of a report, in the shape that programs get: see docs/reference.md.

use serde::Serialize;

use super::args::{Part, Selection};
use super::policy::Policy;
use super::report::{Agent, Counter, Leaks, Network, Peer, Port, Report, Verdict};
use super::services::Services;
use crate::API_VERSION;
use crate::answer::Problem;

/// What is shown of a report. A part that is not wanted is absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<&'a Agent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<&'a Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<Vec<&'a Port>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peers: Option<&'a [Peer]>,
    #[serde(flatten)]
    pub(super) services: Option<ServicesPart<'a>>,
    #[serde(flatten)]
    pub(super) policy: Option<PolicyPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problems: Option<&'a [Problem]>,
    /// How many problems there are, also where they are not shown.
    #[serde(skip)]
    pub(super) degraded: usize,
    #[serde(flatten)]
    pub(super) leaks: Option<&'a Leaks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counters: Option<Vec<&'a Counter>>,
    /// Whose packets the counters are.
    #[serde(skip)]
    pub(super) verdicts: Vec<Verdict>,
}

/// The part about Services.
#[derive(Debug, Serialize)]
pub(super) struct ServicesPart<'a> {
    /// `None`: the agent leaves Services to another proxy, or to MidoNet.
    pub(super) services: Option<&'a Services>,
    /// Whether a MidoNet carries the packets.
    #[serde(skip)]
    pub(super) by_midonet: bool,
    /// How many of the problems are Services'.
    #[serde(skip)]
    pub(super) problems: usize,
}

/// The part about policies.
#[derive(Debug, Serialize)]
pub(super) struct PolicyPart<'a> {
    /// `None`: the agent enforces no policy.
    pub(super) policy: Option<&'a Policy>,
    /// Whether a MidoNet carries the packets.
    #[serde(skip)]
    pub(super) by_midonet: bool,
    /// How many of the problems are policies'.
    #[serde(skip)]
    pub(super) problems: usize,
}

/// What kinds of problems of policies begin with.
const POLICY: &str = "policy_";

/// The kind of problem of Services.
const SERVICE: &str = "service";

impl<'a> View<'a> {
    pub(super) fn new(report: &'a Report, selection: &Selection) -> Self {
        let wanted = |part| selection.has(part).then_some(());
        let verdicts: Vec<_> = [
            (Part::Traffic, Verdict::Forward),
            (Part::Drops, Verdict::Drop),
            (Part::Ignored, Verdict::Ignore),
        ]
        .into_iter()
        .filter_map(|(part, verdict)| wanted(part).map(|()| verdict))
        .collect();
        let by_midonet = report.network.is_midonet();
        let in_namespace =
            |port: &&Port| selection.namespace.as_ref().is_none_or(|namespace| port.namespace == *namespace);
        let counted = |counter: &&Counter| verdicts.contains(&counter.verdict);
        Self {
            api_version: API_VERSION,
            kind: "Status",
            agent: wanted(Part::Agent).map(|()| &report.agent),
            network: wanted(Part::Network).map(|()| &report.network),
            ports: wanted(Part::Ports).map(|()| report.ports.iter().filter(in_namespace).collect()),
            peers: wanted(Part::Peers).map(|()| report.peers.as_slice()),
            services: wanted(Part::Services).map(|()| ServicesPart {
                services: report.services.as_ref(),
                by_midonet,
                problems: report.problems.iter().filter(|problem| problem.what == SERVICE).count(),
            }),
            policy: wanted(Part::Policy).map(|()| PolicyPart {
                policy: report.policy.as_ref(),
                by_midonet,
                problems: report.problems.iter().filter(|problem| problem.what.starts_with(POLICY)).count(),
            }),
            problems: wanted(Part::Problems).map(|()| report.problems.as_slice()),
            degraded: report.problems.len(),
            leaks: wanted(Part::Leaks).map(|()| &report.leaks),
            counters: (!verdicts.is_empty()).then(|| report.counters.iter().filter(counted).collect()),
            verdicts,
        }
    }
}
