//! Maglev tables of long lists.

use super::*;

#[test]
fn long_lists_have_tables_which_ports_of_one_service_share() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 8192, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let read = Read::new(bpffs);
        let services = datapath.services();
        let mut rows = BTreeMap::new();
        let blocks = maglev::blocks(maglev::size(40)) as usize;
        for (host, protocol) in (1..).zip(Protocol::ALL) {
            let mut list = backends(Family::V6, 0..40).to_vec();
            list.iter_mut().for_each(|backend| backend.port += host as u16);
            rows.insert(key("long", protocol, Family::V6), cluster_ip(Family::V6, host, list.into()));
        }
        assert!(services.set_all(&rows).is_empty());
        check(&read, services, &rows);
        assert_eq!(read.used(), [120, blocks, 0]);
        // The first does not share any more.
        let changed = key("long", Protocol::Tcp, Family::V6);
        rows.insert(changed.clone(), cluster_ip(Family::V6, 1, backends(Family::V6, 0..39)));
        services.set(&changed, &rows[&changed]).unwrap();
        check(&read, services, &rows);
        settle(services);
        assert_eq!(read.used(), [119, 2 * blocks, 0]);
        check(&read, services, &rows);
        drop(datapath);
        let mut datapath = Datapath::open(&options).unwrap();
        assert!(datapath.services().set_all(&rows).is_empty());
        settle(datapath.services());
        assert_eq!(read.used(), [119, 2 * blocks, 0], "taken over");
        let services = datapath.services();
        rows.keys().for_each(|key| services.remove(key).unwrap());
        settle(services);
        assert_eq!(read.used(), [0; 3]);
    });
}
