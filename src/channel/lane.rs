//! A lane: jobs of one kind of one channel, in order of arrival, a bounded number of them at a time.

use std::collections::VecDeque;

/// Which of a channel's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKind {
    /// HTTP requests and socket frames, `on-start` and `on-shutdown`.
    Inbound,
    /// Polls.
    Poll,
    /// Timers, which must not wait behind a long poll.
    Timer,
    /// Replies and broadcasts.
    Outbound,
    /// Status updates, such as typing, which must not hold up a reply.
    Status,
    /// `on-start` of another version of the channel, beside everything else.
    Trial,
}

impl LaneKind {
    /// How many lanes a channel has.
    pub const COUNT: usize = Self::ALL.len();

    /// Every lane of a channel.
    pub const ALL: [Self; 6] =
        [Self::Inbound, Self::Poll, Self::Timer, Self::Outbound, Self::Status, Self::Trial];
}

/// Jobs that wait, and how many run.
#[derive(Debug)]
pub struct Lane<J> {
    waiting: VecDeque<J>,
    /// Jobs that run: [`Lane::start_next`] adds one, [`Lane::finished`] takes it away. Never more than `concurrency`.
    running: usize,
    concurrency: usize,
    capacity: usize,
}

impl<J> Lane<J> {
    /// An empty lane that runs at most `concurrency` jobs at a time and lets at most `capacity` wait.
    pub fn new(concurrency: usize, capacity: usize) -> Self {
        Self { waiting: VecDeque::new(), running: 0, concurrency: concurrency.max(1), capacity }
    }

    /// From now on so many jobs run at a time; those that run go on.
    pub fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency.max(1);
    }

    /// Adds a job at the end; returns it when too many wait.
    pub fn push(&mut self, job: J) -> Result<(), J> {
        if self.waiting.len() >= self.capacity {
            return Err(job);
        }
        self.waiting.push_back(job);
        Ok(())
    }

    /// Puts a job that was taken back at the front, where it was.
    pub fn put_back(&mut self, job: J) {
        self.waiting.push_front(job);
        self.finished();
    }

    /// Whether a job could start now.
    pub fn is_runnable(&self) -> bool {
        self.running < self.concurrency && !self.waiting.is_empty()
    }

    /// Takes the next job when there is one and it may start; it counts as running until [`Lane::finished`].
    pub fn start_next(&mut self) -> Option<J> {
        if !self.is_runnable() {
            return None;
        }
        self.running += 1;
        self.waiting.pop_front()
    }

    /// The next job, without taking it.
    pub fn peek(&self) -> Option<&J> {
        self.waiting.front()
    }

    /// Removes the next job without running it.
    pub fn remove_first(&mut self) -> Option<J> {
        self.waiting.pop_front()
    }

    /// A job that was running has ended.
    pub fn finished(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a job runs.
    pub fn runs_anything(&self) -> bool {
        self.running > 0
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }

    /// Whether a job of some kind waits.
    pub fn has(&self, kind: impl FnMut(&J) -> bool) -> bool {
        self.waiting.iter().any(kind)
    }

    /// Takes out the jobs that wait and are not wanted.
    pub fn retain(&mut self, wanted: impl FnMut(&J) -> bool) {
        self.waiting.retain(wanted);
    }

    /// Takes out every job that waits, oldest first.
    pub fn take_all(&mut self) -> VecDeque<J> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_lane_runs_one_job_at_a_time_in_order_of_arrival() {
        let mut lane = Lane::new(1, 8);
        lane.push('a').unwrap();
        lane.push('b').unwrap();
        assert_eq!(lane.start_next(), Some('a'));
        assert_eq!(lane.start_next(), None);
        lane.finished();
        assert_eq!(lane.start_next(), Some('b'));
    }

    #[test]
    fn a_lane_holds_as_many_jobs_as_its_capacity_and_refuses_one_more() {
        let mut lane = Lane::new(1, 2);
        lane.push('a').unwrap();
        lane.push('b').unwrap();
        assert_eq!(lane.push('c'), Err('c'));
        assert_eq!(lane.waiting(), 2);
    }

    #[test]
    fn a_job_that_is_put_back_is_the_next_again() {
        let mut lane = Lane::new(1, 8);
        lane.push('a').unwrap();
        lane.push('b').unwrap();
        let first = lane.start_next().unwrap();
        lane.put_back(first);
        assert_eq!((lane.running, lane.start_next()), (0, Some('a')));
    }

    #[test]
    fn a_lane_runs_as_many_jobs_as_its_concurrency_and_at_least_one() {
        for (concurrency, at_once) in [(0, 1), (1, 1), (3, 3)] {
            let mut lane = Lane::new(concurrency, 8);
            (0..8).for_each(|job| lane.push(job).unwrap());
            let started = std::iter::from_fn(|| lane.start_next()).count();
            assert_eq!(started, at_once, "{concurrency}");
            assert!(!lane.is_runnable(), "{concurrency}");
            // One that ends makes room for one.
            lane.finished();
            assert!(lane.start_next().is_some() && lane.start_next().is_none(), "{concurrency}");
        }
    }

    #[test]
    fn a_lane_is_idle_when_nothing_waits_and_nothing_runs() {
        let mut lane = Lane::new(2, 8);
        assert!(lane.is_idle() && !lane.runs_anything() && !lane.is_runnable());
        lane.push('a').unwrap();
        assert!(!lane.is_idle() && !lane.runs_anything() && lane.is_runnable());
        lane.start_next();
        assert!(!lane.is_idle() && lane.runs_anything() && !lane.is_runnable());
        lane.finished();
        assert!(lane.is_idle() && !lane.runs_anything());
        lane.finished();
        assert!(lane.is_idle(), "nothing ran");
    }

    #[test]
    fn the_oldest_job_is_seen_and_removed_first() {
        let mut lane = Lane::new(1, 8);
        ['a', 'b', 'c', 'd'].into_iter().for_each(|job| lane.push(job).unwrap());
        assert_eq!(lane.peek(), Some(&'a'));
        assert_eq!(lane.remove_first(), Some('a'));
        assert_eq!(lane.peek(), Some(&'b'));
        assert!(lane.has(|job| *job == 'c') && !lane.has(|job| *job == 'a'));
        lane.retain(|job| *job != 'c');
        assert_eq!(lane.take_all(), ['b', 'd']);
        assert_eq!(lane.waiting(), 0);
        assert!(!lane.runs_anything(), "none of them was started");
    }
}
