//! Log records of OTLP in its JSON encoding: pure.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::flows::line::Line;

/// The number of `SEVERITY_NUMBER_INFO`.
const INFO: u32 = 9;

/// What a line of the file says, as a `LogRecord`.
pub(in crate::flows) fn record(line: &Line<'_>) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(line) else { return String::new() };
    // These have fields of their own.
    let event = fields.remove("event.name").unwrap_or_default();
    fields.remove("time");
    fields.remove("k8s.node.name");
    let time = line.now_nanoseconds().to_string();
    json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": INFO,
        "severityText": "INFO",
        "eventName": event,
        "attributes": attributes(fields),
    })
    .to_string()
}

/// An `ExportLogsServiceRequest` with records.
pub(super) fn request(node: &str, records: &[String]) -> Bytes {
    let resource = attributes(Map::from_iter([
        ("service.name".to_owned(), json!("midonet-kube-node")),
        ("service.version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
        ("k8s.node.name".to_owned(), json!(node)),
    ]));
    let resource = json!({"attributes": resource});
    let scope = json!({"name": "midonet-kube.flows"});
    let records = records.join(",");
    // The records are text already.
    Bytes::from(format!(
        r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"scope":{scope},"logRecords":[{records}]}}]}}]}}"#
    ))
}

fn attributes(fields: Map<String, Value>) -> Vec<Value> {
    fields.into_iter().map(|(key, value)| json!({"key": key, "value": any(value)})).collect()
}

/// An `AnyValue`: 64-bit numbers are strings.
fn any(value: Value) -> Value {
    match value {
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(value) => json!({"intValue": value.to_string()}),
        Value::Array(values) => {
            json!({"arrayValue": {"values": values.into_iter().map(any).collect::<Vec<_>>()}})
        }
        Value::String(value) => json!({"stringValue": value}),
        other => json!({"stringValue": other.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::flows::example;
    use crate::flows::line::Line;

    #[test]
    fn a_request_has_what_lines_have() {
        let flow = example::flow();
        let line = Line::new("node1", &flow, true, Clock::now());
        let records = [record(&line), record(&line)];
        let request: Value = serde_json::from_slice(&request("node1", &records)).unwrap();
        let logs = &request["resourceLogs"][0];
        let value = |attributes: &Value, key: &str| {
            let all = attributes.as_array().unwrap();
            all.iter().find(|one| one["key"] == key).map(|one| one["value"].clone()).unwrap_or_default()
        };
        assert_eq!(value(&logs["resource"]["attributes"], "k8s.node.name"), json!({"stringValue": "node1"}));
        let records = logs["scopeLogs"][0]["logRecords"].as_array().unwrap();
        assert_eq!(records.len(), 2);
        let (record, fields) = (&records[0], serde_json::to_value(&line).unwrap());
        assert_eq!(record["eventName"], "flow.end");
        assert!(record["timeUnixNano"].as_str().unwrap().parse::<u64>().unwrap() > 0);
        let attributes = &record["attributes"];
        assert_eq!(value(attributes, "source.address"), json!({"stringValue": fields["source.address"]}));
        let bytes = fields["source.bytes"].to_string();
        assert_eq!(value(attributes, "source.bytes"), json!({"intValue": bytes}));
        assert_eq!(value(attributes, "midonet.flow.late"), json!({"boolValue": fields["midonet.flow.late"]}));
        // All but the three that have fields of their own.
        assert_eq!(attributes.as_array().unwrap().len(), fields.as_object().unwrap().len() - 3);
    }
}
