//! Cuts a request into blocks of whole events while it comes in, so that parsing starts before it has ended.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::error::DoorError;
use crate::media::Framing;

/// A block is cut as soon as it has so many bytes: small enough to spread over cores, large enough to be worth a hand-over.
const BLOCK_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whole events.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The bytes of the events and what stands between them.
    pub bytes: Bytes,
    /// Where the events are.
    pub events: Events,
}

/// Where the events of a block are.
#[derive(Debug, PartialEq, Eq)]
pub enum Events {
    /// The whole block is one.
    One,
    /// One per line that is not empty.
    Lines,
    /// At these places.
    At(Vec<Range<usize>>),
}

/// Cuts a request into blocks.
pub struct Framer {
    framing: Framing,
    buffer: BytesMut,
    /// Up to where the buffer has been looked at.
    scanned: usize,
    begun: bool,
    array: Array,
    events_max: usize,
}

impl Framer {
    /// For a request with this framing and at most this many events.
    pub fn new(framing: Framing, events_max: usize) -> Self {
        Self { framing, buffer: BytesMut::new(), scanned: 0, begun: false, array: Array::default(), events_max }
    }

    /// Takes the next bytes; gives a block when there are enough events for one.
    ///
    /// # Errors
    /// [`DoorError::NotArray`], [`DoorError::ByteOrderMark`], [`DoorError::TooManyEvents`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Block>, DoorError> {
        self.buffer.extend_from_slice(bytes);
        if !self.begun && self.buffer.len() >= BYTE_ORDER_MARK.len() {
            self.check_beginning()?;
        }
        match self.framing {
            Framing::One => Ok(None),
            Framing::Lines => Ok(self.lines()),
            Framing::Array => {
                if self.begun {
                    self.array.scan(&self.buffer, &mut self.scanned, self.events_max)?;
                }
                Ok((self.array.complete >= BLOCK_BYTES).then(|| self.elements()))
            }
        }
    }

    /// Gives what is left at the end of the request.
    ///
    /// # Errors
    /// Those of [`Self::push`].
    pub fn finish(mut self) -> Result<Block, DoorError> {
        self.check_beginning()?;
        let events = match self.framing {
            Framing::One => Events::One,
            Framing::Lines => Events::Lines,
            Framing::Array => {
                self.array.scan(&self.buffer, &mut self.scanned, self.events_max)?;
                self.array.check_ended()?;
                return Ok(self.elements());
            }
        };
        Ok(Block { bytes: self.buffer.freeze(), events })
    }

    fn check_beginning(&mut self) -> Result<(), DoorError> {
        if !self.begun && self.buffer.starts_with(BYTE_ORDER_MARK) {
            return Err(DoorError::ByteOrderMark);
        }
        self.begun = true;
        Ok(())
    }

    fn lines(&mut self) -> Option<Block> {
        if self.buffer.len() < BLOCK_BYTES {
            return None;
        }
        let fresh = &self.buffer[self.scanned..];
        let end = fresh.iter().rposition(|byte| *byte == b'\n').map(|at| self.scanned + at + 1);
        self.scanned = self.buffer.len() - end.unwrap_or(0);
        end.map(|end| Block { bytes: self.buffer.split_to(end).freeze(), events: Events::Lines })
    }

    /// Cuts the complete elements off.
    fn elements(&mut self) -> Block {
        let cut = self.array.complete;
        self.scanned -= cut;
        Block { bytes: self.buffer.split_to(cut).freeze(), events: Events::At(self.array.cut()) }
    }
}

/// Where the scan of an array is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeArray,
    /// In an element or before it; the brackets that are open inside of it, and whether a string is.
    Element {
        depth: usize,
        string: bool,
        escaped: bool,
    },
    AfterArray,
}

/// Finds the elements of a JSON array without parsing them: only brackets, strings and commas are looked at. What an element
/// holds is the parser's business.
#[derive(Debug, Default)]
struct Array {
    place: Place,
    /// Where the element that is open began.
    start: usize,
    /// Complete elements, not yet cut off.
    spans: Vec<Range<usize>>,
    /// The buffer up to here belongs to complete elements.
    complete: usize,
    elements: usize,
}

impl Array {
    fn scan(&mut self, buffer: &[u8], scanned: &mut usize, events_max: usize) -> Result<(), DoorError> {
        for (at, byte) in buffer.iter().copied().enumerate().skip(*scanned) {
            match &mut self.place {
                Place::Element { string: true, escaped, .. } if *escaped => *escaped = false,
                Place::Element { string: true, escaped, .. } if byte == b'\\' => *escaped = true,
                Place::Element { string, .. } if byte == b'"' => *string = !*string,
                Place::Element { string: true, .. } => {}
                Place::Element { depth: 0, .. } if byte == b',' || byte == b']' => {
                    self.end_element(buffer, at, byte == b']', events_max)?;
                }
                Place::Element { depth, .. } if matches!(byte, b'{' | b'[') => *depth += 1,
                Place::Element { depth, .. } if matches!(byte, b'}' | b']') => *depth = depth.saturating_sub(1),
                Place::Element { .. } => {}
                Place::BeforeArray | Place::AfterArray if is_blank(byte) => {}
                Place::BeforeArray if byte == b'[' => self.open(at + 1),
                Place::BeforeArray => return Err(DoorError::NotArray { reason: "it does not begin with `[`" }),
                Place::AfterArray => return Err(DoorError::NotArray { reason: "something follows its end" }),
            }
        }
        *scanned = buffer.len();
        Ok(())
    }

    fn open(&mut self, at: usize) {
        self.place = Place::Element { depth: 0, string: false, escaped: false };
        self.start = at;
    }

    fn end_element(&mut self, buffer: &[u8], end: usize, last: bool, events_max: usize) -> Result<(), DoorError> {
        let element = &buffer[self.start..end];
        let blank = element.iter().all(|byte| is_blank(*byte));
        if blank && (self.elements > 0 || !last) {
            return Err(DoorError::NotArray { reason: "a comma has no element on one of its sides" });
        }
        if !blank {
            self.elements += 1;
            self.spans.push(self.start..end);
        }
        if self.elements > events_max {
            return Err(DoorError::TooManyEvents { max: events_max });
        }
        self.complete = end + 1;
        if last {
            self.place = Place::AfterArray;
        } else {
            self.open(end + 1);
        }
        Ok(())
    }

    fn check_ended(&self) -> Result<(), DoorError> {
        match self.place {
            Place::AfterArray => Ok(()),
            Place::BeforeArray => Err(DoorError::NotArray { reason: "it is empty" }),
            Place::Element { .. } => Err(DoorError::NotArray { reason: "it does not end, or a bracket or quote is missing" }),
        }
    }

    /// Gives the complete elements away; what remains of the buffer begins after them.
    fn cut(&mut self) -> Vec<Range<usize>> {
        self.start = self.start.saturating_sub(self.complete);
        self.complete = 0;
        std::mem::take(&mut self.spans)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The events of a request that comes in pieces of this size.
    fn split(framing: Framing, request: &[u8], piece: usize) -> Result<Vec<String>, &'static str> {
        let mut framer = Framer::new(framing, 1000);
        let mut events = Vec::new();
        let mut take = |block: Block| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim().to_owned();
            match block.events {
                Events::One => events.push(text(&block.bytes)),
                Events::At(spans) => events.extend(spans.into_iter().map(|span| text(&block.bytes[span]))),
                Events::Lines => events.extend(block.bytes.split(|b| *b == b'\n').map(text).filter(|line| !line.is_empty())),
            }
        };
        for piece in request.chunks(piece) {
            framer.push(piece).map_err(|e| e.code())?.into_iter().for_each(&mut take);
        }
        take(framer.finish().map_err(|e| e.code())?);
        Ok(events)
    }

    #[test]
    fn an_array_is_cut_the_same_wherever_its_pieces_end() {
        let request = br#" [ {"a":"]},\"[{\\"} ,[1,[2]] , 7, "x,y" ,null,{"b":{"c":[]}}] "#;
        let expected = [r#"{"a":"]},\"[{\\"}"#, "[1,[2]]", "7", r#""x,y""#, "null", r#"{"b":{"c":[]}}"#];
        for piece in 1..=request.len() {
            assert_eq!(split(Framing::Array, request, piece).unwrap(), expected, "pieces of {piece}");
        }
        assert_eq!(split(Framing::Array, b"[]", 1), Ok(vec![]));
        assert_eq!(split(Framing::Array, b" [ \n] ", 9), Ok(vec![]));
    }

    #[test]
    fn a_large_array_is_cut_into_blocks_and_loses_nothing() {
        let elements: Vec<String> = (0..900).map(|i| format!(r#"{{"n":{i},"x":"{}"}}"#, "y".repeat(1000))).collect();
        let request = format!("[{}]", elements.join(", "));
        for piece in [1000, 4096, 65_536, 300_000, request.len()] {
            assert_eq!(split(Framing::Array, request.as_bytes(), piece).unwrap(), elements, "pieces of {piece}");
        }
        let lines = elements.join("\r\n");
        for piece in [1000, 4096, 65_536, 300_000, lines.len()] {
            assert_eq!(split(Framing::Lines, lines.as_bytes(), piece).unwrap(), elements, "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_array_is_refused_whole() {
        for request in ["", " ", "{}", "[", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[,]", "[1]]", "[1] x", "[\"]", "[{]", "null"]
        {
            assert_eq!(split(Framing::Array, request.as_bytes(), 1), Err("not_an_array"), "{request}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_refused_in_every_framing() {
        for framing in [Framing::One, Framing::Array, Framing::Lines] {
            for piece in [1, 100] {
                assert_eq!(split(framing, b"\xef\xbb\xbf[]", piece), Err("byte_order_mark"));
            }
        }
    }

    #[test]
    fn more_elements_than_allowed_are_refused() {
        let array = |n: usize| format!("[{}]", vec!["{}"; n].join(","));
        assert_eq!(split(Framing::Array, array(1000).as_bytes(), 700).unwrap().len(), 1000);
        assert_eq!(split(Framing::Array, array(1001).as_bytes(), 700), Err("too_many_events"));
    }
}
