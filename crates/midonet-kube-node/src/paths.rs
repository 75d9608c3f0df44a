//! Whether packets come through the tunnels to other nodes and back: datagrams to the nodes' own addresses in the Pods'
//! network. While the other agent probes as well it listens there, answers, and knows that they arrived. Else its kernel
//! answers that nothing listens, though not as often as it is asked.

mod answers;
mod message;
mod targets;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use plumbing::datagrams::{self, Arrival, Checksums, Complaint, Datagrams};

pub use answers::{Answers, Kind, Outcome};
use message::Message;
pub use targets::{LIMIT, Target, targets};

/// The UDP port at nodes' addresses in the Pods' network. Nothing listens there but while paths are probed.
pub const PORT: u16 = 9456;

/// When a datagram is sent, from the beginning on, until it is answered.
const ROUNDS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

/// How long this node waits for answers, and answers others, whatever it knows already: theirs may come later.
const LISTENING: Duration = Duration::from_millis(3_500);

/// What probing all nodes in one family came to.
#[derive(Debug, Default)]
pub struct Probed {
    /// Those that were asked.
    pub probes: Vec<Probe>,
    /// The nodes whose probes arrived here meanwhile, whether this one asked them or not.
    pub heard: BTreeSet<String>,
}

/// What probing one node in one family came to.
#[derive(Debug)]
pub struct Probe {
    /// Its name and its address.
    pub target: Target,
    /// The bytes of large packets.
    pub large: u32,
    /// What came back of each kind.
    pub answers: Answers,
    /// Whether its agent answered any of them, or certainly listened when one was sent.
    pub listens: bool,
}

/// The sockets at one address of this node.
struct Sockets {
    kinds: Vec<(Kind, Datagrams)>,
    /// `None`: another program has the port, so that the kernel answers.
    listener: Option<Datagrams>,
}

/// Probes the first of these nodes from this node's address in their family, answers all of them, and returns what is known
/// after [`LISTENING`].
///
/// # Errors
/// The address is not this node's, or the kernel does not tell what came.
pub fn probe(from: IpAddr, mtu: u32, peers: &[Target], limit: usize, nonce: u64) -> plumbing::Result<Probed> {
    let mut probed = Probed::new(peers, limit, mtu);
    if peers.is_empty() {
        return Ok(probed);
    }
    let sockets = Sockets::open(from)?;
    let start = Instant::now();
    let ends = ROUNDS.into_iter().skip(1).chain([LISTENING]);
    for end in ends.map(|end| start + end) {
        for probe in &mut probed.probes {
            // It was heard less than a round ago, and listens for longer than that after its last probe.
            probe.listens |= probed.heard.contains(&probe.target.node);
            sockets.send(probe, nonce);
        }
        while Instant::now() < end {
            sockets.receive(&mut probed, peers, nonce)?;
            datagrams::wait(sockets.all(), end)?;
        }
    }
    sockets.receive(&mut probed, peers, nonce)?;
    Ok(probed)
}

impl Probed {
    fn new(peers: &[Target], limit: usize, mtu: u32) -> Self {
        let new = |target: &Target| Probe {
            target: target.clone(),
            large: mtu,
            answers: Answers::default(),
            listens: false,
        };
        Self { probes: peers.iter().take(limit).map(new).collect(), heard: BTreeSet::new() }
    }
}

impl Sockets {
    fn open(from: IpAddr) -> plumbing::Result<Self> {
        let open = |kind: Kind| Ok((kind, Datagrams::open(SocketAddr::new(from, 0), kind.checksums())?));
        let kinds = Kind::ALL.into_iter().map(open).collect::<plumbing::Result<_>>()?;
        // What it answers must not depend on checksums.
        let listener = Datagrams::open(SocketAddr::new(from, PORT), Checksums::Nobody).ok();
        Ok(Self { kinds, listener })
    }

    fn all(&self) -> impl Iterator<Item = &Datagrams> {
        self.kinds.iter().map(|(_, socket)| socket).chain(&self.listener)
    }

    /// Sends what is not answered yet.
    fn send(&self, probe: &mut Probe, nonce: u64) {
        let to = probe.target.address;
        let missing: Vec<Kind> = probe.answers.missing().collect();
        for (kind, socket) in self.kinds.iter().filter(|(kind, _)| missing.contains(kind)) {
            let size = kind.is_large().then_some(probe.large);
            let message = Message::probe(*kind, nonce).bytes(to, size);
            if let Err(error) = socket.send(&message, SocketAddr::new(to, PORT)) {
                probe.answers.set(*kind, Outcome::Refused(error.to_string()));
            }
        }
    }

    fn receive(&self, probed: &mut Probed, peers: &[Target], nonce: u64) -> plumbing::Result<()> {
        for (kind, socket) in &self.kinds {
            while let Some(arrival) = socket.receive()? {
                take(*kind, arrival, &mut probed.probes, nonce);
            }
        }
        let Some(listener) = &self.listener else { return Ok(()) };
        while let Some(arrival) = listener.receive()? {
            let Arrival::Datagram { from, bytes } = arrival else { continue };
            let sender = peers.iter().find(|peer| peer.address == from.ip());
            if let (Some(peer), Some(message)) = (sender, Message::read(&bytes)) {
                probed.heard.insert(peer.node.clone());
                // The other node sends it again if this is lost.
                let _lost = listener.send(&message.answer().bytes(from.ip(), None), from);
            }
        }
        Ok(())
    }
}

/// What an arrival at the socket of a kind says of whom it is from.
fn take(kind: Kind, arrival: Arrival, probes: &mut [Probe], nonce: u64) {
    let other = match &arrival {
        Arrival::Datagram { from, .. } => from.ip(),
        Arrival::Complaint { to, .. } => to.ip(),
    };
    let Some(probe) = probes.iter_mut().find(|probe| probe.target.address == other) else { return };
    let outcome = match arrival {
        Arrival::Datagram { bytes, .. } => {
            if Message::read(&bytes) != Some(Message::probe(kind, nonce).answer()) {
                return;
            }
            probe.listens = true;
            Outcome::Answered
        }
        Arrival::Complaint { what: Complaint::TooBig(mtu), .. } => Outcome::TooBig(mtu),
        Arrival::Complaint { by, .. } if by == other => Outcome::Answered,
        Arrival::Complaint { by, .. } => {
            Outcome::Refused(format!("{by} answers that {other} cannot be reached"))
        }
    };
    probe.answers.set(kind, outcome);
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn target(node: &str, cidr: &str) -> Target {
        Target::new(node, cidr.parse().unwrap()).unwrap()
    }

    fn probes() -> Vec<Probe> {
        let peers = [target("b", "10.244.2.0/24"), target("c", "10.244.3.0/24")];
        Probed::new(&peers, 2, 1450).probes
    }

    fn complaint(to: [u8; 4], by: [u8; 4], what: Complaint) -> Arrival {
        Arrival::Complaint { to: SocketAddr::new(to.into(), PORT), by: by.into(), what }
    }

    #[test]
    fn who_complains_decides_what_a_complaint_means() {
        let mut probes = probes();
        let refused = "10.244.1.1 answers that 10.244.2.2 cannot be reached";
        for (by, what, want) in [
            ([10, 244, 2, 2], Complaint::Unreachable, Outcome::Answered),
            ([10, 244, 2, 2], Complaint::Other, Outcome::Answered),
            ([10, 244, 1, 1], Complaint::Unreachable, Outcome::Refused(refused.into())),
            ([192, 0, 2, 1], Complaint::TooBig(1300), Outcome::TooBig(1300)),
        ] {
            probes[0].answers = Answers::default();
            take(Kind::Checksummed, complaint([10, 244, 2, 2], by, what), &mut probes, 7);
            assert_eq!(probes[0].answers.get(Kind::Checksummed), Some(&want), "{by:?}");
        }
        assert_eq!(probes[1].answers.get(Kind::Checksummed), None);
        take(Kind::Plain, complaint([10, 9, 9, 9], [10, 9, 9, 9], Complaint::Other), &mut probes, 7);
        assert_eq!(probes[0].answers.get(Kind::Plain), None, "of nobody who was asked");
        assert!(!probes[0].listens, "its kernel answers");
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
        assert!(probes[0].listens && !probes[1].listens);
    }

    #[test]
    fn nodes_answer_each_other_also_those_that_they_do_not_ask() {
        let address = |last: u8| IpAddr::from([127, 94, 56, last]);
        let target = |last: u8| Target { node: format!("node{last}"), address: address(last) };
        // The first one asks the second one, which asks nobody.
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| probe(address(1), 1450, &[target(2)], 1, 7).unwrap());
            let other = scope.spawn(|| probe(address(2), 1450, &[target(1)], 0, 8).unwrap());
            (one.join().unwrap(), other.join().unwrap())
        });
        let [asked] = one.probes.as_slice() else { panic!("{one:?}") };
        for kind in Kind::ALL {
            assert_eq!(asked.answers.get(kind), Some(&Outcome::Answered), "{kind:?}");
        }
        assert!(one.heard.is_empty() && other.probes.is_empty(), "{one:?} {other:?}");
        assert!(other.heard.contains("node1") || !asked.listens, "{one:?} {other:?}");
    }
}
