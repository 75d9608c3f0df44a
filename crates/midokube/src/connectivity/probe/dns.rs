//! Questions for the addresses of a name (RFC 1035, RFC 3596), to one server.
//!
//! The C library's resolver would ask several servers and names, and tell nothing of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::super::question::{DNS_PORT, Outcome};
use super::udp;
use super::wire::outcome;

/// A datagram is sent again after so long without an answer.
const AGAIN: Duration = Duration::from_millis(1500);

/// Answers that are read, each of an address or of another name.
const MOST: u16 = 256;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_INTERNET: u16 = 1;

/// Recursion is desired.
const FLAGS: u16 = 0x0100;
const IS_ANSWER: u8 = 0x80;
const IS_TRUNCATED: u8 = 0x02;
const CODE: u8 = 0x0f;

/// In the place of a label's length: the rest of the name is elsewhere.
const POINTER: u8 = 0xc0;

/// A name and the family of its addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) ipv6: bool,
}

/// Asks a server.
pub(super) async fn ask(
    wanted: Wanted<'_>,
    tcp: bool,
    server: IpAddr,
    number: u32,
    patience: Duration,
) -> Outcome {
    let id = u16::try_from(number & 0xffff).unwrap_or_default();
    let Some(question) = question(wanted, id) else {
        return Outcome::Failed { why: format!("{} is no name", wanted.name) };
    };
    let (to, end) = (SocketAddr::new(server, DNS_PORT), Instant::now() + patience);
    let asked = async {
        if tcp {
            over_tcp(to, wanted, id, &question).await
        } else {
            over_udp(to, wanted, id, &question).await
        }
    };
    match timeout_at(end, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => outcome(&error, false),
        Err(_) => Outcome::Silent { connected: false },
    }
}

async fn over_udp(to: SocketAddr, wanted: Wanted<'_>, id: u16, question: &[u8]) -> io::Result<Outcome> {
    let socket = udp::connect(to).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        socket.send(question).await?;
        let again = Instant::now() + AGAIN;
        while let Ok(length) = timeout_at(again, socket.recv(&mut buffer)).await {
            if let Some(answer) = read(buffer.get(..length?).unwrap_or_default(), wanted, id) {
                return Ok(answer);
            }
        }
    }
}

async fn over_tcp(to: SocketAddr, wanted: Wanted<'_>, id: u16, question: &[u8]) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(to).await?;
    let mut request = u16::try_from(question.len()).unwrap_or_default().to_be_bytes().to_vec();
    request.extend_from_slice(question);
    stream.write_all(&request).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    let unread = || Outcome::Damaged { why: "the DNS server's answer cannot be read".to_owned() };
    Ok(read(&answer, wanted, id).unwrap_or_else(unread))
}

/// The message that asks; `None`: a label is empty or too long.
fn question(wanted: Wanted<'_>, id: u16) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    for word in [id, FLAGS, 1, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in wanted.name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    let kind = if wanted.ipv6 { TYPE_AAAA } else { TYPE_A };
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    Some(message)
}

/// What a message answers; `None`: it is not the answer, or cannot be read.
fn read(message: &[u8], wanted: Wanted<'_>, id: u16) -> Option<Outcome> {
    let mut reader = Reader { message, at: 0 };
    let answered = reader.number()?;
    let [high, low] = reader.number()?.to_be_bytes();
    let (questions, answers) = (reader.number()?, reader.number()?.min(MOST));
    reader.skip(4)?;
    if answered != id || high & IS_ANSWER == 0 || questions != 1 {
        return None;
    }
    match low & CODE {
        0 => {}
        3 => return Some(Outcome::NoName { why: format!("there is no name {}", wanted.name) }),
        2 => return Some(Outcome::NoName { why: "the DNS server failed (SERVFAIL)".to_owned() }),
        code => return Some(Outcome::NoName { why: format!("the DNS server answers with the code {code}") }),
    }
    if high & IS_TRUNCATED != 0 {
        return Some(Outcome::NoName { why: "the answer was cut off".to_owned() });
    }
    reader.name()?;
    reader.skip(4)?;
    let mut addresses = Vec::new();
    for _ in 0..answers {
        reader.name()?;
        let kind = reader.number()?;
        // The class, and for how long it is so.
        reader.skip(6)?;
        let length = usize::from(reader.number()?);
        let data = reader.take(length)?;
        match kind {
            TYPE_A if !wanted.ipv6 => {
                addresses.push(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)));
            }
            TYPE_AAAA if wanted.ipv6 => {
                addresses.push(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)));
            }
            _ => {}
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    Some(Outcome::Resolved { addresses })
}

/// A message that is read from its beginning.
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(<[u8; 2]>::try_from(self.take(2)?).ok()?))
    }

    /// Goes past a name. What a pointer leads to is not followed.
    fn name(&mut self) -> Option<()> {
        loop {
            match *self.take(1)?.first()? {
                0 => return Some(()),
                length if length & POINTER == POINTER => return self.skip(1),
                length => self.skip(length.into())?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: Wanted<'_> = Wanted { name: "echo.ns.svc.cluster.local", ipv6: false };
    const NAME6: Wanted<'_> = Wanted { ipv6: true, ..NAME };

    /// An answer with these records, whose names point to the question's.
    fn answer(wanted: Wanted<'_>, code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question(wanted, 7).unwrap();
        message[2] = 0x85;
        message[3] = 0x80 | code;
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend_from_slice(&[POINTER, 12]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 5, 0, u8::try_from(data.len()).unwrap()]);
            message.extend_from_slice(data);
        }
        message
    }

    #[test]
    fn a_question_is_as_the_rfc_has_it() {
        let asked = question(Wanted { name: "a.bc.", ipv6: true }, 0x1234).unwrap();
        assert_eq!(asked, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x1c\x00\x01");
        for bad in ["", "a..b", &"x".repeat(64)] {
            assert!(question(Wanted { name: bad, ipv6: false }, 1).is_none(), "{bad}");
        }
    }

    #[test]
    fn addresses_of_the_wanted_family_are_read() {
        let addresses = |texts: &[&str]| {
            Some(Outcome::Resolved { addresses: texts.iter().map(|text| text.parse().unwrap()).collect() })
        };
        let four = answer(NAME, 0, &[(5, b"\x01x\x00"), (TYPE_A, &[10, 0, 0, 2]), (TYPE_A, &[10, 0, 0, 1])]);
        assert_eq!(read(&four, NAME, 7), addresses(&["10.0.0.1", "10.0.0.2"]));
        let six = answer(NAME6, 0, &[(TYPE_AAAA, &"fd00::1".parse::<Ipv6Addr>().unwrap().octets())]);
        assert_eq!(read(&six, NAME6, 7), addresses(&["fd00::1"]));
        assert_eq!(read(&answer(NAME6, 0, &[]), NAME6, 7), addresses(&[]));
        assert_eq!(read(&four, NAME, 8), None, "of another question");
        assert_eq!(read(&question(NAME, 7).unwrap(), NAME, 7), None, "a question");
    }

    #[test]
    fn why_there_is_no_address_is_told() {
        for (code, why) in [(3, "no name echo"), (2, "SERVFAIL"), (5, "code 5")] {
            let Some(Outcome::NoName { why: told }) = read(&answer(NAME, code, &[]), NAME, 7) else {
                panic!("{code}")
            };
            assert!(told.contains(why), "{told}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(cut in 0_usize..80, changed in any::<u8>(), at in 0_usize..80) {
            let mut message = answer(NAME, 0, &[(TYPE_A, &[10, 0, 0, 2]), (TYPE_A, &[10, 0, 0, 1])]);
            if let Some(byte) = message.get_mut(at) {
                *byte = changed;
            }
            message.truncate(cut);
            let _read = read(&message, NAME, 7);
        }
    }
}
