//! The address space, cut at the blocks of both states.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::change::End;
use crate::prefix::Prefix;
use crate::tables::ClassId;

/// A block, without those in it of which something else is said.
struct Piece {
    block: Prefix,
    classes: [ClassId; 2],
    except: Vec<Prefix>,
}

/// All addresses of both families, by their class in the old state and in the new one.
pub(super) fn outside(blocks: [&BTreeMap<Prefix, ClassId>; 2]) -> BTreeMap<[ClassId; 2], Vec<End>> {
    let everything = [IpNet::from(Ipv4Net::default()), Ipv6Net::default().into()].map(Prefix::of);
    let mut all: BTreeSet<Prefix> = everything.into();
    all.extend(blocks.iter().flat_map(|blocks| blocks.keys()));
    let mut pieces: Vec<Piece> = Vec::new();
    // The pieces that the next one may be in, the longest last.
    let mut path: Vec<usize> = Vec::new();
    for block in all {
        let contains = |piece: &usize| pieces.get(*piece).is_some_and(|piece| piece.block.contains(&block));
        while path.last().is_some_and(|piece| !contains(piece)) {
            path.pop();
        }
        let next = pieces.len();
        let around = path.last().and_then(|piece| pieces.get_mut(*piece));
        let before = around.as_ref().map_or([ClassId::OTHER; 2], |around| around.classes);
        let [old, new] = blocks.map(|blocks| blocks.get(&block).copied());
        let classes = [old.unwrap_or(before[0]), new.unwrap_or(before[1])];
        match around {
            Some(around) if around.classes == classes => continue,
            Some(around) => around.except.push(block),
            None => {}
        }
        pieces.push(Piece { block, classes, except: Vec::new() });
        path.push(next);
    }
    let mut groups: BTreeMap<[ClassId; 2], Vec<End>> = BTreeMap::new();
    for Piece { block, classes, except } in pieces {
        if !block.is_full(&except)
            && let Some(block) = block.block()
        {
            let except = except.iter().filter_map(Prefix::block).collect();
            groups.entry(classes).or_default().push(End::Block { block, except });
        }
    }
    groups
}
