//! Why an event was not taken: a stable code, the field, and a message that says what is wrong and how to mend it.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::limits::EXCERPT_CHARS_MAX;

macro_rules! codes {
    ($($variant:ident, $text:literal, $place:literal, $cause:literal, $cure:literal;)*) => {
        /// The stable codes of refused events, listed with cause and cure in docs/errors.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $cause] $variant,)* }

        impl Code {
            /// Every code, in the order of docs/errors.md.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The code as answers carry it; it never changes.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Which part of an event it is about.
            pub fn place(self) -> &'static str {
                match self { $(Self::$variant => $place,)* }
            }

            /// What is wrong with the event.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)* }
            }

            /// What a producer does about it.
            pub fn cure(self) -> &'static str {
                match self { $(Self::$variant => $cure,)* }
            }
        }
    };
}

codes! {
    JsonInvalid, "json_invalid", "the whole event",
        "The bytes are not one JSON object in UTF-8: bad syntax, a lone surrogate, bytes after the object, nesting beyond \
         200 levels.",
        "Send what a JSON library writes, one object per event; the message gives the byte.";
    TooLarge, "too_large", "the whole event",
        "The event has more than 262144 bytes of JSON.",
        "Split it, or send less in its extensions.";
    FieldMissing, "field_missing", "an attribute or a field of `data`",
        "A required attribute or field is absent.",
        "Add the field that the answer names.";
    FieldUnknown, "field_unknown", "a field of `data`",
        "The object has a field that its type does not know.",
        "Correct the spelling or leave the field out; what is your own goes into an extension attribute.";
    FieldNull, "field_null", "an attribute or a field of `data`",
        "The value is null.",
        "Leave an optional field out instead of sending null.";
    FieldDuplicate, "field_duplicate", "an attribute or a field of `data`",
        "A JSON object has the same key twice.",
        "Send each key once.";
    FieldType, "field_type", "an attribute or a field of `data`",
        "The value is of another JSON type than the field, for instance a number where a string belongs.",
        "Send the JSON type that the message names; amounts are strings, counts and scores are numbers.";
    ValueInvalid, "value_invalid", "an attribute or a field of `data`",
        "The value breaks the rule of its unit: an address, hash, amount, count, name, score, share, weight, verdict, kind, \
         id or source.",
        "Send a value as the message describes it.";
    ChecksumInvalid, "checksum_invalid", "an address in `data`",
        "The address is in mixed case and its EIP-55 checksum does not hold, so a digit is probably wrong.",
        "Copy the address again, or send it in lower case if it is known to be right.";
    ListLength, "list_length", "a list in `data`",
        "The list has more items than its limit, or none where one is required.",
        "Send as many items as the message allows.";
    ItemDuplicate, "item_duplicate", "`data.entries`",
        "Two entries of an attribution name the same contribution.",
        "Add the weights up and send one entry per contribution.";
    NameReserved, "name_reserved", "`data.model_id` of a registration",
        "A model cannot be called `global`, which is the scope of the policy for all models.",
        "Choose another model id.";
    ParentsMismatch, "parents_mismatch", "`data.parents` of a registration",
        "A base model has parents, or a fine-tune or adapter has none.",
        "Name the models it grew from, or register it as a base model.";
    SplitSum, "split_sum", "`data.split_bps`",
        "The five shares of a policy do not add up to 10000.",
        "Correct the shares; they are basis points.";
    SpecversionUnsupported, "specversion_unsupported", "`specversion`",
        "The event is not of CloudEvents version 1.0.",
        "Send `\"specversion\": \"1.0\"`.";
    TypeUnknown, "type_unknown", "`type`",
        "The type is none that Tributary records.",
        "Send one of the types of docs/events.md, with its version.";
    TypeReserved, "type_reserved", "`type`",
        "Events of this type are written by Tributary itself and taken at no door.",
        "Change grants through the deployment's configuration.";
    SubjectMismatch, "subject_mismatch", "`subject`",
        "The subject differs from the event's key.",
        "Leave the subject out, or send the key.";
    DataContentTypeUnsupported, "datacontenttype_unsupported", "`datacontenttype`",
        "The attribute is not exactly `application/json`; parameters are not taken either.",
        "Leave it out, or send `application/json`.";
    DataBase64Unsupported, "data_base64_unsupported", "`data_base64`",
        "The payload is sent in Base64.",
        "Send it as a JSON object in `data`.";
    ExtensionNameInvalid, "extension_name_invalid", "an extension attribute",
        "The name of an attribute has characters other than a–z and 0–9, or more than 64 of them.",
        "Rename the extension; if it was meant as one of the attributes, correct its spelling.";
    ExtensionsTooMany, "extensions_too_many", "the extension attributes",
        "The event has more than 8 extension attributes besides the named ones.",
        "Leave some out.";
    TimeInvalid, "time_invalid", "`time`",
        "The time is not RFC 3339 with at most six fractional digits, or names a leap second, or lies outside the years \
         0000–9999.",
        "Send a time such as 2026-10-01T00:00:00.000000Z.";
    TimeOutOfWindow, "time_out_of_window", "`time`",
        "At the live door the time lies more than 7 days before or more than 5 minutes after the door's clock.",
        "Set the producer's clock, or send old events with a backfill grant.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An event was not taken; the producer must mend it before sending it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// What kind of mistake it is.
    pub code: Code,
    /// Where: a path such as `data.entries[3].weight`, or empty when it is about the whole event.
    pub field: String,
    /// What is wrong and how to mend it. Repeats at most [`EXCERPT_CHARS_MAX`] characters of what was sent.
    pub message: String,
}

impl Refusal {
    /// A refusal whose message is "`field` problem".
    pub fn at(code: Code, field: impl Into<String>, problem: impl fmt::Display) -> Self {
        let field = field.into();
        let message = if field.is_empty() { format!("the event {problem}") } else { format!("`{field}` {problem}") };
        Self { code, field, message }
    }
}

/// The beginning of a text that came from outside, at most [`EXCERPT_CHARS_MAX`] characters and an ellipsis.
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_snake_case_and_of_its_own() {
        let texts: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for text in texts {
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{text}");
        }
    }

    #[test]
    fn an_excerpt_repeats_64_characters_at_most() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(excerpt(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }

    #[test]
    fn the_page_of_error_codes_lists_every_code_with_place_cause_and_cure() {
        let page = include_str!("../../docs/errors.md");
        let section = page.split("\n## ").find(|section| section.starts_with("Events\n")).unwrap();
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("| `{code}` | {} | {} | {} |", code.place(), code.cause(), code.cure()))
            .collect();
        assert_eq!(rows, expected);
    }
}
