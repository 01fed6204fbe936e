//! Ports that stay free while their service is down.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Outcome;

/// Below the ports that the system gives to connections (from 32768): otherwise somebody's connection could take the port of a
/// service that is being started again.
const FIRST: u32 = 18_000;
const COUNT: u32 = 14_000;

/// A port that nobody listens on, and that this process gives to nobody else.
pub(crate) fn free() -> Outcome<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test binaries that run at the same time begin elsewhere.
    let own = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let port = FIRST + own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}
