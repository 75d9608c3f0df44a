//! A NetworkPolicy as the API server and manifests have it. The API server lets none of what is wrong here pass; manifests
//! and the objects of another Kubernetes may have it.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{Peer, PolicyPort, Ports, Rule};
use crate::kinds::defects::Defects;
use crate::kinds::fields::{fields, known_fields, list, port, port_name, quoted, shown, text};
use crate::kinds::labels::{LabelSelector, readable, selector};
use crate::network::{Protocol, cidr};
use crate::shared::shared;

/// The fields that are read.
#[derive(Debug, Deserialize)]
pub struct ApiNetworkPolicy {
    pub(super) spec: Option<Value>,
}

/// What a policy says.
pub(super) struct Spec {
    pub(super) pods: LabelSelector,
    pub(super) ingress: Option<Box<[Rule]>>,
    pub(super) egress: Option<Box<[Rule]>>,
}

/// Which directions a policy is about: what comes in, what goes out.
type Directions = [bool; 2];

impl Spec {
    pub(super) fn read(spec: Option<&Value>, defects: &mut Defects) -> Self {
        let empty = Value::Object(serde_json::Map::new());
        let names = ["podSelector", "policyTypes", "ingress", "egress"];
        let (known, unknown) = match known_fields(spec.unwrap_or(&empty), names) {
            Ok(known) => known,
            Err(wrong) => {
                let becomes = "the policy denies everything to every Pod of its namespace";
                defects.add("spec", format!("{wrong}: {becomes}"));
                let none = || Some(Box::default());
                return Self { pods: LabelSelector::default(), ingress: none(), egress: none() };
            }
        };
        let [pods, types, ingress, egress] = known;
        let [is_ingress, is_egress] = match types.map(directions) {
            None | Some(Ok(None)) => {
                let has_egress =
                    egress.is_some_and(|rules| rules.as_array().is_none_or(|all| !all.is_empty()));
                if let Some(name) = unknown.first() {
                    let becomes =
                        "as policyTypes is not set, either, what goes out is denied unless a rule allows it";
                    defects.add("spec", format!("its field {name:?} is unknown: {becomes}"));
                }
                [true, has_egress || !unknown.is_empty()]
            }
            Some(Ok(Some(directions))) => {
                if let Some(name) = unknown.first() {
                    defects.add("spec", format!("its field {name:?} is unknown: it is ignored"));
                }
                directions
            }
            Some(Err(wrong)) => {
                defects.add("spec.policyTypes", format!("{wrong}: the policy is about both directions"));
                [true, true]
            }
        };
        let mut of = |is_said: bool, value, field: &str, peers| {
            is_said.then(|| rules(value, &format!("spec.{field}"), peers, defects))
        };
        let ingress = of(is_ingress, ingress, "ingress", "from");
        let egress = of(is_egress, egress, "egress", "to");
        let (pods, wrong) = pods.map_or((LabelSelector::default(), None), readable);
        let mut spec = Self { pods, ingress, egress };
        if let Some(wrong) = wrong {
            // With the requirements that are left it may apply to more Pods, to which it is to allow nothing.
            let becomes = "the policy applies to the Pods that the rest of it selects, and allows nothing";
            defects.add("spec.podSelector", format!("{wrong}: {becomes}"));
            for rules in [&mut spec.ingress, &mut spec.egress].into_iter().flatten() {
                *rules = Box::default();
            }
        }
        spec
    }
}

/// Those of `policyTypes`; `None`: it has none.
fn directions(types: &Value) -> Result<Option<Directions>, String> {
    let mut directions = [false; 2];
    for one in list(types)? {
        match text(one)? {
            "Ingress" => directions[0] = true,
            "Egress" => directions[1] = true,
            other => return Err(format!("{} is unknown", quoted(other))),
        }
    }
    Ok((directions != [false; 2]).then_some(directions))
}

fn rules(value: Option<&Value>, field: &str, peers: &str, defects: &mut Defects) -> Box<[Rule]> {
    let Some(value) = value else { return Box::default() };
    let all = list(value).unwrap_or_else(|wrong| {
        defects.add(field, format!("{wrong}: nothing is allowed by it"));
        &[]
    });
    let rule = |(index, value): (usize, &Value)| {
        let field = format!("{field}[{index}]");
        let [who, ports] = match fields(value, [peers, "ports"]) {
            Ok(fields) => fields,
            Err(wrong) => {
                defects.add(&field, format!("{wrong}: the rule allows nothing"));
                return Rule { peers: Some(Box::default()), ports: Some(Box::default()) };
            }
        };
        let who = every(who, &format!("{field}.{peers}"), "nobody is allowed by it", defects, peer);
        let ports =
            every(ports, &format!("{field}.ports"), "no port is allowed by it", defects, |value, _, _| {
                policy_port(value)
            });
        Rule { peers: who, ports }
    };
    all.iter().enumerate().map(rule).collect()
}

/// What can be read of a list; `None` if it is not there or empty, which stands for everything.
fn every<T>(
    value: Option<&Value>,
    field: &str,
    becomes: &str,
    defects: &mut Defects,
    read: impl Fn(&Value, &str, &mut Defects) -> Result<T, String>,
) -> Option<Box<[T]>> {
    let all = match value.map(list)? {
        Ok([]) => return None,
        Ok(all) => all,
        Err(wrong) => {
            defects.add(field, format!("{wrong}: {becomes}"));
            &[]
        }
    };
    let mut found = Vec::with_capacity(all.len());
    for (index, value) in all.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match read(value, &field, defects) {
            Ok(one) => found.push(one),
            Err(wrong) => defects.add(&field, format!("{wrong}: {becomes}")),
        }
    }
    Some(found.into())
}

fn peer(value: &Value, field: &str, defects: &mut Defects) -> Result<Peer, String> {
    let of = |field: &'static str| move |wrong| format!("{field}: {wrong}");
    match fields(value, ["podSelector", "namespaceSelector", "ipBlock"])? {
        [None, None, None] => Err("it says no peer".to_owned()),
        [None, None, Some(ip_block)] => block(ip_block, field, defects).map_err(of("ipBlock")),
        [_, _, Some(_)] => Err("it has an ipBlock and a selector".to_owned()),
        [pods, namespaces, None] => Ok(Peer::Pods {
            namespaces: namespaces.map(selector).transpose().map_err(of("namespaceSelector"))?,
            pods: pods.map_or(Ok(LabelSelector::default()), selector).map_err(of("podSelector"))?,
        }),
    }
}

fn block(value: &Value, field: &str, defects: &mut Defects) -> Result<Peer, String> {
    let range = |value: &Value| {
        let text = text(value)?;
        cidr(text).ok_or_else(|| format!("{} is no CIDR like 192.0.2.0/24 or 2001:db8::/64", quoted(text)))
    };
    let [block, except] = fields(value, ["cidr", "except"])?;
    let block = range(block.ok_or("it has no cidr")?)?;
    let mut cut = Vec::<IpNet>::new();
    for value in except.map_or(Ok(&[][..]), list)? {
        let one = range(value).map_err(|wrong| format!("except: {wrong}"))?;
        if one.contains(&block) {
            return Err(format!("its except {one} is all of it"));
        } else if block.contains(&one) {
            cut.push(one);
        } else {
            let problem = format!("{one} lies outside {block}: it is ignored, as it takes nothing away");
            defects.add(&format!("{field}.ipBlock.except"), problem);
        }
    }
    cut.sort_unstable();
    cut.dedup_by(|next, kept| kept.contains(&*next));
    Ok(Peer::Block { cidr: block, except: cut.into() })
}

fn policy_port(value: &Value) -> Result<PolicyPort, String> {
    let [protocol, first, last] = fields(value, ["protocol", "port", "endPort"])?;
    let protocol = match protocol.map(text).transpose()? {
        None => Protocol::Tcp,
        Some(name) => Protocol::named(name)
            .ok_or_else(|| format!("the protocol {} is none of TCP, UDP and SCTP", quoted(name)))?,
    };
    let ports = match (first, last) {
        (None, None) => Ports::All,
        (None, Some(_)) => return Err("it has an endPort and no port".to_owned()),
        (Some(Value::String(_)), Some(_)) => return Err("it has an endPort, and a name as port".to_owned()),
        (Some(Value::String(name)), None) => Ports::Named(shared(port_name(name)?)),
        (Some(first), last) => {
            let first = port(first)?;
            let last_port = last.map_or(Ok(first), port).map_err(|wrong| format!("endPort: {wrong}"))?;
            if last_port < first {
                let last = last.map(shown).unwrap_or_default();
                return Err(format!("its endPort {last} is below its port {first}"));
            }
            Ports::Range(first, last_port)
        }
    };
    Ok(PolicyPort { protocol, ports })
}
