//! Whether the host protects packets with IPsec: packets that bypass its network stack would bypass IPsec, too.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NlasIterator};
use netlink_sys::constants::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};

use crate::error::{Error, Result};
use crate::netlink;

/// XFRM_MSG_GETSPDINFO (linux/xfrm.h); its answer is XFRM_MSG_NEWSPDINFO.
const GET_POLICY_INFO: u16 = 0x25;
/// XFRMA_SPD_INFO: `struct xfrmu_spdinfo`, whose second number is that of the policies for what leaves.
const COUNTS: u16 = 1;
/// A message's header, and the flags that these messages begin with.
const HEADER: usize = 16;
const FLAGS: usize = 4;

/// Whether this namespace has IPsec policies for packets that leave it. A kernel without IPsec has none.
///
/// # Errors
/// The kernel does not answer.
pub fn protects_what_leaves() -> Result<bool> {
    match outgoing_policies() {
        Ok(count) => Ok(count > 0),
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Ok(false),
        Err(error) => Err(Error::new("ask whether there are IPsec policies", error)),
    }
}

fn outgoing_policies() -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_XFRM)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.connect(&SocketAddr::new(0, 0))?;
    netlink::set_deadline(&socket)?;
    let mut request = [0; HEADER + FLAGS];
    let mut message = NetlinkBuffer::new(&mut request[..]);
    message.set_length(u32::try_from(HEADER + FLAGS).unwrap_or_default());
    message.set_message_type(GET_POLICY_INFO);
    message.set_flags(NLM_F_REQUEST);
    socket.send(&request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is malformed");
    let message = NetlinkBuffer::new_checked(&answer).map_err(|_| malformed())?;
    let payload = message.payload();
    let number = |bytes: &[u8], at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    if message.message_type() == NLMSG_ERROR {
        let errno = number(payload, 0).map(i32::from_ne_bytes).ok_or_else(malformed)?;
        return Err(io::Error::from_raw_os_error(-errno));
    }
    let counts = NlasIterator::new(payload.get(FLAGS..).unwrap_or_default()).flatten();
    let counts = counts.into_iter().find(|attribute| attribute.kind() == COUNTS).ok_or_else(malformed)?;
    number(counts.value(), 4).map(u32::from_ne_bytes).ok_or_else(malformed)
}
