//! Datagrams that ask who answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::super::question::{Outcome, Size};
use super::options::{keep_whole, mtu};
use super::wire::{ASK, Reply, SMALLEST, bytes, outcome};

/// A datagram is sent again after so long without an answer: one may be lost.
const AGAIN: Duration = Duration::from_millis(700);

/// The headers before the payload.
const UDP: usize = 8;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// The payload of a datagram.
pub(super) struct Datagram<'a>(pub(super) &'a [u8]);

impl Datagram<'_> {
    /// The number of the question; `None`: it is none.
    fn number(&self) -> Option<u32> {
        let rest = self.0.strip_prefix(ASK)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
    }
}

/// A question of so many bytes of payload.
fn question(number: u32, length: usize) -> Vec<u8> {
    let mut payload = ASK.to_vec();
    payload.extend_from_slice(format!("{number}\n").as_bytes());
    fill(&mut payload, length);
    payload
}

/// Makes a payload as long as it has to be.
fn fill(payload: &mut Vec<u8>, length: usize) {
    let rest = u32::try_from(length.saturating_sub(payload.len())).unwrap_or_default();
    payload.extend_from_slice(&bytes(rest));
}

/// The answer, as long as the question; `None`: it is no question, or shorter than an answer.
pub(super) fn answer(question: &Datagram<'_>, name: &str, client: SocketAddr) -> Option<Vec<u8>> {
    let number = question.number()?;
    let head = self::question(number, 0);
    let intact = question.0 == self::question(number, question.0.len()).as_slice();
    let reply = Reply { by: name.to_owned(), client, intact };
    let mut payload = head;
    payload.extend_from_slice(&serde_json::to_vec(&reply).ok()?);
    payload.push(b'\n');
    fill(&mut payload, question.0.len());
    (payload.len() == question.0.len()).then_some(payload)
}

/// The reply that an answer has.
fn reply(answer: &[u8], number: u32) -> Option<Reply> {
    let rest = answer.strip_prefix(question(number, 0).as_slice())?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    serde_json::from_slice(rest.get(..end)?).ok()
}

/// The payload of a packet of that size.
fn payload(size: Size, to: IpAddr) -> usize {
    let headers = UDP + if to.is_ipv4() { IPV4 } else { IPV6 };
    match size {
        Size::Small => SMALLEST,
        Size::Whole { bytes } | Size::Fragmented { bytes } => {
            usize::from(bytes).saturating_sub(headers).max(SMALLEST)
        }
    }
}

/// Asks once, by a socket of its own.
pub(super) async fn ask(to: SocketAddr, size: Size, number: u32, patience: Duration) -> Outcome {
    match connect(to).await {
        Ok(socket) => ask_by(&socket, to.ip(), size, number, patience).await,
        Err(error) => outcome(&error, false),
    }
}

/// A socket for one server.
pub(super) async fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Asks by a socket.
pub(super) async fn ask_by(
    socket: &UdpSocket,
    to: IpAddr,
    size: Size,
    number: u32,
    patience: Duration,
) -> Outcome {
    let result = exchange(socket, to, size, number, patience).await;
    match result.unwrap_or_else(|error| outcome(&error, false)) {
        Outcome::TooBig { mtu: None } => Outcome::TooBig { mtu: mtu(socket, to) },
        other => other,
    }
}

async fn exchange(
    socket: &UdpSocket,
    to: IpAddr,
    size: Size,
    number: u32,
    patience: Duration,
) -> io::Result<Outcome> {
    if matches!(size, Size::Whole { .. }) {
        keep_whole(socket, to)?;
    }
    let question = question(number, payload(size, to));
    let end = Instant::now() + patience;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while Instant::now() < end {
        socket.send(&question).await?;
        let again = (Instant::now() + AGAIN).min(end);
        while let Ok(length) = timeout_at(again, socket.recv(&mut buffer)).await {
            let came = buffer.get(..length?).unwrap_or_default();
            // Others are answers to questions before.
            if let Some(reply) = reply(came, number) {
                return Ok(reply.into());
            }
        }
    }
    Ok(Outcome::Silent { connected: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "[fd44:0:0:1:ffff:ffff:ffff:ffff]:65535";

    #[test]
    fn an_answer_is_as_long_as_the_question() {
        for length in [SMALLEST, 1372, 4000, 65_507] {
            let asked = question(u32::MAX, length);
            assert_eq!(asked.len(), length);
            let answered = answer(&Datagram(&asked), "other-namespace", CLIENT.parse().unwrap()).unwrap();
            assert_eq!(answered.len(), length);
            let reply = reply(&answered, u32::MAX).unwrap();
            assert!(reply.intact && reply.by == "other-namespace" && reply.client == CLIENT.parse().unwrap());
            assert!(self::reply(&answered, 7).is_none(), "of another question");
        }
    }

    #[test]
    fn what_is_no_question_has_no_answer() {
        let client = "10.0.0.1:1".parse().unwrap();
        for bad in [&b""[..], b"midokube asks 7", b"midokube asks x\n", b"hello", &question(7, 40)] {
            assert!(answer(&Datagram(bad), "near", client).is_none(), "{bad:?}");
        }
        let mut damaged = question(7, SMALLEST);
        *damaged.last_mut().unwrap() ^= 1;
        let answered = answer(&Datagram(&damaged), "near", client).unwrap();
        assert!(!reply(&answered, 7).unwrap().intact);
    }

    #[test]
    fn a_packet_has_its_headers() {
        let whole = Size::Whole { bytes: 1450 };
        assert_eq!(payload(whole, "10.0.0.1".parse().unwrap()), 1422);
        assert_eq!(payload(whole, "fd00::1".parse().unwrap()), 1402);
    }
}
