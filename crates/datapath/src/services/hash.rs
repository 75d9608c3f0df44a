//! The hash of a backend, the same on all nodes.

use crate::layout::Address;
use crate::layout::services::Backend;

/// The seed of a backend in `struct backend`: MurmurHash3 (x86, 32 bits, seed 0) of 20 bytes, which are the address's 16,
/// the port's two in network order, and two zeros.
pub(super) fn seed(address: Address, port: [u8; 2]) -> u32 {
    let words = words(address);
    murmur3([words[0], words[1], words[2], words[3], u32::from_le_bytes([port[0], port[1], 0, 0])], 0)
}

/// Where a backend's permutation of a Maglev table starts, and how far its steps are: the same hash of the address
/// alone, with two other seeds. So all ports of a Service that have the same Pods behind them share one table.
pub(super) fn permutation(address: Address) -> [u32; 2] {
    [1, 2].map(|seed| murmur3(words(address), seed))
}

/// A backend as it is in the map.
pub(super) fn raw(address: Address, port: u16) -> Backend {
    let port = port.to_be_bytes();
    Backend { address, port, pad: [0; 2], seed: seed(address, port) }
}

/// The four words of an address.
fn words(address: Address) -> [u32; 4] {
    address.word.map(u32::from_le_bytes)
}

/// MurmurHash3_x86_32 (Austin Appleby, public domain) of whole words, as they are read on a little-endian machine.
fn murmur3<const N: usize>(words: [u32; N], seed: u32) -> u32 {
    let mut hash = seed;
    let mut length = 0u32;
    for word in words {
        let mixed = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
        hash = (hash ^ mixed).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        length += 4;
    }
    hash ^= length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn the_hash_is_murmur3() {
        let test = u32::from_le_bytes(*b"test");
        assert_eq!(murmur3([test], 0), 0xba6b_d213);
        assert_eq!(murmur3([test], 0x9747_b28c), 0x704b_81dc);
        assert_eq!(murmur3([], 0), 0);
        assert_eq!(murmur3([], 1), 0x514e_28b7);
    }

    /// Another value would send flows on nodes of two versions to different backends.
    #[test]
    fn seeds_stay_what_they_are() {
        let seed = |address: &str, port: u16| {
            let address: IpAddr = address.parse().unwrap();
            raw(address.into(), port).seed
        };
        assert_eq!(seed("10.244.1.7", 8080), 0x9e51_9091);
        assert_eq!(seed("fd00:10:244::7", 8080), 0xcbfe_482d);
        let seeds: BTreeSet<u32> = (1..=250).map(|host| seed(&format!("10.0.0.{host}"), 80)).collect();
        assert_eq!(seeds.len(), 250);
    }
}
