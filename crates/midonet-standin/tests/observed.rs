//! Asks the stand-in all that a real server was asked, in the same order, and compares the answers: the status, the
//! type, the `Location`, and as much of the body as is known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use midonet_standin::{Interface, Request, Response, Store};
use uuid::Uuid;

const TABLE: &str = include_str!("observed/table.md");
const BODIES: &str = include_str!("observed/bodies.txt");

struct Row {
    number: usize,
    case: String,
    method: String,
    path: String,
    request_type: String,
    status: u16,
    response_type: String,
    shown: String,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    lines.map(row).collect()
}

/// A line of the table. A bar in a cell has a backslash before it.
fn row(line: &str) -> Row {
    let line = line.replace("\\|", "\u{1}");
    let cells: Vec<_> = line
        .trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|"))
        .collect();
    let [number, case, request, request_type, status, response_type, shown] = &cells[..] else {
        panic!("{} cells in {line}", cells.len())
    };
    let (method, path) = request.split_once(' ').unwrap();
    Row {
        number: number.parse().unwrap(),
        case: case.clone(),
        method: method.into(),
        path: path.into(),
        request_type: request_type.clone(),
        status: status.parse().unwrap(),
        response_type: response_type.clone(),
        shown: shown.clone(),
    }
}

/// The id that stands for a name. Lists that the table shows began with host2 and rport, and of two entries for one MAC
/// address they had that of bport-pod2: their ids are such that they do so here.
fn id(name: &str) -> Uuid {
    let first = match name {
        "host2" | "rport" => 0x10,
        "bport-pod2" => 0x40,
        _ => 0x20,
    };
    let mut bytes = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).into_bytes();
    bytes[0] = first;
    Uuid::from_bytes(bytes)
}

/// The text with ids for `<name>`.
fn with_ids(text: &str) -> String {
    let mut parts = text.split('<');
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        // A name that is cut off is left out.
        let Some((name, rest)) = part.split_once('>') else { return out };
        out += &id(name).to_string();
        out += rest;
    }
    out
}

fn media_type(name: &str) -> String {
    if name.contains('/') { name.into() } else { format!("application/vnd.org.midonet.{name}+json") }
}

fn request(row: &Row) -> Request {
    let mut request = Request::new(&row.method, &with_ids(&row.path));
    let given = Some(media_type(&row.request_type));
    match (row.method.as_str(), row.request_type.as_str()) {
        (_, "-" | "(no Accept)") => {}
        ("POST" | "PUT", _) => request.content_type = given,
        _ => request.accept = given,
    }
    let number = format!("{} ", row.number);
    if let Some(line) = BODIES.lines().find(|line| line.starts_with(&number)) {
        request.body = with_ids(&line[number.len()..]);
    } else if row.path != "/login" {
        assert!(!["POST", "PUT"].contains(&row.method.as_str()), "no body for row {}", row.number);
    }
    if row.case == "login basic" {
        request = request.with_header("authorization", "Basic YWRtaW46c2VjcmV0");
    }
    request
}

/// What an agent would do before this row.
fn agents(store: &mut Store, row: &Row) {
    match row.case.as_str() {
        "host get (alive, with state)" => {
            store.set_alive(id("host1"), true);
            let interface = Interface {
                name: "eth0".into(),
                mac: "02:00:00:00:00:01".into(),
                mtu: 1500,
                addresses: vec!["192.0.2.11".parse().unwrap()],
            };
            store.set_interfaces(id("host1"), vec![interface]);
        }
        "bound port get, agent says active" => store.set_active(id("bport-pod1"), true),
        _ => {}
    }
}

/// The same text with `<uuid>` for ids that only the server knows.
fn without_random_ids(text: &str) -> String {
    let known: Vec<_> =
        TABLE.split('<').filter_map(|part| Some(id(part.split_once('>')?.0).to_string())).collect();
    let mut out = text.to_owned();
    let mut at = 0;
    while let Some(part) = out.get(at..) {
        let Some(candidate) = part.get(..36) else { break };
        if candidate.parse::<Uuid>().is_ok() && !known.iter().any(|known| known == candidate) {
            out.replace_range(at..at + 36, "<uuid>");
        }
        at += out[at..].chars().next().map_or(1, char::len_utf8);
    }
    out
}

/// The cause that a page of HTML gives. The table has a space for quotes, and no other markup.
fn cause(page: &str) -> String {
    let (_, rest) = page.split_once("<pre>").unwrap();
    let (cause, _) = rest.split_once("</pre>").unwrap();
    cause.trim().replace("&quot;", " ").replace("&#39;", " ").replace("&lt;", "<").replace("&amp;", "&")
}

fn compare(row: &Row, response: &Response) -> Result<(), String> {
    let differs = |what: &str, is: &str, wanted: &str| Err(format!("{what} is {is}\n      and was {wanted}"));
    if response.status != row.status {
        return differs(
            "the status",
            &format!("{} {}", response.status, response.body),
            &row.status.to_string(),
        );
    }
    let given = response.content_type.as_deref().unwrap_or("-");
    let given = given.split(';').next().unwrap();
    let wanted = if row.response_type == "-" { "-".into() } else { media_type(&row.response_type) };
    if given != wanted {
        return differs("the type", given, &wanted);
    }
    let shown = without_random_ids(&with_ids(&row.shown));
    let location = without_random_ids(response.location.as_deref().unwrap_or("-"));
    let (wanted_location, wanted_body) = match shown.as_str() {
        "-" => ("-", ""),
        path if path.starts_with('/') => (path, ""),
        body => ("-", body),
    };
    if location != wanted_location {
        return differs("the location", &location, wanted_location);
    }
    let body = without_random_ids(&response.body);
    if let Some(wanted) = wanted_body.strip_prefix("HTML page: ") {
        let cause = cause(&body);
        return if cause.starts_with(wanted.trim_end()) {
            Ok(())
        } else {
            differs("the cause", &cause, wanted)
        };
    }
    // What is cut off is compared as far as it is there.
    let is_whole =
        wanted_body.is_empty() || wanted_body.ends_with(['}', ']']) && !wanted_body.ends_with("vtep]");
    let wanted = wanted_body.trim_end_matches('…');
    let is_same = if is_whole { body == wanted } else { body.starts_with(wanted) };
    if is_same { Ok(()) } else { differs("the body", &body, wanted_body) }
}

/// Rows that the stand-in does not answer as the real server, and why. All are covered.
const NOT_COVERED: [(usize, &str); 0] = [];

#[test]
fn every_answer_is_that_of_the_real_server() {
    let mut store = Store::new(1);
    let rows = rows();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=313).collect::<Vec<_>>());
    let mut faults = Vec::new();
    for row in &rows {
        agents(&mut store, row);
        let response = store.handle(&request(row));
        if let Some((_, reason)) = NOT_COVERED.iter().find(|(number, _)| *number == row.number) {
            println!("not covered: {} {}: {reason}", row.number, row.case);
        } else if let Err(fault) = compare(row, &response) {
            faults.push(format!("{} {} ({} {}): {fault}", row.number, row.case, row.method, row.path));
        }
    }
    println!("{} of {} rows are covered", rows.len() - NOT_COVERED.len(), rows.len());
    assert!(faults.is_empty(), "{} rows differ:\n{}", faults.len(), faults.join("\n"));
}
