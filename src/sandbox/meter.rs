//! Fuel in slices: how much a guest may run before the host looks at the clock again.
//!
//! Fuel bounds work but is not time: what one unit stands for differs by a factor of a hundred between instructions. So
//! a guest gets its fuel in slices that take a few milliseconds each, and between two slices the host checks the
//! deadline, the stop flag and the fuel that is left. How large such a slice is differs from guest to guest and is
//! learnt while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmi::{AsContextMut, Func, ResumableCall, Val};

use super::context::StopFlag;
use super::error::Halt;

/// A slice that takes less is too short to be worth its overhead.
const MIN_SLICE: Duration = Duration::from_millis(1);
/// A slice that takes more makes the host slow to stop a guest.
const MAX_SLICE: Duration = Duration::from_millis(4);
/// What calibration aims at.
const SLICE_GOAL: Duration = Duration::from_millis(2);
/// Units that the first slice of a new guest has: well below a millisecond on a slow machine.
const FIRST_SLICE_FUEL: u64 = 50_000;
/// Units that a slice has at least, so that progress is made.
const MIN_SLICE_FUEL: u64 = 2_000;
/// Units that a slice has at most. A guest that first burns cheap units and then dear ones gets one slice that is too
/// long, and this bounds it. It also bounds how far growing memories and tables can drive the native stack.
pub(super) const MAX_SLICE_FUEL: u64 = 1_000_000;

/// The size of a guest's slices, shared by all instances of it. Each instance reads it before a slice and writes it after one; it is
/// always between [`MIN_SLICE_FUEL`] and [`MAX_SLICE_FUEL`].
#[derive(Clone, Debug)]
pub(super) struct SliceSize(Arc<AtomicU64>);

impl SliceSize {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(FIRST_SLICE_FUEL)))
    }

    pub(super) fn fuel(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns from a slice of `fuel` units that took `time`. Two instances that learn at once may overwrite each
    /// other's lesson, which does no harm.
    fn learn(&self, fuel: u64, time: Duration) {
        self.0.store(next_slice(self.fuel(), fuel, time), Ordering::Relaxed);
    }
}

/// The size of the next slice after one of size `current`, of which `used` units took `time`.
fn next_slice(current: u64, used: u64, time: Duration) -> u64 {
    // A slice that ended early, because its next instruction is a dear one, says little about the others.
    if used < current / 2 || (MIN_SLICE..=MAX_SLICE).contains(&time) {
        return current;
    }
    let goal = u128::from(used) * SLICE_GOAL.as_nanos() / time.as_nanos().max(1);
    let goal = u64::try_from(goal).unwrap_or(u64::MAX);
    // One odd measurement, such as a thread that was not scheduled, must not change everything.
    goal.clamp(current / 4, current.saturating_mul(4)).clamp(MIN_SLICE_FUEL, MAX_SLICE_FUEL)
}

/// The fuel and the clock of one callback.
#[derive(Debug)]
pub(super) struct Meter {
    limit: u64,
    /// Units given to the store so far, spent or not.
    granted: u64,
    size: SliceSize,
    started: Instant,
    deadline: Instant,
    stop: StopFlag,
    slice_started: Instant,
    /// Units spent when the running slice began.
    spent_before_slice: u64,
    /// Time that the running slice has spent in blocking host calls.
    blocked: Duration,
}

impl Meter {
    pub(super) fn new(limit: u64, deadline: Instant, stop: StopFlag, size: SliceSize) -> Self {
        let now = Instant::now();
        Self {
            limit,
            granted: 0,
            size,
            started: now,
            deadline,
            stop,
            slice_started: now,
            spent_before_slice: 0,
            blocked: Duration::ZERO,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn stop(&self) -> &StopFlag {
        &self.stop
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Units spent when `left` of what was granted is left.
    pub(super) fn spent(&self, left: u64) -> u64 {
        self.granted.saturating_sub(left)
    }

    /// A blocking host call took this long: it is not the guest's speed.
    pub(super) fn was_blocked(&mut self, time: Duration) {
        self.blocked += time;
    }

    /// The deadline or the stop flag ends the callback.
    pub(super) fn check(&self, now: Instant) -> Result<(), Halt> {
        if self.stop.is_stopped() {
            return Err(Halt::Stopped);
        }
        if now >= self.deadline {
            return Err(Halt::Deadline);
        }
        Ok(())
    }

    /// The guest has `left` units and needs `required` for its next step: how many it has from now on.
    fn next_slice(&mut self, left: u64, required: u64, now: Instant) -> Result<u64, Halt> {
        let spent = self.spent(left);
        let ran = now.duration_since(self.slice_started).saturating_sub(self.blocked);
        self.size.learn(spent - self.spent_before_slice, ran);
        self.check(now)?;
        let more = self.size.fuel().max(required.saturating_sub(left)).min(self.limit - self.granted);
        if left + more < required || more == 0 {
            return Err(Halt::OutOfFuel);
        }
        self.granted += more;
        self.slice_started = now;
        self.spent_before_slice = spent;
        self.blocked = Duration::ZERO;
        Ok(left + more)
    }

    /// Takes `cost` units for the host's own work: how many are left of the slice.
    fn charge(&mut self, left: u64, cost: u64) -> Result<u64, Halt> {
        let Some(missing) = cost.checked_sub(left) else { return Ok(left - cost) };
        if missing > self.limit - self.granted {
            self.granted = self.limit;
            return Err(Halt::OutOfFuel);
        }
        self.granted += missing;
        Ok(0)
    }
}

/// State that has a meter in it.
pub(super) trait Metered {
    fn meter(&mut self) -> &mut Meter;
}

/// The engine is checked for fuel metering when a runtime is made, so its counters can always be read.
const METERED: &str = "fuel metering is on";

/// Units that are left of the running slice.
pub(super) fn fuel_left(ctx: &impl wasmi::AsContext) -> u64 {
    ctx.as_context().get_fuel().expect(METERED)
}

/// Calls a guest's function slice by slice until it returns.
///
/// # Errors
/// The callback ends: out of fuel, deadline, stop, or whatever the guest or a host function did.
pub(super) fn call<T: Metered>(
    mut ctx: impl AsContextMut<Data = T>,
    func: Func,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Halt> {
    let mut call = func.call_resumable(&mut ctx, params, results)?;
    loop {
        match call {
            ResumableCall::Finished => return Ok(()),
            ResumableCall::HostTrap(trap) => return Err(Halt::from(trap.into_host_error())),
            ResumableCall::OutOfFuel(paused) => {
                refill(&mut ctx, paused.required_fuel())?;
                call = paused.resume(&mut ctx, results)?;
            }
        }
    }
}

/// Looks at clock, flag and fuel and gives the next slice.
fn refill<T: Metered>(mut ctx: impl AsContextMut<Data = T>, required: u64) -> Result<(), Halt> {
    let left = fuel_left(&ctx);
    let mut store = ctx.as_context_mut();
    let fuel = store.data_mut().meter().next_slice(left, required, Instant::now())?;
    store.set_fuel(fuel).expect(METERED);
    Ok(())
}

/// Charges `cost` units for what a host function did.
///
/// # Errors
/// The callback does not have that much left.
pub(super) fn charge<T: Metered>(mut ctx: impl AsContextMut<Data = T>, cost: u64) -> Result<(), Halt> {
    let left = fuel_left(&ctx);
    let mut store = ctx.as_context_mut();
    let fuel = store.data_mut().meter().charge(left, cost)?;
    store.set_fuel(fuel).expect(METERED);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn meter(limit: u64) -> Meter {
        Meter::new(limit, Instant::now() + Duration::from_secs(60), StopFlag::default(), SliceSize::new())
    }

    #[test]
    fn slices_converge_to_between_one_and_four_milliseconds() {
        let rows: &[(&str, u64, u64, Duration, u64)] = &[
            ("just right stays", 100_000, 100_000, 2 * MS, 100_000),
            ("at the short edge stays", 100_000, 100_000, MS, 100_000),
            ("at the long edge stays", 100_000, 100_000, 4 * MS, 100_000),
            ("too short grows towards the goal", 100_000, 100_000, MS / 2, 400_000),
            ("far too short grows by no more than four", 100_000, 100_000, MS / 100, 400_000),
            ("no time at all is no division by zero", 100_000, 100_000, Duration::ZERO, 400_000),
            ("too long shrinks towards the goal", 100_000, 100_000, 5 * MS, 40_000),
            ("far too long shrinks by no more than four", 100_000, 100_000, 400 * MS, 25_000),
            ("an early end teaches nothing", 100_000, 49_000, MS / 100, 100_000),
            ("never above the cap", MAX_SLICE_FUEL, MAX_SLICE_FUEL, MS / 10, MAX_SLICE_FUEL),
            ("never below the minimum", MIN_SLICE_FUEL, MIN_SLICE_FUEL, 9 * MS, MIN_SLICE_FUEL),
        ];
        for (name, current, used, time, expected) in rows {
            assert_eq!(next_slice(*current, *used, *time), *expected, "{name}");
        }
    }

    #[test]
    fn all_fuel_is_given_out_and_not_one_unit_more() {
        let mut meter = meter(FIRST_SLICE_FUEL + 10);
        let now = Instant::now();
        assert_eq!(meter.next_slice(0, 1, now), Ok(FIRST_SLICE_FUEL));
        // The next instruction costs 12, 2 are left and 10 more may be given.
        assert_eq!(meter.next_slice(2, 12, now + 2 * MS), Ok(12));
        assert_eq!(meter.next_slice(0, 1, now + 4 * MS), Err(Halt::OutOfFuel));
        assert_eq!(meter.spent(0), FIRST_SLICE_FUEL + 10);
    }

    #[test]
    fn an_instruction_that_costs_more_than_is_left_ends_the_callback() {
        let mut meter = meter(100);
        assert_eq!(meter.next_slice(0, 101, Instant::now()), Err(Halt::OutOfFuel));
    }

    #[test]
    fn an_instruction_larger_than_a_slice_gets_what_it_needs() {
        let mut meter = meter(u64::MAX);
        assert_eq!(meter.next_slice(5, 1_000_000, Instant::now()), Ok(1_000_000));
    }

    #[test]
    fn the_hosts_work_is_paid_for_beyond_the_slice() {
        let mut meter = meter(1_000);
        assert_eq!(meter.next_slice(0, 1, Instant::now()), Ok(1_000));
        assert_eq!(meter.charge(1_000, 400), Ok(600));
        assert_eq!(meter.charge(600, 600), Ok(0));
        assert_eq!(meter.charge(0, 1), Err(Halt::OutOfFuel));

        let mut meter = self::meter(FIRST_SLICE_FUEL * 2);
        meter.next_slice(0, 1, Instant::now()).unwrap();
        assert_eq!(meter.charge(FIRST_SLICE_FUEL, FIRST_SLICE_FUEL * 2), Ok(0));
        assert_eq!(meter.spent(0), FIRST_SLICE_FUEL * 2);
    }

    #[test]
    fn deadline_and_stop_are_seen_between_slices() {
        let stop = StopFlag::default();
        let now = Instant::now();
        let mut meter = Meter::new(u64::MAX, now + 10 * MS, stop.clone(), SliceSize::new());
        assert!(meter.next_slice(0, 1, now + 9 * MS).is_ok());
        assert_eq!(meter.next_slice(0, 1, now + 10 * MS), Err(Halt::Deadline));
        stop.stop();
        assert_eq!(meter.next_slice(0, 1, now), Err(Halt::Stopped));
    }

    #[test]
    fn time_in_blocking_host_calls_does_not_count_as_the_guests_speed() {
        let mut meter = meter(u64::MAX);
        let now = Instant::now();
        meter.next_slice(0, 1, now).unwrap();
        meter.was_blocked(1_000 * MS);
        meter.next_slice(0, 1, now + 1_002 * MS).unwrap();
        assert_eq!(meter.size.fuel(), FIRST_SLICE_FUEL);
    }
}
