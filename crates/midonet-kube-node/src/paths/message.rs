//! What is in a datagram that probes a path.

use std::net::IpAddr;

use super::answers::Kind;

/// What it begins with.
const MAGIC: [u8; 8] = *b"midopath";

/// Marks an answer.
const ANSWER: u8 = 0x80;

/// Bytes of the headers of IP and UDP.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;

/// A probe or the answer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    kind: Kind,
    is_answer: bool,
    /// Of one call.
    nonce: u64,
}

impl Message {
    pub(super) fn probe(kind: Kind, nonce: u64) -> Self {
        Self { kind, is_answer: false, nonce }
    }

    pub(super) fn answer(self) -> Self {
        Self { is_answer: true, ..self }
    }

    /// Its bytes; with a size, so many that the whole packet has that size.
    pub(super) fn bytes(self, address: IpAddr, packet: Option<u32>) -> Vec<u8> {
        let kind = self.kind.number() | if self.is_answer { ANSWER } else { 0 };
        let mut bytes = MAGIC.to_vec();
        bytes.push(kind);
        bytes.extend(self.nonce.to_be_bytes());
        let headers = if address.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let size = packet.map_or(0, |packet| (packet as usize).saturating_sub(headers));
        // No two bytes next to each other are equal, so that one that is lost or changed changes the checksum.
        bytes.extend((0..u8::MAX).cycle().take(size.saturating_sub(bytes.len())));
        bytes
    }

    /// A message that is one of these.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let nonce = u64::from_be_bytes(*rest.first_chunk()?);
        Some(Self { kind: Kind::read(kind & !ANSWER)?, is_answer: kind & ANSWER != 0, nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_has_the_size() {
        let v6 = IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
        for (address, headers) in [(IpAddr::from([10, 0, 0, 1]), 28), (v6, 48)] {
            for message in
                [Message::probe(Kind::Checksummed, 7), Message::probe(Kind::Unchecked, u64::MAX).answer()]
            {
                assert_eq!(Message::read(&message.bytes(address, None)), Some(message));
                let bytes = message.bytes(address, Some(1450));
                assert_eq!((bytes.len() + headers, Message::read(&bytes)), (1450, Some(message)));
                assert_eq!(message.bytes(address, Some(1)), message.bytes(address, None), "never less");
            }
        }
    }

    #[test]
    fn nothing_else_is_read() {
        let good = Message::probe(Kind::Plain, 1).bytes([10, 0, 0, 1].into(), None);
        for length in 0..good.len() {
            assert_eq!(Message::read(&good[..length]), None);
        }
        for (at, byte) in [(0, b'x'), (8, 0), (8, 4), (8, 0x7f)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(Message::read(&bytes), None, "{at} {byte}");
        }
    }
}
