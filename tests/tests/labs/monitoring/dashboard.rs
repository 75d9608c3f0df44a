//! `deploy/monitoring/dashboard.json`.

use std::collections::BTreeSet;

use e2e::documents::repository;
use serde_json::{Value, json};

use super::promtool::promtool;

/// How many columns Grafana's grid has.
const COLUMNS: u64 = 24;

fn read() -> Value {
    let text = std::fs::read_to_string(repository().join("deploy/monitoring/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// Every query, with the panel or variable that has it.
pub(super) fn expressions() -> Vec<(String, String)> {
    let dashboard = read();
    let of_panel = |panel: &Value| {
        let title = text(panel, "/title").to_owned();
        list(panel, "/targets")
            .iter()
            .map(move |target| (title.clone(), text(target, "/expr").to_owned()))
            .collect()
    };
    list(&dashboard, "/panels").iter().flat_map(|panel| -> Vec<_> { of_panel(panel) }).collect()
}

/// The query as Grafana sends it when everything is chosen.
pub(super) fn chosen(expression: &str) -> String {
    let expression = expression.replace("$__rate_interval", "5m");
    let expression = expression.replace("$namespace", ".*").replace("$node", ".*");
    assert!(!expression.contains('$'), "an unknown variable in {expression}");
    expression
}

#[test]
fn promtool_reads_every_query() {
    let expressions = expressions();
    assert!(expressions.len() > 40, "{}", expressions.len());
    let rule = |(at, (_, expression)): (usize, &(String, String))| json!({"record": format!("panel:query:{at}"), "expr": chosen(expression)});
    let rules: Vec<_> = expressions.iter().enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string())
        .unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()], None, "");
}

#[test]
fn panels_have_places_and_sources() {
    let dashboard = read();
    let panels = list(&dashboard, "/panels");
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = text(panel, "/title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title}: {x} + {w}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} is over another panel");
        }
        if text(panel, "/type") == "row" {
            continue;
        }
        assert!(!text(panel, "/description").is_empty(), "{title}: no description");
        assert_eq!(text(panel, "/datasource/uid"), "${datasource}", "{title}");
        assert!(!list(panel, "/targets").is_empty(), "{title}: no query");
        let mut names = BTreeSet::new();
        for target in list(panel, "/targets") {
            assert_eq!(text(target, "/datasource/uid"), "${datasource}", "{title}");
            assert!(names.insert(text(target, "/refId")), "{title}: two queries of one name");
            for filter in [r#"namespace=~"$namespace""#, r#"instance=~"$node""#] {
                let (selectors, filtered) =
                    (text(target, "/expr").matches('{'), text(target, "/expr").matches(filter));
                assert_eq!(selectors.count(), filtered.count(), "{title}: {filter} is not everywhere");
            }
        }
    }
}

#[test]
fn variables_choose_a_source_a_namespace_and_nodes() {
    let dashboard = read();
    let variables = list(&dashboard, "/templating/list");
    let names: Vec<_> = variables.iter().map(|variable| text(variable, "/name")).collect();
    assert_eq!(names, ["datasource", "namespace", "node"]);
    assert_eq!((text(&variables[0], "/type"), text(&variables[0], "/query")), ("datasource", "prometheus"));
    for (variable, label) in [(&variables[1], "namespace"), (&variables[2], "instance")] {
        let query = text(variable, "/query/query");
        assert!(query.starts_with("label_values(midonet_kube_node_build_info"), "{query}");
        assert!(query.ends_with(&format!(", {label})")), "{query}");
        // A Prometheus without the Operator may have no such label.
        assert_eq!((text(variable, "/allValue"), &variable["multi"]), (".*", &json!(true)));
    }
    assert!(dashboard["schemaVersion"].as_u64() >= Some(41), "{}", dashboard["schemaVersion"]);
    assert!(dashboard.get("id").is_none(), "an id is another Grafana's");
}
