//! The metrics: as docs/monitoring.md has them, by the conventions of Prometheus and OpenMetrics, at the addresses that
//! probes and Prometheus use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::Family;

const PREFIX: &str = "midonet_kube_node_";

/// One metric family of the page.
#[derive(Debug, Default)]
struct Metric {
    kind: String,
    has_help: bool,
    unit: Option<String>,
    samples: BTreeMap<String, f64>,
}

/// A page may be as old as that, so as to be cheap at any rate of requests.
const MAX_AGE: Duration = Duration::from_millis(250);

/// The page as of now.
fn scrape(lab: &TestLab) -> String {
    std::thread::sleep(MAX_AGE);
    sh(lab, &node1(), "curl -sf -m5 http://127.0.0.1:9454/metrics")
}

/// The suffixes of a type's samples (OpenMetrics 1.0, "Metric Types").
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_count", "_sum"],
        other => panic!("no type that this agent should have: {other}"),
    }
}

/// Reads the page; panics at whatever is no OpenMetrics.
fn parse(page: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    assert!(page.ends_with("# EOF\n"), "no end: {page}");
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let [word, name, text] = rest.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            let metric = metrics.entry(name.to_owned()).or_default();
            match word {
                "HELP" => metric.has_help = !text.is_empty(),
                "TYPE" => metric.kind = text.to_owned(),
                "UNIT" => metric.unit = Some(text.to_owned()),
                other => panic!("{other} in {line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let sample = series.split('{').next().unwrap();
        let (name, metric) = metrics
            .iter_mut()
            .find(|(name, metric)| {
                suffixes(&metric.kind).iter().any(|suffix| sample.strip_suffix(suffix) == Some(name))
            })
            .unwrap_or_else(|| panic!("{line} belongs to no TYPE before it"));
        let before = metric.samples.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "{series} of {name} is there twice");
    }
    metrics
}

/// The names of a series' labels.
fn labels(series: &str) -> BTreeSet<String> {
    let inner = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    inner
        .split("\",")
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap().to_owned())
        .collect()
}

/// The table rows of docs/monitoring.md: each metric's type and labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/monitoring.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with(&format!("| `{PREFIX}")) && line.matches('|').count() == 5);
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let words = |cell: &str| {
            cell.split(',')
                .map(|word| word.trim().trim_matches('`').to_owned())
                .filter(|word| !word.is_empty())
                .collect()
        };
        assert!(!cells[3].is_empty(), "{line} has no meaning");
        (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), words(cells[2])))
    };
    rows.map(row).collect()
}

#[test]
fn the_metrics_are_as_documented_and_complete_from_the_start() {
    let lab = TestLab::up(1, Family::Dual, &["--flows", "on"]).unwrap();
    let page = scrape(&lab);
    let metrics = parse(&page);

    // By what is scraped, as the documentation names it.
    let exposed: BTreeMap<String, (String, BTreeSet<String>)> = metrics
        .iter()
        .map(|(name, metric)| {
            let suffix = if metric.kind == "histogram" { "" } else { suffixes(&metric.kind)[0] };
            let mut labels: BTreeSet<String> =
                metric.samples.keys().flat_map(|series| labels(series)).collect();
            labels.remove("le");
            (format!("{name}{suffix}"), (metric.kind.clone(), labels))
        })
        .collect();
    assert_eq!(exposed, documented(), "docs/monitoring.md and the page differ");

    for (name, metric) in &metrics {
        assert!(name.starts_with(PREFIX) && metric.has_help, "{name}: {metric:?}");
        assert!(!metric.samples.is_empty(), "{name} has no series from the start");
        assert!(
            metric.unit.as_ref().is_none_or(|unit| name.ends_with(&format!("_{unit}"))),
            "{name}: {metric:?}"
        );
        let sets: BTreeSet<_> = metric
            .samples
            .keys()
            .filter(|series| !series.contains("_bucket{"))
            .map(|series| labels(series))
            .collect();
        assert_eq!(sets.len(), 1, "{name}: series of one metric have the same labels");
        assert!(metric.samples.len() < 200, "{name}: {}", metric.samples.len());
    }
    for (name, samples) in [("api_errors", 28), ("repairs", 31), ("leaks", 5), ("socket_refused", 1)] {
        let metric = &metrics[&format!("{PREFIX}{name}")];
        assert_eq!(metric.samples.len(), samples, "{name}: {:?}", metric.samples);
    }
    for (family, range, free) in
        [("ipv4", "10.244.1.0/24", 252.0), ("ipv6", "fd44:0:0:1::/64", 1.8446744073709552e19)]
    {
        let series = |name: &str| format!("{PREFIX}{name}{{family=\"{family}\",range=\"{range}\"}}");
        assert_eq!(metrics[&format!("{PREFIX}addresses_used")].samples[&series("addresses_used")], 0.0);
        assert_eq!(metrics[&format!("{PREFIX}addresses_free")].samples[&series("addresses_free")], free);
    }
}

#[test]
fn adds_dels_and_addresses_are_counted() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let value = |series: &str| {
        let page = scrape(&lab);
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{PREFIX}{series} ")));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).parse::<f64>().unwrap()
    };
    let used = r#"addresses_used{family="ipv6",range="fd44:0:0:1::/64"}"#;
    let free = r#"addresses_free{family="ipv4",range="10.244.1.0/24"}"#;
    let count = |verb: &str| value(&format!("{verb}_duration_seconds_count{{result=\"ok\"}}"));
    assert_eq!((count("add"), count("del"), value(used), value(free)), (0.0, 0.0, 0.0, 252.0));
    let pods = ["a", "b"].map(|name| lab.add_pod("node1", "default", name).unwrap());
    assert_eq!((count("add"), count("del"), value(used), value(free)), (2.0, 0.0, 2.0, 250.0));
    let sum = value("add_duration_seconds_sum{result=\"ok\"}");
    assert!(sum > 0.0 && sum < 2.0 * DEADLINE.as_secs_f64(), "{sum}");
    let page = scrape(&lab);
    for pod in &pods {
        let address = pod.addresses()[0].to_string();
        assert!(!page.contains(&address) && !page.contains(&pod.key.to_string()), "{page}");
    }
    lab.delete_pod(&pods[0].key).unwrap();
    assert_eq!((count("add"), count("del"), value(used), value(free)), (2.0, 1.0, 1.0, 251.0));
    assert_eq!(value("add_duration_seconds_count{result=\"error\"}"), 0.0);
}

#[test]
fn another_ipam_plugin_has_no_series_of_addresses() {
    let lab = TestLab::up(1, Family::V4, &["--ipam-type", "static"]).unwrap();
    let page = scrape(&lab);
    assert!(page.contains("_ready 1") && !page.contains("addresses_"), "{page}");
}

#[test]
fn probes_find_the_agent_wherever_it_listens() {
    for address in ["[::]:9454", "0.0.0.0:9454", "[::1]:9454", "127.0.0.1:9454"] {
        let lab = TestLab::up(1, Family::Dual, &["--http-listen", address]).unwrap();
        let url = address.replace("[::]", "[::1]").replace("0.0.0.0", "127.0.0.1");
        for at in [url.as_str(), "127.0.0.1:9454"] {
            let said = sh(&lab, &node1(), &format!("curl -gsf -m5 http://{at}/readyz"));
            assert_eq!(said, "ready\n", "{at} of an agent at {address}");
        }
    }
}
