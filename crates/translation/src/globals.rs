use midonet::{FlowAction, Resource, Router, Rule, RuleType, TunnelZone, TunnelZoneType};

use crate::ids::Ids;
use crate::set::Set;

const KIND: &str = "midonet-global";

/// What the whole cluster shares.
pub(crate) fn convert(ids: &Ids, set: &mut Set) {
    set.add(
        KIND,
        "tunnel-zone",
        vec![Resource::top(TunnelZone {
            id: Some(ids.default_tunnel_zone()),
            name: "DefaultTunnelZone".into(),
            zone_type: Some(TunnelZoneType::Vxlan),
        })],
    );
    set.add(
        KIND,
        "cluster-router",
        vec![Resource::top(Router {
            id: ids.router(),
            tenant_id: ids.tenant.clone(),
            name: "ClusterRouter".into(),
            inbound_filter_id: None,
            outbound_filter_id: None,
        })],
    );
    set.add(KIND, "chain", chains(ids));
}

/// Every packet that enters a bridge is first an answer, whose translation is undone, then one to a Service. Sources are
/// restored before destinations: they were translated after them.
fn chains(ids: &Ids) -> Vec<Resource> {
    let main = ids.main_chain;
    let pre = ids.global("Pre Chain");
    let services = ids.services_chain();
    let undo = |part, rule_type, action| Rule {
        flow_action: Some(action),
        ..Rule::new(ids.global(part), rule_type)
    };
    vec![
        Resource::top(ids.chain(main, "KUBE-MAIN".into())),
        Resource::top(ids.chain(pre, "KUBE-PRE".into())),
        Resource::top(ids.chain(services, "KUBE-SERVICES".into())),
        Resource::of(main, Rule::jump(ids.global("Jump To Services"), services)),
        Resource::of(main, Rule::jump(ids.global("Jump To Pre"), pre)),
        Resource::of(pre, undo("Reverse DNAT", RuleType::RevDnat, FlowAction::Accept)),
        Resource::of(pre, undo("Reverse SNAT", RuleType::RevSnat, FlowAction::Continue)),
    ]
}
