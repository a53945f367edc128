//! The pool against a model: who has which addresses, and what its memory holds.

use std::collections::BTreeMap;
use std::sync::Barrier;

use proptest::prelude::*;

use super::*;

const BOUNDS: PoolBounds = PoolBounds { mappings: 4, bytes: 6 * GRAIN, part_of_limit: 1 };

/// A pool of its own for a test; it stays until the process ends.
fn pool(bounds: PoolBounds) -> &'static Pool {
    Box::leak(Box::new(Pool::new(bounds)))
}

impl MappingLease {
    fn range(&self) -> std::ops::Range<usize> {
        let mapping = self.mapping.as_ref().unwrap();
        let start = mapping.start.as_ptr() as usize;
        start..start + mapping.len
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { len: usize, fill: u8 },
    Drop { which: usize },
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop_oneof![Just(1), Just(GRAIN), Just(GRAIN + 1), Just(2 * GRAIN), Just(7 * GRAIN)], 1..=u8::MAX)
            .prop_map(|(len, fill)| Step::Take { len, fill }),
        3 => (0..8_usize).prop_map(|which| Step::Drop { which }),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // The model is the list of leases: their addresses never meet, each keeps the bytes that were written to it, the bounds
    // hold, and a lease is refused only where the bounds say so.
    #[test]
    fn leases_never_share_addresses_and_keep_within_the_bounds(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let pool = pool(BOUNDS);
        let mut leases: Vec<(MappingLease, &'static mut [u8], u8)> = Vec::new();
        for step in steps {
            match step {
                Step::Take { len, fill } => {
                    let held: usize = leases.iter().map(|(lease, ..)| lease.range().len()).sum();
                    let size = len.next_multiple_of(GRAIN);
                    let must_fit = leases.len() < BOUNDS.mappings && size <= BOUNDS.bytes - held;
                    let lease = pool.take(len);
                    prop_assert_eq!(lease.is_some(), must_fit);
                    if let Some(mut lease) = lease {
                        prop_assert!(lease.range().len() >= len);
                        // SAFETY: the only slice of this lease, dropped together with it.
                        let bytes = unsafe { lease.bytes() };
                        for at in [0, len.min(bytes.len()) - 1, bytes.len() - 1] {
                            bytes[at] = fill;
                        }
                        leases.push((lease, bytes, fill));
                    }
                }
                Step::Drop { which } if which < leases.len() => {
                    let (lease, _, _) = leases.swap_remove(which);
                    drop(lease);
                }
                Step::Drop { .. } => {}
                Step::Release => pool.release_idle(Duration::ZERO),
            }
            let mut by_start = BTreeMap::new();
            for (lease, bytes, fill) in &leases {
                prop_assert_eq!((bytes[0], bytes[bytes.len() - 1]), (*fill, *fill));
                by_start.insert(lease.range().start, lease.range().end);
            }
            prop_assert_eq!(by_start.len(), leases.len());
            prop_assert!(by_start.values().zip(by_start.keys().skip(1)).all(|(end, next)| end <= next));
            let state = pool.lock();
            let held: usize = leases.iter().map(|(lease, ..)| lease.range().len()).sum();
            let free: usize = state.free.iter().map(|mapping| mapping.len).sum();
            prop_assert_eq!(state.mappings, leases.len() + state.free.len());
            prop_assert_eq!(state.bytes, held + free);
            prop_assert!(state.mappings <= BOUNDS.mappings && state.bytes <= BOUNDS.bytes);
        }
        leases.clear();
        pool.release_idle(Duration::ZERO);
        let state = pool.lock();
        prop_assert_eq!((state.mappings, state.bytes), (0, 0));
    }
}

#[test]
fn threads_that_take_and_free_at_the_same_time_never_meet_in_one_mapping() {
    let pool = pool(BOUNDS);
    let begin = Barrier::new(4);
    std::thread::scope(|scope| {
        for number in 1..=4 {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                for _ in 0..200 {
                    let mut lease = pool.take(1).unwrap();
                    // SAFETY: the only slice of this lease, dropped before it.
                    let bytes = unsafe { lease.bytes() };
                    bytes[..4096].fill(number);
                    std::thread::yield_now();
                    assert!(bytes[..4096].iter().all(|byte| *byte == number));
                }
            });
        }
    });
}

#[test]
fn a_freed_mapping_keeps_its_first_pages_only_and_is_the_next_to_be_taken() {
    let pool = pool(BOUNDS);
    let mut lease = pool.take(KEPT + 1).unwrap();
    let range = lease.range();
    // SAFETY: the only slice of this lease, dropped before it.
    let bytes = unsafe { lease.bytes() };
    (bytes[KEPT - 1], bytes[KEPT]) = (8, 8);
    lease.used = KEPT + WASM_PAGE;
    drop(lease);
    let mut lease = pool.take(1).unwrap();
    assert_eq!(lease.range(), range);
    // SAFETY: the only slice of this lease, dropped before it.
    let bytes = unsafe { lease.bytes() };
    assert_eq!(bytes[KEPT - 1], 8);
    assert_eq!(bytes[KEPT], if cfg!(target_os = "linux") { 0 } else { bytes[KEPT] });
}

#[test]
fn a_limit_of_address_space_leaves_the_mappings_their_part_of_it() {
    // Of the largest number of addresses that there can be, this is one grain.
    let part_of_limit = addresses() / GRAIN;
    let pool = pool(PoolBounds { part_of_limit, ..BOUNDS });
    let one = pool.take(GRAIN).unwrap();
    assert!(pool.take(1).is_none());
    drop(one);
    assert!(pool.take(GRAIN).is_some());
}

/// A store without limits, and a memory of `initial` pages in it.
fn store_with_memory(pool: &'static Pool, initial: u32, limit: usize) -> (GuestStore<()>, Memory) {
    let mut store = GuestStore::new(&Engine::default(), ());
    let plan = MemoryPlan { first: initial, initial, maximum: None };
    let memory = store.make_memory_in(pool, plan, limit).unwrap();
    (store, memory)
}

#[test]
fn a_memory_is_zero_wherever_it_grows_to_and_does_not_move() {
    let pool = pool(BOUNDS);
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let (mut store, memory) = store_with_memory(pool, 2, 8 * MIB);
        assert!(store.lease.is_some());
        let address = memory.data_ptr(&store);
        addresses.push(address);
        for pages in [1, 20, 80] {
            memory.grow(&mut store, pages).unwrap();
            assert_eq!(memory.data_ptr(&store), address, "it stays where it is");
            assert!(memory.data(&store).iter().all(|byte| *byte == 0), "{pages}");
        }
        memory.data_mut(&mut store).fill(0xEE);
        store.into_data();
    }
    assert_eq!(addresses[0], addresses[1], "the same mapping, full of another guest's bytes, was used again");
    assert_eq!(addresses[1], addresses[2]);
}

#[test]
fn a_memory_without_a_mapping_is_an_ordinary_one() {
    let pool = pool(PoolBounds { mappings: 1, ..BOUNDS });
    let (first, _) = store_with_memory(pool, 1, MIB);
    let (mut second, memory) = store_with_memory(pool, 1, MIB);
    assert!(first.lease.is_some() && second.lease.is_none());
    memory.grow(&mut second, 5).unwrap();
    assert_eq!(memory.data(&second), [0; 6 * WASM_PAGE]);
    drop(first);
    assert!(store_with_memory(pool, 1, MIB).0.lease.is_some());
    // More at the start than it may ever have: the limiter of the store has the last word.
    assert!(store_with_memory(pool, 17, MIB).0.lease.is_none());
    assert!(store_with_memory(pool, 16, MIB).0.lease.is_some());
}

#[test]
fn a_second_memory_of_a_store_gets_no_part_of_the_first_ones_mapping() {
    let pool = pool(BOUNDS);
    let (mut store, first) = store_with_memory(pool, 1, MIB);
    let second = store.make_memory_in(pool, MemoryPlan { first: 1, initial: 1, maximum: None }, MIB).unwrap();
    second.data_mut(&mut store).fill(7);
    assert!(first.data(&store).iter().all(|byte| *byte == 0));
}

/// The first bytes of `count` mappings of a pool: each was 7 before its lease, which used `used` bytes, ended.
#[cfg(target_os = "linux")]
fn first_bytes_after_use(pool: &'static Pool, count: usize, used: usize) -> Vec<u8> {
    let mut leases: Vec<MappingLease> = (0..count).map(|_| pool.take(1).unwrap()).collect();
    for lease in &mut leases {
        lease.used = used;
        // SAFETY: the only slice of this lease, dropped before it.
        let bytes = unsafe { lease.bytes() };
        bytes[0] = 7;
    }
    drop(leases);
    let mut again: Vec<MappingLease> = (0..count).map(|_| pool.take(1).unwrap()).collect();
    let first = again.iter_mut().map(|lease| {
        // SAFETY: the only slice of this lease, dropped before it.
        let bytes = unsafe { lease.bytes() };
        bytes[0]
    });
    first.collect()
}

/// Six channels that started at once left the memory of six large instances resident.
#[cfg(target_os = "linux")]
#[test]
fn free_mappings_keep_a_bounded_amount_of_memory_and_those_with_pages_are_used_first() {
    assert_eq!(WARM_BYTES / KEPT, 2);
    assert_eq!(first_bytes_after_use(pool(BOUNDS), 3, KEPT), [7, 7, 0]);
    assert_eq!(first_bytes_after_use(pool(BOUNDS), 3, GRAIN), [7, 7, 0]);
}

/// Only two mappings kept their pages however small they were: where webhooks came for many channels, one callback in twelve found
/// none of its pages.
#[cfg(target_os = "linux")]
#[test]
fn small_callbacks_that_overlap_find_their_pages_again() {
    assert_eq!(first_bytes_after_use(pool(BOUNDS), 4, WARM_BYTES / 4), [7, 7, 7, 7]);
    assert_eq!(first_bytes_after_use(pool(BOUNDS), 4, WARM_BYTES / 4 + WASM_PAGE), [7, 7, 7, 0]);
}

/// What a larger guest has left in a mapping counts, also after a smaller one has used it.
#[test]
fn pages_of_an_earlier_guest_count() {
    let pool = pool(BOUNDS);
    for used in [2 * MIB, MIB] {
        let mut lease = pool.take(1).unwrap();
        lease.used = used;
    }
    assert_eq!(pool.lock().warm_bytes(), 2 * MIB);
}

#[test]
fn only_what_was_not_used_for_a_while_is_released() {
    let pool = pool(BOUNDS);
    drop(pool.take(1).unwrap());
    let counts = || {
        let state = pool.lock();
        (state.mappings, state.free.len(), state.bytes)
    };
    pool.release_idle(Duration::from_secs(3600));
    assert_eq!(counts(), (1, 1, GRAIN));
    pool.release_idle(Duration::ZERO);
    assert_eq!(counts(), (0, 0, 0));
}
