//! Rows of drops that two maps have.

use crate::layout::drops::DropCounter;

/// What two maps have of one row, the second of which was filled from the first before.
pub(super) fn largest(old: &[u8], new: &[u8]) -> Vec<u8> {
    merged(old, new, u64::max)
}

/// What two maps have of one row, each of other packets.
pub(super) fn sum(old: &[u8], new: &[u8]) -> Vec<u8> {
    merged(old, new, u64::saturating_add)
}

/// What came to a row since it was `before`; `None` if nothing did.
pub(super) fn since(now: &[u8], before: Option<&[u8]>) -> Option<Vec<u8>> {
    let row = read(now)?;
    let before = before.and_then(read);
    // Else it was evicted meanwhile, and began anew.
    let before = before.filter(|before| before.first == row.first).unwrap_or_default();
    let since = DropCounter {
        packets: row.packets.saturating_sub(before.packets),
        bytes: row.bytes.saturating_sub(before.bytes),
        ..row
    };
    (since.packets > 0).then(|| bytemuck::bytes_of(&since).to_vec())
}

fn merged(old: &[u8], new: &[u8], count: impl Fn(u64, u64) -> u64) -> Vec<u8> {
    let (Some(theirs), Some(ours)) = (read(old), read(new)) else { return old.to_vec() };
    let later = if theirs.last > ours.last { theirs } else { ours };
    // A row that is not there is zero.
    let first = [theirs.first, ours.first].into_iter().filter(|first| *first > 0).min().unwrap_or_default();
    let (packets, bytes) = (count(theirs.packets, ours.packets), count(theirs.bytes, ours.bytes));
    bytemuck::bytes_of(&DropCounter { packets, bytes, first, ..later }).to_vec()
}

fn read(bytes: &[u8]) -> Option<DropCounter> {
    bytemuck::try_pod_read_unaligned(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(packets: u64, first: u64, last: u64, port: u8) -> Vec<u8> {
        let (bytes, source_port) = (100 * packets, [0, port]);
        let row = DropCounter { packets, bytes, first, last, source_port, ..DropCounter::default() };
        bytemuck::bytes_of(&row).to_vec()
    }

    #[test]
    fn rows_of_two_maps_become_one() {
        let nothing = vec![0; size_of::<DropCounter>()];
        for (old, new, largest_of_both, sum_of_both) in [
            (row(3, 10, 20, 1), nothing, row(3, 10, 20, 1), row(3, 10, 20, 1)),
            (row(3, 10, 20, 1), row(5, 10, 30, 2), row(5, 10, 30, 2), row(8, 10, 30, 2)),
            (row(3, 10, 40, 1), row(2, 15, 30, 2), row(3, 10, 40, 1), row(5, 10, 40, 1)),
        ] {
            assert_eq!((largest(&old, &new), sum(&old, &new)), (largest_of_both, sum_of_both));
        }
    }

    #[test]
    fn only_what_came_since_counts() {
        let now = row(5, 10, 30, 2);
        assert_eq!(since(&now, None), Some(row(5, 10, 30, 2)));
        assert_eq!(since(&now, Some(&row(3, 10, 20, 1))), Some(row(2, 10, 30, 2)));
        assert_eq!(since(&now, Some(&now)), None);
        // Evicted, and begun anew.
        assert_eq!(since(&now, Some(&row(9, 5, 8, 1))), Some(row(5, 10, 30, 2)));
    }
}
