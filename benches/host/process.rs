//! What a process has used, as `/proc` tells it.

use std::fs;

/// Of all its threads since they began; threads that have ended count for the CPU only.
#[derive(Default)]
pub struct Usage {
    pub cpu_micros: f64,
    pub voluntary: f64,
    pub involuntary: f64,
}

impl Usage {
    pub fn of(process: u32) -> Self {
        let mut usage = Self { cpu_micros: cpu_micros(process), ..Self::default() };
        for task in fs::read_dir(format!("/proc/{process}/task")).expect("its threads").flatten() {
            // A thread may have ended meanwhile.
            if let Ok(status) = fs::read_to_string(task.path().join("status")) {
                usage.voluntary += number(&status, "voluntary_ctxt_switches:");
                usage.involuntary += number(&status, "nonvoluntary_ctxt_switches:");
            }
        }
        usage
    }
}

/// Resident memory in MiB.
pub fn resident(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process");
    number(&status, "VmRSS:") / 1024.0
}

fn number(status: &str, field: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// User and system time: fields 14 and 15 of `/proc/PID/stat` (proc(5)), in hundredths of a second.
fn cpu_micros(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = |field: usize| -> f64 {
        fields.split(' ').nth(field - 3).and_then(|ticks| ticks.parse().ok()).expect("a number")
    };
    (ticks(14) + ticks(15)) * 1e4
}
