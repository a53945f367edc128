//! The memory of guests: what all running callbacks may have together, and what one instance may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmi::ResourceLimiter;
use wasmi_core::{LimiterError, TableError};

use super::context::MAX_RESULT_BYTES;

/// A bounded sum of memory that callbacks reserve and release. Cloning shares it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<BudgetInner>);

#[derive(Debug)]
struct BudgetInner {
    limit: usize,
    /// The sum of all reservations: one that is made or grows adds its bytes, where the sum stays within `limit`, and takes
    /// them away when it shrinks or is dropped. So it is 0 when nothing runs.
    used: AtomicUsize,
    /// The budget that this one is a part of: what is used here is used there too.
    whole: Option<MemoryBudget>,
}

impl MemoryBudget {
    /// A budget of `limit` bytes over all callbacks that run at the same time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(BudgetInner { limit, used: AtomicUsize::new(0), whole: None }))
    }

    /// A budget of at most `limit` bytes of this one, which others use too.
    #[must_use]
    pub fn part(&self, limit: usize) -> Self {
        Self(Arc::new(BudgetInner { limit, used: AtomicUsize::new(0), whole: Some(self.clone()) }))
    }

    /// A budget that never runs out; each callback still has its own limit.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Bytes that may be used at once.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes in use now.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` out, or nothing when there is no room: the callback then has to wait.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<MemoryReservation> {
        let mut reservation = MemoryReservation { budget: self.clone(), bytes: 0 };
        reservation.grow_to(bytes).then_some(reservation)
    }

    /// False, and nothing changes, when there is no room here or in the whole.
    fn take(&self, more: usize) -> bool {
        // Only a counter: it guards no other memory, so relaxed is enough.
        let taken = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|sum| *sum <= self.0.limit)
        });
        if taken.is_err() {
            return false;
        }
        let is_in_whole = self.0.whole.as_ref().is_none_or(|whole| whole.take(more));
        if !is_in_whole {
            self.0.used.fetch_sub(more, Ordering::Relaxed);
        }
        is_in_whole
    }

    fn release(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.release(bytes);
        }
    }
}

/// A part of a [`MemoryBudget`], released when it is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl MemoryReservation {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes this hold at least `bytes` in all. False, and nothing changes, when the budget has no room.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return true };
        let is_taken = self.budget.take(more);
        if is_taken {
            self.bytes = bytes;
        }
        is_taken
    }

    /// Makes this hold at most `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.release(less);
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Why a growth of linear memory or of a table was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GrowthRefusal {
    /// The callback's own limit.
    #[error("it needs {wanted} bytes of memory and may have {limit}")]
    OverLimit { wanted: usize, limit: usize },
    /// The limit of all callbacks together.
    #[error("there is no room for its {wanted} bytes of memory: all callbacks together may have {budget}")]
    OverBudget { wanted: usize, budget: usize },
    /// The limit of all tables of an instance.
    #[error("it needs {wanted} table elements and may have {limit}")]
    Table { wanted: usize, limit: usize },
    /// The limit of what a callback returns.
    #[error("it returns {wanted} bytes or more and may return {limit}")]
    Result { wanted: usize, limit: usize },
}

/// Bytes that one element of a table takes.
pub(super) const BYTES_PER_TABLE_ELEMENT: usize = 8;

/// What is counted beside linear memory, in pages: what a small guest has there is not worth a page.
pub(super) fn whole_pages(bytes: usize) -> usize {
    const PAGE: usize = 64 * 1024;
    bytes / PAGE * PAGE
}

/// Tells wasmi whether an instance may have more, and counts what it has into the memory budget.
#[derive(Debug)]
pub(super) struct InstanceLimiter {
    memory_limit: usize,
    table_limit: usize,
    reservation: MemoryReservation,
    /// What the reservation had at the start.
    given: usize,
    held: HeldMemory,
    /// What was held before a table began to grow; wasmi says only when that fails.
    before_growth: HeldMemory,
    peak: usize,
    refusal: Option<GrowthRefusal>,
}

/// What an instance has of the host.
#[derive(Clone, Copy, Debug, Default)]
struct HeldMemory {
    /// Linear memory.
    memory: usize,
    /// Elements of all tables.
    table_elements: usize,
    /// Functions, globals, segments.
    beside: usize,
    /// What the host has copied out of the guest and still keeps.
    copied: usize,
}

impl HeldMemory {
    fn bytes(self) -> usize {
        let tables = self.table_elements.saturating_mul(BYTES_PER_TABLE_ELEMENT);
        whole_pages(self.beside.saturating_add(tables))
            .saturating_add(whole_pages(self.copied))
            .saturating_add(self.memory)
    }
}

impl InstanceLimiter {
    pub(super) fn new(
        memory_limit: usize,
        table_limit: usize,
        beside: usize,
        reservation: MemoryReservation,
    ) -> Self {
        let held = HeldMemory { beside, ..HeldMemory::default() };
        let given = reservation.bytes();
        Self {
            memory_limit,
            table_limit,
            reservation,
            given,
            held,
            before_growth: held,
            peak: 0,
            refusal: None,
        }
    }

    /// Counts `bytes` that the host is about to copy out of the guest. False when the budget has no room for them.
    pub(super) fn copy(&mut self, bytes: u64) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let copied = self.held.copied.saturating_add(bytes);
        let refusal = self.hold(HeldMemory { copied, ..self.held });
        // A guest that was refused memory may still log that before it traps: success does not replace the reason.
        if refusal.is_some() {
            self.refusal = refusal;
        }
        refusal.is_none()
    }

    /// The same for a part of what the callback returns, of which `before` bytes are copied already.
    pub(super) fn copy_result(&mut self, before: u64, bytes: u64) -> bool {
        let wanted = usize::try_from(before.saturating_add(bytes)).unwrap_or(usize::MAX);
        if wanted > MAX_RESULT_BYTES {
            self.refusal = Some(GrowthRefusal::Result { wanted, limit: MAX_RESULT_BYTES });
            return false;
        }
        self.copy(bytes)
    }

    /// Of what was copied out of the guest, the host keeps at most `bytes`.
    pub(super) fn keep_copied(&mut self, bytes: usize) {
        self.held.copied = self.held.copied.min(bytes);
        // What the callback was given at its start stays its own.
        self.reservation.shrink_to(self.held.bytes().max(self.given));
    }

    /// The instance is gone. What is left of its reservation covers what was copied, if the host keeps that.
    pub(super) fn into_reservation(mut self, keeps_copied: bool) -> MemoryReservation {
        let copied = if keeps_copied { self.held.copied } else { 0 };
        self.reservation.shrink_to(whole_pages(copied));
        self.reservation
    }

    /// The most bytes that were held at once, the instance's linear memory before all.
    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    /// Set when the last growth was refused.
    pub(super) fn refusal(&self) -> Option<GrowthRefusal> {
        self.refusal
    }

    /// Makes `held` what the instance has, unless the budget has no room for it.
    fn hold(&mut self, held: HeldMemory) -> Option<GrowthRefusal> {
        let wanted = held.bytes();
        if !self.reservation.grow_to(wanted) {
            return Some(GrowthRefusal::OverBudget { wanted, budget: self.reservation.budget.limit() });
        }
        self.before_growth = std::mem::replace(&mut self.held, held);
        self.peak = self.peak.max(wanted);
        None
    }
}

impl ResourceLimiter for InstanceLimiter {
    // A refusal is `Ok(false)`: `memory.grow` then returns -1, as the specification says, and a guest may cope.
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.refusal = if desired > self.memory_limit {
            Some(GrowthRefusal::OverLimit { wanted: desired, limit: self.memory_limit })
        } else {
            // When fuel for the growth is missing, wasmi asks again after the next slice: the largest size counts.
            self.hold(HeldMemory { memory: self.held.memory.max(desired), ..self.held })
        };
        Ok(self.refusal.is_none())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let wanted = (self.held.table_elements - current).saturating_add(desired);
        self.refusal = if wanted > self.table_limit {
            Some(GrowthRefusal::Table { wanted, limit: self.table_limit })
        } else {
            self.hold(HeldMemory { table_elements: wanted, ..self.held })
        };
        Ok(self.refusal.is_none())
    }

    fn table_grow_failed(&mut self, _error: &TableError) -> Result<(), LimiterError> {
        // After an allowed growth only: whatever this refused did not change what is held.
        if self.refusal.is_none() {
            self.held = self.before_growth;
        }
        Ok(())
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        super::bounds::MAX_TABLES as usize
    }

    // A module has one at most, which scanning has seen to. wasmi counts an imported one twice.
    fn memories(&self) -> usize {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_taken_to_its_edge_and_no_further() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40).unwrap();
        assert_eq!(budget.used(), 100);
        assert!(!first.grow_to(61));
        assert_eq!((first.bytes(), budget.used()), (60, 100));
        drop(second);
        assert!(first.grow_to(100));
        assert!(first.grow_to(10), "asking for less than is held is no growth");
        first.shrink_to(101);
        assert_eq!(
            (first.bytes(), budget.used()),
            (100, 100),
            "asking for more than is held is no shrinking"
        );
        first.shrink_to(30);
        assert_eq!((first.bytes(), budget.used()), (30, 30));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_part_of_a_budget_ends_at_its_own_edge_and_at_that_of_the_whole() {
        let whole = MemoryBudget::new(100);
        let part = whole.part(60);
        assert!(part.reserve(61).is_none());
        let held = part.reserve(60).unwrap();
        assert_eq!((part.used(), whole.used()), (60, 60));
        assert!(whole.reserve(41).is_none(), "the part's bytes are the whole's");
        let mut others = whole.reserve(40).unwrap();
        drop(held);
        assert!(others.grow_to(41));
        assert!(part.reserve(60).is_none(), "the whole has 59 left");
        assert_eq!((part.used(), whole.used()), (0, 41), "a refused reservation takes nothing");
    }

    #[test]
    fn a_huge_reservation_does_not_wrap_around() {
        let budget = MemoryBudget::unlimited();
        let _one = budget.reserve(1).unwrap();
        assert!(budget.reserve(usize::MAX).is_none());
    }
}
