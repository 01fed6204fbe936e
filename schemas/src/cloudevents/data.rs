//! Reading `data`: which fields each type has, which it may leave out.

use super::fields::{Field, Path, Reader, refuse};
use crate::event::{
    AgentActed, AttributionEntry, AttributionTraced, ContributionReviewed, ContributionSubmitted, DatanetRegistered, EventData,
    EventType, FeedbackRecorded, InferenceCompleted, ModelRegistered, ModelUpdated, PolicySet, SplitBps,
};
use crate::refusal::{Code, Refusal};

/// Reads the payload of an event of this type.
pub(super) fn read(event_type: EventType, reader: &mut Reader<'_>, at: &Path<'_>) -> Result<EventData, Refusal> {
    Ok(match event_type {
        EventType::DatanetRegistered => EventData::DatanetRegistered(Field::read(reader, at)?),
        EventType::ContributionSubmitted => EventData::ContributionSubmitted(Field::read(reader, at)?),
        EventType::ContributionReviewed => EventData::ContributionReviewed(Field::read(reader, at)?),
        EventType::ModelRegistered => EventData::ModelRegistered(Field::read(reader, at)?),
        EventType::ModelUpdated => EventData::ModelUpdated(Field::read(reader, at)?),
        EventType::PolicySet => EventData::PolicySet(Field::read(reader, at)?),
        EventType::InferenceCompleted => EventData::InferenceCompleted(Field::read(reader, at)?),
        EventType::AttributionTraced => EventData::AttributionTraced(Field::read(reader, at)?),
        EventType::FeedbackRecorded => EventData::FeedbackRecorded(Field::read(reader, at)?),
        EventType::AgentActed => EventData::AgentActed(Field::read(reader, at)?),
        EventType::GrantSet => return Err(reserved_type()),
    })
}

/// The refusal of an event that only Tributary writes.
pub(super) fn reserved_type() -> Refusal {
    let problem = "is written by Tributary itself when a grant changes, and taken at no door: change the configuration instead";
    Refusal::at(Code::TypeReserved, "type", problem)
}

/// A field that was already read must not come again.
fn once<T>(slot: &Option<T>, at: &Path<'_>) -> Result<(), Refusal> {
    match slot {
        None => Ok(()),
        Some(_) => Err(refuse(Code::FieldDuplicate, at, "is given twice: send each key once")),
    }
}

fn required<T>(slot: Option<T>, at: &Path<'_>) -> Result<T, Refusal> {
    slot.ok_or_else(|| refuse(Code::FieldMissing, at, "is missing: add it"))
}

/// Reads an object with these fields: those of the first list must be there, those of the second may.
macro_rules! object {
    ($kind:ident { $($must:ident),* } may have { $($may:ident),* }) => {
        impl Field for $kind {
            fn read(reader: &mut Reader<'_>, at: &Path<'_>) -> Result<Self, Refusal> {
                #[allow(non_camel_case_types)]
                enum Known { $($must,)* $($may,)* }
                $(let mut $must = None;)*
                $(let mut $may = None;)*
                let mut keys = reader.open(at)?;
                while let Some(key) = reader.key(&mut keys, at)? {
                    let known = match key {
                        $(stringify!($must) => Known::$must,)*
                        $(stringify!($may) => Known::$may,)*
                        other => {
                            let problem = concat!(
                                "is no field of this object; it has: ",
                                $(stringify!($must), " ",)*
                                $(stringify!($may), "? ",)*
                            );
                            return Err(refuse(Code::FieldUnknown, &at.field(other), problem.trim_end()));
                        }
                    };
                    match known {
                        $(Known::$must => {
                            let at = at.field(stringify!($must));
                            once(&$must, &at)?;
                            $must = Some(Field::read(reader, &at)?);
                        })*
                        $(Known::$may => {
                            let at = at.field(stringify!($may));
                            once(&$may, &at)?;
                            $may = Some(Field::read(reader, &at)?);
                        })*
                    }
                }
                Ok(Self { $($must: required($must, &at.field(stringify!($must)))?,)* $($may,)* })
            }
        }
    };
}

object!(DatanetRegistered { datanet_id, owner, name } may have { license });
object!(ContributionSubmitted { contribution_id, datanet_id, contributor, content_hash, bytes } may have { tokens });
object!(ContributionReviewed { contribution_id, validator, verdict } may have { score });
object!(ModelRegistered { model_id, kind, owner, parents, datanets } may have { weights_hash });
object!(ModelUpdated { model_id, version, weights_hash } may have { method, datanets, steps, previous_version });
object!(SplitBps { contributors, model, node, validators, protocol } may have {});
object!(PolicySet { scope, split_bps, upstream_bps } may have {});
object!(InferenceCompleted {
    inference_id, model_id, node, requester, input_hash, output_hash, input_tokens, output_tokens, latency_us, fee
} may have { agent_id, parents });
object!(AttributionEntry { contribution_id, weight } may have {});
object!(AttributionTraced { inference_id, method, entries } may have {});
object!(FeedbackRecorded { inference_id, actor, score } may have { label });
object!(AgentActed { agent_id, action, inferences } may have { chain_id, tx_hash, counterparty, value });
