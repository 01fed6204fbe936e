//! Scalars, each with one text in both directions.

use async_graphql::{ScalarType, Value};
use tributary_graphql::scalars::{Address, Hash, LONG_MAX, Long, Wei};

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn addresses_and_hashes_are_taken_in_any_case_and_given_in_one() {
    let checksummed = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    for text in [checksummed, &checksummed.to_lowercase(), &checksummed.to_uppercase()] {
        assert_eq!(Address::parse(string(text)).ok().unwrap().to_value(), string(checksummed));
    }
    let hash = format!("0x{}", "ab".repeat(32));
    assert_eq!(Hash::parse(string(&hash.to_uppercase())).ok().unwrap().to_value(), string(&hash));
    for bad in ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x0000000000000000000000000000000000000000"] {
        assert!(Address::parse(string(bad)).is_err(), "{bad}");
        assert!(Hash::parse(string(bad)).is_err(), "{bad}");
    }
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for good in ["0", "99999999999999999999999999999999999999"] {
        assert_eq!(Wei::parse(string(good)).ok().unwrap().to_value(), string(good));
    }
    for bad in ["", "-1", "+1", "01", "1.5", "1e3", "100000000000000000000000000000000000000", " 1"] {
        assert!(Wei::parse(string(bad)).is_err(), "{bad}");
    }
    assert!(Wei::parse(Value::from(5)).is_err());
    assert_eq!(Long::parse(Value::from(LONG_MAX)).ok().unwrap().0, LONG_MAX);
    for bad in [Value::from(-1), Value::from(LONG_MAX + 1), string("1"), Value::from(1.5), Value::Null] {
        assert!(Long::parse(bad).is_err());
    }
}
