//! What is due at a cut, read with DataFusion: the registry once, then inferences with their attributions, in the order
//! of the ids' bytes, a window at a time.

use std::ops::Range;

use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tributary_query::Session;
use tributary_schemas::cut::Cut;
use tributary_schemas::event::Verdict;
use tributary_schemas::ids::{Epoch, Partition, Seq};
use tributary_schemas::units::{Address, Wei, Weight};

use crate::allocate::{Contribution, Due, Entry, Line, Model, Models, Policies, Policy, Registry, Review, share_fee};
use crate::error::SettlementError;
use crate::tables::{Columns, account, wei};

/// Of what an epoch's due inferences are a function.
#[derive(Clone, Copy, Debug)]
pub struct DueQuery<'a> {
    /// The epoch.
    pub epoch: Epoch,
    /// The cut of the epoch before.
    pub previous: &'a Cut,
    /// Who gets what the protocol earns.
    pub treasury: Address,
    /// How many inferences are looked up at a time.
    pub window: usize,
}

/// Takes inferences with their lines, in the order of the ids' bytes.
pub trait Take: Send {
    /// One settled inference.
    fn take(&mut self, due: &Due<'_>, lines: &[Line<'_>]) -> impl Future<Output = Result<(), SettlementError>> + Send;
}

/// Everything that a fee's split looks up, as of the session's cut.
///
/// # Errors
/// `Retry` if the lake does not answer; `Difference` if a table holds what no event can say.
pub async fn read_registry(session: &Session) -> Result<Registry, SettlementError> {
    let mut models = Vec::new();
    let mut registry = Registry::default();
    let query = "SELECT model_id, owner, parents FROM current_models";
    each(session, query, |columns| {
        let (ids, owners) = (columns.texts("model_id")?, columns.texts("owner")?);
        for (i, parents) in columns.lists("parents")?.into_iter().enumerate() {
            models.push(Model { model_id: ids.value(i).into(), owner: account("models.owner", owners.value(i))?, parents });
        }
        Ok(())
    })
    .await?;
    registry.models = Models::new(models);
    let contributions = &mut registry.contributions;
    each(session, "SELECT contribution_id, contributor FROM current_contributions", |columns| {
        let (ids, contributors) = (columns.texts("contribution_id")?, columns.texts("contributor")?);
        for (id, contributor) in ids.iter().flatten().zip(contributors.iter().flatten()) {
            let contributor = account("contributions.contributor", contributor)?;
            contributions.insert(id.into(), Contribution { contributor });
        }
        Ok(())
    })
    .await?;
    let reviews = &mut registry.reviews;
    each(session, "SELECT contribution_id, validator, verdict FROM current_reviews", |columns| {
        let (ids, validators) = (columns.texts("contribution_id")?, columns.texts("validator")?);
        let verdicts = columns.texts("verdict")?;
        for i in 0..columns.0.num_rows() {
            let validator = account("reviews.validator", validators.value(i))?;
            reviews.insert(ids.value(i).into(), Review { validator, verdict: verdict(verdicts.value(i))? });
        }
        Ok(())
    })
    .await?;
    registry.policies = read_policies(session).await?;
    Ok(registry)
}

fn verdict(text: &str) -> Result<Verdict, SettlementError> {
    let found = [Verdict::Accepted, Verdict::Rejected].into_iter().find(|verdict| verdict.as_str() == text);
    found.ok_or_else(|| SettlementError::difference("table reviews", format!("holds the verdict {text:?}")))
}

async fn read_policies(session: &Session) -> Result<Policies, SettlementError> {
    const COLUMNS: [&str; 6] = ["contributors_bps", "model_bps", "node_bps", "validators_bps", "protocol_bps", "upstream_bps"];
    let mut policies = Policies::default();
    let query = format!("SELECT scope, {} FROM current_policies", COLUMNS.join(", "));
    each(session, &query, |columns| {
        let scopes = columns.texts("scope")?;
        let shares = COLUMNS.iter().map(|name| columns.integers(name)).collect::<Result<Vec<_>, _>>()?;
        for (i, scope) in scopes.iter().flatten().enumerate() {
            let bps: Vec<u16> = shares.iter().filter_map(|share| u16::try_from(share.value(i)).ok()).collect();
            let policy = match bps[..] {
                [contributors, model, node, validators, protocol, upstream] => {
                    Policy::new([contributors, model, node, validators, protocol], upstream)
                }
                _ => None,
            };
            let wrong = || SettlementError::difference("table policies", format!("the policy of {scope:?} is none"));
            policies.set(scope, policy.ok_or_else(wrong)?);
        }
        Ok(())
    })
    .await?;
    Ok(policies)
}

/// Runs a query and hands every batch over.
pub(crate) async fn each(
    session: &Session,
    query: &str,
    mut take: impl FnMut(Columns<'_>) -> Result<(), SettlementError> + Send,
) -> Result<(), SettlementError> {
    let mut stream = session.sql(query).await?;
    while let Some(batch) = stream.next().await {
        take(Columns(&batch?))?;
    }
    Ok(())
}

/// Settles every due inference, in the order of the ids' bytes.
///
/// # Errors
/// `Retry` if the lake does not answer; `Difference` if a table holds what no event can say; what `take` gives.
pub async fn settle_due(
    session: &Session,
    registry: &Registry,
    query: DueQuery<'_>,
    take: &mut impl Take,
) -> Result<(), SettlementError> {
    let mut inferences = session.sql(&inferences_sql(query.epoch)).await?;
    let mut window = Vec::new();
    while let Some(batch) = inferences.next().await {
        read_inferences(&batch?, query.previous, &mut window)?;
        if window.len() >= query.window {
            settle_window(session, registry, query, &window, take).await?;
            window.clear();
        }
    }
    settle_window(session, registry, query, &window, take).await
}

fn unsettled(epoch: Epoch, table: &str, columns: &str) -> String {
    format!(
        "SELECT {columns} FROM {table} u \
         LEFT ANTI JOIN (SELECT inference_id FROM settled WHERE epoch < {epoch}) s ON u.inference_id = s.inference_id"
    )
}

fn inferences_sql(epoch: Epoch) -> String {
    let columns = "u.inference_id, u.model_id, u.node, u.fee, u._partition, u._seq";
    format!("{} ORDER BY inference_id", unsettled(epoch, "effective_inferences", columns))
}

fn entries_sql(epoch: Epoch, first: &str, last: &str) -> String {
    let quoted = |id: &str| format!("'{}'", id.replace('\'', "''"));
    let entries = unsettled(epoch, "effective_attributions", "u.inference_id, u.contribution_id, u.weight");
    let (first, last) = (quoted(first), quoted(last));
    format!("{entries} WHERE u.inference_id >= {first} AND u.inference_id <= {last} ORDER BY inference_id, contribution_id")
}

/// An inference that no earlier epoch settled.
#[derive(Debug)]
struct Open {
    inference_id: Box<str>,
    model_id: Box<str>,
    node: Address,
    fee: Wei,
    /// First covered by the cut of an earlier epoch: then it is due with what is there.
    waited: bool,
}

fn read_inferences(batch: &RecordBatch, previous: &Cut, window: &mut Vec<Open>) -> Result<(), SettlementError> {
    let columns = Columns(batch);
    let (ids, models, nodes) = (columns.texts("inference_id")?, columns.texts("model_id")?, columns.texts("node")?);
    let (fees, partitions, seqs) = (columns.amounts("fee")?, columns.integers("_partition")?, columns.integers("_seq")?);
    for i in 0..batch.num_rows() {
        let inference_id: Box<str> = ids.value(i).into();
        let wrong = |what: &str| SettlementError::difference(format!("table inferences, {inference_id:?}"), what);
        let partition = u32::try_from(partitions.value(i)).ok().and_then(Partition::new);
        let seq = u64::try_from(seqs.value(i)).ok().and_then(Seq::new);
        let (Some(partition), Some(seq)) = (partition, seq) else { return Err(wrong("it lies in no batch")) };
        let fee = Wei::new(wei("inferences.fee", fees.value(i))?).ok_or_else(|| wrong("its fee is not below 2^96 wei"))?;
        let node = account("inferences.node", nodes.value(i))?;
        let waited = previous.covers(partition, seq);
        window.push(Open { inference_id, model_id: models.value(i).into(), node, fee, waited });
    }
    Ok(())
}

async fn settle_window(
    session: &Session,
    registry: &Registry,
    query: DueQuery<'_>,
    window: &[Open],
    take: &mut impl Take,
) -> Result<(), SettlementError> {
    let (Some(first), Some(last)) = (window.first(), window.last()) else { return Ok(()) };
    if !window.windows(2).all(|pair| pair[0].inference_id < pair[1].inference_id) {
        return Err(SettlementError::Internal("inferences did not come in the order of their ids, each once".to_owned()));
    }
    let mut cursor = EntryCursor::new(session.sql(&entries_sql(query.epoch, &first.inference_id, &last.inference_id)).await?);
    let mut owned = OwnedEntries::default();
    for open in window {
        cursor.read(&open.inference_id, &mut owned).await?;
        let entries = owned.entries();
        if !entries.windows(2).all(|pair| pair[0].contribution_id < pair[1].contribution_id) {
            let what = "its attribution names a contribution twice";
            return Err(SettlementError::difference(format!("table attributions, {:?}", open.inference_id), what));
        }
        let attributed = !entries.is_empty();
        let complete = attributed && registry.knows(&open.model_id, entries.iter().map(|entry| entry.contribution_id));
        if !complete && !open.waited {
            continue;
        }
        let due = Due {
            inference_id: &open.inference_id,
            model_id: &open.model_id,
            node: open.node,
            fee: open.fee,
            entries: attributed.then_some(entries.as_slice()),
        };
        take.take(&due, &share_fee(registry, query.treasury, &due)?).await?;
    }
    Ok(())
}

/// The entries of one inference, kept from one inference to the next so that memory is asked for once.
#[derive(Debug, Default)]
struct OwnedEntries {
    text: String,
    parts: Vec<(Range<usize>, Weight)>,
}

impl OwnedEntries {
    fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
    }

    fn push(&mut self, contribution_id: &str, weight: Weight) {
        let start = self.text.len();
        self.text.push_str(contribution_id);
        self.parts.push((start..self.text.len(), weight));
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let entry =
            |(range, weight): &(Range<usize>, Weight)| Entry { contribution_id: &self.text[range.clone()], weight: *weight };
        self.parts.iter().map(entry).collect()
    }
}

/// Walks the sorted entries beside the sorted inferences.
struct EntryCursor {
    stream: SendableRecordBatchStream,
    batch: Option<EntryBatch>,
    row: usize,
}

struct EntryBatch {
    inference_ids: arrow::array::StringArray,
    contribution_ids: arrow::array::StringArray,
    weights: arrow::array::Int64Array,
}

impl EntryCursor {
    fn new(stream: SendableRecordBatchStream) -> Self {
        Self { stream, batch: None, row: 0 }
    }

    /// The entries of this inference, which must not come before one read earlier. Those of inferences in between, which
    /// are settled already, are passed over.
    async fn read(&mut self, inference_id: &str, entries: &mut OwnedEntries) -> Result<(), SettlementError> {
        entries.clear();
        while self.fill().await? {
            let Some(batch) = &self.batch else { break };
            while self.row < batch.weights.len() {
                match batch.inference_ids.value(self.row).cmp(inference_id) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        let weight = u64::try_from(batch.weights.value(self.row)).ok().and_then(Weight::new);
                        let wrong = || {
                            SettlementError::difference(
                                format!("table attributions, {inference_id:?}"),
                                "a weight is out of range",
                            )
                        };
                        entries.push(batch.contribution_ids.value(self.row), weight.ok_or_else(wrong)?);
                    }
                    std::cmp::Ordering::Greater => return Ok(()),
                }
                self.row += 1;
            }
        }
        Ok(())
    }

    /// Makes sure that there is a row to look at; `false` at the end.
    async fn fill(&mut self) -> Result<bool, SettlementError> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.weights.len()) {
            let Some(next) = self.stream.next().await else { return Ok(false) };
            let next = next?;
            let columns = Columns(&next);
            self.row = 0;
            self.batch = Some(EntryBatch {
                inference_ids: columns.texts("inference_id")?,
                contribution_ids: columns.texts("contribution_id")?,
                weights: columns.integers("weight")?,
            });
        }
        Ok(true)
    }
}
