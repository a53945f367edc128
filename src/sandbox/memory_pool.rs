//! Stores whose linear memory grows where it is.
//!
//! A guest's memory grows while it is made, and again when the guest first allocates. A vector moves then, unless what is
//! behind it happens to be free: a megabyte is copied, which takes as long as the callback itself. Here the memory lies
//! in a mapping whose addresses are reserved up to the channel's limit, so it never moves, and the next
//! instance finds the pages of the one before, which saves their faults. wasmi clears every byte before a guest can read
//! it ([`Memory::new_static`]).
//!
//! There is a bounded number of mappings, for all runtimes of the process together. Where none is left, or the system has no addresses,
//! a memory is a vector.
//!
//! # Why this is sound
//!
//! A [`Mapping`] is private to the process and known to this file only: readable, writable, filled with zeroes or with what guests wrote,
//! so always initialised. A [`MappingLease`] has its mapping alone, because [`Pool`] moves it out of its list under a lock. The
//! one slice that is made of it goes to a memory in the store of the same [`GuestStore`]. Its fields are private and the
//! store itself is never exposed, so nobody can move it away from its lease: the store is gone before the mapping returns to
//! its pool (fields are dropped in the order in which they are declared, and [`GuestStore::into_data`] keeps to it). After that
//! nothing refers to the slice, and it may be made again.
#![allow(
    unsafe_code,
    reason = "reserving addresses is a call of the system, and wasmi wants a slice of them"
)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use wasmi::{AsContext, AsContextMut, Engine, Memory, MemoryType, Store, StoreContext, StoreContextMut};

use super::scan::MemoryPlan;
use crate::model::address_space::{self, GUESTS_PART};

const MIB: usize = 1024 * 1024;
const WASM_PAGE: usize = 64 * 1024;

/// How much of a mapping stays in memory when its instance is gone, if it is one of those that are kept warm. A multiple of
/// every system's page.
const KEPT: usize = 4 * MIB;
/// So much memory all free mappings keep together: that of six callbacks of a guest of the usual size. Where channels have work at
/// the same time, their callbacks overlap although there are fewer cores, and the pages of a cold mapping cost more than a callback.
const WARM_BYTES: usize = 8 * MIB;
/// Mappings have a multiple of this size, so that channels with different limits can use the same ones.
const GRAIN: usize = if cfg!(target_pointer_width = "64") { 64 * MIB } else { 4 * MIB };

/// The mappings of this process.
static POOL: Pool = Pool::new(PoolBounds {
    mappings: 64,
    bytes: if cfg!(target_pointer_width = "64") { 64 * GRAIN } else { 32 * GRAIN },
    // Threads need the rest.
    part_of_limit: GUESTS_PART as usize,
});

/// Returns the pages and addresses of all mappings that no instance has used for so long to the system.
pub(super) fn release_idle(time: Duration) {
    POOL.release_idle(time);
}

/// A store for one guest, and the mapping that the guest's memory lies in.
pub(super) struct GuestStore<T: 'static> {
    // Before the lease: fields are dropped in this order.
    store: Store<T>,
    lease: Option<MappingLease>,
    memory: Option<Memory>,
}

impl<T> GuestStore<T> {
    pub(super) fn new(engine: &Engine, data: T) -> Self {
        Self { store: Store::new(engine, data), lease: None, memory: None }
    }

    /// As [`Store::limiter`].
    pub(super) fn limiter(&mut self, limiter: fn(&mut T) -> &mut dyn wasmi::ResourceLimiter) {
        self.store.limiter(limiter);
    }

    pub(super) fn data(&self) -> &T {
        self.store.data()
    }

    pub(super) fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Drops the instance, then returns its mapping to the pool.
    pub(super) fn into_data(mut self) -> T {
        if let (Some(memory), Some(lease)) = (self.memory, &mut self.lease) {
            lease.used = memory.data_size(&self.store);
        }
        let Self { store, lease, .. } = self;
        let data = store.into_data();
        drop(lease);
        data
    }

    /// Makes the guest's memory, which the store's limiter lets grow to `limit` bytes at most.
    ///
    /// # Errors
    /// The limiter refuses its initial size.
    pub(super) fn make_memory(&mut self, plan: MemoryPlan, limit: usize) -> Result<Memory, wasmi::Error> {
        self.make_memory_in(&POOL, plan, limit)
    }

    fn make_memory_in(
        &mut self,
        pool: &'static Pool,
        plan: MemoryPlan,
        limit: usize,
    ) -> Result<Memory, wasmi::Error> {
        let initial = (plan.initial as usize).saturating_mul(WASM_PAGE);
        let largest =
            plan.maximum.map_or(limit, |pages| limit.min((pages as usize).saturating_mul(WASM_PAGE)));
        // One memory at most lies in the mapping: a second one would be given the same bytes.
        if self.lease.is_none() && initial <= largest {
            self.lease = pool.take(largest);
            if let Some(lease) = &mut self.lease {
                let ty = MemoryType::new(plan.initial, plan.maximum);
                // SAFETY: this is the only slice of the lease, which was made in the line above, and it goes to the
                // store that is dropped before the lease.
                let bytes = unsafe { lease.bytes() };
                let memory = Memory::new_static(&mut self.store, ty, bytes)?;
                self.memory = Some(memory);
                return Ok(memory);
            }
        }
        let memory = Memory::new(&mut self.store, MemoryType::new(plan.first, plan.maximum))?;
        memory.grow(&mut self.store, u64::from(plan.initial - plan.first))?;
        Ok(memory)
    }
}

// What these give has no way to the store itself.
impl<T> AsContext for GuestStore<T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T> AsContextMut for GuestStore<T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}

/// The use of one mapping, which goes back to its pool when this is dropped.
struct MappingLease {
    pool: &'static Pool,
    /// `None` only while it is dropped.
    mapping: Option<Mapping>,
    /// Bytes from its start on that may have been written to.
    used: usize,
}

impl MappingLease {
    /// The whole mapping.
    ///
    /// # Safety
    /// Called once, and the slice is not used any more when the lease is dropped, although its type would allow it.
    unsafe fn bytes(&mut self) -> &'static mut [u8] {
        let Some(mapping) = &self.mapping else { return &mut [] };
        // SAFETY: the mapping has `len` bytes that can be read and written and are initialised; nobody else refers to
        // them, because the pool gave them to this lease alone and the caller keeps to one slice.
        unsafe { std::slice::from_raw_parts_mut(mapping.start.as_ptr(), mapping.len) }
    }
}

impl Drop for MappingLease {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            self.pool.take_back(mapping, self.used);
        }
    }
}

/// Reserved addresses. Memory is there where it was written to.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// Bytes from its start on that may have pages.
    resident: usize,
    /// When it was last used.
    used_at: Instant,
}

// SAFETY: it owns its mapping, which belongs to the process and to no thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `None` when the system has no addresses.
    fn reserve(len: usize) -> Option<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: without an address the system chooses one where nothing is, so no memory of anybody changes.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, access, flags) }.ok()?;
        NonNull::new(start.cast()).map(|start| Self { start, len, resident: 0, used_at: Instant::now() })
    }

    /// Returns the pages from `from` up to `to` to the system. `from` is a multiple of its page.
    fn discard(&mut self, from: usize, to: usize) {
        let to = to.min(self.len);
        if from >= to {
            return;
        }
        let advice = if cfg!(target_os = "linux") { Advice::LinuxDontNeed } else { Advice::DontNeed };
        // SAFETY: the range lies in the mapping, which `&mut` says nobody else uses. Whether its bytes stay or become zero,
        // they are initialised, and wasmi clears them before use. That the system keeps them when it fails is no harm.
        let _ =
            unsafe { madvise(self.start.as_ptr().wrapping_add(from).cast::<c_void>(), to - from, advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, of this size, and nothing refers to it: its lease has ended. Without it
        // the addresses stay reserved, which does no harm.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
    }
}

/// How many mappings there may be.
#[derive(Clone, Copy)]
struct PoolBounds {
    mappings: usize,
    /// Addresses of all of them together.
    bytes: usize,
    /// They take no more than this part of the process' limit of address space, if it has one.
    part_of_limit: usize,
}

/// Mappings that are free, and a count of those that are leased.
struct Pool {
    bounds: PoolBounds,
    /// Held to take a mapping or to put one back, never while its pages are cleared.
    state: Mutex<PoolState>,
}

struct PoolState {
    /// The one that was used last is at the end: its pages are in the processor's caches.
    free: Vec<Mapping>,
    /// All that exist, leased ones included, and their addresses: both go up when a mapping is made and down when it is unmapped,
    /// so `free.len()` is never more than `mappings`.
    mappings: usize,
    bytes: usize,
}

impl Pool {
    const fn new(bounds: PoolBounds) -> Self {
        Self { bounds, state: Mutex::new(PoolState { free: Vec::new(), mappings: 0, bytes: 0 }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PoolState> {
        // The counts are right after every statement, so a poisoned lock is as good as another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mapping of at least `len` bytes that nobody else has.
    fn take(&'static self, len: usize) -> Option<MappingLease> {
        let len = len.max(1).checked_next_multiple_of(GRAIN)?;
        let mut state = self.lock();
        let mapping = match state.free.iter().rposition(|mapping| mapping.len >= len) {
            Some(index) => state.free.remove(index),
            None => self.reserve(&mut state, len)?,
        };
        let used = mapping.len;
        Some(MappingLease { pool: self, mapping: Some(mapping), used })
    }

    fn reserve(&self, state: &mut PoolState, len: usize) -> Option<Mapping> {
        let bytes = self.bounds.bytes.min(addresses() / self.bounds.part_of_limit);
        let fits = |state: &PoolState| {
            state.mappings < self.bounds.mappings && len <= bytes.saturating_sub(state.bytes)
        };
        // What is free is too small for this one, or it would have been taken.
        while !fits(state) && state.free_one() {}
        if !fits(state) {
            return None;
        }
        let mapping = Mapping::reserve(len)?;
        state.mappings += 1;
        state.bytes += len;
        Some(mapping)
    }

    /// Warm ones are at the end of the list, from where they are taken first.
    fn take_back(&self, mut mapping: Mapping, used: usize) {
        let used = used.max(mapping.resident);
        let warm = used.min(KEPT);
        mapping.resident = if self.lock().warm_bytes() + warm <= WARM_BYTES { warm } else { 0 };
        mapping.discard(mapping.resident, used);
        mapping.used_at = Instant::now();
        let mut state = self.lock();
        let place = if mapping.resident > 0 { state.free.len() } else { 0 };
        state.free.insert(place, mapping);
    }

    fn release_idle(&self, time: Duration) {
        let mut state = self.lock();
        let (idle, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.free)
            .into_iter()
            .partition(|mapping| mapping.used_at.elapsed() >= time);
        state.mappings -= idle.len();
        state.bytes -= idle.iter().map(|mapping| mapping.len).sum::<usize>();
        state.free = kept;
    }
}

impl PoolState {
    /// Memory of free mappings.
    fn warm_bytes(&self) -> usize {
        self.free.iter().map(|mapping| mapping.resident).sum()
    }

    /// Returns the free mapping that was used the longest time ago to the system. False when there is none.
    fn free_one(&mut self) -> bool {
        if self.free.is_empty() {
            return false;
        }
        let mapping = self.free.remove(0);
        self.mappings -= 1;
        self.bytes -= mapping.len;
        true
    }
}

/// Addresses that the process may use.
fn addresses() -> usize {
    address_space::limit().map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
#[path = "memory_pool_tests.rs"]
mod tests;
