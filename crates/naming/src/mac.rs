use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A MAC address in transmission order. Written lower-case with colons, read in either case with
/// colons or dashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

/// The MAC of the virtual gateway: the network side of every Pod's and every node's veth.
pub const GATEWAY_MAC: Mac = Mac([0x02, 0x6d, 0x69, 0x64, 0x6f, 0x01]);

/// The MAC inside the tunnel: of `midokube-vxlan` on every node, as source and as destination.
pub const OVERLAY_MAC: Mac = Mac([0x02, 0x6d, 0x69, 0x64, 0x6f, 0x02]);

/// The MAC that the legacy midonet-kubernetes derives from an object's key: `ac:ca:ba` and the first three bytes of
/// the key's SHA-256.
pub fn key_mac(key: &str) -> Mac {
    let [a, b, c, ..] = Sha256::digest(key.as_bytes()).0;
    Mac([0xac, 0xca, 0xba, a, b, c])
}

/// The MAC of the container side of one attachment: unicast, locally administered, and 46 bits of a hash
/// of what the CNI specification makes unique, so that it is known before the interface exists.
pub fn attachment_mac(container_id: &str, ifname: &str) -> Mac {
    let [a, b, c, d, e, f, ..] = Sha256::digest(format!("{container_id}/{ifname}").as_bytes()).0;
    Mac([(a & 0xfc) | 0x02, b, c, d, e, f])
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a MAC address: write six bytes in hexadecimal, like 02:6d:69:64:6f:01")]
pub struct ParseMacError(String);

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMacError(text.to_owned());
        let mut bytes = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(error());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(bytes)) }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_the_legacy_project() {
        assert_eq!(key_mac("hey").to_string(), "ac:ca:ba:fa:69:0b");
        assert_eq!(key_mac("k").to_string(), "ac:ca:ba:82:54:c3");
    }

    #[test]
    fn refuses_what_is_no_mac() {
        for text in [
            "",
            "02",
            "02:6d:69:64:6f",
            "02:6d:69:64:6f:01:02",
            "02:6d:69:64:6f:+1",
            "026d69646f01",
            "g2:6d:69:64:6f:01",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(ParseMacError(text.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn survives_text(bytes: [u8; 6]) {
            let mac = Mac(bytes);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            prop_assert_eq!(mac.to_string().to_uppercase().replace(':', "-").parse(), Ok(mac));
        }

        #[test]
        fn an_attachment_has_a_local_unicast_mac(id in "[a-f0-9]{64}", ifname in "eth[0-9]") {
            prop_assert_eq!(attachment_mac(&id, &ifname).0[0] & 0x03, 0x02);
        }
    }
}
