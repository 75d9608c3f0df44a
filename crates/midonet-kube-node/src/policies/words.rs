//! Policies in words.

use datapath::drops::OF_POLICY;
use datapath::reasons;
use nodeapi::v1;
use policy::{Direction, Origin, RuleId, RuleName, SetId, Verdict};

/// Who decides, as a label of metrics.
pub(crate) fn tier_label(origin: Origin) -> &'static str {
    match origin {
        Origin::NetworkPolicy => "network_policy",
        other => other.name(),
    }
}

/// Why nothing passes to or from a Pod that is closed.
pub(crate) const CLOSED: &str = "what applies to the Pod is not known, or not in force yet: it is closed";

/// Why something is denied, or would be.
pub(crate) fn denied(by: &RuleName, audit: bool) -> String {
    if audit { format!("{by} would deny it, but is only audited") } else { format!("{by} denies it") }
}

/// Why a packet without a port is dropped where policy asks for one.
const NO_PORT: &str = "policy depends on the port, which is not known: the first fragment was not seen, or IPv6 extension \
                       headers hide it";

/// Why nobody knows the rule.
const FORGOTTEN: &str = "a rule that this agent does not know any more: the agent was started again since, or the policy \
                         changed long ago";

/// Who dropped something, and why.
#[derive(Debug)]
pub(crate) struct Decision<'a> {
    /// The tier, as messages have it: "none" if it was no policy.
    pub(crate) by: &'static str,
    /// What decided, if it was a rule that is known.
    pub(crate) rule: Option<&'a RuleName>,
    /// In words.
    pub(crate) why: String,
}

impl<'a> Decision<'a> {
    /// Of a drop for that reason, by that rule if it is known.
    pub(crate) fn of(reason: &str, audit: bool, rule: Option<&'a RuleName>) -> Self {
        let unknown = |why: &str| Self { by: "unknown", rule: None, why: why.to_owned() };
        match (reason, rule) {
            ("policy_unknown", _) => unknown(CLOSED),
            ("policy_no_port", _) => unknown(NO_PORT),
            _ if !OF_POLICY.contains(&reason) => Self { by: "none", rule: None, why: help(reason) },
            (_, None) => unknown(FORGOTTEN),
            (_, Some(rule)) => Self { by: rule.origin.name(), rule: Some(rule), why: denied(rule, audit) },
        }
    }
}

/// What a reason means.
fn help(reason: &str) -> String {
    let known = reasons().iter().find(|known| known.name == reason);
    known.map_or("a reason that this agent does not know", |known| known.help).to_owned()
}

/// What the datapath's tables say, as the judge has it.
pub(crate) fn verdict_of(found: datapath::policy::Verdict) -> Verdict {
    Verdict {
        allow: found.allow,
        audit: found.audit,
        reject: found.reject,
        origin: match found.origin {
            datapath::policy::Origin::Admin => Origin::Admin,
            datapath::policy::Origin::NetworkPolicy => Origin::NetworkPolicy,
            datapath::policy::Origin::Baseline => Origin::Baseline,
            datapath::policy::Origin::Nothing => Origin::Nothing,
        },
        rule: RuleId(found.rule),
    }
}

/// What a Pod's set says to a connection, with the name of the rule that says so; `None`: nothing is known.
pub(crate) fn decision(
    set: SetId,
    direction: Direction,
    verdict: Option<Verdict>,
    name: Option<&RuleName>,
) -> v1::PolicyDecision {
    let Some(Verdict { allow, audit, reject, origin, .. }) = verdict else {
        return v1::PolicyDecision {
            verdict: "deny".into(),
            decided_by: "unknown".into(),
            why: CLOSED.into(),
            set: set.0,
            ..v1::PolicyDecision::default()
        };
    };
    let way = match direction {
        Direction::Ingress => "what comes to the Pod",
        Direction::Egress => "what the Pod sends",
    };
    let why = match (name, allow, audit) {
        (None, true, _) if set == SetId::OPEN => "no policy applies to the Pod".to_owned(),
        (None, true, _) => format!("no policy says anything about {way}"),
        (None, false, _) => format!("policy {} denies it", origin.name()),
        (Some(name), true, false) => format!("{name} allows it"),
        (Some(name), _, audit) => denied(name, audit),
    };
    let verdict = match (audit, allow) {
        (true, _) => "audit",
        (_, true) => "allow",
        (_, false) => "deny",
    };
    v1::PolicyDecision {
        verdict: verdict.into(),
        reject,
        decided_by: origin.name().into(),
        policies: name.iter().flat_map(|name| name.policies.iter()).map(ToString::to_string).collect(),
        rule: name.and_then(|name| name.rule),
        rule_name: name.map(|name| name.name.to_string()).unwrap_or_default(),
        why,
        set: set.0,
        ..v1::PolicyDecision::default()
    }
}

/// No policy is asked.
pub(crate) fn exempt(why: &str) -> v1::PolicyDecision {
    v1::PolicyDecision {
        verdict: "allow".into(),
        decided_by: "exempt".into(),
        why: why.into(),
        ..v1::PolicyDecision::default()
    }
}
