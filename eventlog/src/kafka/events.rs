//! Events of the client library: what it logs, and what it tells of connections. They wait in a queue until they are served.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::Metadata;

use super::appender::tell;
use super::fault::Fault;
use super::settings::Settings;

/// What is remembered of the way to the brokers at most.
const HEARD_MAX: usize = 64;

/// Counts the events that a listener was told.
#[derive(Default)]
pub(super) struct Told(AtomicU64);

impl Told {
    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A listener that counts what it is told.
pub(super) trait Listener: ConsumerContext {
    /// The count.
    fn told(&self) -> &Told;

    /// Hears of a record that came to no partition's queue, where nobody reads it.
    fn strayed(&self, partition: i32, offset: i64);
}

/// Has every event that is queued served before it returns. One call of the client library serves one event, and answers "nothing"
/// after a text that was logged just as after an empty queue: the listener's count tells them apart.
pub(super) fn serve_all<C: Listener>(consumer: &BaseConsumer<C>) {
    loop {
        let before = consumer.context().told().count();
        match consumer.poll(Duration::ZERO) {
            Some(Ok(record)) => consumer.context().strayed(record.partition(), record.offset()),
            // Errors among the events went to the listener.
            Some(Err(_)) => {}
            None if consumer.context().told().count() == before => return,
            None => {}
        }
    }
}

/// Remembers what goes wrong on the way to the brokers.
#[derive(Default)]
struct Way {
    heard: Mutex<Vec<(RDKafkaErrorCode, String)>>,
    told: Told,
}

impl ClientContext for Way {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.one_more();
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.one_more();
        let mut heard = self.heard.lock();
        if let Some(code) = error.rdkafka_error_code()
            && heard.len() < HEARD_MAX
        {
            heard.push((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Way {}

impl Listener for Way {
    fn told(&self) -> &Told {
        &self.told
    }

    /// It reads nothing.
    fn strayed(&self, _partition: i32, _offset: i64) {}
}

/// Asks a broker what the cluster and the topic are like. Waits for the answer: not for threads that serve others.
///
/// # Errors
/// A [`Fault`] that says why there is no answer.
pub(super) fn ask(settings: &Settings) -> Result<Metadata, Fault> {
    settings.security.check()?;
    let way: Result<BaseConsumer<Way>, KafkaError> = settings.client("topics").create_with_context(Way::default());
    let way = way.map_err(|error| Fault::of(&error, settings))?;
    way.fetch_metadata(Some(&settings.topic), settings.answer_timeout).map_err(|error| {
        serve_all(&way);
        Fault::unanswered(&error, &way.context().heard.lock(), settings)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fault::FaultKind;
    use super::*;

    fn away() -> Settings {
        let mut settings = Settings::new("127.0.0.1:1", "events");
        settings.answer_timeout = Duration::from_secs(3);
        settings
    }

    #[test]
    fn a_broker_that_is_not_there_is_named_with_what_happened_on_the_way() {
        let fault = ask(&away()).err().unwrap();
        let text = fault.with_code();
        assert_eq!(fault.kind(), FaultKind::Unreachable, "{text}");
        assert!(text.contains("`kafka.bootstrap` (127.0.0.1:1)") && text.contains("refused"), "{text}");
    }

    #[test]
    fn all_events_that_are_queued_are_served_and_not_one_at_a_time() {
        let mut config = away().client("test");
        // Every step of a client that is made is logged: many more events than one.
        config.set("debug", "all").set_log_level(RDKafkaLogLevel::Debug);
        let consumer: BaseConsumer<Way> = config.create_with_context(Way::default()).unwrap();
        let _ = consumer.fetch_metadata(None, Duration::from_millis(200));
        serve_all(&consumer);
        assert!(consumer.context().told.count() > 10, "{}", consumer.context().told.count());
    }
}
