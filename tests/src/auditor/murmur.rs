//! Where a key belongs: Kafka's default partitioner, written once more from its description.

/// The partition of a key among so many.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// The first `count` keys `PREFIX-N` that belong to the partition.
pub fn keys_of(prefix: &str, partition: u32, partitions: u32, count: usize) -> Vec<String> {
    let all = (0_u32..).map(|n| format!("{prefix}-{n}"));
    all.filter(|key| partition_of(key.as_bytes(), partitions) == partition).take(count).collect()
}

/// Austin Appleby's MurmurHash2 of 32 bits with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = little_endian(word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash = (hash ^ little_endian(rest)).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_kafkas_own_client() {
        // From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn keys_of_a_partition_belong_to_it() {
        let keys = keys_of("k", 2, 3, 5);
        assert_eq!(keys.len(), 5);
        assert!(keys.iter().all(|key| partition_of(key.as_bytes(), 3) == 2));
    }
}
