use super::*;

#[test]
fn an_address_in_mixed_case_needs_its_checksum() {
    let good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    assert_eq!(Address::parse(good).expect("valid").checksummed(), good);
    assert!(Address::parse("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed").is_err());
    assert!(Address::parse(&good.to_lowercase()).is_ok());
    assert!(Address::parse(&format!("0x{}", good[2..].to_uppercase())).is_ok());
    assert!(Address::parse(&format!("0x{}", "0".repeat(40))).is_err());
    assert!(Address::parse(&good[2..]).is_err());
    assert!(Address::parse(&good.replacen("0x", "0X", 1)).is_err());
}

#[test]
fn an_amount_is_a_canonical_decimal_below_2_pow_96() {
    assert_eq!(Wei::parse("0").expect("valid").get(), 0);
    assert_eq!(Wei::parse("79228162514264337593543950335").expect("valid").get(), Wei::LIMIT - 1);
    for text in [
        "",
        "00",
        "01",
        "+1",
        "-1",
        "1.0",
        " 1",
        "1e3",
        "0x1",
        "79228162514264337593543950336",
        "999999999999999999999999999999999999999999999",
    ] {
        assert!(Wei::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_score_is_judged_by_its_exact_decimal_value() {
    for (literal, millionths) in [
        ("0", 0),
        ("-0", 0),
        ("0.0e99999", 0),
        ("1", 1_000_000),
        ("-1.000", -1_000_000),
        ("0.5000000", 500_000),
        ("1e-6", 1),
        ("10e-7", 1),
        ("0.00001e1", 100),
        ("5E-1", 500_000),
        ("0.01e2", 1_000_000),
    ] {
        assert_eq!(Score::parse(literal).expect(literal).millionths(), millionths, "{literal}");
    }
    for literal in [
        "1.000001",
        "-1.1",
        "1e1",
        "1e-7",
        "0.1234567",
        "0.12345600000000000001",
        "5e-99999999999999999999",
        "1e99999999999999999999",
        "100000000000000000000",
    ] {
        assert!(Score::parse(literal).is_err(), "{literal}");
    }
}

#[test]
fn a_score_is_read_back_from_its_text() {
    for millionths in [0, 1, -1, 500_000, -500_000, 999_999, 1_000_000, -1_000_000, 123_400] {
        let score = Score::from_millionths(millionths).expect("in range");
        assert_eq!(Score::parse(&score.to_string()), Ok(score));
    }
}

#[test]
fn a_name_holds_256_bytes_and_no_control_character() {
    assert!(Name::parse(&"é".repeat(128)).is_ok());
    assert!(Name::parse("\u{2028} \" ' \u{ad}").is_ok());
    for text in ["", "a\u{0}", "\u{7f}", "\u{85}", "a\nb"] {
        assert!(Name::parse(text).is_err(), "{text:?}");
    }
    assert!(Name::parse(&"é".repeat(129)).is_err());
}
