//! Writing as a host does: with ids and numbers of its own.

use crate::store::*;

/// The ids that a batch was given, in the order of its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub messages: Vec<MessageId>,
    pub replies: Vec<ReplyId>,
    pub dedupe_keys: Vec<DedupeId>,
}

/// Gives ids to what a batch adds.
pub fn with_ids(ids: &Ids, mut batch: Batch) -> (Batch, Receipt) {
    let mut receipt = Receipt::default();
    for change in &mut batch.changes {
        match change {
            Change::AddMessage(new) => {
                new.id = ids.message();
                receipt.messages.push(new.id);
            }
            Change::AddReply(new) => {
                new.id = ids.reply();
                receipt.replies.push(new.id);
            }
            Change::Dedupe { id, .. } => {
                *id = ids.dedupe_key();
                receipt.dedupe_keys.push(*id);
            }
            _ => {}
        }
    }
    (batch, receipt)
}

/// Commits a group to an engine.
pub fn commit(store: &mut dyn Store, batches: &[Batch]) -> Result<Vec<Receipt>, StoreError> {
    let ids = Ids::after(store.load(0)?.last_ids);
    let mut number = store.last_number()?;
    let number = |batch: &Batch| {
        number += 1;
        let (batch, receipt) = with_ids(&ids, batch.clone());
        (NumberedBatch { number, batch }, receipt)
    };
    let (entries, receipts): (Vec<_>, Vec<_>) = batches.iter().map(number).unzip();
    store.commit(&entries)?;
    Ok(receipts)
}

/// Has a batch kept on which nothing depends, and waits for it.
pub fn keep(handle: &StoreHandle, batch: Batch) -> Result<Receipt, StateError> {
    let (batch, receipt) = with_ids(handle.ids(), batch);
    handle.try_commit_and_wait(batch).map(|()| receipt)
}
