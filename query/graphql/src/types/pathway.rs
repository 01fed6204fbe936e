//! Pathways: which inferences grew out of which.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_graphql::{Enum, SimpleObject};

use super::super::connection::Listed;
use super::super::entity::{Entity, find_all};
use super::super::reader::Reader;
use super::super::rows::rows;
use super::super::waves::Load;
use super::inference::{CHILDREN, Inference};
use super::model::bounded;
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

const DEPTH_MAX: i32 = 32;
const STEPS_MAX: i32 = 5000;

/// Which way a pathway is followed
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum PathwayDirection {
    /// To the inferences whose output was used
    Ancestors,
    /// To the inferences that used the output
    Descendants,
}

/// An inference of a pathway.
#[derive(Clone, SimpleObject)]
pub struct PathwayStep {
    inference: Inference,
    /// How many steps away it is, from 1
    depth: i32,
    /// The inference one step nearer through which it was reached first
    via: Option<Inference>,
}

/// The inferences that used the output of one, by id.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ChildrenOf(String);

impl Load for ChildrenOf {
    type Value = Vec<Inference>;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Vec<Inference>>, QueryError> {
        let mut query = SqlText::new(format!(
            "SELECT * FROM (SELECT {}, p.item, row_number() OVER (PARTITION BY p.item ORDER BY r.inference_id) AS _rank \
             FROM {CHILDREN} p JOIN effective_inferences r ON r.inference_id = p.inference_id WHERE p.item IN (",
            Inference::COLUMNS
        ));
        query.bind_all(keys.iter().map(|key| text(&key.0)));
        query.push(&format!(")) WHERE _rank <= {STEPS_MAX} ORDER BY item, _rank"));
        let found = reader.ask(query).await?;
        let mut children: HashMap<Self, Vec<Inference>> = HashMap::new();
        for row in rows(&found) {
            children.entry(Self(row.text("item")?)).or_default().push(Inference::read(&reader, row)?);
        }
        Ok(children)
    }
}

/// Follows a pathway level by level. An inference comes once, at the least depth at which it is reached; in a level they come
/// in the order of the level before, and from one inference in the order of their ids.
pub(crate) async fn pathway(
    from: &Inference,
    direction: PathwayDirection,
    depth: i32,
    limit: i32,
) -> Result<Vec<PathwayStep>, QueryError> {
    bounded("depth", depth, DEPTH_MAX)?;
    let limit = bounded("limit", limit, STEPS_MAX)?;
    let mut reached: HashSet<String> = HashSet::from([from.inference_id.clone()]);
    let mut steps: Vec<PathwayStep> = Vec::new();
    let mut level = vec![from.clone()];
    for depth in 1..=depth {
        let mut next = Vec::new();
        for (via, neighbours) in neighbours(&level, direction).await? {
            for inference in neighbours {
                if steps.len() < limit && reached.insert(inference.inference_id.clone()) {
                    next.push(inference.clone());
                    steps.push(PathwayStep { inference, depth, via: Some(via.clone()) });
                }
            }
        }
        if next.is_empty() || steps.len() >= limit {
            break;
        }
        level = next;
    }
    Ok(steps)
}

/// The inferences one step from each of a level.
async fn neighbours(level: &[Inference], direction: PathwayDirection) -> Result<Vec<(Inference, Vec<Inference>)>, QueryError> {
    let of = |inference: &Inference| {
        let inference = inference.clone();
        async move {
            let found = match direction {
                PathwayDirection::Ancestors => {
                    let mut ids = inference.details().await?.parents.clone();
                    ids.sort_unstable();
                    find_all(&inference.reader, &ids).await?
                }
                PathwayDirection::Descendants => {
                    let children = inference.reader.get(ChildrenOf(inference.inference_id.clone())).await?;
                    children.unwrap_or_default()
                }
            };
            Ok::<_, QueryError>((inference, found))
        }
    };
    futures::future::try_join_all(level.iter().map(of)).await
}
