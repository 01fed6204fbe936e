//! Arbitrary valid events for property tests.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;

use crate::event::{
    AgentActed, AttributionEntry, AttributionTraced, ContributionReviewed, ContributionSubmitted, DatanetRegistered, Draft,
    Event, EventData, EventType, FeedbackRecorded, GrantRole, GrantSet, InferenceCompleted, ModelKind, ModelRegistered,
    ModelUpdated, PolicySet, SplitBps, Verdict,
};
use crate::ids::Timestamp;
use crate::rules;
use crate::units::{Address, Bps, Count, Hash, Name, Score, Wei, Weight};

fn name() -> impl Strategy<Value = Name> {
    let odd = prop_oneof![Just("\"\\/ '\u{2028}\u{ad}"), Just("é"), Just("\u{10ffff}\u{fffe}"), Just(" ")];
    let text = prop_oneof!["\\PC{1,64}", "[a-z0-9/._-]{1,40}", "[ -~]{256}", odd.prop_map(str::to_owned)];
    text.prop_filter_map("a name", |text| Name::parse(&text).ok())
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_filter_map("not zero", |bytes| Address::from_bytes(bytes).ok())
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from)
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![Just(0), Just(Count::MAX), 0..=Count::MAX].prop_filter_map("a count", Count::new)
}

fn wei() -> impl Strategy<Value = Wei> {
    prop_oneof![Just(0), Just(Wei::LIMIT - 1), 0..Wei::LIMIT].prop_filter_map("an amount", Wei::new)
}

fn score() -> impl Strategy<Value = Score> {
    (-1_000_000..=1_000_000).prop_filter_map("a score", Score::from_millionths)
}

fn bps() -> impl Strategy<Value = Bps> {
    (0..=10_000_u64).prop_filter_map("a share", Bps::new)
}

fn split() -> impl Strategy<Value = SplitBps> {
    vec(0..=10_000_u64, 4).prop_map(|mut marks| {
        marks.sort_unstable();
        let share = |from: u64, to: u64| Bps::new(to - from).expect("marks lie within 10000");
        SplitBps {
            contributors: share(0, marks[0]),
            model: share(marks[0], marks[1]),
            node: share(marks[1], marks[2]),
            validators: share(marks[2], marks[3]),
            protocol: share(marks[3], 10_000),
        }
    })
}

fn registration() -> impl Strategy<Value = ModelRegistered> {
    let named = name().prop_filter("not the global scope", |name| name.as_str() != rules::GLOBAL_SCOPE);
    let grown = prop_oneof![Just(ModelKind::FineTune), Just(ModelKind::Adapter)];
    let kind = prop_oneof![Just((ModelKind::Base, Vec::new())), (grown, vec(name(), 1..=8))];
    (named, kind, address(), vec(name(), 0..=64), of(hash())).prop_map(
        |(model_id, (kind, parents), owner, datanets, weights_hash)| ModelRegistered {
            model_id,
            kind,
            owner,
            parents,
            datanets,
            weights_hash,
        },
    )
}

fn inference() -> impl Strategy<Value = InferenceCompleted> {
    let who = (name(), name(), address(), address(), of(name()), of(vec(name(), 0..=16)));
    (who, hash(), hash(), count(), count(), count(), wei()).prop_map(
        |(
            (inference_id, model_id, node, requester, agent_id, parents),
            input_hash,
            output_hash,
            input_tokens,
            output_tokens,
            latency_us,
            fee,
        )| {
            InferenceCompleted {
                inference_id,
                model_id,
                node,
                requester,
                agent_id,
                parents,
                input_hash,
                output_hash,
                input_tokens,
                output_tokens,
                latency_us,
                fee,
            }
        },
    )
}

fn attribution() -> impl Strategy<Value = AttributionTraced> {
    let weights = (1..=i32::MAX.unsigned_abs()).prop_filter_map("a weight", |weight| Weight::new(weight.into()));
    let entries = btree_set(name(), 1..=40).prop_shuffle_into_vec();
    (name(), name(), entries, vec(weights, 40)).prop_map(|(inference_id, method, ids, weights)| {
        let entry = |(contribution_id, weight)| AttributionEntry { contribution_id, weight };
        AttributionTraced { inference_id, method, entries: ids.into_iter().zip(weights).map(entry).collect() }
    })
}

/// Sets come in order; events need not.
trait ShuffledSet: Strategy {
    fn prop_shuffle_into_vec(self) -> impl Strategy<Value = Vec<Name>>;
}

impl<S: Strategy<Value = std::collections::BTreeSet<Name>>> ShuffledSet for S {
    fn prop_shuffle_into_vec(self) -> impl Strategy<Value = Vec<Name>> {
        self.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }
}

/// A payload that a door takes.
fn sent() -> impl Strategy<Value = EventData> {
    let verdict = prop_oneof![Just(Verdict::Accepted), Just(Verdict::Rejected)];
    prop_oneof![
        (name(), address(), name(), of(name())).prop_map(|(datanet_id, owner, name, license)| {
            EventData::DatanetRegistered(DatanetRegistered { datanet_id, owner, name, license })
        }),
        (name(), name(), address(), hash(), count(), of(count())).prop_map(
            |(contribution_id, datanet_id, contributor, content_hash, bytes, tokens)| {
                let data = ContributionSubmitted { contribution_id, datanet_id, contributor, content_hash, bytes, tokens };
                EventData::ContributionSubmitted(data)
            }
        ),
        (name(), address(), verdict, of(score())).prop_map(|(contribution_id, validator, verdict, score)| {
            EventData::ContributionReviewed(ContributionReviewed { contribution_id, validator, verdict, score })
        }),
        registration().prop_map(EventData::ModelRegistered),
        (name(), name(), hash(), of(name()), of(vec(name(), 0..=64)), of(count()), of(name())).prop_map(
            |(model_id, version, weights_hash, method, datanets, steps, previous_version)| {
                let data = ModelUpdated { model_id, version, weights_hash, method, datanets, steps, previous_version };
                EventData::ModelUpdated(data)
            }
        ),
        (name(), split(), bps()).prop_map(|(scope, split_bps, upstream_bps)| EventData::PolicySet(PolicySet {
            scope,
            split_bps,
            upstream_bps
        })),
        inference().prop_map(EventData::InferenceCompleted),
        attribution().prop_map(EventData::AttributionTraced),
        (name(), address(), score(), of(name())).prop_map(|(inference_id, actor, score, label)| {
            EventData::FeedbackRecorded(FeedbackRecorded { inference_id, actor, score, label })
        }),
        (name(), name(), vec(name(), 0..=64), of(count()), of(hash()), of(address()), of(wei())).prop_map(
            |(agent_id, action, inferences, chain_id, tx_hash, counterparty, value)| {
                EventData::AgentActed(AgentActed { agent_id, action, inferences, chain_id, tx_hash, counterparty, value })
            }
        ),
    ]
}

fn grant() -> impl Strategy<Value = EventData> {
    let roles = proptest::sample::subsequence(GrantRole::ALL.to_vec(), 0..=GrantRole::ALL.len());
    let types = proptest::sample::subsequence(EventType::ALL.to_vec(), 0..=EventType::ALL.len());
    (name(), roles, types, of(any::<bool>()))
        .prop_map(|(producer, roles, types, revoked)| EventData::GrantSet(GrantSet { producer, roles, types, revoked }))
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let any_year = -62_167_219_200_000_000_i64..=253_402_300_799_999_999;
    prop_oneof![Just(0), any_year].prop_filter_map("an instant", Timestamp::from_micros)
}

fn around(data: impl Strategy<Value = EventData>) -> impl Strategy<Value = Draft> {
    let kept = || {
        of(prop_oneof!["\\PC{0,80}", Just(String::new())]
            .prop_filter("an attribute", |text| rules::check_attribute(text).is_ok()))
    };
    let source = "(urn:[a-z]{1,8}:[a-z0-9%A-F]{0,3}|https://[a-z.]{1,20}/[a-z/]{0,20}|[a-z]{1,12})"
        .prop_filter("a source", |text| rules::check_source(text).is_ok());
    let named = ("[!-~]{1,128}", source, instant(), any::<bool>(), any::<bool>());
    let extension_name = "[a-z0-9]{1,20}".prop_filter("an extension", |name| rules::check_extension_name(name).is_ok());
    let extension = kept().prop_map(Option::unwrap_or_default);
    let extensions = btree_map(extension_name, extension, 0..=8);
    (named, kept(), kept(), kept(), kept(), kept(), extensions, data).prop_map(
        |(
            (id, source, time, has_subject, has_datacontenttype),
            dataschema,
            traceparent,
            tracestate,
            sig,
            signer,
            extensions,
            data,
        )| Draft {
            id,
            source,
            time,
            has_subject,
            has_datacontenttype,
            dataschema,
            traceparent,
            tracestate,
            sig,
            signer,
            extensions: BTreeMap::from_iter(extensions),
            data,
        },
    )
}

/// An event as a producer may send it.
pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    around(sent())
}

/// An event as it may be recorded.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let recorded = prop_oneof![9 => sent().boxed(), 1 => grant().boxed()];
    (around(recorded), name(), instant()).prop_map(|(draft, producer, accepted_at)| Event { draft, producer, accepted_at })
}
