//! Following packets: who asks again and again is told what was seen since.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datapath::follow::{Filter, Follower};
use nodeapi::v1;
use tonic::Status;

use super::request::{address, transport};
use super::seen::Reader;
use crate::agent::Agent;
use crate::memory;
use crate::server::answers::internal;

/// So many may follow packets at once: each costs every packet of the node some tens of nanoseconds.
const MOST: usize = 4;

/// It ends when nobody asked for so long.
const IDLE: Duration = Duration::from_secs(5);

/// The longest wait of a call.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The most packets of an answer.
const MOST_PACKETS: usize = 200;

/// Those who follow, by their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Followers(Arc<Mutex<BTreeMap<u64, Following>>>);

#[derive(Debug, Clone)]
struct Following {
    follower: Arc<Mutex<Follower>>,
    asked: Instant,
}

impl Followers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Following>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins, or goes on.
    ///
    /// # Errors
    /// The request cannot mean anything, or too many follow.
    pub(super) fn answer(
        &self,
        agent: &Agent,
        request: &v1::FollowPacketsRequest,
    ) -> Result<v1::FollowPacketsReply, Status> {
        let node = agent.node_name().to_owned();
        let follower = match self.known(request.number) {
            Some(follower) => follower,
            // It has ended by itself.
            None if request.last => return Ok(v1::FollowPacketsReply { node, ..Default::default() }),
            None => self.begin(agent, request)?,
        };
        let mut held = follower.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = Duration::from_millis(request.wait_ms.into()).min(LONGEST_WAIT);
        held.wait(patience).map_err(|error| internal(&error.into()))?;
        let reader = Reader::new(agent);
        let mut packets = Vec::new();
        let mut more = true;
        while packets.len() < MOST_PACKETS {
            let Some(seen) = held.read().map_err(|error| internal(&error.into()))? else {
                more = false;
                break;
            };
            packets.push(reader.message(&seen));
        }
        let lost = held.lost().map_err(|error| internal(&error.into()))?;
        drop(held);
        if request.last && !more {
            // Dropped without the lock: the kernel takes its time.
            let ended = self.lock().remove(&request.number);
            drop(ended);
        } else if let Some(following) = self.lock().get_mut(&request.number) {
            following.asked = Instant::now();
        }
        Ok(v1::FollowPacketsReply { node, packets, lost, more })
    }

    fn known(&self, number: u64) -> Option<Arc<Mutex<Follower>>> {
        let mut all = self.lock();
        let following = all.get_mut(&number)?;
        following.asked = Instant::now();
        Some(Arc::clone(&following.follower))
    }

    /// Begins. Whoever calls this takes turns with others: it takes memory and time of the kernel.
    fn begin(
        &self,
        agent: &Agent,
        request: &v1::FollowPacketsRequest,
    ) -> Result<Arc<Mutex<Follower>>, Status> {
        let filter = filter(request)?;
        let packets = agent.packets()?;
        if self.lock().len() >= MOST {
            let many = format!("{MOST} follow packets on this node already: try again when one has ended");
            return Err(Status::resource_exhausted(many));
        }
        let follower = packets.follow(&filter);
        // What reading the kernel's types took.
        memory::give_back();
        let follower = follower.map_err(|error| match error.downcast_ref::<datapath::Error>() {
            Some(datapath::Error::Follow(why)) => Status::failed_precondition(why.clone()),
            _ => internal(&error),
        })?;
        let follower = Arc::new(Mutex::new(follower));
        let following = Following { follower: Arc::clone(&follower), asked: Instant::now() };
        self.lock().insert(request.number, following);
        Ok(follower)
    }

    /// Whether somebody follows under this number.
    pub(super) fn has(&self, number: u64) -> bool {
        self.lock().contains_key(&number)
    }

    /// Ends one that nobody asks for. Says whether it has ended.
    pub(super) fn end_if_idle(&self, number: u64) -> bool {
        let mut all = self.lock();
        let Some(following) = all.get(&number) else { return true };
        if following.asked.elapsed() < IDLE {
            return false;
        }
        let ended = all.remove(&number);
        drop(all);
        // The kernel takes its time.
        drop(ended);
        true
    }
}

fn filter(request: &v1::FollowPacketsRequest) -> Result<Filter, Status> {
    if request.number == 0 {
        return Err(Status::invalid_argument("number: there is none"));
    }
    let port = |what: &str, number: u32| {
        u16::try_from(number).map_err(|_| Status::invalid_argument(format!("{what}: {number} is no port")))
    };
    let client: IpAddr = address("client", &request.client)?;
    let client_port = port("client_port", request.client_port)?;
    let ports = request.ports.iter().map(|number| port("ports", *number)).collect::<Result<Vec<_>, _>>()?;
    let most = datapath::follow::MOST_PORTS;
    if ports.len() > most {
        return Err(Status::invalid_argument(format!("ports: at most {most} can be followed")));
    }
    Ok(Filter {
        client,
        client_port: (client_port != 0).then_some(client_port),
        protocol: transport(&request.protocol)?.number(),
        ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let request = v1::FollowPacketsRequest {
            number: 1,
            client: "10.0.0.1".into(),
            protocol: "tcp".into(),
            ports: vec![80],
            ..v1::FollowPacketsRequest::default()
        };
        let found = filter(&request).unwrap();
        assert_eq!((found.protocol, found.client_port, &found.ports[..]), (6, None, &[80][..]));
        for (bad, want) in [
            (v1::FollowPacketsRequest { number: 0, ..request.clone() }, "number"),
            (v1::FollowPacketsRequest { client: "web".into(), ..request.clone() }, "client"),
            (v1::FollowPacketsRequest { client_port: 65_536, ..request.clone() }, "client_port"),
            (v1::FollowPacketsRequest { protocol: "arp".into(), ..request.clone() }, "protocol"),
            (v1::FollowPacketsRequest { ports: (1..10).collect(), ..request.clone() }, "ports: at most 8"),
            (v1::FollowPacketsRequest { ports: vec![70_000], ..request.clone() }, "ports: 70000"),
        ] {
            let status = filter(&bad).unwrap_err();
            assert!(status.message().contains(want), "{status}");
        }
    }
}
