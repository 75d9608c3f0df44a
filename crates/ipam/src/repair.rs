//! A network's reservations as a whole, for the agent, which knows the attachments: stale reservations are
//! released, lost ones are made again.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use cni::Attachment;

use crate::error::Error;
use crate::store::{Reservation, Store, key};

/// A reservation of any plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The address.
    pub address: IpAddr,
    /// Whose it is; `None` if its file is empty, torn, or of an old host-local, which wrote no interface.
    pub owner: Option<Attachment>,
    /// The owner's container; without an owner, whatever the file says.
    pub container_id: String,
    /// When it was reserved.
    pub modified: SystemTime,
}

/// All reservations in a network's directory; none if there is no directory.
///
/// # Errors
/// [`Error::Io`] or [`Error::Locked`].
pub fn reserved(directory: &Path) -> Result<Vec<Reserved>, Error> {
    let Some(store) = Store::existing(directory)? else { return Ok(Vec::new()) };
    store.scan()?.0.iter().map(|reservation| Reserved::of(&store, reservation)).collect()
}

/// The addresses that are reserved in a network's directory, by the names of its files alone and without its lock:
/// for callers that only count them. None if there is no directory.
///
/// # Errors
/// The directory cannot be read.
pub fn taken(directory: &Path) -> io::Result<Vec<IpAddr>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let address =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_str().and_then(|n| n.parse().ok()));
    entries.filter_map(|entry| address(entry).transpose()).collect()
}

/// Releases those of these reservations that have not changed since; returns how many.
///
/// # Errors
/// [`Error::Io`] or [`Error::Locked`]; what could be released has been.
pub fn release(directory: &Path, stale: &[Reserved]) -> Result<usize, Error> {
    let Some(mut store) = Store::existing(directory)? else { return Ok(0) };
    store.retain(|store, r| !Reserved::of(store, r).is_ok_and(|reserved| stale.contains(&reserved)))
}

/// Reserves this very address again for an attachment that has lost its reservation; false if the
/// address is reserved, for whomever.
///
/// # Errors
/// [`Error::Io`] or [`Error::Locked`].
pub fn reserve(directory: &Path, owner: &Attachment, address: IpAddr) -> Result<bool, Error> {
    let mut store = Store::open(directory)?;
    let held = store.held(&key(owner))?;
    let address = address.to_canonical();
    let result = store.prepare(owner).and_then(|pending| pending.claim(address));
    match result {
        Ok(true) => store.note(owner, &held, &[address]),
        _ => store.undo(&[]),
    }
    result
}

impl Reserved {
    fn of(store: &Store, reservation: &Reservation) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(reservation.owner()).into_owned();
        let owner = text.split_once("\r\n").filter(|(id, ifname)| !id.is_empty() && !ifname.is_empty());
        let owner = owner.map(|(id, ifname)| Attachment { container_id: id.into(), ifname: ifname.into() });
        let container_id = owner.as_ref().map_or(text, |owner| owner.container_id.clone());
        Ok(Self { address: reservation.address, owner, container_id, modified: store.modified(reservation)? })
    }
}
