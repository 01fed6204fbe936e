//! End to end: the real binary, real input, real faults. `TRIBUTARY_E2E=long` repeats more.

mod agreement;
mod da_kills;
mod da_manifests;
mod da_proxy;
mod da_service;
mod faults;
mod flywheel_and_edge;
mod graphql;
mod hostile;
mod kafka_faults;
mod kafka_gaps;
mod kafka_services;
mod kafka_worlds;
mod kills;
mod proofs;
mod reading;
mod rebuild;
mod sampling;
mod settle_twice;
mod sockets;
mod troubles;
mod verify_flips;
mod walks;
