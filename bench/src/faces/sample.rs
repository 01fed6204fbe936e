//! What is looked up: inferences spread evenly over the record.

use serde::Deserialize;

use crate::Outcome;
use crate::input::Input;

/// An inference that was sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// Its id.
    pub inference_id: String,
    /// The model that answered.
    pub model_id: String,
}

/// Inferences of the record.
#[derive(Default)]
pub struct Sample {
    /// In an order that has nothing to do with that of the record.
    pub inferences: Vec<Sent>,
}

#[derive(Deserialize)]
struct Line {
    data: Sent,
}

impl Sample {
    /// Takes `count` inferences of the input, evenly spaced.
    pub fn take(&mut self, input: &Input, count: u32) -> Outcome<()> {
        const TYPE: &[u8] = b"tributary.inference.completed.v1";
        let is_inference = |line: &&Vec<u8>| line.windows(TYPE.len()).any(|part| part == TYPE);
        let lines: Vec<&Vec<u8>> = input.lines.iter().filter(is_inference).collect();
        let step = (lines.len() / count.max(1) as usize).max(1);
        for line in lines.into_iter().step_by(step).take(count as usize) {
            let sent = serde_json::from_slice::<Line>(line)?.data;
            // An insertion at a place that the id decides mixes the rounds.
            let at = sent.inference_id.bytes().fold(7_usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
            self.inferences.insert(at % (self.inferences.len() + 1), sent);
        }
        Ok(())
    }
}
