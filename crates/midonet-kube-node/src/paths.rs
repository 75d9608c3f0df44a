//! Whether packets come through the tunnels to other nodes and back: datagrams that the other node's datapath answers, as no
//! Pod has their address, and datagrams that its kernel answers, as nothing listens at their port. While the other agent
//! probes as well it listens there, answers in the kernel's place, and knows that they arrived.

mod answers;
mod message;
mod targets;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use plumbing::datagrams::{self, Arrival, Complaint, Datagrams};

pub use answers::{Answers, Kind, Outcome};
use message::Message;
pub use targets::{LIMIT, Target, targets};

/// The UDP port at Pods' addresses of nodes. Nothing listens there but while paths are probed.
pub const PORT: u16 = 9456;

/// So many times a datagram is sent until it is answered.
const ROUNDS: u32 = 3;

/// How long each of them may take.
const ROUND: Duration = Duration::from_secs(1);

/// What probing one node in one family came to.
#[derive(Debug)]
pub struct Probe {
    /// Its name, and its addresses.
    pub target: Target,
    /// The bytes of large packets.
    pub large: u32,
    /// What came back of each kind.
    pub answers: Answers,
    /// Whether something came from that node that it sent of its own accord.
    pub heard: bool,
}

/// The sockets at one address of this node.
struct Sockets {
    kinds: Vec<(Kind, Datagrams)>,
    /// `None`: another program has the port, so that the kernel answers.
    listener: Option<Datagrams>,
}

/// Probes all of them from this node's address in their family, and returns what is known then: in three seconds at most.
///
/// # Errors
/// The address is not this node's, or the kernel does not tell what came.
pub fn probe(from: IpAddr, mtu: u32, targets: Vec<Target>, nonce: u64) -> plumbing::Result<Vec<Probe>> {
    let sockets = Sockets::open(from)?;
    let new = |target| Probe { target, large: mtu, answers: Answers::new(from), heard: false };
    let mut probes: Vec<Probe> = targets.into_iter().map(new).collect();
    let start = Instant::now();
    for round in 1..=ROUNDS {
        for probe in &mut probes {
            sockets.send(probe, from, nonce);
        }
        let until = start + ROUND * round;
        while Instant::now() < until {
            sockets.receive(&mut probes, nonce)?;
            if probes.iter().all(|probe| probe.answers.are_complete()) {
                return Ok(probes);
            }
            datagrams::wait(sockets.all(), until)?;
        }
    }
    sockets.receive(&mut probes, nonce)?;
    Ok(probes)
}

impl Sockets {
    fn open(from: IpAddr) -> plumbing::Result<Self> {
        let open = |kind: Kind| {
            let socket = Datagrams::open(SocketAddr::new(from, 0), kind != Kind::Unchecked);
            Ok((kind, socket?))
        };
        let kinds = Kind::of(from).iter().copied().map(open).collect::<plumbing::Result<_>>()?;
        // Its answers have no checksums: what comes back must not depend on them.
        let listener = Datagrams::open(SocketAddr::new(from, PORT), false).ok();
        Ok(Self { kinds, listener })
    }

    fn all(&self) -> impl Iterator<Item = &Datagrams> {
        self.kinds.iter().map(|(_, socket)| socket).chain(&self.listener)
    }

    /// Sends what is not answered yet.
    fn send(&self, probe: &mut Probe, from: IpAddr, nonce: u64) {
        for (kind, socket) in &self.kinds {
            if probe.answers.get(*kind).is_some_and(Outcome::is_final) {
                continue;
            }
            let to = if kind.is_for_datapath() { probe.target.unused } else { probe.target.node_address };
            let size = kind.is_large().then_some(probe.large);
            let message = Message::probe(*kind, nonce).bytes(from, size);
            if let Err(error) = socket.send(&message, SocketAddr::new(to, PORT)) {
                probe.answers.set(*kind, Outcome::Refused(error.to_string()));
            }
        }
    }

    fn receive(&self, probes: &mut [Probe], nonce: u64) -> plumbing::Result<()> {
        for (kind, socket) in &self.kinds {
            while let Some(arrival) = socket.receive()? {
                take(*kind, arrival, probes, nonce);
            }
        }
        let Some(listener) = &self.listener else { return Ok(()) };
        while let Some(arrival) = listener.receive()? {
            let Arrival::Datagram { from, bytes } = arrival else { continue };
            let sender = probes.iter_mut().find(|probe| probe.target.node_address == from.ip());
            if let (Some(probe), Some(message)) = (sender, Message::read(&bytes)) {
                probe.heard = true;
                // The other node sends it again if this is lost.
                let _lost = listener.send(&message.answer().bytes(from.ip(), None), from);
            }
        }
        Ok(())
    }
}

/// What an arrival at the socket of a kind says of whom it is from.
fn take(kind: Kind, arrival: Arrival, probes: &mut [Probe], nonce: u64) {
    match arrival {
        Arrival::Datagram { from, bytes } => {
            let sender = probes.iter_mut().find(|probe| probe.target.node_address == from.ip());
            let is_answer = Message::read(&bytes) == Some(Message::probe(kind, nonce).answer());
            if let Some(probe) = sender.filter(|_| is_answer) {
                probe.answers.set(kind, Outcome::Answered);
            }
        }
        Arrival::Complaint { to, by, what } => {
            let Some(probe) = probes.iter_mut().find(|probe| probe.target.has(to.ip())) else { return };
            probe.answers.set(
                kind,
                match what {
                    Complaint::TooBig(mtu) => Outcome::TooBig(mtu),
                    _ if probe.target.has(by) => Outcome::Answered,
                    _ => Outcome::Refused(format!("{by} answers that {} cannot be reached", to.ip())),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(node: &str, cidr: &str) -> Target {
        Target::new(node, cidr.parse().unwrap()).unwrap()
    }

    fn probes() -> Vec<Probe> {
        let of = |target| Probe {
            target,
            large: 1450,
            answers: Answers::new([10, 244, 1, 2].into()),
            heard: false,
        };
        vec![of(target("b", "10.244.2.0/24")), of(target("c", "10.244.3.0/24"))]
    }

    fn complaint(to: [u8; 4], by: [u8; 4], what: Complaint) -> Arrival {
        Arrival::Complaint { to: SocketAddr::new(to.into(), PORT), by: by.into(), what }
    }

    #[test]
    fn who_complains_decides_what_a_complaint_means() {
        let mut probes = probes();
        let refused = "10.244.1.1 answers that 10.244.2.0 cannot be reached";
        for (by, what, want) in [
            ([10, 244, 2, 1], Complaint::Unreachable, Outcome::Answered),
            ([10, 244, 2, 2], Complaint::Other, Outcome::Answered),
            ([10, 244, 1, 1], Complaint::Unreachable, Outcome::Refused(refused.into())),
            ([192, 0, 2, 1], Complaint::TooBig(1300), Outcome::TooBig(1300)),
        ] {
            probes[0].answers = Answers::new([10, 244, 1, 2].into());
            take(Kind::Large, complaint([10, 244, 2, 0], by, what), &mut probes, 7);
            assert_eq!(probes[0].answers.get(Kind::Large), Some(&want), "{by:?}");
        }
        assert_eq!(probes[1].answers.get(Kind::Large), None);
        take(Kind::Small, complaint([10, 9, 9, 9], [10, 9, 9, 9], Complaint::Other), &mut probes, 7);
        assert_eq!(probes[0].answers.get(Kind::Small), None, "of nobody who was asked");
    }

    #[test]
    fn only_the_answer_to_this_probe_counts() {
        let mut probes = probes();
        let datagram = |from: [u8; 4], message: Message| Arrival::Datagram {
            from: SocketAddr::new(from.into(), PORT),
            bytes: message.bytes(from.into(), None),
        };
        let answer = Message::probe(Kind::Plain, 7).answer();
        for (from, message) in [
            ([10, 244, 2, 2], Message::probe(Kind::Plain, 7)),
            ([10, 244, 2, 2], Message::probe(Kind::Plain, 8).answer()),
            ([10, 244, 2, 2], Message::probe(Kind::Checksummed, 7).answer()),
            ([10, 244, 2, 9], answer),
        ] {
            take(Kind::Plain, datagram(from, message), &mut probes, 7);
            assert_eq!(probes[0].answers.get(Kind::Plain), None, "{from:?} {message:?}");
        }
        take(Kind::Plain, datagram([10, 244, 2, 2], answer), &mut probes, 7);
        assert_eq!(probes[0].answers.get(Kind::Plain), Some(&Outcome::Answered));
    }
}
