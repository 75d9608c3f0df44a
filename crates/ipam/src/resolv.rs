//! resolv.conf(5), as far as results carry it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cni::Dns;

use crate::error::Error;

/// The longest file that is read.
const LONGEST: u64 = 1 << 20;

/// Reads the file; it has to be there. Whatever it is, it is not waited for.
pub(crate) fn read(path: &Path) -> Result<Dns, Error> {
    let read = || -> io::Result<String> {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map(|text| parse(&text)).map_err(Error::io("read ipam.resolvConf", path))
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(keyword), Some(first)) = (words.next(), words.next()) else { continue };
        match keyword.as_str() {
            "nameserver" => dns.nameservers.push(first),
            "domain" => dns.domain = first,
            "search" => dns.search.extend(std::iter::once(first).chain(words)),
            "options" => dns.options.extend(std::iter::once(first).chain(words)),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_domain_wins_and_lists_grow() {
        let text = "# c\n; c\nnameserver\nnameserver 192.0.2.1 x\n nameserver 192.0.2.2\ndomain a\ndomain b\n\
                    search x y\nsearch z\noptions o:1 p\nsortlist 1\n";
        let texts = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let want = Dns {
            nameservers: texts("192.0.2.1 192.0.2.2"),
            domain: "b".into(),
            search: texts("x y z"),
            options: texts("o:1 p"),
        };
        assert_eq!(parse(text), want);
    }
}
