//! As much as TCP takes.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Path, join, prepared};

/// Gigabits of payload a second that arrive over so many connections at once.
pub(crate) fn gigabits_per_second(path: &Path, connections: usize, duration: Duration) -> Result<f64> {
    let listening = path.listen()?;
    let ([listener], [at]) = (&listening.sockets[..], &listening.targets[..]) else {
        bail!("a stream has one server");
    };
    let mut pairs = Vec::new();
    for _ in 0..connections {
        let sender = path.connect(*at)?;
        pairs.push((sender, prepared(listener.accept().context("accept")?.0)?));
    }
    thread::scope(|scope| {
        let start = Instant::now();
        let threads: Vec<_> = pairs
            .into_iter()
            .map(|(mut sender, mut receiver)| {
                let sending = scope.spawn(move || -> Result<()> {
                    let block = vec![0u8; 128 * 1024];
                    while start.elapsed() < duration {
                        sender.write_all(&block).context("send")?;
                    }
                    Ok(())
                });
                let receiving = scope.spawn(move || -> Result<f64> {
                    let mut buffer = vec![0u8; 256 * 1024];
                    let mut bytes = 0u64;
                    loop {
                        match receiver.read(&mut buffer).context("receive")? {
                            0 => break,
                            n => bytes += n as u64,
                        }
                    }
                    Ok(gigabits(bytes) / start.elapsed().as_secs_f64())
                });
                (sending, receiving)
            })
            .collect();
        let mut total = 0.0;
        for (sending, receiving) in threads {
            let (sent, rate) = (join(sending), join(receiving));
            sent?;
            total += rate?;
        }
        Ok(total)
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn gigabits(bytes: u64) -> f64 {
    bytes as f64 * 8.0 / 1e9
}
