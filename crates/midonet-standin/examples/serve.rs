//! Serves a stand-in for MidoNet's REST API at an address, for tests of whole clusters:
//! `serve ADDRESS:PORT [HOST=UUID ...]`. It prints the API's URL, and then does what standard input says, line by line, each with
//! one line of answer: `dump` prints all resources as JSON, a list of entries as Translations have them, in an order in which
//! `midonet_simulator::Topology::posted` takes them; `count` how many requests there were; `lose` loses all but the hosts;
//! `wipe` everything; `host NAME UUID` adds a host. It ends with its standard input.
#![allow(clippy::print_stdout, reason = "it is made to print")]

use std::io::{self, BufRead};
use std::net::SocketAddr;

use midonet::Entry;
use midonet_standin::{Standin, Store};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let address: SocketAddr = words.next().ok_or("usage: serve ADDRESS:PORT [HOST=UUID ...]")?.parse()?;
    let mut store = Store::new(1);
    for word in words {
        let (name, id) = word.split_once('=').ok_or_else(|| format!("{word} is no HOST=UUID"))?;
        store.add_host(id.parse()?, name);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let standin = runtime.block_on(Standin::start_at(store, address))?;
    println!("{}", standin.url());
    for line in io::stdin().lock().lines() {
        println!("{}", answer(&standin, &line?)?);
    }
    Ok(())
}

fn answer(standin: &Standin, line: &str) -> Result<String> {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["dump"] => {
            let resources = standin.with_store(|store| store.resources())?;
            let entries: Vec<Entry> = resources.iter().map(Entry::from).collect();
            return Ok(serde_json::to_string(&entries)?);
        }
        ["count"] => return Ok(standin.log().total().to_string()),
        ["lose"] => standin.with_store(Store::lose_topology),
        ["wipe"] => standin.with_store(Store::wipe),
        ["host", name, id] => {
            let id = id.parse()?;
            standin.with_store(|store| store.add_host(id, name));
        }
        _ => return Ok("unknown".into()),
    }
    Ok("ok".into())
}
