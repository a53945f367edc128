//! How the daemon deals with memory.
//!
//! | file | job |
//! |---|---|
//! | `heap` | glibc's heap: one for all threads, given back when it is free |
//! | `stretches` | the allocator: guests' memories grow where they are |

mod heap;
mod stretches;

use std::time::Duration;

pub use heap::share_one_heap;
use stretches::Stretches;

/// How often memory is given back. Between two rounds it stays, because the next callback needs it again and pages of the
/// system cost more than those that are there.
pub const GIVE_BACK_EVERY: Duration = Duration::from_secs(30);

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: Stretches = Stretches::new();

/// Gives memory that is free back to the system: what the start needed, or the largest callback of late.
pub fn give_back() {
    ALLOCATOR.give_back();
    heap::give_back();
}
