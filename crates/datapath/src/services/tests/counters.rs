//! What became of connections, and how full the tables are.

use super::*;

/// A counter's number is given to another row later, and its value is not lost by that; nor is it counted twice.
#[test]
fn the_sum_of_counters_never_falls() {
    sandbox(|bpffs| {
        let read = Read::new(bpffs);
        let [web, dns] = ["web", "dns"].map(|name| key(name, Protocol::Tcp, Family::V6));
        let row = |host| cluster_ip(Family::V6, host, backends(Family::V6, 0..3));
        let sum = |connections, refused| ServiceCounters { connections, refused };
        let count = |services: &Services, key: &ServicePortKey, connections, refused| {
            let number = services.number(key).unwrap();
            let value = crate::layout::services::ServiceCounter { connections, refused };
            let map = read.map("service_counts");
            map.set(&number.to_ne_bytes(), bytemuck::bytes_of(&value)).unwrap();
        };
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        services.set(&web, &row(1)).unwrap();
        services.set(&dns, &row(2)).unwrap();
        assert_eq!(services.totals().unwrap(), sum(0, 0));
        count(services, &web, 7, 1);
        count(services, &dns, 100, 0);
        assert_eq!(services.counters(&web).unwrap(), Some(sum(7, 1)));
        assert_eq!(services.totals().unwrap(), sum(107, 1));
        services.remove(&dns).unwrap();
        assert_eq!(services.totals().unwrap(), sum(107, 1));
        std::thread::sleep(GRACE + Duration::from_millis(10));
        services.collect().unwrap();
        assert_eq!((services.counters(&dns).unwrap(), services.totals().unwrap()), (None, sum(107, 1)));
        let usage: BTreeMap<_, _> =
            services.usage().into_iter().map(|table| (table.name, table.used)).collect();
        // The entry of the frontend and that of its address.
        assert_eq!((usage["services"], usage["backends"], usage["choices"]), (2, 3, 0));

        // The next agent counts from its start on.
        drop(datapath);
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        assert_eq!(services.totals().unwrap(), sum(0, 0));
        services.set(&web, &row(1)).unwrap();
        assert_eq!(services.counters(&web).unwrap(), Some(sum(7, 1)), "its own go on");
        count(services, &web, 9, 1);
        assert_eq!(services.totals().unwrap(), sum(2, 0));
    });
}
