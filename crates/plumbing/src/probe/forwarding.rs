//! Settings that packets meet on their way between Pods and the outside.

use super::{Fault, Question, Uplink};
use crate::{Family, sysctl};

pub(super) fn look(question: &Question, uplinks: &[Uplink]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let has_v4 = question.families().contains(&Family::V4);
    for uplink in uplinks {
        let name = &uplink.link.name;
        // IPv6 has no such setting of an interface: net.ipv6.conf.IF.forwarding is about router advertisements.
        if has_v4 && sysctl::forwards(Family::V4) && !sysctl::forwards_at(name) {
            faults.push(Fault {
                what: "forwarding",
                object: name.clone(),
                problem: "net.ipv4.conf of it has forwarding=0: Pods get no IPv4 answers from the outside"
                    .into(),
                remedy: format!("sysctl -w {}=1, and correct who sets it", sysctl::forwarding_of(name)),
            });
        }
        let learns = sysctl::is(&format!("ipv6/conf/{name}/accept_ra"), "1")
            && sysctl::is(&format!("ipv6/conf/{name}/forwarding"), "1");
        if sysctl::has_ipv6() && learns && uplink.families.contains(&Family::V6) {
            faults.push(Fault {
                what: "accept_ra",
                object: name.clone(),
                problem:
                    "it has accept_ra=1, and a node that forwards IPv6 then ignores router advertisements: \
                          the routes that it learned will be lost"
                        .into(),
                remedy: format!("sysctl -w net.ipv6.conf.{}.accept_ra=2", name.replace('.', "/")),
            });
        }
    }
    faults
}
