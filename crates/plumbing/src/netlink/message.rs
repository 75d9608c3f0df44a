//! The messages of a datagram: requests, and the kernel's answers.

use std::io;

use netlink_packet_core::{
    DefaultNla, NetlinkBuffer, NetlinkMessage, NetlinkPayload, Nla as _, NlasIterator, Parseable as _,
};
use netlink_packet_route::RouteNetlinkMessage;

/// NLMSGERR_ATTR_MSG: the kernel's explanation of an error.
const ATTR_MSG: u16 = 1;

/// NLM_F_ACK_TLVS: such an explanation follows.
const ACK_TLVS: u16 = 0x200;

/// Appends a request to a datagram.
pub(super) fn append(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    if let Some(space) = bytes.get_mut(start..) {
        message.serialize(space);
    }
}

pub(super) struct Header {
    pub(super) sequence: u32,
    pub(super) flags: u16,
}

pub(super) enum Payload {
    Object(RouteNetlinkMessage),
    Answer(Result<(), (io::Error, Option<String>)>),
    Done,
    Unreadable(String),
}

/// The messages of one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> Vec<(Header, Payload)> {
    let mut all = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let length = buffer.length() as usize;
        let header = Header { sequence: buffer.sequence_number(), flags: buffer.flags() };
        let explained = buffer.flags() & ACK_TLVS != 0;
        if let Some(one) = datagram.get(..length) {
            all.push((header, payload(one, explained)));
        }
        match datagram.get(length.next_multiple_of(4)..) {
            Some(rest) if !rest.is_empty() && length > 0 => datagram = rest,
            _ => break,
        }
    }
    all
}

fn payload(bytes: &[u8], explained: bool) -> Payload {
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|message| message.payload) {
        Ok(NetlinkPayload::Error(error)) if error.raw_code() == 0 => Payload::Answer(Ok(())),
        Ok(NetlinkPayload::Error(error)) => {
            let hint = if explained { explanation(bytes) } else { None };
            Payload::Answer(Err((io::Error::from_raw_os_error(-error.raw_code()), hint)))
        }
        // A dump that failed half-way says so at its end.
        Ok(NetlinkPayload::Done(done)) if done.code < 0 => {
            Payload::Answer(Err((io::Error::from_raw_os_error(-done.code), None)))
        }
        Ok(NetlinkPayload::Done(_)) => Payload::Done,
        Ok(NetlinkPayload::InnerMessage(object)) => Payload::Object(object),
        Ok(other) => Payload::Unreadable(format!("the kernel's answer is of no known kind: {other:?}")),
        Err(error) => Payload::Unreadable(format!("the kernel's answer cannot be read: {error}")),
    }
}

/// The kernel's words behind an error: attributes after the error's code and the request's header
/// (which is all it repeats, or the whole request, as its own length says).
fn explanation(bytes: &[u8]) -> Option<String> {
    const HEADER: usize = 16;
    let request = bytes.get(HEADER + 4..)?;
    let length = u32::from_ne_bytes(request.get(..4)?.try_into().ok()?) as usize;
    let attributes = request.get(length.next_multiple_of(4)..).or_else(|| request.get(HEADER..))?;
    NlasIterator::new(attributes).flatten().find(|nla| nla.kind() == ATTR_MSG).and_then(|nla| {
        let nla = DefaultNla::parse(&nla).ok()?;
        let mut text = vec![0; nla.value_len()];
        nla.emit_value(&mut text);
        Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
    })
}
