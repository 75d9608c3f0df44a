//! MAC and IPv4 addresses of Pods and nodes in the tables of a bridge.

use std::net::Ipv4Addr;

use midonet::{Ipv4MacPair, MacPort, Resource};
use naming::Mac;
use uuid::Uuid;

use crate::Reason;
use crate::set::Set;

/// The annotated MAC address, if it is one.
pub(crate) fn mac(annotation: Option<&str>, set: &mut Set) -> Option<Mac> {
    let text = annotation?;
    text.parse()
        .map_err(|error| {
            let help = "MidoNet learns the address from its packets meanwhile";
            set.problem(
                Reason::InvalidMac,
                format!("the annotation midonet.org/mac-address: {error}. {help}"),
            );
        })
        .ok()
}

/// Where a Pod or a node is on a bridge.
pub(crate) struct Attachment {
    pub(crate) bridge: Uuid,
    pub(crate) port: Uuid,
}

impl Attachment {
    /// The bridge finds this MAC address at the port.
    pub(crate) fn mac(&self, kind: &str, name: &str, mac: Mac, set: &mut Set) {
        let entry = MacPort { mac_addr: mac, port_id: self.port };
        set.add(
            &format!("{kind}-MAC"),
            &format!("{name}/mac/{}", hex(mac)),
            vec![Resource::of(self.bridge, entry)],
        );
    }

    /// The bridge answers ARP requests for this address.
    pub(crate) fn arp(&self, kind: &str, name: &str, ip: Ipv4Addr, mac: Mac, set: &mut Set) {
        let entry = Ipv4MacPair { ip, mac };
        let key = format!("{name}/ip/{ip}/{}", hex(mac));
        set.add(&format!("{kind}-ARP"), &key, vec![Resource::of(self.bridge, entry)]);
    }
}

/// A MAC address without colons.
fn hex(mac: Mac) -> String {
    mac.to_string().replace(':', "")
}
