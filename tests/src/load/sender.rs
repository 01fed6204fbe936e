//! One sender: makes requests, repeats each until it is acknowledged, and writes down what was.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::event::Event;
use super::{Doors, Plan};
use crate::Outcome;
use crate::auditor::event::Identity;
use crate::auditor::ledger::Sent;
use crate::chance::Chance;

/// The largest request, and the largest of most requests.
const EVENTS_MAX: u64 = 200;
const EVENTS_MOSTLY: u64 = 20;
/// How long an answer is waited for, and how long by a sender that has no patience.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(30);
/// How long a sender waits at most before it sends again.
const AGAIN_AFTER: Duration = Duration::from_millis(400);
/// How many of its last requests a sender remembers, to repeat them.
const REMEMBERED: usize = 16;

/// A sender with a number of its own, which is part of the source of its events.
pub struct Sender {
    number: u32,
    source: String,
    keys: Vec<String>,
    doors: Doors,
    client: Client,
    chance: Chance,
    turn: u32,
    next: u64,
    past: VecDeque<Request>,
}

/// Some events, one a line.
#[derive(Clone)]
struct Request {
    body: String,
    identities: Vec<Identity>,
}

/// What became of one attempt.
enum Attempt {
    Acknowledged,
    /// It may be recorded or not: it is sent again.
    Failed(String),
}

impl Sender {
    /// A sender of a plan. Of one number there is one.
    pub fn new(number: u32, plan: &Plan, doors: Doors) -> Outcome<Self> {
        Ok(Self {
            number,
            source: format!("urn:load:{}:{number}", plan.seed),
            keys: plan.keys.clone(),
            doors,
            client: Client::builder().no_proxy().build()?,
            chance: Chance::of(plan.seed.wrapping_mul(1_000).wrapping_add(u64::from(number))),
            turn: 0,
            next: 0,
            past: VecDeque::new(),
        })
    }

    /// Sends a request of chance, or one of the last once more, until it is acknowledged.
    pub async fn send_some(&mut self) -> Outcome {
        if !self.past.is_empty() && self.chance.below(8) == 0 {
            let at = usize::try_from(self.chance.below(self.past.len() as u64))?;
            let request = self.past[at].clone();
            self.deliver(&request).await?;
            self.doors.tally.repeated.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let most = if self.chance.below(10) == 0 { EVENTS_MAX } else { EVENTS_MOSTLY };
        let count = 1 + self.chance.below(most);
        self.send_new(count).await
    }

    /// Sends so many new events and gives up after a while. They are acknowledged then, and each comes once.
    pub async fn send(&mut self, count: u64, within: Duration) -> Outcome {
        let sent = tokio::time::timeout(within, self.send_new(count)).await;
        let trouble = || format!("{count} events are not acknowledged after {within:?}: {}", self.doors.tally.trouble.lock());
        sent.map_err(|_| trouble())?
    }

    async fn send_new(&mut self, count: u64) -> Outcome {
        let request = self.make(count);
        self.deliver(&request).await?;
        let mut ledger = self.doors.ledger.lock();
        request.identities.iter().for_each(|identity| ledger.acknowledge(identity));
        drop(ledger);
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(request);
        Ok(())
    }

    /// A new request, noted as sent.
    fn make(&mut self, count: u64) -> Request {
        self.turn += 1;
        let mut request = Request { body: String::new(), identities: Vec::new() };
        let mut ledger = self.doors.ledger.lock();
        for _ in 0..count {
            let event = Event::of(&self.source, self.next, self.chance.one_of::<String>(&self.keys));
            self.next += 1;
            let sent = Sent { content: Some(event.content), sender: self.number, turn: self.turn, is_acknowledged: false };
            ledger.sends(event.identity.clone(), sent);
            request.body.push_str(&event.json);
            request.body.push('\n');
            request.identities.push(event.identity);
        }
        drop(ledger);
        request
    }

    /// Sends a request to one door or another until it is acknowledged.
    async fn deliver(&mut self, request: &Request) -> Outcome {
        loop {
            match self.attempt(request).await? {
                Attempt::Acknowledged => {
                    self.doors.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Attempt::Failed(why) => {
                    self.doors.tally.failed.fetch_add(1, Ordering::Relaxed);
                    *self.doors.tally.trouble.lock() = why;
                }
            }
            self.rest(AGAIN_AFTER).await;
        }
    }

    /// An error if the door refuses what must be taken.
    async fn attempt(&mut self, request: &Request) -> Outcome<Attempt> {
        let url = self.chance.one_of(&self.doors.urls);
        let within = if self.chance.below(40) == 0 { IMPATIENCE } else { ANSWERS_WITHIN };
        let post = self.client.post(format!("{url}/v1/events")).header("content-type", "application/x-ndjson");
        let answered = async {
            let answer = post.body(request.body.clone()).timeout(within).send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
        };
        let (status, body) = match answered.await {
            Ok(answer) => answer,
            Err(error) => return Ok(Attempt::Failed(format!("{url}: {error:?}"))),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Ok(Attempt::Failed(format!("{url}: {status}: {body}")));
        }
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let accepted = answer["accepted"].as_u64().and_then(|count| usize::try_from(count).ok());
        if status == StatusCode::OK && accepted == Some(request.identities.len()) {
            return Ok(Attempt::Acknowledged);
        }
        Err(format!("{url} answers {status} to {} events: {body:.600}", request.identities.len()).into())
    }

    /// Rests up to so long.
    pub async fn rest(&mut self, longest: Duration) {
        tokio::time::sleep(self.chance.up_to(longest)).await;
    }
}
