//! A point of the record: what a question is answered from, and the text that names it.

use std::fmt;
use std::str::FromStr;

use tributary_schemas::cut::Cut;

use crate::error::{Code, QueryError};

/// A cut, and how many epochs are seen as closed from it.
///
/// An epoch can close long after its cut was sealed, so a cut alone does not say which epochs an answer saw. As text:
/// `0:12,1:7@3`, the cut and the last epoch seen, 0 for none; without `@`, every epoch that is closed within the cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Point {
    /// The batches included.
    pub cut: Cut,
    /// The last epoch seen, 0 for none; `None`: every one closed within the cut when it is looked at.
    pub epoch: Option<i64>,
}

impl From<Cut> for Point {
    fn from(cut: Cut) -> Self {
        Self { cut, epoch: None }
    }
}

impl From<&Cut> for Point {
    fn from(cut: &Cut) -> Self {
        cut.clone().into()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Some(epoch) => write!(f, "{}@{epoch}", self.cut),
            None => self.cut.fmt(f),
        }
    }
}

impl FromStr for Point {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |message: String| QueryError::new(Code::BadAsOf, message);
        let (cut, epoch) = match text.rsplit_once('@') {
            Some((cut, epoch)) => (cut, Some(epoch)),
            None => (text, None),
        };
        let cut = cut.parse().map_err(|error: tributary_schemas::cut::CutError| bad(error.to_string()))?;
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|n| *n >= 0 && n.to_string() == digits);
        let epoch = match epoch {
            Some(digits) => {
                let problem = || bad("after @ comes the number of the last epoch seen, 0 for none".to_owned());
                Some(number(digits).ok_or_else(problem)?)
            }
            None => None,
        };
        Ok(Self { cut, epoch })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_point_is_read_back_from_its_text_and_other_text_is_refused() {
        for text in ["", "@0", "0:12,1:7", "0:12,1:7@3", "0:1@0"] {
            assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
        }
        for text in ["x", "0:1@", "0:1@-1", "0:1@03", "0:1@x", "0:1@1@2", "@", "0:1@+1", "1:0,0:1@1"] {
            assert_eq!(text.parse::<Point>().unwrap_err().code, Code::BadAsOf, "{text}");
        }
    }
}
