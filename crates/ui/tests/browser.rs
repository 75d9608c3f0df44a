//! The page in a real browser, with a planted cluster behind it. With PICTURES=DIRECTORY it leaves pictures there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

#[path = "browser/mod.rs"]
mod driven;
mod planted;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use driven::Browser;
use planted::cluster::{DENIED, HOSTILE};
use planted::serving::{KEY, Serving};
use planted::{Known, Planted, cluster};
use serde_json::{Value, json};
use ui::Settings;

/// One browser at a time: it has several processes.
static TURN: Mutex<()> = Mutex::new(());

/// A page that is open.
struct Opened {
    browser: Browser,
    serving: Serving,
    source: Arc<Planted>,
    _turn: MutexGuard<'static, ()>,
}

fn open(known: Known, path: &str, (width, height): (u32, u32)) -> Opened {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Arc::new(Planted::new(known));
    let serving = Serving::new(Arc::clone(&source), Settings::new(KEY.to_owned()));
    let mut browser = Browser::new(width, height);
    browser.open(&format!("{}/?key={KEY}", serving.address()));
    browser.open(&format!("{}{path}", serving.address()));
    Opened { browser, serving, source, _turn: turn }
}

const LARGE: (u32, u32) = (1440, 900);
const SMALL: (u32, u32) = (390, 844);

fn leave_picture(browser: &mut Browser, name: &str) {
    if let Some(directory) = env::var_os("PICTURES") {
        fs::create_dir_all(&directory).unwrap();
        fs::write(Path::new(&directory).join(format!("{name}.png")), browser.picture()).unwrap();
    }
}

/// The text of the first element that a selector finds.
fn text(selector: &str) -> String {
    format!("(document.querySelector({})?.innerText ?? '')", json!(selector))
}

#[test]
fn clicks_lead_from_the_cluster_to_a_pod() {
    let mut page = open(cluster::shop(), "/", LARGE);
    let browser = &mut page.browser;
    browser.wait(&format!("{}.includes('Nothing comes from node3')", text("#banners")));
    leave_picture(browser, "cluster");
    browser.click("a.item[href='/?focus=shop']");
    browser.wait("location.search === '?focus=shop' && document.querySelector('.item-workload')");
    leave_picture(browser, "namespace");
    browser.click("a.item[href='/?focus=shop%2Fdb']");
    browser.wait("document.querySelector(\"a.item-pod[href='/?view=pod&name=shop%2Fdb-0']\")");
    // The same is in the table.
    let on_the_map = browser.value("document.querySelectorAll('.edges .edge').length + document.querySelectorAll('.item-within:not([hidden])').length");
    browser.click("[data-as=table]");
    browser.wait("document.querySelector('.edge-table tbody tr')");
    assert_eq!(browser.value("document.querySelectorAll('.edge-table tbody tr').length"), on_the_map);
    browser.click(".edge-table a[href='/?view=pod&name=shop%2Fdb-0']");
    browser.wait(&format!("{}.includes('10.244.2.5, fd00:10:244:2::5')", text("main")));
    for needle in ["Default deny of shop/db", "ingress[0]", "batch/report-28940512-x5x2t", "policy_ingress"] {
        browser.wait(&format!("{}.includes({})", text("main"), json!(needle)));
    }
    leave_picture(browser, "pod");
    browser.value("history.back()");
    browser.wait("location.search === '?focus=shop%2Fdb&as=table'");
    browser.click("a[data-view=nodes]");
    browser.click("a[href='/?view=node&name=node2']");
    for needle in ["reverse_path", "Remedy: sysctl", "policy_entries", "31 %", "bad_source", "192.0.2.3"] {
        browser.wait(&format!("{}.includes({})", text("main"), json!(needle)));
    }
    leave_picture(browser, "node");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_drop_is_found_with_its_cause() {
    let mut page = open(cluster::shop(), "/", LARGE);
    let browser = &mut page.browser;
    browser.wait("document.querySelector('table.flows tbody tr')");
    browser.click("[data-verdict=deny]");
    browser.click("input[aria-label='Add a filter']");
    browser.type_text(&format!("pod={}", DENIED.0));
    browser.press("Enter");
    browser.wait("document.querySelector('[data-empty=filtered]')");
    let command = format!("{}.includes('midokube flows {} --verdict deny')", text(".shell"), DENIED.0);
    browser.wait(&command);
    page.source.change(|known| known.flows.push(cluster::drop()));
    let begin = Instant::now();
    // What it moves stands still once both are there.
    browser.wait("document.querySelector('.item-within')");
    browser.click("table.flows .is-denied td");
    browser.wait(&format!("{}.includes({})", text(".why"), json!(DENIED.2)));
    println!("the drop and its cause were found after {:?}", begin.elapsed());
    browser.wait(&format!(
        "{}.includes('midokube policy explain {} {} tcp/5432')",
        text(".inspector"),
        DENIED.0,
        DENIED.1
    ));
    leave_picture(browser, "drop");
    browser.resize(SMALL.0, SMALL.1);
    leave_picture(browser, "drop-small");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_packet_is_traced_from_a_form_and_from_a_drop() {
    let mut page = open(cluster::shop(), "/", LARGE);
    page.source.change(|known| known.flows.push(cluster::drop()));
    let browser = &mut page.browser;
    browser.click("[data-verdict=deny]");
    browser.click("table.flows .is-denied td");
    browser.click(".inspector a[href*=trace]");
    let answer = text(".trace-answer");
    for needle in ["policy_ingress", "On node node1", "On node node2", "midokube trace ", "Remedy"] {
        browser.wait(&format!("{answer}.includes({})", json!(needle)));
    }
    leave_picture(browser, "trace");
    browser.open(&format!("{}/?view=pod&name=shop%2Fdb-0", page.serving.address()));
    page.browser.wait(&format!("{}.includes('Default deny of shop/db')", text("main")));
    for (selector, typed) in [("To", "shop/db-1"), ("Protocol and port", "tcp/5432")] {
        page.browser.click(&format!(".trace-form input[aria-label='{selector}']"));
        page.browser.type_text(typed);
    }
    page.browser.press("Enter");
    page.browser
        .wait(&format!("{answer}.includes('at Pod shop/db-1 on node2, and a reply would come back')"));
    page.browser.wait("new URLSearchParams(location.search).get('trace') === 'shop/db-1 tcp/5432'");
    page.browser.value("document.querySelector('.trace-form .short').value = ''");
    page.browser.click(".trace-form .short");
    page.browser.type_text("nonsense");
    page.browser.press("Enter");
    page.browser.wait(&format!("{answer}.includes('is no port')"));
    // A port that is none, and a Pod that no node has any more.
    let is_expected = |complaint: &String| ["400", "404"].iter().any(|status| complaint.contains(status));
    let complaints = page.browser.complaints();
    assert!(complaints.iter().all(is_expected), "{complaints:?}");
}

#[test]
fn a_hostile_name_stays_text() {
    let mut page = open(cluster::shop(), "/?focus=shop", LARGE);
    let name = HOSTILE.split_once('/').unwrap().1;
    let shown = |browser: &mut Browser, needle: &str| {
        browser.wait(&format!("{}.includes({})", text("main"), json!(needle)));
    };
    shown(&mut page.browser, name);
    for path in [
        "/?view=node&name=node2".to_owned(),
        "/?as=table&focus=shop".to_owned(),
        format!("/?view=pod&name=shop%2F{}", name.replace(' ', "%20").replace('=', "%3D")),
        "/?pod=%3Cscript%3Ealert(1)%3C%2Fscript%3E&focus=%3Cb%3E".to_owned(),
    ] {
        page.browser.open(&format!("{}{path}", page.serving.address()));
        shown(
            &mut page.browser,
            if path.contains("script") { "pod=<script>alert(1)</script>" } else { name },
        );
        assert_eq!(
            page.browser.value("document.querySelectorAll('main img, main script, main b b').length"),
            0
        );
    }
    let complaints = page.browser.complaints();
    assert!(complaints.iter().all(|complaint| complaint.contains("400")), "{complaints:?}");
    // What the page's own policy says of text that becomes markup.
    let made = page.browser.value("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch (e) { return e.name; } })()");
    assert_eq!(made, "TypeError");
}

#[test]
fn nothing_to_be_seen_has_four_reasons() {
    let quiet = || Known { flows: Vec::new(), nodes: vec![("node1".to_owned(), None)], ..cluster::shop() };
    let mut page = open(quiet(), "/", LARGE);
    let empty = |kind: &str| format!("document.querySelector('[data-empty={kind}]')");
    page.browser.wait(&empty("none"));
    page.source.change(|known| known.lost_events = 812);
    page.browser.wait(&empty("lost"));
    leave_picture(&mut page.browser, "lost");
    page.source
        .change(|known| known.nodes = vec![("node1".to_owned(), Some("there is no socket".to_owned()))]);
    page.browser.wait(&empty("unreachable"));
    page.browser.wait(&format!("{}.includes('there is no socket')", text("main")));
    leave_picture(&mut page.browser, "unreachable");
    page.source.change(|known| *known = Known { version: known.version, ..cluster::shop() });
    page.browser.wait("document.querySelector('table.flows tbody tr')");
    page.browser.click("[data-verdict=audit]");
    page.browser.click("input[aria-label='Add a filter']");
    page.browser.type_text("tcp/1");
    page.browser.press("Enter");
    page.browser.wait(&empty("filtered"));
    page.browser.click("[data-empty=filtered] button");
    page.browser.wait("document.querySelector('table.flows tbody tr') && location.search === ''");
    let Opened { mut browser, serving, _turn, .. } = page;
    drop(serving);
    browser.wait(&format!("{}.includes('lost midokube')", text("#banners")));
    // What was there is still shown.
    browser.wait("document.querySelector('table.flows tbody tr')");
}

#[test]
fn filters_are_in_the_address_and_the_keyboard_suffices() {
    let mut page = open(cluster::shop(), "/", LARGE);
    let browser = &mut page.browser;
    browser.wait("document.querySelector('table.flows tbody tr')");
    browser.value("document.querySelector('input[aria-label=\"Add a filter\"]').focus()");
    for (typed, search) in
        [("not port=udp/53", "?not=port%3Dudp%2F53"), ("shop", "?not=port%3Dudp%2F53&namespace=shop")]
    {
        browser.type_text(typed);
        browser.press("Enter");
        browser.wait(&format!("location.search === {}", json!(search)));
    }
    let rows = "document.querySelectorAll('table.flows tbody tr').length";
    // So many of the planted flows match.
    let before = 20;
    browser.wait(&format!("{rows} === {before} && !{}.includes('udp/53')", text("table.flows")));
    browser.call("Page.reload", &json!({}));
    browser.wait(&format!("document.readyState === 'complete' && {rows} === {before}"));
    assert_eq!(browser.value("document.querySelectorAll('.chip').length"), 2);
    // From the filters by Tab to the first row, by arrows to the second one, and its details.
    browser.value("document.querySelector('table.flows').parentElement.focus()");
    browser.press("Tab");
    browser.press("ArrowDown");
    browser.wait(
        "document.activeElement === document.querySelector('table.flows tbody tr:nth-child(2) button')",
    );
    let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid");
    browser.press("Enter");
    browser.wait("document.querySelector('.inspector:not([hidden])')");
    // Into the map by its link, and up again by Escape.
    browser.value("document.querySelector(\"a.item[href*='focus=shop']\").focus()");
    browser.press("Enter");
    browser.wait("location.search.includes('focus=shop') && document.querySelector('.item-workload')");
    browser.value("document.querySelector('a.item').focus()");
    browser.press("Escape");
    browser.wait("!location.search.includes('focus')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_pause_keeps_everything_as_it_is() {
    let mut page = open(cluster::shop(), "/", LARGE);
    page.browser.wait("document.querySelector('table.flows tbody tr')");
    page.browser.click("#pause");
    page.browser.wait(&format!("{} === 'Paused'", text("#age")));
    let requests = "performance.getEntriesByType('resource').length";
    thread::sleep(Duration::from_millis(300));
    let (before, asked) = (page.browser.value(&text("main")), page.browser.value(requests));
    page.source.change(|known| known.flows.clear());
    thread::sleep(Duration::from_secs(3));
    assert_eq!((page.browser.value(&text("main")), page.browser.value(requests)), (before, asked));
    page.browser.click("#pause");
    page.browser.wait("!document.querySelector('table.flows tbody tr')?.checkVisibility()");
}

#[test]
fn nothing_hinders_people_seriously() {
    let script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/axe-core")).output().unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let axe = fs::read_to_string(String::from_utf8(script.stdout).unwrap().trim()).unwrap();
    let mut page = open(cluster::shop(), "/", LARGE);
    page.source.change(|known| known.flows.push(cluster::drop()));
    // The test's own script is not the page's.
    page.browser.call("Page.setBypassCSP", &json!({"enabled": true}));
    for scheme in ["light", "dark"] {
        page.browser.prefer(scheme);
        for (width, height) in [LARGE, SMALL] {
            page.browser.resize(width, height);
            for (name, path) in [
                ("traffic", "/?focus=shop&not=port%3Dudp%2F53"),
                ("table", "/?as=table"),
                ("filtered", "/?verdict=deny&pod=a%2Fb"),
                ("nodes", "/?view=nodes"),
                ("node", "/?view=node&name=node1"),
                ("pod", "/?view=pod&name=shop%2Fdb-0"),
                ("traced", "/?view=pod&name=shop%2Fdb-0&trace=shop%2Fdb-1+tcp%2F5432"),
            ] {
                page.browser.open(&format!("{}{path}", page.serving.address()));
                page.browser.wait("document.querySelector('main table, main [data-empty]')");
                if name == "traffic" {
                    page.browser.click("table.flows .is-denied td");
                    page.browser.wait("document.querySelector('.why')");
                }
                leave_picture(&mut page.browser, &format!("{name}-{scheme}-{width}"));
                page.browser.value(&format!("{axe}; 0"));
                let found = page.browser.value(
                    "axe.run().then((result) => result.violations.filter((one) => ['serious', 'critical'].includes(one.impact))\
                     .map((one) => [one.id, one.nodes.map((node) => node.html + ' ' + node.failureSummary)]))",
                );
                assert_eq!(found, json!([]), "{name}, {scheme}, {width}");
                let wide = page.browser.value("document.documentElement.scrollWidth - innerWidth");
                assert_eq!(wide, 0, "{name} is wider than {width}");
            }
        }
    }
}

#[test]
fn a_crowd_of_flows_leaves_the_page_usable() {
    const EDGES: usize = 400;
    const EACH: usize = 13;
    let crowd = |round| Known { flows: cluster::crowd(EDGES, EACH, round), ..cluster::shop() };
    let mut page = open(crowd(0), "/", LARGE);
    page.browser.wait(&format!("document.querySelectorAll('.edges .edge').length === {EDGES}"));
    leave_picture(&mut page.browser, "crowd");
    let measure = "window.delays = []; window.tasks = []; \
                   new PerformanceObserver((list) => list.getEntries().forEach((task) => tasks.push(task.duration))).observe({type: 'longtask'}); \
                   for (const kind of ['keydown', 'mousedown']) \
                   addEventListener(kind, (event) => delays.push(performance.now() - event.timeStamp), true)";
    page.browser.value(measure);
    let (begin, mut round) = (Instant::now(), 0);
    page.browser.click("input[aria-label='Add a filter']");
    while begin.elapsed() < Duration::from_secs(12) {
        // Every second more than 5,000 flows that were not there before.
        if begin.elapsed().as_secs() > round {
            round = begin.elapsed().as_secs();
            let flows = cluster::crowd(EDGES, EACH, usize::try_from(round).unwrap());
            page.source.change(|known| known.flows = flows);
        }
        page.browser.type_text("a");
        thread::sleep(Duration::from_millis(30));
    }
    let delays: Vec<f64> = serde_json::from_value(page.browser.value("window.delays")).unwrap();
    println!("long tasks, in ms: {}", page.browser.value("window.tasks"));
    let longest = delays.iter().copied().fold(0.0, f64::max);
    println!("of {} inputs the one that waited longest did so for {longest} ms", delays.len());
    assert!(delays.len() > 50, "{}", delays.len());
    // The browser holds no more than what is shown.
    let held: Value = page.browser.value("[document.querySelectorAll('table.flows tbody tr').length, document.querySelectorAll('.edges .edge').length]");
    assert_eq!(held, json!([200, EDGES]));
    assert_eq!(page.browser.complaints(), Vec::<String>::new());
}
