//! Adding a Pod: its policy is in force before its first packet.

use std::fmt;
use std::time::Duration;

use objects::Key;
use policy::{LocalId, LocalPod, SetId};
use tokio::time::timeout;
use tracing::warn;

use super::follow::report;
use crate::agent::Agent;
use crate::backend::{BindRequest, Owner, PortRecord};

/// How long an ADD waits for what applies to its Pod. The Pod is closed if that is not known by then, until it is.
const PATIENCE: Duration = Duration::from_millis(500);

/// A Pod whose policy is known here, and whose port is about to be bound. If that fails, it is forgotten.
#[must_use = "what is not bound is forgotten"]
pub(crate) struct Admission {
    agent: Agent,
    id: Option<LocalId>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admission({:?})", self.id)
    }
}

impl Admission {
    /// Its port is bound.
    pub(crate) fn bound(mut self) {
        if let (Some(policies), Some(id)) = (self.agent.policies(), self.id.take()) {
            policies.bound(id);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let (Some(policies), Some(id)) = (self.agent.policies(), self.id) else { return };
        // The same port may have been bound before.
        if !self.agent.backend().ports().iter().any(|port| port.host_ifindex == id.0) {
            policies.unset_local(id);
        }
    }
}

/// Waits until what applies to a Pod is in force, but not for long.
pub(crate) async fn admit(agent: &Agent, request: &BindRequest) -> Admission {
    let Some(policies) = agent.policies() else { return Admission { agent: agent.clone(), id: None } };
    let id = LocalId(request.host_ifindex);
    // From here on it is forgotten if the caller goes away.
    let admission = Admission { agent: agent.clone(), id: Some(id) };
    let pod = LocalPod {
        key: Key::namespaced(&request.owner.pod.namespace, &request.owner.pod.name),
        uid: request.owner.pod_uid.as_deref().map(Into::into),
        addresses: request.addresses.as_slice().into(),
    };
    policies.set_local(id, &request.host_ifname, &request.addresses, Some(pod));
    let mut settled = policies.watch();
    let in_force = async {
        loop {
            settled.mark_unchanged();
            let settling = policies.clone();
            let done =
                agent.blocking(move |agent| settling.settle(agent.packets()?.policy(), Vec::new())).await;
            // Who follows tries it again.
            report(agent, done);
            // The other end lives as long as the agent.
            if policies.is_in_force(id) || settled.changed().await.is_err() {
                return;
            }
        }
    };
    let known = timeout(PATIENCE, in_force).await.is_ok();
    if let (Some(set), Ok(packets)) = (policies.first_set(id), agent.packets()) {
        packets.policy().admit(id, set);
    }
    if !known && policies.of(id).is_none_or(|pod| pod.set == SetId::CLOSED) {
        let why = policies.of(id).and_then(|pod| pod.closed).unwrap_or_default();
        warn!(pod = %request.owner.pod, why, "closed until it is known what policy applies");
    }
    admission
}

/// Notes the ports that an agent before this one bound.
pub(crate) fn restore(agent: &Agent) {
    let Some(policies) = agent.policies() else { return };
    for port in agent.backend().ports() {
        policies.set_local(LocalId(port.host_ifindex), &port.host_ifname, &port.addresses, owner(&port));
        policies.bound(LocalId(port.host_ifindex));
    }
}

/// Whose a port is, if that is known for certain.
fn owner(port: &PortRecord) -> Option<LocalPod> {
    let Owner::Known(owner) = &port.owner else { return None };
    owner.is_whole().then(|| LocalPod {
        key: Key::namespaced(&owner.pod.namespace, &owner.pod.name),
        uid: owner.pod_uid.as_deref().map(Into::into),
        addresses: port.addresses.as_slice().into(),
    })
}
