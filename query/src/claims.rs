//! What an account may claim, and its proof.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Decimal128Type;
use futures::StreamExt;
use serde::{Serialize, Serializer};
use tokio::sync::Mutex;
use tributary_journal::merkle::{Tree, reward_leaf};
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::{Address, Hash, parse_hash};

use crate::cache::Cache;
use crate::engine::Engine;
use crate::error::{Code, QueryError};
use crate::session::Session;

/// What an account has earned up to an epoch, with the proof that the epoch's root says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The epoch whose root the proof leads to.
    #[serde(serialize_with = "as_number")]
    pub epoch: Epoch,
    /// The account, in lower case.
    #[serde(serialize_with = "as_text")]
    pub account: Address,
    /// Everything earned in epochs up to this one, in wei; a decimal string in JSON.
    #[serde(serialize_with = "as_text")]
    pub cumulative: u128,
    /// The siblings from the leaf to the root.
    #[serde(serialize_with = "as_hashes")]
    pub proof: Vec<Hash>,
    /// The epoch's root.
    #[serde(serialize_with = "as_hash")]
    pub root: Hash,
}

fn as_number<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(epoch.get())
}

fn as_text<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_hash<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{hash:#x}"))
}

fn as_hashes<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hashes.iter().map(|hash| format!("{hash:#x}")))
}

/// The claim of an account at a closed epoch, the latest if none is named.
///
/// # Errors
/// `epoch_not_found`, `account_not_found`; `corrupt` when the epoch's table does not give its root; `store_unavailable`.
pub async fn claim(engine: &Arc<Engine>, account: Address, epoch: Option<Epoch>) -> Result<Claim, QueryError> {
    let session = engine.session_unlimited(&engine.indexed().await?).await?;
    let latest = session.latest_epoch().await?;
    let epoch = match (epoch.or(latest), latest) {
        (Some(epoch), Some(latest)) if epoch <= latest => epoch,
        (Some(epoch), _) => return Err(QueryError::new(Code::EpochNotFound, format!("epoch {epoch} is not closed"))),
        (None, _) => return Err(QueryError::new(Code::EpochNotFound, "no epoch is closed yet")),
    };
    claim_at(&session, account, epoch).await
}

/// The claim of an account at an epoch that the session sees.
///
/// # Errors
/// `account_not_found`; `corrupt` when the epoch's table does not give its root; `store_unavailable`.
pub async fn claim_at(session: &Session, account: Address, epoch: Epoch) -> Result<Claim, QueryError> {
    let engine = session.engine();
    let tree = engine.trees.of(engine, session, epoch).await?;
    let missing = || QueryError::new(Code::AccountNotFound, format!("{account} has earned nothing up to epoch {epoch}"));
    let place = tree.accounts.binary_search_by(|(address, _)| address.cmp(&account)).map_err(|_| missing())?;
    Ok(Claim { epoch, account, cumulative: tree.accounts[place].1, proof: tree.tree.proof(place), root: tree.tree.root() })
}

/// The accounts of an epoch, ascending, and the tree over them in this order.
#[derive(Debug)]
pub(crate) struct EpochTree {
    accounts: Vec<(Address, u128)>,
    tree: Tree,
}

/// The trees of closed epochs; they never change, so those used last are kept.
#[derive(Debug)]
pub(crate) struct Trees {
    kept: Cache<Epoch, Arc<EpochTree>>,
    /// Held while a tree is built: one at a time, so that memory stays bounded and none is built twice.
    building: Mutex<()>,
}

impl Trees {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { kept: Cache::new(bytes_max), building: Mutex::new(()) }
    }

    async fn of(&self, engine: &Engine, session: &Session, epoch: Epoch) -> Result<Arc<EpochTree>, QueryError> {
        if let Some(kept) = self.kept.get(&epoch) {
            return Ok(kept);
        }
        let _one = self.building.lock().await;
        if let Some(kept) = self.kept.get(&epoch) {
            return Ok(kept);
        }
        let root = root_of(session, epoch).await?;
        let accounts = accounts_of(session, epoch).await?;
        let build = engine.threads()?.spawn_blocking(move || EpochTree::new(accounts));
        let tree = Arc::new(build.await.map_err(|error| QueryError::new(Code::Internal, error.to_string()))?);
        if tree.tree.root() != root {
            let message =
                format!("epoch {epoch}: table cumulative gives the root {:#x}, table epochs says {root:#x}", tree.tree.root());
            return Err(QueryError::new(Code::Corrupt, message));
        }
        engine.metrics().trees_built.inc();
        self.kept.put(epoch, Arc::clone(&tree), tree.bytes());
        Ok(tree)
    }
}

impl EpochTree {
    fn new(mut accounts: Vec<(Address, u128)>) -> Self {
        accounts.sort_unstable_by_key(|(address, _)| *address);
        let tree = Tree::new(accounts.iter().map(|(address, cumulative)| reward_leaf(address, *cumulative)).collect());
        Self { accounts, tree }
    }

    /// About how much memory it takes: per account a row, two nodes and a place.
    fn bytes(&self) -> usize {
        self.accounts.len() * (size_of::<(Address, u128)>() + 2 * size_of::<Hash>() + size_of::<usize>())
    }
}

fn corrupt(epoch: Epoch, table: &str) -> QueryError {
    QueryError::new(Code::Corrupt, format!("epoch {epoch}: a row of table {table} makes no sense"))
}

async fn root_of(session: &Session, epoch: Epoch) -> Result<Hash, QueryError> {
    let rows = session.collect(&format!("SELECT root FROM epochs WHERE epoch = {epoch}")).await?;
    let roots: Vec<Option<&str>> = rows.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter()).collect();
    match roots.as_slice() {
        [Some(root)] => parse_hash(root).map_err(|_| corrupt(epoch, "epochs")),
        _ => Err(corrupt(epoch, "epochs")),
    }
}

async fn accounts_of(session: &Session, epoch: Epoch) -> Result<Vec<(Address, u128)>, QueryError> {
    let mut rows = session.sql(&format!("SELECT account, cumulative FROM cumulative WHERE epoch = {epoch}")).await?;
    let mut accounts = Vec::new();
    while let Some(batch) = rows.next().await {
        read_accounts(&batch?, &mut accounts).ok_or_else(|| corrupt(epoch, "cumulative"))?;
    }
    Ok(accounts)
}

/// `None` if a row is no account with a positive amount.
fn read_accounts(rows: &RecordBatch, accounts: &mut Vec<(Address, u128)>) -> Option<()> {
    let amounts = rows.column(1).as_primitive::<Decimal128Type>();
    for (account, amount) in rows.column(0).as_string::<i32>().iter().zip(amounts) {
        let amount = u128::try_from(amount?).ok().filter(|amount| *amount > 0)?;
        accounts.push((Address::parse_any_case(account?).ok()?, amount));
    }
    Some(())
}
