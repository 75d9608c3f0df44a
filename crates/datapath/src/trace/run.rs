//! Running the program of a hook on a packet.

use std::net::IpAddr;

use aya::maps::Array;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};

use super::exits::Ran;
use super::packet::{Packet, tunnelled};
use super::{Entrance, Exit, State, TUNNEL, Traced, Tracer, classifier, missing};
use crate::counters::{Reason, reasons};
use crate::error::{Error, Result, chain};
use crate::layout::Config;
use crate::model::Counter;
use crate::programs::{FROM_ENDPOINT, FROM_UPLINK};

/// `struct __sk_buff`, and where it has the index of the interface.
const CONTEXT: usize = 192;
const IFINDEX: std::ops::Range<usize> = 40..44;

/// `TCX_NEXT`: the packet passes as it was.
const NEXT: i32 = -1;

/// More than a traced packet becomes.
const SPACE: usize = 2048;

/// `struct tunnel` of bpf/tunnel.bpf.c: the key's remote end is not read.
const KEY: usize = 48;
const LOCAL_END: usize = 28;
const FLAGS: usize = 44;
/// `BPF_F_TUNINFO_IPV6`.
const OVER_IPV6: u32 = 1;

impl Tracer {
    /// What becomes of a packet that comes in there, of a connection that left this state here.
    ///
    /// # Errors
    /// The packet or the state cannot be right, or the kernel does not run the program.
    pub fn trace(&mut self, entrance: Entrance, packet: &Packet, state: &State) -> Result<Traced> {
        let config = self.shared.config()?;
        self.own.prepare(&self.live, &self.shared, packet, state)?;
        let (mut shaped, mut direct) = (false, false);
        let ran = match entrance {
            Entrance::Port(ifindex) => {
                let mac = self.shared.port(ifindex)?.map_or(config.node_mac, |port| port.mac);
                let frame = packet.frame(config.gateway_mac, mac)?;
                let ran = self.endpoint(ifindex, &frame)?;
                if ran.counted.is_empty() && config.shaped_ifindex != 0 {
                    shaped = true;
                    self.endpoint(config.shaped_ifindex, &frame)?
                } else {
                    ran
                }
            }
            Entrance::Node => {
                let frame = packet.frame(config.gateway_mac, config.node_mac)?;
                self.endpoint(config.mido_ifindex, &frame)?
            }
            Entrance::Tunnel(peer) => match self.uplink(&config, peer, packet)? {
                Some(ran) => {
                    direct = true;
                    ran
                }
                None => self.overlay(&config, peer, packet)?,
            },
        };
        let (exit, left) = self.exit(&config, &ran)?;
        Ok(Traced {
            sent: *packet,
            reason: ran.reason()?,
            packet: left.map_or(*packet, |left| Packet { reply: packet.reply, ..left }),
            shaped,
            direct,
            record: self.own.record()?,
            drops: self.own.drops()?,
            // Of what is dropped nothing goes on.
            state: if matches!(exit, Exit::Dropped { .. }) { State::default() } else { self.own.state()? },
            exit,
        })
    }

    fn endpoint(&mut self, ifindex: u32, frame: &[u8]) -> Result<Ran> {
        self.program(FROM_ENDPOINT)?;
        self.run(classifier(&self.ebpf, FROM_ENDPOINT)?, ifindex, frame)
    }

    /// `None`: it is for the device.
    fn uplink(&mut self, config: &Config, peer: IpAddr, packet: &Packet) -> Result<Option<Ran>> {
        let IpAddr::V4(peer) = peer else { return Ok(None) };
        if config.direct == 0 {
            return Ok(None);
        }
        let inner = packet.frame(config.overlay_mac, config.gateway_mac)?;
        let (own, port) = (config.tunnel_address4, config.tunnel_port);
        let frame = tunnelled(peer.octets(), own, port, config.vni, &inner)?;
        self.program(FROM_UPLINK)?;
        // The kernel takes it for what came in at the loopback interface, which changes nothing for this program.
        let ran = self.run(classifier(&self.ebpf, FROM_UPLINK)?, 0, &frame)?;
        Ok(Some(ran).filter(|ran| ran.action != NEXT || !ran.counted.is_empty()))
    }

    fn overlay(&mut self, config: &Config, peer: IpAddr, packet: &Packet) -> Result<Ran> {
        let frame = packet.frame(config.overlay_mac, config.gateway_mac)?;
        let (mut key, mut flags) = ([0u8; KEY], 0);
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = key.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(0, &config.vni.to_ne_bytes());
        match peer {
            IpAddr::V4(v4) => put(LOCAL_END, &u32::from(v4).to_ne_bytes()),
            IpAddr::V6(v6) => {
                put(LOCAL_END, &v6.octets());
                flags = OVER_IPV6;
            }
        }
        put(FLAGS, &flags.to_ne_bytes());
        let ebpf = self.tunnel_program()?;
        let map = ebpf.map_mut("tunnel").ok_or_else(|| missing(TUNNEL))?;
        let written = Array::<_, [u8; KEY]>::try_from(map).and_then(|mut map| map.set(0, key, 0));
        written.map_err(|error| Error::map("write", "tunnel", &error))?;
        let program = self.tunnel.as_ref().ok_or_else(|| missing(TUNNEL))?;
        self.run(classifier(program, TUNNEL)?, config.overlay_ifindex, &frame)
    }

    /// Has the kernel run a program on a frame that came in at an interface.
    fn run(&self, program: &SchedClassifier, ifindex: u32, frame: &[u8]) -> Result<Ran> {
        let before = self.own.counters()?;
        let mut context = [0u8; CONTEXT];
        if let Some(place) = context.get_mut(IFINDEX) {
            place.copy_from_slice(&ifindex.to_ne_bytes());
        }
        let mut out = vec![0; SPACE];
        let ran = program.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        });
        let ran = ran.map_err(|error| {
            Error::Trace(format!("the kernel does not run the program on it: {}", chain(&error)))
        })?;
        out.truncate(usize::try_from(ran.data_size_out).unwrap_or(SPACE));
        let counted = counted(&before, &self.own.counters()?);
        Ok(Ran { action: ran.return_value.cast_signed(), frame: out, counted })
    }
}

/// The reasons under which something was counted.
fn counted(before: &[Counter], after: &[Counter]) -> Vec<&'static Reason> {
    let changed = before.iter().zip(after).map(|(before, after)| before.packets != after.packets);
    reasons().iter().zip(changed).filter(|(_, changed)| *changed).map(|(reason, _)| reason).collect()
}
