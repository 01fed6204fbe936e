//! Writing an event as CloudEvents JSON: what is absent is left out, amounts are strings, scores are decimals.

use std::fmt::{Display, Write};

use crate::event::{AttributionEntry, Draft, EventData, EventType, GrantRole, ModelKind, SplitBps, Verdict};
use crate::units::{Address, Bps, Count, Hash, Name, Score, Wei, Weight};

/// One CloudEvent as compact JSON. [`super::parse`] reads the same draft back (but for `grant.set`, which no door takes).
pub fn to_json(draft: &Draft) -> String {
    let mut out = String::with_capacity(1024);
    let mut event = Object::open(&mut out);
    event.put("specversion", "1.0");
    event.put("id", draft.id.as_str());
    event.put("source", draft.source.as_str());
    event.put("type", draft.event_type().as_str());
    event.put_shown("time", draft.time);
    if draft.has_subject {
        event.put("subject", draft.key());
    }
    if draft.has_datacontenttype {
        event.put("datacontenttype", "application/json");
    }
    event.put_some("dataschema", draft.dataschema.as_deref());
    event.put_some("traceparent", draft.traceparent.as_deref());
    event.put_some("tracestate", draft.tracestate.as_deref());
    event.put_some("sig", draft.sig.as_deref());
    event.put_some("signer", draft.signer.as_deref());
    for (name, value) in &draft.extensions {
        event.put(name, value.as_str());
    }
    event.key("data");
    write_data(&draft.data, event.out);
    event.close();
    out
}

/// The payload of an event as compact JSON, its fields in the order of the specification.
pub fn data_json(data: &EventData) -> String {
    let mut out = String::with_capacity(512);
    write_data(data, &mut out);
    out
}

/// Writes an object of these fields: those of the first list always, those of the second if they are there.
macro_rules! object {
    ($out:expr, $data:ident, { $($must:ident),* }, { $($may:ident),* }) => {{
        let mut object = Object::open($out);
        $(object.put(stringify!($must), &$data.$must);)*
        $(object.put_some(stringify!($may), $data.$may.as_ref());)*
        object.close();
    }};
}

fn write_data(data: &EventData, out: &mut String) {
    match data {
        EventData::DatanetRegistered(d) => object!(out, d, { datanet_id, owner, name }, { license }),
        EventData::ContributionSubmitted(d) => {
            object!(out, d, { contribution_id, datanet_id, contributor, content_hash, bytes }, { tokens });
        }
        EventData::ContributionReviewed(d) => object!(out, d, { contribution_id, validator, verdict }, { score }),
        EventData::ModelRegistered(d) => {
            object!(out, d, { model_id, kind, owner, parents, datanets }, { weights_hash });
        }
        EventData::ModelUpdated(d) => {
            object!(out, d, { model_id, version, weights_hash }, { method, datanets, steps, previous_version });
        }
        EventData::PolicySet(d) => object!(out, d, { scope, split_bps, upstream_bps }, {}),
        EventData::InferenceCompleted(d) => object!(
            out,
            d,
            { inference_id, model_id, node, requester, input_hash, output_hash, input_tokens, output_tokens, latency_us, fee },
            { agent_id, parents }
        ),
        EventData::AttributionTraced(d) => object!(out, d, { inference_id, method, entries }, {}),
        EventData::FeedbackRecorded(d) => object!(out, d, { inference_id, actor, score }, { label }),
        EventData::AgentActed(d) => {
            object!(out, d, { agent_id, action, inferences }, { chain_id, tx_hash, counterparty, value });
        }
        EventData::GrantSet(d) => object!(out, d, { producer, roles, types }, { revoked }),
    }
}

/// A JSON object being written.
struct Object<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(',');
        }
        key.write(self.out);
        self.out.push(':');
    }

    fn put<T: Value + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        value.write(self.out);
    }

    fn put_some<T: Value + ?Sized>(&mut self, key: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// A value whose text needs no escapes, in quotes.
    fn put_shown(&mut self, key: &str, value: impl Display) {
        self.key(key);
        quoted(self.out, value);
    }

    fn close(self) {
        self.out.push('}');
    }
}

fn shown(out: &mut String, value: impl Display) {
    write!(out, "{value}").expect("writing to a String cannot fail");
}

fn quoted(out: &mut String, value: impl Display) {
    out.push('"');
    shown(out, value);
    out.push('"');
}

/// A value of JSON.
trait Value {
    fn write(&self, out: &mut String);
}

impl Value for str {
    fn write(&self, out: &mut String) {
        out.push('"');
        let mut plain = 0;
        for (at, byte) in self.bytes().enumerate() {
            // Only ASCII bytes are escaped, so every cut lies between characters.
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            out.push_str(&self[plain..at]);
            plain = at + 1;
            match byte {
                b'"' => out.push_str("\\\""),
                b'\\' => out.push_str("\\\\"),
                control => write!(out, "\\u{control:04x}").expect("writing to a String cannot fail"),
            }
        }
        out.push_str(&self[plain..]);
        out.push('"');
    }
}

macro_rules! values {
    ($($kind:ty: |$value:ident, $out:ident| $write:expr;)*) => {$(
        impl Value for $kind {
            fn write(&self, $out: &mut String) {
                let $value = self;
                $write;
            }
        }
    )*};
}

values! {
    Name: |value, out| value.as_str().write(out);
    Address: |value, out| quoted(out, value);
    Hash: |value, out| quoted(out, format_args!("{value:#x}"));
    Wei: |value, out| quoted(out, value);
    Count: |value, out| shown(out, value.get());
    Bps: |value, out| shown(out, value.get());
    Weight: |value, out| shown(out, value.get());
    Score: |value, out| shown(out, value);
    bool: |value, out| shown(out, value);
    Verdict: |value, out| value.as_str().write(out);
    ModelKind: |value, out| value.as_str().write(out);
    GrantRole: |value, out| value.as_str().write(out);
    EventType: |value, out| value.as_str().write(out);
    SplitBps: |value, out| object!(out, value, { contributors, model, node, validators, protocol }, {});
    AttributionEntry: |value, out| object!(out, value, { contribution_id, weight }, {});
}

impl<T: Value> Value for Vec<T> {
    fn write(&self, out: &mut String) {
        out.push('[');
        for (i, item) in self.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            item.write(out);
        }
        out.push(']');
    }
}
