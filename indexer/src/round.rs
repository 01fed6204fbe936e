//! One round: sealed batches beyond the indexed cut, decoded and encoded side by side, then committed table by table.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tributary_journal::{Journal, JournalError, SealedBatch};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

use crate::commit::{Expect, TxnStep};
use crate::data_file::{DataFile, Encoder};
use crate::error::{Error, Result};
use crate::lake::{Appended, Lake};
use crate::rows::RowsBuilder;
use crate::settings::{LakeSettings, Settings};
use crate::state::Snapshot;

/// Raw event bytes that are collected before their rows go to the encoders together.
const ROWS_TOGETHER: u32 = 1 << 20;

/// The application id under which a partition's progress is kept in each table.
pub(crate) fn app_id(partition: Partition) -> String {
    format!("p-{partition}")
}

/// The cut that the transactions of a table stand at.
pub(crate) fn cut_of(snapshot: &Snapshot) -> Cut {
    let partition = |app: &str| app.strip_prefix("p-")?.parse().ok().and_then(Partition::new);
    let seq = |version: i64| u64::try_from(version).ok().and_then(Seq::new);
    snapshot.txns.iter().filter_map(|(app, version)| Some((partition(app)?, seq(*version)?))).collect()
}

/// How far each table is. `events` is the last table of every round, so no table is behind it; one may be ahead after a crash.
#[derive(Debug)]
pub(crate) struct Marks(BTreeMap<Table, Cut>);

impl Marks {
    pub(crate) async fn read(lake: &Lake) -> Result<Self> {
        let snapshots = Table::EVENT_TABLES.iter().map(|table| lake.snapshot(*table));
        let snapshots = futures::future::try_join_all(snapshots).await?;
        Ok(Self(Table::EVENT_TABLES.iter().zip(snapshots).map(|(table, snapshot)| (*table, cut_of(&snapshot))).collect()))
    }

    pub(crate) fn of(&self, table: Table) -> &Cut {
        self.0.get(&table).expect("every table of events was read")
    }

    /// Whether the table still needs the rows of this batch.
    fn wants(&self, table: Table, partition: Partition, seq: Seq) -> bool {
        !self.of(table).covers(partition, seq)
    }

    /// The transactions that bring a table from here to the last batches of a round. Those it already passed are left out.
    fn steps(&self, table: Table, reached: &Cut) -> Vec<TxnStep> {
        let at = self.of(table);
        let ahead = reached.iter().filter(|(partition, seq)| !at.covers(*partition, *seq));
        ahead
            .map(|(partition, seq)| TxnStep {
                app: app_id(partition),
                to: seq.as_i64(),
                expect: Expect::At(at.get(partition).map(Seq::as_i64)),
            })
            .collect()
    }
}

/// What a round did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) batches: u64,
    pub(crate) events: u64,
    /// Whether every batch of the round is in every table now; if not, another indexer was at work.
    pub(crate) committed: bool,
    /// How far it read each partition.
    pub(crate) reached: Cut,
    /// The partitions whose next batch is damaged. The round went on without them.
    pub(crate) damaged: Vec<(Partition, JournalError)>,
}

/// The inputs of a round.
pub(crate) struct Round<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) lake: &'a Lake,
    pub(crate) settings: &'a Settings,
    pub(crate) marks: Arc<Marks>,
    /// How far the journal is.
    pub(crate) heads: Cut,
    /// Counts rounds, so that each begins with another partition.
    pub(crate) number: usize,
}

impl Round<'_> {
    /// Indexes up to the round's limits. Rows of a table and the transactions of their batches are one commit; `events`
    /// comes last, so its transactions are the cut that all tables have.
    pub(crate) async fn run(self) -> Result<Done> {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return Ok(Done { committed: true, ..Done::default() });
        }
        let (files, read) = self.encode(wanted).await?;
        let Read { reached, batches, events, damaged } = read;
        // Without a batch there is nothing to commit, not even a transaction.
        let committed = reached.is_empty() || self.commit(files, &reached).await?;
        Ok(Done { batches, events, committed, reached, damaged })
    }

    /// The batches beyond the indexed cut, partition by partition, bounded in number.
    fn wanted(&self) -> Vec<(Partition, Vec<Seq>)> {
        let indexed = self.marks.of(Table::Events);
        let mut behind: Vec<(Partition, Seq, Seq)> = self
            .heads
            .iter()
            .map(|(partition, head)| (partition, indexed.get(partition).map_or(Seq::FIRST, Seq::next), head))
            .filter(|(_, first, head)| first <= head)
            .collect();
        if behind.is_empty() {
            return Vec::new();
        }
        let first = self.number % behind.len();
        behind.rotate_left(first);
        let share = (self.settings.round_batches_max / behind.len()).max(1);
        let seqs = |first: Seq, head: Seq| (first.get()..=head.get()).filter_map(Seq::new).take(share).collect();
        behind.truncate(self.settings.round_batches_max);
        behind.into_iter().map(|(partition, first, head)| (partition, seqs(first, head))).collect()
    }

    async fn encode(&self, wanted: Vec<(Partition, Vec<Seq>)>) -> Result<(BTreeMap<Table, Vec<DataFile>>, Read)> {
        let batches: usize = wanted.iter().map(|(_, seqs)| seqs.len()).sum();
        let encoders = if batches < self.settings.parallel_batches_min { 1 } else { self.settings.encoders_max.max(1) };
        let (sender, receiver) = mpsc::channel(self.settings.batches_in_flight_max);
        let receiver = Arc::new(Mutex::new(receiver));
        let tasks: Vec<_> = (0..encoders)
            .map(|_| {
                let (receiver, marks) = (Arc::clone(&receiver), Arc::clone(&self.marks));
                let settings = self.lake.settings.clone();
                tokio::task::spawn_blocking(move || encode_received(&receiver, &marks, &settings))
            })
            .collect();
        drop(receiver);
        let read = self.read_into(wanted, sender).await;
        let mut files: BTreeMap<Table, Vec<DataFile>> = BTreeMap::new();
        for task in tasks {
            for (table, file) in task.await.map_err(|_| Error::Closed)?? {
                files.entry(table).or_default().push(file);
            }
        }
        Ok((files, read?))
    }

    /// Reads batches ahead of the encoders until each partition has used up its share of the round's bytes.
    async fn read_into(&self, wanted: Vec<(Partition, Vec<Seq>)>, sender: mpsc::Sender<SealedBatch>) -> Result<Read> {
        let share = (self.settings.round_bytes_max / wanted.len()) as u64;
        let used: Mutex<BTreeMap<Partition, u64>> = Mutex::default();
        let mut batches = std::pin::pin!(self.batches(wanted, &used, share));
        let mut read = Read::default();
        while let Some((partition, batch)) = batches.next().await {
            if read.damaged.iter().any(|(damaged, _)| *damaged == partition) {
                // It was read ahead. The cut of a partition ends before its damage: nothing behind it may be indexed.
                continue;
            }
            let batch = match batch {
                Err(error) if error.is_corrupt() => {
                    used.lock().insert(partition, u64::MAX);
                    read.damaged.push((partition, error));
                    continue;
                }
                batch => batch?,
            };
            let header = &batch.header;
            *used.lock().entry(header.partition).or_default() += u64::from(header.raw_bytes).max(1);
            read.batches += 1;
            read.events += u64::from(header.events);
            read.reached.set(header.partition, header.seq);
            if sender.send(batch).await.is_err() {
                // Every encoder has ended, which only an error makes them do before the channel closes.
                break;
            }
        }
        Ok(read)
    }

    fn batches<'s>(
        &'s self,
        wanted: Vec<(Partition, Vec<Seq>)>,
        used: &'s Mutex<BTreeMap<Partition, u64>>,
        share: u64,
    ) -> impl Stream<Item = (Partition, Result<SealedBatch, JournalError>)> + 's {
        let each = wanted.into_iter().flat_map(|(partition, seqs)| seqs.into_iter().map(move |seq| (partition, seq)));
        // Whether a partition goes on is decided in the order of its batches, and it never takes up again: no gap can arise.
        let open = each.filter(move |(partition, _)| used.lock().get(partition).copied().unwrap_or(0) <= share);
        futures::stream::iter(open)
            .map(move |(partition, seq)| async move { (partition, self.journal.read(partition, seq).await) })
            .buffered(self.settings.batches_in_flight_max)
    }

    async fn commit(&self, mut files: BTreeMap<Table, Vec<DataFile>>, reached: &Cut) -> Result<bool> {
        let events = files.remove(&Table::Events).unwrap_or_default();
        let others = files.iter().map(|(table, files)| {
            let steps = self.marks.steps(*table, reached);
            async move {
                self.lake.upload(*table, files).await?;
                self.lake.append_uploaded(*table, files, steps).await
            }
        });
        // Every commit under way is seen to its end, whatever becomes of the others.
        let (others, uploaded) = futures::join!(futures::future::join_all(others), self.lake.upload(Table::Events, &events));
        uploaded?;
        let all_there = others
            .into_iter()
            .map(|appended| Ok(matches!(appended?, Appended::Committed { .. })))
            .collect::<Result<Vec<bool>>>()?
            .into_iter()
            .all(|committed| committed);
        if !all_there {
            self.lake.take_back(Table::Events, &events).await;
            return Ok(false);
        }
        let steps = self.marks.steps(Table::Events, reached);
        Ok(matches!(self.lake.append_uploaded(Table::Events, &events, steps).await?, Appended::Committed { .. }))
    }
}

/// What was read for a round.
#[derive(Debug, Default)]
struct Read {
    reached: Cut,
    batches: u64,
    events: u64,
    damaged: Vec<(Partition, JournalError)>,
}

/// Encodes batches until there are no more: one file for each table with rows.
fn encode_received(
    receiver: &Mutex<mpsc::Receiver<SealedBatch>>,
    marks: &Marks,
    settings: &LakeSettings,
) -> Result<Vec<(Table, DataFile)>> {
    let mut encoders: BTreeMap<Table, Encoder> = BTreeMap::new();
    let mut rows = RowsBuilder::new();
    let mut pending = 0;
    loop {
        let received = receiver.lock().blocking_recv();
        if let Some(batch) = &received {
            let (partition, seq) = (batch.header.partition, batch.header.seq);
            rows.add(batch, |table| marks.wants(table, partition, seq))?;
            pending += batch.header.raw_bytes;
        }
        if received.is_none() || pending >= ROWS_TOGETHER {
            pending = 0;
            for (table, rows) in rows.finish()? {
                encoder_of(&mut encoders, table, settings)?.write(&rows)?;
            }
        }
        if received.is_none() {
            break;
        }
    }
    let mut files = Vec::new();
    for (table, encoder) in encoders {
        files.extend(encoder.finish()?.map(|file| (table, file)));
    }
    Ok(files)
}

fn encoder_of<'a>(encoders: &'a mut BTreeMap<Table, Encoder>, table: Table, settings: &LakeSettings) -> Result<&'a mut Encoder> {
    use std::collections::btree_map::Entry;
    match encoders.entry(table) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(Encoder::new(table, settings)?)),
    }
}
