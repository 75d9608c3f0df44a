//! `/chains`, their rules, and `/rules`.

use serde_json::Value;
use uuid::Uuid;

use crate::devices::is_of;
use crate::kinds::{CHAIN, rule};
use crate::media::{Takes, only};
use crate::message::{Answer, Request, Response};
use crate::schema::{Record, Violation};
use crate::state::{Chain, Rule};
use crate::store::{Store, id_of, read, valid};
use crate::view::View;
use crate::{body, json};

const TYPE_IDS: &str =
    "[Rule, accept, dnat, drop, jump, l2_transform, reject, return, rev_dnat, rev_snat, snat, trace]";
const MODEL: &str = "org.midonet.cluster.rest_api.models.Rule";

impl Store {
    fn chain(&self, id: Uuid) -> Result<&Chain, Response> {
        self.state.chains.get(&id).ok_or_else(|| Response::missing("Chain", id))
    }

    pub(crate) fn list_chains(&self, request: &Request) -> Answer {
        let given = only(request, &["collection.Chain-v1"])?;
        let chains = self.state.chains.iter().filter(|(_, chain)| is_of(request, &chain.record));
        let views = chains.map(|(id, chain)| chain_view(&chain.record, *id, &request.base));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_chain(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &["Chain-v1"])?;
        let id = id_of(id, "Chain")?;
        Ok(Response::ok(given, chain_view(&self.chain(id)?.record, id, &request.base)))
    }

    pub(crate) fn post_chain(&mut self, request: &Request) -> Answer {
        let mut record = read(request, Takes::Checked(&["Chain-v1"]), CHAIN)?;
        valid(&record, CHAIN)?;
        let id = record.id("id").unwrap_or_else(|| self.random.id());
        if self.state.chains.contains_key(&id) {
            return Err(Response::taken("Chain", id));
        }
        record.set_id("id", Some(id));
        self.state.chains.insert(id, Chain { record, rules: Vec::new() });
        Ok(Response::created(Some(format!("{}/chains/{id}", request.base))))
    }

    pub(crate) fn delete_chain(&mut self, id: &str) -> Answer {
        let id = id_of(id, "Chain")?;
        self.chain(id)?;
        self.state.remove_chain(id);
        Ok(Response::no_content())
    }

    pub(crate) fn list_rules(&self, request: &Request, chain: Uuid) -> Answer {
        let given = only(request, &["collection.Rule-v2"])?;
        let rules = self.chain(chain)?.rules.iter().enumerate();
        let views =
            rules.filter_map(|(at, id)| Some(rule_view(self.state.rules.get(id)?, *id, at, &request.base)));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_rule(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &["Rule-v2"])?;
        let id = id_of(id, "Rule")?;
        let rule = self.state.rules.get(&id).ok_or_else(|| Response::missing("Rule", id))?;
        let at = self.chain(rule.chain)?.rules.iter().position(|known| *known == id).unwrap_or(0);
        Ok(Response::ok(given, rule_view(rule, id, at, &request.base)))
    }

    pub(crate) fn post_rule(&mut self, request: &Request, chain: Uuid) -> Answer {
        let takes = Takes::Checked(&["Rule-v2"]);
        takes.before(request)?;
        let body = body::fields(&request.body)?;
        let rule_type = rule_type(body.get("type").and_then(Value::as_str))?;
        let schema = rule(rule_type).unwrap_or(&[]);
        let mut record = Record::read(schema, &body)?;
        takes.after(request)?;
        let id = record.id("id").unwrap_or_else(|| self.random.id());
        record.set_id("id", Some(id));
        record.set_id("chainId", None);
        // No position, and zero, are the first.
        if record.number("position").unwrap_or(0) == 0 {
            record.set("position", 1);
        }
        let mut violations = record.violations(schema);
        violations.extend(fragment_violation(&record, rule_type));
        if !violations.is_empty() {
            return Err(Response::violations(&violations));
        }
        with_fragment_policy(&mut record, rule_type);
        if self.state.rules.contains_key(&id) {
            return Err(Response::taken("Rule", id));
        }
        let length = self.chain(chain)?.rules.len();
        let position =
            record.number("position").and_then(|position| usize::try_from(position).ok()).unwrap_or(0);
        if position == 0 || position > length + 1 {
            return Err(Response::error(400, "Position exceeds number of rules in chain"));
        }
        if let Some(target) = record.id("jumpChainId") {
            self.chain(target)?;
        }
        if let Some(chain) = self.state.chains.get_mut(&chain) {
            chain.rules.insert(position - 1, id);
        }
        self.state.rules.insert(id, Rule { record, rule_type: rule_type.into(), chain });
        Ok(Response::created(Some(format!("{}/rules/{id}", request.base))))
    }

    pub(crate) fn delete_rule(&mut self, id: &str) -> Answer {
        let id = id_of(id, "Rule")?;
        if !self.state.rules.contains_key(&id) {
            return Err(Response::missing("Rule", id));
        }
        self.state.remove_rule(id);
        Ok(Response::no_content())
    }
}

/// The type that a body gives.
fn rule_type(given: Option<&str>) -> Result<&str, Response> {
    let Some(given) = given else {
        let why = format!(
            "Unexpected token (END_OBJECT), expected FIELD_NAME: missing property 'type' that is to contain type id  \
             (for class {MODEL})"
        );
        return Err(Response::error(400, &why));
    };
    if rule(given).is_some() {
        return Ok(given);
    }
    if ["l2_transform", "trace"].contains(&given) {
        return Err(Response::error(501, &format!("The stand-in for MidoNet has no rules of type {given}.")));
    }
    let why = format!(
        "Could not resolve type id '{given}' into a subtype of [simple type, class {MODEL}]: known type ids = {TYPE_IDS}"
    );
    Err(Response::error(400, &why))
}

fn has_ports(record: &Record) -> bool {
    record.get("tpSrc").is_some() || record.get("tpDst").is_some()
}

/// Whether a translation needs ports: fragments but the first have none.
fn translates_ports(record: &Record) -> bool {
    let targets = record.get("natTargets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_floating = matches!(targets, [target] if target.get("addressFrom") == target.get("addressTo")
        && ["portFrom", "portTo"].iter().all(|port| target.get(port).and_then(Value::as_i64) == Some(0)));
    !is_floating || has_ports(record)
}

fn is_forward_nat(rule_type: &str) -> bool {
    ["dnat", "snat"].contains(&rule_type)
}

fn fragment_violation(record: &Record, rule_type: &str) -> Option<Violation> {
    let policy = record.text("fragmentPolicy")?;
    let (refused, message) = if is_forward_nat(rule_type) {
        let message = "For a NAT rule with port constraints or multiple targets, the fragmentPolicy must be 'unfragmented'.";
        (translates_ports(record) && policy != "unfragmented", message)
    } else {
        let message = "For a rule with tpDst or tpSrc constraints, the fragmentPolicy must be 'header' or 'unfragmented'.";
        (has_ports(record) && ["any", "nonheader"].contains(&policy), message)
    };
    refused.then(|| ("", message.into()))
}

fn with_fragment_policy(record: &mut Record, rule_type: &str) {
    if record.get("fragmentPolicy").is_none() {
        let policy = match is_forward_nat(rule_type) {
            true if translates_ports(record) => "unfragmented",
            false if has_ports(record) => "header",
            _ => "any",
        };
        record.set("fragmentPolicy", policy);
    }
}

fn chain_view(record: &Record, id: Uuid, base: &str) -> String {
    View::default()
        .fields(record, CHAIN)
        .at("rules", base, &format!("/chains/{id}/rules"))
        .at("uri", base, &format!("/chains/{id}"))
        .text()
}

fn rule_view(one: &Rule, id: Uuid, at: usize, base: &str) -> String {
    let (record, rule_type) = (&one.record, one.rule_type.as_str());
    let length =
        |address: &str, length: &str| record.get(address).and_then(|_| record.number(length)).unwrap_or(0);
    View::default()
        .with("type", rule_type)
        .fields(record, rule(rule_type).unwrap_or(&[]))
        .but("nwDstLength", length("nwDstAddress", "nwDstLength"))
        .but("nwSrcLength", length("nwSrcAddress", "nwSrcLength"))
        .but("chainId", one.chain.to_string())
        .but("position", at + 1)
        // It is there twice.
        .with("type", rule_type)
        .at("uri", base, &format!("/rules/{id}"))
        .text()
}
