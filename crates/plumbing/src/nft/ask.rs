//! Requests for nf_tables' objects.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::encode::HEADER;
use crate::netlink;

/// NFT_MSG_GETCHAIN and NFT_MSG_GETRULE of NFNL_SUBSYS_NFTABLES.
pub(super) const GET_CHAIN: u16 = (10 << 8) | 4;
pub(super) const GET_RULE: u16 = (10 << 8) | 7;

/// Sends a request; returns the attributes of each object of the answer. EINTR: a dump changed while it was read.
pub(super) fn ask(request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.connect(&SocketAddr::new(0, 0))?;
    netlink::set_deadline(&socket)?;
    socket.send(request, 0)?;
    let dumps = NetlinkBuffer::new_checked(request).is_ok_and(|buffer| buffer.flags() & NLM_F_DUMP != 0);
    let (mut objects, mut datagram) = (Vec::new(), Vec::new());
    loop {
        netlink::receive(&socket, &mut datagram)?;
        let mut rest = datagram.as_slice();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                return Err(io::Error::from_raw_os_error(libc::EINTR));
            }
            match message.message_type() {
                NLMSG_DONE => return Ok(objects),
                NLMSG_ERROR => {
                    let code = rest.get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
                    let code = code.map_or(-libc::EIO, i32::from_ne_bytes);
                    return Err(io::Error::from_raw_os_error(-code));
                }
                // nfgenmsg has four bytes; the last two count the tables' changes.
                _ => objects.push(rest.get(HEADER + 4..length).unwrap_or_default().to_vec()),
            }
            match rest.get(length.next_multiple_of(4)..) {
                Some(more) if !more.is_empty() && length > 0 => rest = more,
                _ => break,
            }
        }
        if !dumps && !objects.is_empty() {
            return Ok(objects);
        }
    }
}
