//! Reads a request's body: decompressed, at most so large, and not for ever.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::io::StreamReader;

use crate::error::DoorError;
use crate::media::Encoding;
use crate::settings::Settings;

/// Decompressed at once.
const STEP_BYTES: usize = 64 << 10;

/// A body being read.
pub struct BodyReader {
    source: Source,
    bytes: usize,
    bytes_max: usize,
    idle: Duration,
    deadline: Instant,
}

enum Source {
    Plain(BodyDataStream),
    Compressed(Pin<Box<dyn AsyncRead + Send>>),
}

/// What broke below the decoder, so that it is not taken for bad compression.
#[derive(Debug)]
struct Below(DoorError);

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Below {}

impl BodyReader {
    /// Reads this body.
    pub fn new(body: Body, encoding: Encoding, settings: &Settings) -> Self {
        let bytes_max = settings.request_bytes_max;
        let source = match encoding {
            Encoding::Identity => Source::Plain(body.into_data_stream()),
            Encoding::Gzip | Encoding::Zstd => Source::Compressed(decoder(body, encoding, bytes_max)),
        };
        let deadline = Instant::now() + settings.body_timeout;
        Self { source, bytes: 0, bytes_max, idle: settings.body_idle_timeout, deadline }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`DoorError::TooLarge`], [`DoorError::Slow`], [`DoorError::Incomplete`], [`DoorError::Compression`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, DoorError> {
        let until = self.deadline.min(Instant::now() + self.idle);
        let step = match &mut self.source {
            Source::Plain(stream) => timeout_at(until, stream.next()).await.map(|next| next.transpose().map_err(incomplete)),
            Source::Compressed(reader) => timeout_at(until, decompress(reader)).await,
        };
        let step = step.map_err(|_| DoorError::Slow)??;
        self.bytes += step.as_ref().map_or(0, Bytes::len);
        if self.bytes > self.bytes_max {
            return Err(DoorError::TooLarge { max: self.bytes_max });
        }
        Ok(step)
    }

    /// Reads and forgets what the sender still sends of a request that was refused, within limits: a sender that is cut off in
    /// the middle might not see the answer.
    pub async fn drain(self, limit: Duration) {
        let Source::Plain(mut stream) = self.source else { return };
        let mut left = self.bytes_max;
        let reading = async {
            while let Some(Ok(bytes)) = stream.next().await {
                left = left.saturating_sub(bytes.len());
                if left == 0 {
                    return;
                }
            }
        };
        // Who does not end in time is cut off.
        let _ = tokio::time::timeout(limit, reading).await;
    }
}

fn decoder(body: Body, encoding: Encoding, bytes_max: usize) -> Pin<Box<dyn AsyncRead + Send>> {
    // A compressed stream can be endless and give nothing, so its own bytes are limited as well.
    let mut bytes = 0_usize;
    let stream = body.into_data_stream().map_err(incomplete).and_then(move |chunk| {
        bytes += chunk.len();
        std::future::ready(if bytes > bytes_max { Err(DoorError::TooLarge { max: bytes_max }) } else { Ok(chunk) })
    });
    let reader = StreamReader::new(stream.map_err(|error| io::Error::other(Below(error))));
    if encoding == Encoding::Gzip {
        let mut decoder = GzipDecoder::new(reader);
        decoder.multiple_members(true);
        return Box::pin(decoder);
    }
    let mut decoder = ZstdDecoder::with_params(reader, &[DParameter::window_log_max(Encoding::ZSTD_WINDOW_LOG)]);
    decoder.multiple_members(true);
    Box::pin(decoder)
}

async fn decompress(reader: &mut Pin<Box<dyn AsyncRead + Send>>) -> Result<Option<Bytes>, DoorError> {
    let mut step = BytesMut::with_capacity(STEP_BYTES);
    let read = reader.read_buf(&mut step).await.map_err(|error| {
        let below = error.get_ref().and_then(|inner| inner.downcast_ref::<Below>());
        below.map_or_else(|| DoorError::Compression { reason: error.to_string() }, |below| below.0.clone())
    })?;
    Ok((read > 0).then(|| step.freeze()))
}

fn incomplete(error: axum::Error) -> DoorError {
    DoorError::Incomplete { reason: error.to_string() }
}
