//! `/routers` and `/bridges`.

use uuid::Uuid;

use crate::json;
use crate::kinds::{BRIDGE, ROUTER};
use crate::media::{Takes, only};
use crate::message::{Answer, Request, Response};
use crate::schema::Record;
use crate::state::{Device, Owner};
use crate::store::{Store, id_of, read, valid};
use crate::view::View;

const BRIDGE_TYPES: [&str; 2] = ["Bridge-v4", "Bridge-v5"];

impl Owner {
    /// The word of the server for such a device.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Router(_) => "Router",
            Self::Bridge(_) => "Network",
        }
    }

    pub(crate) fn id(self) -> Uuid {
        match self {
            Self::Router(id) | Self::Bridge(id) => id,
        }
    }
}

impl Store {
    pub(crate) fn device(&self, owner: Owner) -> Result<&Device, Response> {
        self.state.device(owner).ok_or_else(|| Response::missing(owner.kind(), owner.id()))
    }

    /// Refuses a record that names a chain that is not there.
    pub(crate) fn has_filters(&self, record: &Record) -> Result<(), Response> {
        for filter in ["inboundFilterId", "outboundFilterId", "localRedirectChainId"] {
            match record.id(filter) {
                Some(chain) if !self.state.chains.contains_key(&chain) => {
                    return Err(Response::missing("Chain", chain));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn list_routers(&self, request: &Request) -> Answer {
        let given = only(request, &["collection.Router-v3"])?;
        let routers = self.state.routers.iter().filter(|(_, router)| is_of(request, &router.record));
        let views = routers.map(|(id, router)| router_view(&router.record, *id, &request.base));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_router(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &["Router-v3"])?;
        let id = id_of(id, "Router")?;
        let router = self.device(Owner::Router(id))?;
        Ok(Response::ok(given, router_view(&router.record, id, &request.base)))
    }

    pub(crate) fn post_router(&mut self, request: &Request) -> Answer {
        let record = read(request, Takes::Checked(&["Router-v3"]), ROUTER)?;
        valid(&record, ROUTER)?;
        self.make_device(record, Owner::Router, &format!("{}/routers", request.base))
    }

    pub(crate) fn put_router(&mut self, request: &Request, id: &str) -> Answer {
        let record = read(request, Takes::Checked(&["Router-v3"]), ROUTER)?;
        let owner = Owner::Router(id_of(id, "Router")?);
        self.device(owner)?;
        valid(&record, ROUTER)?;
        self.replace_device(record, owner)
    }

    pub(crate) fn delete_router(&mut self, id: &str) -> Answer {
        if let Ok(id) = id.parse() {
            self.state.remove_device(Owner::Router(id));
        }
        Ok(Response::no_content())
    }

    pub(crate) fn list_bridges(&self, request: &Request) -> Answer {
        let given = only(request, &["collection.Bridge-v4", "collection.Bridge-v5"])?;
        let bridges = self.state.bridges.iter().filter(|(_, bridge)| is_of(request, &bridge.record));
        let views = bridges.map(|(id, bridge)| bridge_view(&bridge.record, *id, &request.base));
        Ok(Response::ok(given, json::list(views)))
    }

    pub(crate) fn get_bridge(&self, request: &Request, id: &str) -> Answer {
        let given = only(request, &BRIDGE_TYPES)?;
        let id = id_of(id, "Network")?;
        let bridge = self.device(Owner::Bridge(id))?;
        Ok(Response::ok(given, bridge_view(&bridge.record, id, &request.base)))
    }

    pub(crate) fn post_bridge(&mut self, request: &Request) -> Answer {
        let record = read(request, Takes::Checked(&BRIDGE_TYPES), BRIDGE)?;
        valid(&record, BRIDGE)?;
        has_no_vxlan(&record)?;
        self.make_device(record, Owner::Bridge, &format!("{}/bridges", request.base))
    }

    pub(crate) fn put_bridge(&mut self, request: &Request, id: &str) -> Answer {
        let record = read(request, Takes::Checked(&BRIDGE_TYPES), BRIDGE)?;
        let owner = Owner::Bridge(id_of(id, "Network")?);
        self.device(owner)?;
        valid(&record, BRIDGE)?;
        has_no_vxlan(&record)?;
        self.replace_device(record, owner)
    }

    pub(crate) fn delete_bridge(&mut self, id: &str) -> Answer {
        let owner = Owner::Bridge(id_of(id, "Network")?);
        self.device(owner)?;
        self.state.remove_device(owner);
        Ok(Response::no_content())
    }

    fn make_device(&mut self, mut record: Record, owner: fn(Uuid) -> Owner, collection: &str) -> Answer {
        let owner = owner(record.id("id").unwrap_or_else(|| self.random.id()));
        if self.state.device(owner).is_some() {
            return Err(Response::taken(owner.kind(), owner.id()));
        }
        self.has_filters(&record)?;
        record.set_id("id", Some(owner.id()));
        let device = Device { record, ports: Vec::new(), routes: Vec::new() };
        match owner {
            Owner::Router(id) => self.state.routers.insert(id, device),
            Owner::Bridge(id) => self.state.bridges.insert(id, device),
        };
        Ok(Response::created(Some(format!("{collection}/{}", owner.id()))))
    }

    /// The body replaces all; the path's id stays.
    fn replace_device(&mut self, mut record: Record, owner: Owner) -> Answer {
        self.has_filters(&record)?;
        record.set_id("id", Some(owner.id()));
        if let Some(device) = self.state.device_mut(owner) {
            device.record = record;
        }
        Ok(Response::no_content())
    }
}

/// Whether a list shows it: lists may be of one tenant.
pub(crate) fn is_of(request: &Request, record: &Record) -> bool {
    request.parameter("tenant_id").is_none_or(|tenant| record.text("tenantId") == Some(tenant))
}

fn has_no_vxlan(record: &Record) -> Result<(), Response> {
    let message = "VXLAN port ID cannot be set directly. The VXLAN port is created or deleted in response to the \
                   creation or deletion of VTEP bindings.";
    record.get("vxLanPortIds").map_or(Ok(()), |_| Err(Response::error(400, message)))
}

fn router_view(record: &Record, id: Uuid, base: &str) -> String {
    let path = format!("/routers/{id}");
    View::default()
        .fields(record, ROUTER)
        .at("uri", base, &path)
        .at("ports", base, &format!("{path}/ports"))
        .to("inboundFilter", base, "chains", record.text("inboundFilterId"))
        .to("outboundFilter", base, "chains", record.text("outboundFilterId"))
        .at("peerPorts", base, &format!("{path}/peer_ports"))
        .at("routes", base, &format!("{path}/routes"))
        .to("loadBalancer", base, "load_balancers", record.text("loadBalancerId"))
        .at("bgpNetworks", base, &format!("{path}/bgp_networks"))
        .at("bgpPeers", base, &format!("{path}/bgp_peers"))
        .to("localRedirectChain", base, "chains", record.text("localRedirectChainId"))
        .to("forwardChain", base, "chains", record.text("forwardChainId"))
        .text()
}

fn bridge_view(record: &Record, id: Uuid, base: &str) -> String {
    let path = format!("/bridges/{id}");
    View::default()
        .fields(record, BRIDGE)
        .at("uri", base, &path)
        .at("ports", base, &format!("{path}/ports"))
        .to("inboundFilter", base, "chains", record.text("inboundFilterId"))
        .to("outboundFilter", base, "chains", record.text("outboundFilterId"))
        .at("peerPorts", base, &format!("{path}/peer_ports"))
        .at("vxLanPorts", base, &format!("{path}/vxlan_ports"))
        .at("macTable", base, &format!("{path}/mac_table"))
        .at("arpTable", base, &format!("{path}/arp_table"))
        .at("dhcpSubnets", base, &format!("{path}/dhcp"))
        .at("dhcpSubnet6s", base, &format!("{path}/dhcpV6"))
        .at("vlanMacTableTemplate", base, &format!("{path}/vlans/{{vlanId}}/mac_table"))
        .at("macPortTemplate", base, &format!("{path}/mac_table/{{macAddress}}_{{portId}}"))
        .at(
            "vlanMacPortTemplate",
            base,
            &format!("{path}/vlans/{{vlanId}}/mac_table/{{macAddress}}_{{portId}}"),
        )
        .text()
}
