//! Maglev tables (Eisenbud and others, NSDI 2016): each backend has as many entries as any other, or one more, and
//! removing one disturbs hardly any entries of the others. Pure.

use crate::layout::Address;
use crate::layout::services::{CHOICES_BLOCK, RENDEZVOUS_MAX};

use super::hash::permutation;

/// Up to how many backends there are tables of which size, a prime. By these sizes removing one backend disturbs less
/// than one in a hundred entries of the others: short tables need more entries for each backend. Where a list grows
/// from one size to the next, all of its table is another, so there are few.
const SIZES: [(u32, u32); 5] =
    [(64, 32_771), (655, 65_537), (1_311, 131_101), (2_621, 262_147), (u32::MAX, 524_309)];

/// The sizes of tables where there is no space for the right ones. Removing a backend disturbs more of them.
const SHORT_OF_SPACE: [u32; 4] = [16_411, 8_209, 4_099, 2_053];

/// The most backends of a list: an entry has 16 bits, and one value is for none.
pub(super) const MOST_BACKENDS: usize = u16::MAX as usize;

/// How many entries the table of so many backends should have; 0: they need none.
pub(super) fn size(backends: u32) -> u32 {
    sizes(backends).next().unwrap_or(0)
}

/// The sizes that the table of so many backends can have, the right one first; none: they need no table.
pub(super) fn sizes(backends: u32) -> impl Iterator<Item = u32> {
    let right = SIZES.iter().find(|(most, _)| backends > RENDEZVOUS_MAX && backends <= *most);
    let right = right.map_or(0, |(_, size)| *size);
    let all = SIZES.iter().rev().map(|(_, size)| *size).chain(SHORT_OF_SPACE);
    // Each backend has an entry.
    all.filter(move |size| *size <= right && *size >= backends)
}

/// [`CHOICES_BLOCK`].
const BLOCK: u32 = 32;

const _: () = assert!(CHOICES_BLOCK == BLOCK as usize);

/// How many blocks of `choices` a table takes.
pub(super) fn blocks(size: u32) -> u32 {
    size.div_ceil(BLOCK)
}

/// The table of so many entries of backends with these addresses: which of them each entry is. The same on every node
/// that has them in the same order.
pub(super) fn table(addresses: &[Address], size: u32) -> Vec<u16> {
    const VACANT: u16 = u16::MAX;
    if size < 2 || addresses.is_empty() || addresses.len() > MOST_BACKENDS {
        return Vec::new();
    }
    // What each backend prefers next, and how far it is to the one after that.
    let mut next: Vec<(u32, u32)> = addresses
        .iter()
        .map(|address| {
            let [start, step] = permutation(*address);
            (start % size, step % (size - 1) + 1)
        })
        .collect();
    let mut table = vec![VACANT; size as usize];
    let mut left = size;
    loop {
        for (backend, (preferred, step)) in (0u16..).zip(&mut next) {
            if left == 0 {
                return table;
            }
            // The size is a prime: the steps lead to every entry.
            loop {
                let entry = table.get_mut(*preferred as usize);
                *preferred = (*preferred + *step) % size;
                if let Some(entry) = entry.filter(|entry| **entry == VACANT) {
                    *entry = backend;
                    left -= 1;
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn addresses(count: u32, v6: bool) -> Vec<Address> {
        let address = |host: u32| match v6 {
            false => IpAddr::V4(Ipv4Addr::from(0x0af4_0000 + host * 7)),
            true => IpAddr::V6(Ipv6Addr::from((0xfd00 << 112) + u128::from(host))),
        };
        (1..=count).map(|host| address(host).into()).collect()
    }

    #[test]
    fn sizes_are_primes_of_which_each_backend_has_its_share() {
        for size in SIZES.map(|(_, size)| size).into_iter().chain(SHORT_OF_SPACE) {
            assert!((2..).take_while(|n| n * n <= size).all(|n| size % n != 0), "{size}");
        }
        assert_eq!([0, 1, 32].map(size), [0, 0, 0]);
        assert_eq!(
            [33, 64, 65, 655, 656, 5_000, 60_000].map(size),
            [32_771, 32_771, 65_537, 65_537, 131_101, 524_309, 524_309]
        );
        assert!(sizes(33).eq([32_771, 16_411, 8_209, 4_099, 2_053]));
        assert!(sizes(60_000).eq([524_309, 262_147, 131_101, 65_537]));
        assert_eq!(blocks(4_099), 129);
    }

    #[test]
    fn backends_have_as_many_entries_as_any_other_or_one_more() {
        for count in [33, 64, 100, 655, 1311] {
            for v6 in [false, true] {
                for size in sizes(count) {
                    let table = table(&addresses(count, v6), size);
                    let mut shares = vec![0u32; count as usize];
                    table.iter().for_each(|backend| shares[usize::from(*backend)] += 1);
                    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                    assert!(*least == size / count && most - least <= 1, "{count}: {least} to {most}");
                }
            }
        }
    }

    /// Every entry that was not the removed one's and is another's now.
    #[test]
    fn removing_one_disturbs_at_most_one_in_a_hundred_more() {
        for count in [34, 50, 64, 100, 250, 500, 655, 1311] {
            for v6 in [false, true] {
                let (all, size) = (addresses(count, v6), size(count));
                let before = table(&all, size);
                for removed in [0, count / 2, count - 1] {
                    let mut left = all.clone();
                    left.remove(removed as usize);
                    let after = table(&left, size);
                    let disturbed = before.iter().zip(&after).filter(|(before, after)| {
                        let old = all[usize::from(**before)];
                        u32::from(**before) != removed && old != left[usize::from(**after)]
                    });
                    let share = disturbed.count() as f64 / f64::from(size);
                    assert!(share <= 0.01, "{count} without {removed}: {share}");
                }
            }
        }
    }

    #[test]
    fn backends_with_one_address_share_the_table_evenly() {
        let mut doubled = addresses(50, false);
        doubled.extend(doubled.clone());
        doubled.sort();
        let table = table(&doubled, 16_411);
        let mut shares = vec![0u32; doubled.len()];
        table.iter().for_each(|backend| shares[usize::from(*backend)] += 1);
        assert!(shares.iter().all(|share| (164..=165).contains(share)), "{shares:?}");
    }
}
