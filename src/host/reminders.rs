//! Reminders: texts that are said in a conversation at a later time. They are kept as timers of a name that no channel has.
//!
//! A reminder that is due becomes a reply in the transaction that removes it: it is said at least once, whenever the host
//! ends, and more than once only when a service does not say whether it has got a reply.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ReplyError;
use crate::model::clock::{steady_ms, unix_ms};
use crate::store::{Batch, Change, ChannelKey, LoadedChannel, StateError, StoreHandle, TimerRecord};

/// Where they are kept. No channel has a name with a colon.
pub(super) const KEY: &str = "agent:reminders";
/// Reminders of one person that wait.
pub(crate) const MAX_OF_PERSON: usize = 20;
/// Reminders of everybody that wait.
const MAX_OF_ALL: usize = 10_000;
/// The longest text, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1_000;
/// How far ahead they may be.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// How long one waits that could not be said.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest sleep: the wall clock may be set meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(15);

/// A person in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addressee {
    pub(crate) channel: String,
    pub(crate) conversation: String,
    pub(crate) user_id: String,
    pub(crate) thread_id: Option<String>,
    pub(crate) metadata_json: String,
}

impl Addressee {
    fn is_same_person(&self, other: &Self) -> bool {
        self.channel == other.channel && self.user_id == other.user_id
    }
}

/// One reminder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reminder {
    /// Unique among those that wait.
    #[serde(skip)]
    pub(crate) id: u64,
    /// When it is due, in Unix milliseconds.
    #[serde(skip)]
    pub(crate) due_ms: u64,
    /// The message that asked for it.
    pub(crate) message: u64,
    pub(crate) to: Addressee,
    pub(crate) text: String,
}

/// Why a reminder is not kept, or not taken away: a sentence for whoever asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReminderError {
    #[error("a reminder needs a text of 1 to {MAX_TEXT_BYTES} bytes")]
    Text,
    #[error("a reminder is at least a second and at most 366 days ahead")]
    Time,
    #[error("{MAX_OF_PERSON} reminders wait already: cancel one first")]
    TooMany,
    #[error("too many reminders wait in all: ask the operator")]
    Full,
    #[error("there is no reminder {0}")]
    Unknown(u64),
    #[error("it was not stored: {0}")]
    NotStored(#[from] StateError),
}

/// All reminders that wait.
pub(crate) struct Reminders {
    store: StoreHandle,
    /// A lock, because agents set reminders while a thread waits for the next one. Held also while one is stored, so that an id is given
    /// once.
    state: Mutex<WaitingReminders>,
    /// Notified when a reminder may have become the next one, or nothing is waited for any more.
    changed: Condvar,
}

/// What waits. One is added when it is durable, and removed when its removal is.
#[derive(Default)]
struct WaitingReminders {
    waiting: BTreeMap<u64, PendingReminders>,
    last_id: u64,
    is_closed: bool,
}

struct PendingReminders {
    reminder: Reminder,
    /// By the clock that nobody sets. A reminder that was loaded waits no longer than it was set for.
    not_before_ms: u64,
    /// It could not be said, whatever the clock says: wait until then.
    failed_until_ms: u64,
}

impl Reminders {
    /// Those that the store has.
    pub(super) fn load(store: StoreHandle, stored: Option<LoadedChannel>) -> Self {
        let mut state = WaitingReminders::default();
        for timer in stored.into_iter().flat_map(|stored| stored.timers) {
            match read(&timer) {
                Some(reminder) => {
                    let longest = timer.due_ms.saturating_sub(timer.set_ms);
                    let wait = timer.due_ms.saturating_sub(unix_ms()).min(longest);
                    state.last_id = state.last_id.max(reminder.id);
                    state.add(reminder, steady_ms().saturating_add(wait));
                }
                None => {
                    log::error!("reminder {}: what is stored cannot be read, and is left alone", timer.name)
                }
            }
        }
        Self { store, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Keeps a reminder; it is durable when this returns. The same text that the same message asked for is the same
    /// reminder: a tool call may be made again after a crash.
    pub(crate) fn add(
        &self,
        to: Addressee,
        message: u64,
        text: &str,
        delay: Duration,
    ) -> Result<Reminder, ReminderError> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return Err(ReminderError::Text);
        }
        if delay < Duration::from_secs(1) || delay > MAX_DELAY {
            return Err(ReminderError::Time);
        }
        let mut state = self.lock();
        let known = state.of(&to).find(|known| known.message == message && known.text == text);
        if let Some(known) = known {
            return Ok(known.clone());
        }
        if state.of(&to).count() >= MAX_OF_PERSON {
            return Err(ReminderError::TooMany);
        }
        if state.waiting.len() >= MAX_OF_ALL {
            return Err(ReminderError::Full);
        }
        let (set_ms, delay_ms) = (unix_ms(), crate::model::clock::millis(delay));
        let id = state.last_id + 1;
        let due_ms = set_ms.saturating_add(delay_ms);
        let reminder = Reminder { id, due_ms, message, to, text: text.to_owned() };
        let payload = serde_json::to_string(&reminder).map_err(|_| ReminderError::Text)?;
        self.store.try_commit_and_wait(Batch::of(Change::SetTimer {
            channel: KEY.into(),
            name: id.to_string().into(),
            set_ms,
            due_ms,
            payload: payload.into(),
        }))?;
        state.last_id = id;
        state.add(reminder.clone(), steady_ms().saturating_add(delay_ms));
        self.changed.notify_all();
        Ok(reminder)
    }

    /// Those of a person, in the order of their time.
    pub(crate) fn of(&self, person: &Addressee) -> Vec<Reminder> {
        let mut found: Vec<Reminder> = self.lock().of(person).cloned().collect();
        found.sort_by_key(|reminder| (reminder.due_ms, reminder.id));
        found
    }

    /// All that wait, in the order of their time.
    #[cfg(feature = "cli")]
    pub(crate) fn all(&self) -> Vec<Reminder> {
        let state = self.lock();
        let mut found: Vec<Reminder> =
            state.waiting.values().map(|waiting| waiting.reminder.clone()).collect();
        found.sort_by_key(|reminder| (reminder.due_ms, reminder.id));
        found
    }

    /// Takes one of a person's reminders away.
    pub(crate) fn cancel(&self, person: &Addressee, id: u64) -> Result<Reminder, ReminderError> {
        let mut state = self.lock();
        if !state.of(person).any(|reminder| reminder.id == id) {
            return Err(ReminderError::Unknown(id));
        }
        self.store.try_commit_and_wait(Batch::of(removal(id)))?;
        let waiting = state.waiting.remove(&id).ok_or(ReminderError::Unknown(id))?;
        Ok(waiting.reminder)
    }

    /// Says each reminder when it is due, until [`Reminders::close`]. `say` gets it with the change that removes it, to be
    /// durable together with what is said; what fails is tried again after a minute.
    pub(crate) fn run(&self, mut say: impl FnMut(&Reminder, Change) -> Result<(), ReplyError>) {
        while let Some(reminder) = self.next_due() {
            let id = reminder.id;
            let said = say(&reminder, removal(id));
            let mut state = self.lock();
            match said {
                Ok(()) => drop(state.waiting.remove(&id)),
                Err(error) => {
                    log::warn!("reminder {id} could not be delivered and is retried: {error}");
                    if let Some(waiting) = state.waiting.get_mut(&id) {
                        waiting.failed_until_ms =
                            steady_ms().saturating_add(crate::model::clock::millis(RETRY_AFTER));
                    }
                }
            }
        }
    }

    /// Waits for the next one. Nothing after the end.
    fn next_due(&self) -> Option<Reminder> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let (now_ms, steady) = (unix_ms(), steady_ms());
            let Some((wait_ms, next)) = state.next(now_ms, steady) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if wait_ms == 0 {
                return Some(next.clone());
            }
            let sleep = Duration::from_millis(wait_ms).min(MAX_SLEEP);
            state = self.changed.wait_timeout(state, sleep).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stops the delivery of reminders; those that wait are delivered after the next start.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, WaitingReminders> {
        // Nothing that holds it panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingReminders {
    fn add(&mut self, reminder: Reminder, not_before_ms: u64) {
        self.waiting.insert(reminder.id, PendingReminders { reminder, not_before_ms, failed_until_ms: 0 });
    }

    fn of<'a>(&'a self, person: &'a Addressee) -> impl Iterator<Item = &'a Reminder> {
        let all = self.waiting.values().map(|waiting| &waiting.reminder);
        all.filter(|reminder| reminder.to.is_same_person(person))
    }

    /// The next one and how long it waits: until either clock says that it is due.
    fn next(&self, now_ms: u64, steady_ms: u64) -> Option<(u64, &Reminder)> {
        let wait = |waiting: &PendingReminders| {
            let by_wall = waiting.reminder.due_ms.saturating_sub(now_ms);
            let by_steady = waiting.not_before_ms.saturating_sub(steady_ms);
            by_wall.min(by_steady).max(waiting.failed_until_ms.saturating_sub(steady_ms))
        };
        self.waiting.values().map(|waiting| (wait(waiting), &waiting.reminder)).min_by_key(|(wait, _)| *wait)
    }
}

fn removal(id: u64) -> Change {
    let channel: ChannelKey = KEY.into();
    Change::CancelTimer { channel, name: Arc::from(id.to_string()) }
}

fn read(timer: &TimerRecord) -> Option<Reminder> {
    let reminder: Reminder = serde_json::from_str(&timer.payload).ok()?;
    Some(Reminder { id: timer.name.parse().ok()?, due_ms: timer.due_ms, ..reminder })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::store::{MemoryStore, Retention, StoreThread};

    fn to(user: &str) -> Addressee {
        Addressee {
            channel: "webchat".into(),
            conversation: format!("webchat/{user}"),
            user_id: user.into(),
            thread_id: None,
            metadata_json: "{}".into(),
        }
    }

    fn reminders(store: &MemoryStore) -> (Reminders, StoreThread) {
        let thread = StoreThread::in_memory(store.clone(), &Retention::default());
        let stored = thread.handle().query(|engine| engine.load(0)).unwrap().channels.remove(KEY);
        (Reminders::load(thread.handle(), stored), thread)
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_reminder_survives_and_is_of_its_person_alone() {
        let store = MemoryStore::new();
        let (first, _thread) = reminders(&store);
        let tea = first.add(to("ann"), 1, " tea ", HOUR).unwrap();
        let soup = first.add(to("ann"), 2, "soup", HOUR / 2).unwrap();
        first.add(to("bob"), 3, "nap", HOUR).unwrap();
        assert_eq!(first.add(to("ann"), 1, "tea", HOUR * 2), Ok(tea.clone()), "a call that is made again");
        assert_eq!(first.of(&to("ann")), [soup.clone(), tea.clone()]);
        let (second, _thread) = reminders(&store);
        assert_eq!(second.of(&to("ann")), [soup, tea.clone()]);
        assert_eq!(second.cancel(&to("bob"), tea.id), Err(ReminderError::Unknown(tea.id)));
        assert_eq!(second.cancel(&to("ann"), tea.id), Ok(tea.clone()));
        assert_eq!(second.cancel(&to("ann"), tea.id), Err(ReminderError::Unknown(tea.id)));
        let (third, _thread) = reminders(&store);
        assert_eq!((third.of(&to("ann")).len(), third.of(&to("bob")).len()), (1, 1));
        assert!(
            third.add(to("ann"), 9, "more", HOUR).unwrap().id > 3,
            "no id is used twice while others wait"
        );
    }

    #[test]
    fn each_limit_holds_and_one_past_it_is_refused() {
        let (reminders, _thread) = reminders(&MemoryStore::new());
        let add = |text: &str, delay| reminders.add(to("ann"), 1, text, delay);
        assert_eq!(add(" ", HOUR), Err(ReminderError::Text));
        assert_eq!(add(&"x".repeat(MAX_TEXT_BYTES + 1), HOUR), Err(ReminderError::Text));
        assert!(add(&"x".repeat(MAX_TEXT_BYTES), HOUR).is_ok());
        assert_eq!(add("a", Duration::from_millis(999)), Err(ReminderError::Time));
        assert_eq!(add("a", MAX_DELAY + Duration::from_millis(1)), Err(ReminderError::Time));
        assert!(add("a", MAX_DELAY).is_ok());
        for number in 2..MAX_OF_PERSON {
            assert!(add(&number.to_string(), HOUR).is_ok(), "{number}");
        }
        assert_eq!(add("one more", HOUR), Err(ReminderError::TooMany));
        assert!(reminders.add(to("bob"), 1, "his own", HOUR).is_ok());
    }

    #[test]
    fn all_people_together_have_so_many_reminders() {
        let (reminders, _thread) = reminders(&MemoryStore::new());
        {
            let mut state = reminders.lock();
            for id in 1..MAX_OF_ALL as u64 {
                let to = to(&format!("person {id}"));
                let reminder = Reminder { id, due_ms: u64::MAX, message: id, to, text: "a".to_owned() };
                state.add(reminder, u64::MAX);
            }
            state.last_id = MAX_OF_ALL as u64;
        }
        assert!(reminders.add(to("ann"), 1, "the last", HOUR).is_ok());
        assert_eq!(reminders.add(to("bob"), 1, "one more", HOUR), Err(ReminderError::Full));
    }

    #[test]
    fn a_due_reminder_is_delivered_once_and_retried_after_a_minute() {
        let (reminders, _thread) = reminders(&MemoryStore::new());
        reminders.add(to("ann"), 1, "now", Duration::from_secs(1)).unwrap();
        let begin = Instant::now();
        let mut said = Vec::new();
        reminders.run(|reminder, removal| {
            reminders.store.try_commit_and_wait(Batch::of(removal)).unwrap();
            said.push(reminder.text.clone());
            reminders.close();
            Ok(())
        });
        assert!(begin.elapsed() >= Duration::from_millis(900), "not before its time");
        assert_eq!(said, ["now"]);
        assert!(reminders.of(&to("ann")).is_empty());
    }

    #[test]
    fn either_clock_makes_one_due_and_a_failure_delays_it() {
        let mut state = WaitingReminders::default();
        let reminder = Reminder { id: 1, due_ms: 5_000, message: 1, to: to("ann"), text: "x".into() };
        state.add(reminder, 100);
        let wait = |state: &WaitingReminders, now, steady| state.next(now, steady).map(|(wait, _)| wait);
        assert_eq!(wait(&state, 1_000, 40), Some(60), "no longer than it was set for");
        assert_eq!(wait(&state, 5_000, 40), Some(0), "the wall clock was set ahead");
        assert_eq!(wait(&state, 1_000, 100), Some(0), "the wall clock was set back");
        state.waiting.get_mut(&1).unwrap().failed_until_ms = 130;
        assert_eq!(wait(&state, 9_000, 100), Some(30));
        assert_eq!(wait(&WaitingReminders::default(), 0, 0), None);
    }

    #[test]
    fn unreadable_reminders_are_left_alone() {
        let store = MemoryStore::new();
        let thread = StoreThread::in_memory(store.clone(), &Retention::default());
        let (name, payload): (Arc<str>, Arc<str>) = ("7".into(), "{".into());
        let bad = Change::SetTimer { channel: KEY.into(), name, set_ms: 1, due_ms: 2, payload };
        thread.handle().commit_and_wait(Batch::of(bad)).unwrap();
        let (reminders, _thread) = reminders(&store);
        assert!(reminders.lock().waiting.is_empty());
    }
}
