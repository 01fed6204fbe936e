//! Global ids.

use async_graphql::ID;
use tributary_graphql::global_id::{GlobalId, Place};
use tributary_schemas::ids::{Epoch, Partition, Seq};
use tributary_schemas::units::Address;

#[test]
fn an_id_is_read_back_and_other_text_is_no_id() {
    let (partition, seq) = (Partition::new(3).unwrap(), Seq::new(9).unwrap());
    for id in [
        GlobalId::Inference("a:b:ü".to_owned()),
        GlobalId::Account(Address::from_bytes([7; 20]).unwrap()),
        GlobalId::Epoch(Epoch::new(2).unwrap()),
        GlobalId::Event(Place { partition, seq, ordinal: 4 }),
        GlobalId::Batch(partition, seq),
        GlobalId::Blob(partition, seq),
    ] {
        assert_eq!(GlobalId::decode(&id.encode()), Some(id));
    }
    for text in ["", "x", "Inference:a", "!!", "RXZlbnQ6MQ", "UG9saWN5OmE"] {
        assert_eq!(GlobalId::decode(&ID::from(text)), None, "{text}");
    }
}
