//! What may happen to a network's directory.

use proptest::prelude::*;
use proptest::sample::Index as Pick;

/// How many owners there are.
pub(super) const OWNERS: usize = 5;

/// What happens to the directory, by us, by a host-local, by a crash or by hand.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Add(usize, Vec<usize>),
    Del(usize),
    Read(usize),
    Gc(usize),
    Restore(usize, usize),
    ForeignAdd(usize, usize),
    ForeignDel(usize),
    ForeignOld(usize, usize),
    ForeignCrash(usize),
    Torn(usize, usize),
    CrashInAdd(usize, usize, u8),
    CrashInDel(Pick, bool),
    IndexLost,
    IndexCut(u64),
    IndexWrong(usize, usize),
    FormerLink(usize),
    SpareLost,
    SpareShared(Pick),
    Touch(bool, bool),
    Subdirectory(usize, usize),
    NoSubdirectory,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (n, a) = (0..OWNERS, 1usize..12);
    let na = (n.clone(), a.clone());
    let step = prop_oneof![
        5 => (n.clone(), proptest::collection::vec(a.clone(), 1..4)).prop_map(|(n, a)| Step::Add(n, a)),
        4 => n.clone().prop_map(Step::Del),
        5 => n.clone().prop_map(Step::Read),
        1 => n.clone().prop_map(Step::Gc),
        1 => na.clone().prop_map(|(n, a)| Step::Restore(n, a)),
        3 => na.clone().prop_map(|(n, a)| Step::ForeignAdd(n, a)),
        2 => n.clone().prop_map(Step::ForeignDel),
        1 => na.clone().prop_map(|(n, a)| Step::ForeignOld(n, a)),
        1 => a.prop_map(Step::ForeignCrash),
        1 => na.clone().prop_map(|(n, a)| Step::Torn(n, a)),
        2 => (na.clone(), 0u8..3).prop_map(|((n, a), at)| Step::CrashInAdd(n, a, at)),
        2 => any::<(Pick, bool)>().prop_map(|(pick, put)| Step::CrashInDel(pick, put)),
        1 => Just(Step::IndexLost),
        1 => (0u64..5000).prop_map(Step::IndexCut),
        1 => na.clone().prop_map(|(n, a)| Step::IndexWrong(n, a)),
        1 => Just(Step::SpareLost),
        1 => any::<Pick>().prop_map(Step::SpareShared),
        1 => n.prop_map(Step::FormerLink),
        1 => any::<(bool, bool)>().prop_map(|(network, index)| Step::Touch(network, index)),
        1 => na.prop_map(|(n, a)| Step::Subdirectory(n, a)),
        1 => Just(Step::NoSubdirectory),
    ];
    proptest::collection::vec(step, 1..40)
}
