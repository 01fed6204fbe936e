//! NDJSON input: plain, `.zst`, `.gz`, or `-` for standard input, read as a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use indicatif::ProgressBar;

/// Lines of one input. Memory is bounded by the longest line taken.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
}

/// The longest line that is read; an event is at most 256 KiB, so a longer line is refused here as it would be there.
pub const LINE_BYTES_MAX: u64 = 16 << 20;

impl Lines {
    /// Opens a file by its ending, or standard input for `-`. `bar` moves with the bytes read from the disk.
    pub fn open(name: &str, bar: &ProgressBar) -> io::Result<Self> {
        let raw: Box<dyn Read + Send> = if name == "-" { Box::new(io::stdin()) } else { Box::new(File::open(name)?) };
        let counted = bar.wrap_read(raw);
        let ending = Path::new(name).extension().and_then(|e| e.to_str());
        let reader: Box<dyn BufRead + Send> = match ending {
            Some("zst") => Box::new(BufReader::new(zstd::Decoder::new(counted)?)),
            Some("gz") => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(counted))),
            _ => Box::new(BufReader::with_capacity(1 << 18, counted)),
        };
        Ok(Self { reader })
    }

    /// Appends the next line that is not blank to `into`, with a line feed at its end. False at the end of the input.
    pub fn next_into(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let start = into.len();
            let read = (&mut self.reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', into)?;
            if read == 0 {
                return Ok(false);
            }
            if read as u64 > LINE_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line is longer than 16 MiB; events end with a line feed",
                ));
            }
            if into[start..].iter().all(u8::is_ascii_whitespace) {
                into.truncate(start);
                continue;
            }
            if into.last() != Some(&b'\n') {
                into.push(b'\n');
            }
            return Ok(true);
        }
    }
}

/// The bytes on disk of all named files, for a bar; standard input counts as none.
pub fn total_bytes(names: &[String]) -> io::Result<u64> {
    names.iter().filter(|n| *n != "-").map(|n| File::open(n)?.metadata().map(|m| m.len())).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(name: &str, content: &[u8]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let mut input = Lines::open(path.to_str().unwrap(), &ProgressBar::hidden()).unwrap();
        let mut found = Vec::new();
        loop {
            let mut line = Vec::new();
            if !input.next_into(&mut line).unwrap() {
                return found;
            }
            found.push(String::from_utf8(line).unwrap());
        }
    }

    #[test]
    fn plain_zstd_and_gzip_give_the_same_lines_without_blank_ones() {
        let text = b"{\"a\":1}\n\n  \r\n{\"b\":2}\r\n{\"c\":3}";
        let expected = ["{\"a\":1}\n", "{\"b\":2}\r\n", "{\"c\":3}\n"];
        assert_eq!(lines("x.ndjson", text), expected);
        assert_eq!(lines("x.ndjson.zst", &zstd::encode_all(&text[..], 1).unwrap()), expected);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gz, text).unwrap();
        assert_eq!(lines("x.ndjson.gz", &gz.finish().unwrap()), expected);
    }
}
