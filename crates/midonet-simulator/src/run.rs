use midonet::{FlowAction, PortType, Rule, RuleType};
use std::collections::HashSet;
use uuid::Uuid;

use crate::condition::matches;
use crate::nat;
use crate::packet::Packet;
use crate::topology::{Chain, Device, Forwarding, Port};
use crate::trace::{
    Answer, ChainName, Connection, DeviceKind, DeviceName, Did, End, Ending, Filter, Reason, RuleResult,
    Step, Trace,
};
use crate::{State, Topology};

/// As many devices as MidoNet lets a packet go through.
const MOST_DEVICES: usize = 12;

/// One packet on its way.
pub(crate) struct Run<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) state: &'a mut State,
    pub(crate) packet: Packet,
    /// The host that it came in at, which decides everything about it.
    host: Option<Uuid>,
    /// The port that it came into the device through. None for what a device made.
    pub(crate) in_port: Option<Uuid>,
    /// The device that it came to last. It is the one whose connections its rules are about, also in the filters of the
    /// port that it leaves through.
    device: Option<Uuid>,
    devices: usize,
    trace: Trace,
}

/// A filter does not let a packet through.
pub(crate) struct Stopped {
    pub(crate) reason: Reason,
    /// The sender may be told.
    pub(crate) rejected: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        topology: &'a Topology,
        state: &'a mut State,
        host: Option<Uuid>,
        packet: Packet,
    ) -> Self {
        let trace = Trace::default();
        Self { topology, state, packet, host, in_port: None, device: None, devices: 0, trace }
    }

    pub(crate) fn finish(self) -> Trace {
        self.trace
    }

    /// The packet comes into the port's device.
    pub(crate) fn ingress(&mut self, id: Uuid) {
        let topology = self.topology;
        let Some(port) = topology.ports.get(&id) else { return self.drop(Reason::NoPort { port: id }) };
        let Some(device) = topology.devices.get(&port.device) else {
            return self.drop(Reason::NoPort { port: id });
        };
        if self.devices >= MOST_DEVICES {
            return self.drop(Reason::TooManyDevices);
        }
        self.devices += 1;
        self.in_port = Some(id);
        self.device = Some(port.device);
        self.step(port.device, Some(id), Did::Enter);
        let place = (port.device, Some(id));
        if let Err(stopped) = self.filter(place, Filter::PortIn, port.filters.inbound) {
            return self.stopped_at_port(port, stopped);
        }
        match &device.forwarding {
            Forwarding::Bridge(bridge) => self.bridge(port, device.filters, bridge),
            Forwarding::Router(router) => self.router(port, device.filters, router),
        }
    }

    /// The packet goes out of a device through the port.
    pub(crate) fn egress(&mut self, id: Uuid) {
        let topology = self.topology;
        let Some(port) = topology.ports.get(&id) else { return self.drop(Reason::NoPort { port: id }) };
        if self.devices >= MOST_DEVICES {
            return self.drop(Reason::TooManyDevices);
        }
        match port.kind {
            PortType::Bridge if self.in_port == Some(id) => return self.drop(Reason::CameFromThere),
            // A router that is its own next hop.
            PortType::Router if self.packet.src_mac == self.packet.dst_mac => return self.ingress(id),
            _ => {}
        }
        self.step(port.device, Some(id), Did::Leave);
        if let Err(stopped) = self.filter((port.device, Some(id)), Filter::PortOut, port.filters.outbound) {
            return self.stopped_at_port(port, stopped);
        }
        match (&port.bound, port.peer) {
            (Some((host, interface)), _) => self.deliver(port.id, *host, interface),
            (None, Some(peer)) => self.ingress(peer),
            (None, None) => self.drop(Reason::Unplugged),
        }
    }

    fn deliver(&mut self, port: Uuid, host: Uuid, interface: &str) {
        let mut tunnel = None;
        if let Some(from) = self.host.filter(|from| *from != host) {
            tunnel = self.topology.tunnel(from, host);
            if tunnel.is_none() {
                return self.drop(Reason::NoTunnel { from, to: host });
            }
        }
        self.end(Ending::Delivered { host, interface: interface.to_owned(), port, tunnel });
    }

    /// A router's port tells the sender that a packet is rejected, a bridge's does not.
    fn stopped_at_port(&mut self, port: &Port, stopped: Stopped) {
        if stopped.rejected && port.kind == PortType::Router {
            let about = self.packet.clone();
            self.prohibited(stopped.reason, &about);
        } else {
            self.drop(stopped.reason);
        }
    }

    /// Sends the packet through a chain and those that it jumps to. At the end it is accepted.
    pub(crate) fn filter(
        &mut self,
        place: (Uuid, Option<Uuid>),
        filter: Filter,
        chain: Option<Uuid>,
    ) -> Result<(), Stopped> {
        let chains = &self.topology.chains;
        let mut visited = HashSet::new();
        // The chains that it is in, each with what follows there.
        let mut stack = Vec::new();
        if let Some((id, chain)) = chain.and_then(|id| chains.get_key_value(&id)) {
            visited.insert(*id);
            stack.push((*id, chain, chain.rules.iter()));
        }
        while let Some((id, chain, rules)) = stack.last_mut() {
            let Some(rule) = rules.next() else {
                stack.pop();
                continue;
            };
            if !matches(rule, &self.packet) {
                continue;
            }
            let (id, chain) = (*id, *chain);
            let reason = || Reason::Rule { filter, chain: chain_name(id, chain), rule: rule.id };
            let Ok(connection) = self.translate(rule) else {
                return Err(Stopped { reason: Reason::NatExhausted, rejected: false });
            };
            let mut jump = None;
            let result = match rule.rule_type {
                RuleType::Accept => RuleResult::Accept,
                RuleType::Drop => RuleResult::Drop,
                RuleType::Reject => RuleResult::Reject,
                RuleType::Return => RuleResult::Return,
                RuleType::Jump => match rule.jump_chain_id.and_then(|to| chains.get_key_value(&to)) {
                    Some((to, chain)) if visited.insert(*to) => {
                        jump = Some((*to, chain, chain.rules.iter()));
                        RuleResult::Jump { to: chain_name(*to, chain) }
                    }
                    Some((to, chain)) => RuleResult::AlreadyVisited { to: chain_name(*to, chain) },
                    None => RuleResult::Continue,
                },
                RuleType::Dnat | RuleType::Snat | RuleType::RevDnat | RuleType::RevSnat => {
                    after_translation(rule, connection)
                }
            };
            let did = Did::Rule { action: rule.rule_type, result: result.clone(), connection };
            self.trace.steps.push(Step {
                device: self.device_name(place.0),
                port: place.1,
                filter: Some(filter),
                chain: Some(chain_name(id, chain)),
                rule: Some(rule.id),
                did,
                packet: self.packet.clone(),
            });
            match result {
                RuleResult::Accept => return Ok(()),
                RuleResult::Drop => return Err(Stopped { reason: reason(), rejected: false }),
                RuleResult::Reject => return Err(Stopped { reason: reason(), rejected: true }),
                RuleResult::Return => {
                    stack.pop();
                }
                RuleResult::Jump { .. } => stack.extend(jump),
                RuleResult::Continue | RuleResult::AlreadyVisited { .. } => {}
            }
        }
        Ok(())
    }

    fn translate(&mut self, rule: &Rule) -> Result<Option<Connection>, crate::state::Exhausted> {
        match rule.rule_type {
            RuleType::Dnat | RuleType::Snat | RuleType::RevDnat | RuleType::RevSnat => {
                nat::apply(rule, &mut self.packet, self.device, self.state).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The path of what a device sends through one of its ports.
    pub(crate) fn sent(&mut self, port: Uuid, packet: Packet) -> Trace {
        let mut run = Run::new(self.topology, self.state, self.host, packet);
        run.egress(port);
        run.finish()
    }

    /// The device answers through one of its ports.
    pub(crate) fn answer(&mut self, answer: Answer, port: Uuid, packet: Packet) {
        let path = self.sent(port, packet);
        self.end(Ending::Answered { answer, path });
    }

    pub(crate) fn step(&mut self, device: Uuid, port: Option<Uuid>, did: Did) {
        let device = self.device_name(device);
        let packet = self.packet.clone();
        self.trace.steps.push(Step { device, port, filter: None, chain: None, rule: None, did, packet });
    }

    pub(crate) fn drop(&mut self, reason: Reason) {
        self.end(Ending::Dropped { reason });
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        self.trace.ends.push(End { after: self.trace.steps.len(), ending, packet: self.packet.clone() });
    }

    fn device_name(&self, id: Uuid) -> DeviceName {
        let (kind, name) = match self.topology.devices.get(&id) {
            Some(Device { forwarding: Forwarding::Router(_), name, .. }) => {
                (DeviceKind::Router, name.clone())
            }
            Some(Device { name, .. }) => (DeviceKind::Bridge, name.clone()),
            None => (DeviceKind::Bridge, String::new()),
        };
        DeviceName { kind, id, name }
    }
}

/// A rule that did not translate does not decide either.
fn after_translation(rule: &Rule, connection: Option<Connection>) -> RuleResult {
    match (connection, rule.flow_action) {
        (Some(Connection::None | Connection::Unsupported) | None, _) => RuleResult::Continue,
        (_, Some(FlowAction::Accept)) => RuleResult::Accept,
        (_, Some(FlowAction::Return)) => RuleResult::Return,
        (_, Some(FlowAction::Continue) | None) => RuleResult::Continue,
    }
}

fn chain_name(id: Uuid, chain: &Chain) -> ChainName {
    ChainName { id, name: chain.name.clone() }
}
