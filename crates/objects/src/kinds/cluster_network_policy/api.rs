//! A ClusterNetworkPolicy as the API server and manifests have it (sigs.k8s.io/network-policy-api v0.2.0).

use serde::Deserialize;
use serde_json::Value;

use super::peers::{Direction, has_no_named_ports, peer, selected};
use super::ports::cluster_port;
use super::{Action, ClusterPeer, ClusterPort, ClusterRule, Tier};
use crate::kind::Invalid;
use crate::kinds::defects::Defects;
use crate::kinds::fields::{known_fields, list, quoted, shown, text};
use crate::kinds::labels::LabelSelector;
use crate::shared::shared;

/// The highest number of a priority.
const LAST: u16 = 1000;

/// What becomes of a rule with a peer or a field that cannot be read.
const CLOSED: &str = "a rule that accepts matches nothing by it, any other one denies everything";

/// What becomes of a rule with a port that cannot be read.
const CLOSED_PORT: &str = "a rule that accepts matches no port by it, any other one denies every port";

/// The fields that are read.
#[derive(Debug, Deserialize)]
pub struct ApiClusterNetworkPolicy {
    pub(super) spec: Option<Value>,
}

/// What a policy says.
pub(super) struct Spec {
    pub(super) tier: Tier,
    pub(super) priority: u16,
    pub(super) namespaces: LabelSelector,
    pub(super) pods: LabelSelector,
    pub(super) ingress: Box<[ClusterRule]>,
    pub(super) egress: Box<[ClusterRule]>,
}

/// What stands for a part that cannot be read.
trait Unknown {
    const UNKNOWN: Self;
}

impl Unknown for ClusterPeer {
    const UNKNOWN: Self = Self::Unknown;
}

impl Unknown for ClusterPort {
    const UNKNOWN: Self = Self::Unknown;
}

impl Spec {
    pub(super) fn read(spec: Option<&Value>, defects: &mut Defects) -> Result<Self, Invalid> {
        let spec = needed("spec", spec, Ok)?;
        let names = ["tier", "priority", "subject", "ingress", "egress"];
        let (known, unknown) = known_fields(spec, names).map_err(|wrong| Invalid::field("spec", wrong))?;
        let [tier, priority, subject, ingress, egress] = known;
        if let Some(name) = unknown.first() {
            defects.add("spec", format!("its field {name:?} is unknown: it is ignored"));
        }
        let (namespaces, pods) = needed("spec.subject", subject, selected)?;
        Ok(Self {
            tier: needed("spec.tier", tier, tier_of)?,
            priority: needed("spec.priority", priority, priority_of)?,
            namespaces,
            pods,
            ingress: rules(ingress, Direction::Ingress, defects)?,
            egress: rules(egress, Direction::Egress, defects)?,
        })
    }
}

/// A field without which the whole policy means nothing.
fn needed<'a, T>(
    field: &str,
    value: Option<&'a Value>,
    read: impl FnOnce(&'a Value) -> Result<T, String>,
) -> Result<T, Invalid> {
    let read = value.map_or_else(|| Err("it is missing".to_owned()), read);
    read.map_err(|wrong| Invalid::field(field, wrong))
}

fn tier_of(value: &Value) -> Result<Tier, String> {
    match text(value)? {
        "Admin" => Ok(Tier::Admin),
        "Baseline" => Ok(Tier::Baseline),
        other => Err(format!("{} is neither Admin nor Baseline", quoted(other))),
    }
}

fn priority_of(value: &Value) -> Result<u16, String> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let number = number.filter(|number| *number <= LAST);
    number.ok_or_else(|| format!("{} is no number from 0 to {LAST}", shown(value)))
}

fn action_of(value: &Value) -> Result<Action, String> {
    match text(value)? {
        "Accept" => Ok(Action::Accept),
        "Deny" => Ok(Action::Deny),
        "Pass" => Ok(Action::Pass),
        other => Err(format!("{} is none of Accept, Deny and Pass", quoted(other))),
    }
}

fn rules(
    value: Option<&Value>,
    direction: Direction,
    defects: &mut Defects,
) -> Result<Box<[ClusterRule]>, Invalid> {
    let Some(value) = value else { return Ok(Box::default()) };
    let field = format!("spec.{}", direction.name());
    let all = list(value).map_err(|wrong| Invalid::field(&field, wrong))?;
    let rules = all.iter().enumerate();
    rules.map(|(index, value)| rule(value, &format!("{field}[{index}]"), direction, defects)).collect()
}

/// A rule of which a part cannot be read fails closed: that part matches nothing if the rule accepts, else it denies all
/// that the part might have matched.
fn rule(
    value: &Value,
    field: &str,
    direction: Direction,
    defects: &mut Defects,
) -> Result<ClusterRule, Invalid> {
    let names = ["name", "action", direction.peers(), "protocols"];
    let (known, unknown) = known_fields(value, names).map_err(|wrong| Invalid::field(field, wrong))?;
    let [name, action, peers, ports] = known;
    let action = needed(&format!("{field}.action"), action, action_of)?;
    let name = name.map_or(Ok(""), text).unwrap_or_else(|wrong| {
        defects.add(&format!("{field}.name"), format!("{wrong}: the rule has no name"));
        ""
    });
    let mut rule = ClusterRule {
        name: shared(name),
        action,
        peers: every(peers, &format!("{field}.{}", direction.peers()), CLOSED, defects, |value| {
            peer(value, direction)
        }),
        ports: None,
    };
    if let Some(ports) = ports {
        rule.ports =
            Some(every(Some(ports), &format!("{field}.protocols"), CLOSED_PORT, defects, cluster_port));
    }
    if rule.peers.iter().any(has_no_named_ports) {
        for port in rule.ports.iter_mut().flatten().filter(|port| matches!(port, ClusterPort::Named(_))) {
            *port = ClusterPort::Unknown;
            let problem = format!("networks and nodes have no ports with names: {CLOSED_PORT}");
            defects.add(&format!("{field}.protocols"), problem);
        }
    }
    if let Some(name) = unknown.first() {
        defects.add(field, format!("its field {name:?} is unknown: {CLOSED}"));
        rule.peers = [ClusterPeer::Unknown].into();
    }
    let has_unknown_peer = rule.peers.contains(&ClusterPeer::Unknown);
    let has_unknown_port = rule.ports.iter().flatten().any(|port| *port == ClusterPort::Unknown);
    if rule.action != Action::Accept && (has_unknown_peer || has_unknown_port) {
        rule.action = Action::Deny;
        rule.ports = None;
    }
    Ok(rule)
}

/// What can be read of a list that is not to be empty; what cannot is unknown.
fn every<T>(
    value: Option<&Value>,
    field: &str,
    becomes: &str,
    defects: &mut Defects,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Box<[T]>
where
    T: Unknown,
{
    let mut tell = |field: &str, wrong: &str| {
        defects.add(field, format!("{wrong}: {becomes}"));
        T::UNKNOWN
    };
    let all = match value.map(list) {
        None => return [tell(field, "it is missing")].into(),
        Some(Err(wrong)) => return [tell(field, &wrong)].into(),
        Some(Ok([])) => return [tell(field, "it is empty")].into(),
        Some(Ok(all)) => all,
    };
    let one = |(index, value)| read(value).unwrap_or_else(|wrong| tell(&format!("{field}[{index}]"), &wrong));
    all.iter().enumerate().map(one).collect()
}
