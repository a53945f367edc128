//! When the child of the crash test is killed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::hooked::{Hook, Step};
use crate::store::StoreError;

/// Where in the host the kill hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KillPoint {
    /// Anywhere: the parent kills.
    Random,
    BeforeCommit,
    /// While the transaction is written and synced.
    DuringCommit,
    /// The transaction is durable, nobody has been told.
    AfterCommit,
    DuringCheckpoint,
    /// The guest has sent its request and waits for the response: the upstream server, in the parent, kills.
    InsideRespond,
}

impl KillPoint {
    pub const ALL: [Self; 6] = [
        Self::Random,
        Self::BeforeCommit,
        Self::DuringCommit,
        Self::AfterCommit,
        Self::DuringCheckpoint,
        Self::InsideRespond,
    ];
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The `nth` time that the store comes to a point; the delay of kills that hit during something.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub point: KillPoint,
    pub nth: u64,
    pub delay: Duration,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.point, self.nth, self.delay.as_micros())
    }
}

impl FromStr for Plan {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(());
        let name = word()?;
        let point = KillPoint::ALL.into_iter().find(|point| point.to_string() == name).ok_or(())?;
        let nth = word()?.parse().map_err(drop)?;
        let delay = Duration::from_micros(word()?.parse().map_err(drop)?);
        Ok(Self { point, nth, delay })
    }
}

impl Plan {
    /// The hook of a store that kills its own process as planned.
    pub fn hook(self) -> Hook {
        let left = AtomicI64::new(i64::try_from(self.nth).expect("a small number"));
        let is_the_one = move || left.fetch_sub(1, Ordering::Relaxed) == 1;
        Arc::new(move |step| {
            match (self.point, step) {
                (KillPoint::BeforeCommit, Step::BeforeCommit)
                | (KillPoint::AfterCommit, Step::AfterCommit)
                    if is_the_one() =>
                {
                    die();
                }
                (KillPoint::DuringCommit, Step::BeforeCommit) if is_the_one() => self.die_soon(),
                (KillPoint::DuringCheckpoint, Step::BeforeMaintenance) if is_the_one() => {
                    self.die_soon();
                    return Err(StoreError::Broken);
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn die_soon(self) {
        std::thread::spawn(move || {
            std::thread::sleep(self.delay);
            die();
        });
    }
}

fn die() {
    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    // The signal may reach another thread first.
    loop {
        std::thread::park();
    }
}

/// xorshift64*: enough to spread the points.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}
