//! The index's pages: a line for each owner, `<container> <interface> <addresses>`, in the page that its
//! name's hash chooses. Pure.

use std::collections::BTreeMap;

/// Bytes of a page.
pub(super) const SIZE: usize = 4096;

/// How many owners a page is meant for; about three times as many fit.
const OWNERS: usize = 16;

/// The most pages of an index.
const MOST: usize = 1 << 16;

/// An owner's name in the index: what its files say, with a space between container and interface;
/// `None` if that is no word for a line.
pub(super) fn owner(content: &[u8]) -> Option<Vec<u8>> {
    let at = content.windows(2).position(|pair| pair == b"\r\n");
    let parts = match at {
        Some(at) => vec![content.get(..at)?, content.get(at + 2..)?],
        None => vec![content],
    };
    let plain = |part: &&[u8]| !part.is_empty() && part.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    parts.iter().all(plain).then(|| parts.join(&b' '))
}

/// Which of so many pages the owner is in: by FNV-1a, which is the same in every version.
pub(super) fn number(owner: &[u8], pages: usize) -> usize {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = owner.iter().fold(0xcbf2_9ce4_8422_2325, hash);
    usize::try_from(hash % (pages.max(1) as u64)).unwrap_or_default()
}

/// The owner's addresses, as they stand in its page.
pub(super) fn find<'a>(page: &'a [u8], owner: &[u8]) -> Option<&'a [u8]> {
    lines(page).find(|(found, _)| *found == owner).map(|(_, names)| names)
}

/// The page with these as the owner's addresses, or without the owner if there are none; `None` if it
/// does not fit.
pub(super) fn replace(page: &[u8], owner: &[u8], names: &str) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(SIZE);
    let own = Some((owner, names.as_bytes())).filter(|_| !names.is_empty());
    for (owner, names) in lines(page).filter(|(found, _)| *found != owner).chain(own) {
        text.extend_from_slice(owner);
        text.push(b' ');
        text.extend_from_slice(names);
        text.push(b'\n');
    }
    (text.len() <= SIZE).then(|| {
        text.resize(SIZE, 0);
        text
    })
}

/// All pages for these owners and their addresses; `None` if they are too many or too long.
pub(super) fn layout(owners: &BTreeMap<Vec<u8>, String>) -> Option<Vec<u8>> {
    let mut count = (owners.len() / OWNERS + 1).next_power_of_two();
    while count <= MOST {
        let mut pages = vec![Vec::new(); count];
        for (owner, names) in owners {
            let line = [owner.as_slice(), b" ", names.as_bytes(), b"\n"].concat();
            pages.get_mut(number(owner, count))?.extend_from_slice(&line);
        }
        if pages.iter().all(|page| page.len() <= SIZE) {
            pages.iter_mut().for_each(|page| page.resize(SIZE, 0));
            return Some(pages.concat());
        }
        count *= 2;
    }
    None
}

/// The owners of a page, with their addresses.
fn lines(page: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let text = page.split(|byte| *byte == 0).next().unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().rposition(|byte| *byte == b' ')?;
        Some((line.get(..at)?, line.get(at + 1..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_names_that_are_words() {
        for (content, want) in [
            ("a\r\neth0", Some("a eth0")),
            ("a", Some("a")),
            ("a/b\r\neth0", Some("a/b eth0")),
            ("", None),
            ("a\r\n", None),
            ("\r\neth0", None),
            ("a b", None),
            ("a\neth0", None),
            ("a\r\neth0\r\nx", None),
            ("a\0", None),
        ] {
            assert_eq!(owner(content.as_bytes()), want.map(|want| want.as_bytes().to_vec()), "{content:?}");
        }
    }

    #[test]
    fn a_page_is_written_and_read() {
        let page = replace(&[0; SIZE], b"a eth0", "10.0.0.2,fd00::2").unwrap();
        let page = replace(&page, b"a", "10.0.0.3").unwrap();
        assert_eq!(page.len(), SIZE);
        assert_eq!(find(&page, b"a eth0"), Some(b"10.0.0.2,fd00::2".as_slice()));
        assert_eq!(find(&page, b"a"), Some(b"10.0.0.3".as_slice()));
        assert_eq!(find(&page, b"eth0"), None);
        let page = replace(&page, b"a eth0", "10.0.0.9").unwrap();
        assert_eq!(find(&page, b"a eth0"), Some(b"10.0.0.9".as_slice()));
        let page = replace(&page, b"a eth0", "").unwrap();
        assert_eq!((find(&page, b"a eth0"), find(&page, b"a").is_some()), (None, true));
        assert_eq!(replace(&page, b"b", &"x".repeat(SIZE)), None);
    }

    #[test]
    fn a_layout_has_a_place_for_every_owner() {
        for count in [0, 1, 16, 1000, 65_000] {
            let owners: BTreeMap<Vec<u8>, String> =
                (0..count).map(|n| (format!("{n:064x} eth0").into_bytes(), format!("10.0.0.{n}"))).collect();
            let pages = layout(&owners).unwrap();
            let number_of_pages = pages.len() / SIZE;
            assert_eq!(pages.len() % SIZE, 0);
            assert!(number_of_pages <= 1 + count / 4, "{number_of_pages} for {count}");
            for (owner, names) in &owners {
                let page = &pages[number(owner, number_of_pages) * SIZE..][..SIZE];
                assert_eq!(find(page, owner), Some(names.as_bytes()));
            }
        }
        assert_eq!(layout(&BTreeMap::from([(b"a".to_vec(), "x".repeat(SIZE))])), None);
    }
}
