//! The copy of the genesis record beside the blobs: with it `da/` alone says what the journal was born with, before any manifest does.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::Genesis;

use crate::error::DaError;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;

/// Puts the copy if it is absent.
pub(crate) async fn place(store: &Arc<dyn ObjectStore>, genesis: &Genesis, patience: &Patience) -> Result<(), DaError> {
    let name = Path::from(names::GENESIS);
    let there = patience.run(|| read(store, &name)).await?;
    if there.is_some_and(|there| there == genesis.encode()) {
        return Ok(());
    }
    match put_once(store, &name, &genesis.encode(), patience).await? {
        Placed::Ours => Ok(()),
        Placed::Theirs(_) => Err(DaError::corrupt(name, "it is not the genesis record of the journal")),
    }
}

/// The copy; `None` where nothing was published yet.
///
/// # Errors
/// [`DaError::Corrupt`] if it is damaged, [`DaError::Retry`] if the store does not answer.
pub async fn found(store: &Arc<dyn ObjectStore>) -> Result<Option<Genesis>, DaError> {
    let name = Path::from(names::GENESIS);
    let Some(bytes) = read(store, &name).await? else { return Ok(None) };
    Genesis::decode(&bytes).map(Some).map_err(|error| DaError::corrupt(name, error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::fixture::World;

    #[tokio::test]
    async fn the_copy_is_there_before_anything_is_planned_and_a_missing_or_damaged_one_is_found() {
        let world = World::new(3).await;
        let name = Path::from(names::GENESIS);
        world.store.delete(&name).await.unwrap();
        assert_eq!(found(&world.store).await.unwrap(), None);
        assert_eq!(world.findings().await, [], "nothing is published yet");
        world.seal(0, 10).await;
        world.publisher().publish_available().await.unwrap();
        assert_eq!(found(&world.store).await.unwrap().as_ref(), Some(world.journal.genesis()));
        assert_eq!(world.findings().await, []);
        let good = world.journal.genesis().encode();
        for bit in 0..good.len() * 8 {
            let mut flipped = good.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            world.overwrite(&name, flipped.into()).await;
            assert!(found(&world.store).await.is_err(), "bit {bit}");
        }
        assert_eq!(world.findings().await[0].object, names::GENESIS);
        world.seal(0, 10).await;
        let stopped = world.publisher().publish_available().await.unwrap_err();
        assert!(matches!(&stopped, DaError::Corrupt { object, .. } if *object == names::GENESIS), "{stopped}");
        world.store.delete(&name).await.unwrap();
        assert_eq!(world.findings().await[0].object, names::GENESIS, "it is missing");
        world.publisher().publish_available().await.unwrap();
        assert_eq!(world.findings().await, []);
    }
}
