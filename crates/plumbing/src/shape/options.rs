//! The options of the queueing disciplines, as `linux/pkt_sched.h` has them. Pure.

use netlink_packet_core::{DefaultNla, Emitable as _, Nla as _, NlasIterator, Parseable as _};
use netlink_packet_route::tc::{TcAttribute, TcMessage, TcOption};

use super::bucket::{Bucket, Queue};

/// Of every discipline and class.
pub(super) const TCA_OPTIONS: u16 = 2;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;

/// Where `struct tc_ratespec` has its rate.
const RATE: usize = 8;
/// Where `struct tc_tbf_qopt`, behind two of those, has its limit.
const LIMIT: usize = 24;

/// TC_LINKLAYER_ETHERNET: with it the kernel needs no table of rates.
const ETHERNET: u8 = 1;

/// HTB_VER, and the divisor of rates that no class here uses.
const HTB_VERSION: u32 = 3;
const RATE_TO_QUANTUM: u32 = 10;

/// What a class may send before its neighbours' turn, in bytes.
const QUANTUM: u32 = 60_000;

/// `struct tc_tbf_qopt` and more.
pub(super) fn tbf(bucket: Bucket) -> Vec<u8> {
    let mut parms = ratespec(bucket.rate);
    parms.extend(ratespec(0));
    // The kernel fills in the time a bucket lasts; there is no peak rate.
    parms.extend(words([bucket.queue().bytes, 0, 0]));
    let mut options = nla(TCA_TBF_PARMS, parms);
    options.extend(nla(TCA_TBF_RATE64, bucket.rate.to_ne_bytes().to_vec()));
    options.extend(nla(TCA_TBF_BURST, words([bucket.size])));
    options
}

/// `struct tc_htb_glob`: what has no class is not delayed.
pub(super) fn htb() -> Vec<u8> {
    nla(TCA_HTB_INIT, words([HTB_VERSION, RATE_TO_QUANTUM, 0, 0, 0]))
}

/// `struct tc_htb_opt` and more.
pub(super) fn class(bucket: Bucket) -> Vec<u8> {
    let ticks = ticks(bucket);
    let mut parms = ratespec(bucket.rate);
    parms.extend(ratespec(bucket.rate));
    parms.extend(words([ticks, ticks, QUANTUM, 0, 0]));
    let mut options = nla(TCA_HTB_PARMS, parms);
    for kind in [TCA_HTB_RATE64, TCA_HTB_CEIL64] {
        options.extend(nla(kind, bucket.rate.to_ne_bytes().to_vec()));
    }
    options
}

/// `struct tc_fifo_qopt`.
pub(super) fn bfifo(bucket: Bucket) -> Vec<u8> {
    words([bucket.queue().bytes])
}

/// The queue of a token bucket filter.
pub(super) fn read_tbf(discipline: &TcMessage) -> Option<Queue> {
    let options = nested(discipline, "tbf")?;
    let bytes = word(&find(&options, TCA_TBF_PARMS)?, LIMIT)?;
    Some(Queue { rate: rate(&options, TCA_TBF_PARMS, TCA_TBF_RATE64)?, bytes })
}

/// The rate of a class.
pub(super) fn read_class(class: &TcMessage) -> Option<u64> {
    rate(&nested(class, "htb")?, TCA_HTB_PARMS, TCA_HTB_RATE64)
}

/// How many bytes may wait there.
pub(super) fn read_bfifo(discipline: &TcMessage) -> Option<u32> {
    word(&raw(discipline, "bfifo")?, 0)
}

/// A rate that does not fit into the older form has one of 64 bits beside it.
fn rate(options: &[DefaultNla], parms: u16, rate64: u16) -> Option<u64> {
    match find(options, rate64) {
        Some(bytes) => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
        None => word(&find(options, parms)?, RATE).map(u64::from),
    }
}

/// `struct tc_ratespec`.
fn ratespec(rate: u64) -> Vec<u8> {
    let mut spec = vec![0, ETHERNET, 0, 0, 0, 0, 0, 0];
    spec.extend(words([u32::try_from(rate).unwrap_or(u32::MAX)]));
    spec
}

/// How long a bucket lasts at its own rate, in the kernel's ticks of 64 nanoseconds.
fn ticks(bucket: Bucket) -> u32 {
    let nanoseconds = u128::from(bucket.size) * 1_000_000_000 / u128::from(bucket.rate.max(1));
    u32::try_from(nanoseconds / 64).unwrap_or(u32::MAX)
}

fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn nla(kind: u16, value: Vec<u8>) -> Vec<u8> {
    let nla = DefaultNla::new(kind, value);
    let mut bytes = vec![0; nla.buffer_len()];
    nla.emit(&mut bytes);
    bytes
}

fn value(nla: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; nla.value_len()];
    nla.emit_value(&mut bytes);
    bytes
}

/// The options as they came, of a discipline of that kind.
fn raw(message: &TcMessage, kind: &str) -> Option<Vec<u8>> {
    if !message.attributes.contains(&TcAttribute::Kind(kind.to_owned())) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Other(nla) => Some(value(nla)),
            _ => None,
        }),
        _ => None,
    })
}

fn nested(message: &TcMessage, kind: &str) -> Option<Vec<DefaultNla>> {
    let bytes = raw(message, kind)?;
    NlasIterator::new(&bytes[..]).map(|nla| DefaultNla::parse(&nla.ok()?).ok()).collect()
}

fn find(options: &[DefaultNla], kind: u16) -> Option<Vec<u8>> {
    options.iter().find(|nla| nla.kind() == kind).map(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::bucket::LARGEST_PACKET;

    #[test]
    fn structures_have_the_kernels_sizes() {
        let bucket = Bucket { rate: 1_250_000, size: 131_072 };
        // With a header of 4 bytes each.
        assert_eq!(tbf(bucket).len(), (4 + 36) + (4 + 8) + (4 + 4));
        assert_eq!(htb().len(), 4 + 20);
        assert_eq!(class(bucket).len(), (4 + 44) + 2 * (4 + 8));
        assert_eq!(bfifo(bucket), (131_072u32 + 31_250).to_ne_bytes());
    }

    #[test]
    fn a_queue_holds_a_packet_and_is_bounded() {
        for (rate, size, bytes) in [
            (1, 1, LARGEST_PACKET),
            (1_250_000, 65_536, 65_536 + 31_250),
            (u64::MAX, u32::MAX, 2 * Bucket::LARGEST),
        ] {
            assert_eq!(Bucket { rate, size }.queue(), Queue { rate, bytes });
        }
    }

    #[test]
    fn a_bucket_lasts_as_long_as_it_takes_to_fill() {
        assert_eq!(ticks(Bucket { rate: 1_000_000, size: 64_000 }), 1_000_000); // 64 ms
        assert_eq!(ticks(Bucket { rate: 1, size: Bucket::LARGEST }), u32::MAX);
        assert_eq!(ticks(Bucket { rate: 0, size: 0 }), 0);
    }
}
