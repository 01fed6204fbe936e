use proptest::prelude::*;

use super::*;
use crate::units::keccak256;

#[test]
fn the_empty_message_and_a_known_one_have_their_published_hashes() {
    let hashes = keccak256_each(&[[b"".as_slice()]; 9]);
    assert!(
        hashes
            .iter()
            .all(|hash| { format!("{hash:#x}") == "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470" })
    );
    let hashes = keccak256_each(&[[b"abc".as_slice()]; 9]);
    assert!(
        hashes
            .iter()
            .all(|hash| { format!("{hash:#x}") == "0x4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45" })
    );
}

#[test]
fn every_length_around_the_blocks_gives_the_hash_of_one_message() {
    let bytes: Vec<u8> = (0..=255).cycle().take(600).collect();
    let messages: Vec<[&[u8]; 2]> = (0..=600).map(|length| [&bytes[..length / 3], &bytes[length / 3..length]]).collect();
    let expected: Vec<Hash> = (0..=600).map(|length| keccak256(&bytes[..length])).collect();
    assert_eq!(keccak256_each(&messages), expected);
}

#[test]
fn on_a_processor_with_avx_512_the_lanes_are_used() {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512dq") && std::is_x86_feature_detected!("avx512vl") {
        assert!(lanes::keccak256_each(&[[b"".as_slice()]; 8]).is_some());
    }
    assert!(keccak256_each::<1>(&[]).is_empty());
}

proptest! {
    #[test]
    fn many_messages_of_any_lengths_and_parts_have_the_hashes_of_each(
        messages in proptest::collection::vec(proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 0..400)), 0..40)
    ) {
        let parts: Vec<[&[u8]; 3]> = messages.iter().map(|message| message.each_ref().map(Vec::as_slice)).collect();
        let expected: Vec<Hash> = messages.iter().map(|message| keccak256(message.concat())).collect();
        prop_assert_eq!(keccak256_each(&parts), expected);
    }
}
