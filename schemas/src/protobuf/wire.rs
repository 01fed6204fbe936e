//! Writing the protobuf wire format straight from borrowed values, as prost would write it from owned ones.

/// The wire types that events use.
pub(super) const VARINT: u32 = 0;
pub(super) const BYTES: u32 = 2;

/// A message being written. Fields are written in ascending order of their numbers by the caller.
pub(super) struct Message<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Message<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(low_seven(value) | 0x80);
            value >>= 7;
        }
        self.out.push(low_seven(value));
    }

    /// A field that is there even if it is empty.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, BYTES);
        self.varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// A text that is there even if it is empty.
    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(super) fn some_text(&mut self, field: u32, value: Option<&str>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    /// A number that is there even if it is 0.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// A number that is left out if it is 0.
    pub(super) fn number_or_default(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.number(field, value);
        }
    }

    /// A number that may be negative, there even if it is 0.
    pub(super) fn signed(&mut self, field: u32, value: i64) {
        self.number(field, zigzag(value));
    }

    /// A number that may be negative, left out if it is 0.
    pub(super) fn signed_or_default(&mut self, field: u32, value: i64) {
        self.number_or_default(field, zigzag(value));
    }

    /// A message inside this one. Its length goes before it: one byte is kept for it, and more are made when it turns out longer.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.tag(field, BYTES);
        self.out.push(0);
        let start = self.out.len();
        write(&mut Message { out: self.out });
        let length = (self.out.len() - start) as u64;
        self.out[start - 1] = low_seven(length) | if length >= 0x80 { 0x80 } else { 0 };
        let mut rest = length >> 7;
        let mut at = start;
        while rest > 0 {
            self.out.insert(at, low_seven(rest) | if rest >= 0x80 { 0x80 } else { 0 });
            rest >>= 7;
            at += 1;
        }
    }
}

fn low_seven(value: u64) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits fit a byte")
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
