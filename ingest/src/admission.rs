//! Who may come in: requests and their bytes are counted, and what finds no room is refused at once instead of waiting.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::DoorError;

/// Bytes are counted in units of this size.
const UNIT_BYTES: usize = 4096;

/// The room for requests.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// One request's place; dropping it makes room.
#[derive(Debug)]
pub struct Ticket {
    bytes: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    held_bytes: usize,
    used_bytes: usize,
    _request: OwnedSemaphorePermit,
}

impl Admission {
    /// Room for so many requests with so many bytes together.
    pub fn new(requests_max: usize, bytes_max: usize) -> Self {
        let bytes = Arc::new(Semaphore::new((bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS)));
        Self { requests: Arc::new(Semaphore::new(requests_max.min(Semaphore::MAX_PERMITS))), bytes }
    }

    /// Takes a place, with room for `expected_bytes` from the start.
    ///
    /// # Errors
    /// [`DoorError::Overloaded`] when there is none.
    pub fn enter(&self, expected_bytes: usize) -> Result<Ticket, DoorError> {
        let request = Arc::clone(&self.requests).try_acquire_owned();
        let request = request.map_err(|_| DoorError::Overloaded { what: "their number is at its limit" })?;
        let bytes = Arc::clone(&self.bytes);
        let mut ticket = Ticket { bytes, held: None, held_bytes: 0, used_bytes: 0, _request: request };
        ticket.hold(expected_bytes)?;
        Ok(ticket)
    }
}

impl Ticket {
    /// Accounts for bytes that have arrived.
    ///
    /// # Errors
    /// [`DoorError::Overloaded`] when there is no room for them.
    pub fn grow(&mut self, bytes: usize) -> Result<(), DoorError> {
        self.used_bytes += bytes;
        self.hold(self.used_bytes)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), DoorError> {
        if bytes <= self.held_bytes {
            return Ok(());
        }
        let full = DoorError::Overloaded { what: "their bytes are at the limit" };
        let units = (bytes - self.held_bytes).div_ceil(UNIT_BYTES);
        let more = u32::try_from(units).map_err(|_| full.clone())?;
        let more = Arc::clone(&self.bytes).try_acquire_many_owned(more).map_err(|_| full)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            held => *held = Some(more),
        }
        self.held_bytes += units * UNIT_BYTES;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_are_held_while_a_request_is_under_way_and_given_back_after_it() {
        let admission = Admission::new(10, 10 * UNIT_BYTES);
        let mut a = admission.enter(0).unwrap();
        a.grow(4 * UNIT_BYTES).unwrap();
        let mut b = admission.enter(6 * UNIT_BYTES).unwrap();
        b.grow(6 * UNIT_BYTES).unwrap();
        assert!(b.grow(1).is_err() && admission.enter(1).is_err());
        drop(a);
        b.grow(1).unwrap();
        drop(b);
        assert!(admission.enter(10 * UNIT_BYTES).is_ok());
        assert!(admission.enter(10 * UNIT_BYTES + 1).is_err());
    }

    #[test]
    fn one_request_too_many_is_refused() {
        let admission = Admission::new(2, UNIT_BYTES);
        let (_a, b) = (admission.enter(0).unwrap(), admission.enter(0).unwrap());
        assert!(matches!(admission.enter(0), Err(DoorError::Overloaded { .. })));
        drop(b);
        assert!(admission.enter(0).is_ok());
    }
}
