//! Tests that need a process of their own: because they end it, limit it, count its threads or install its logger.

use std::process::Command;

/// The test program as a command, behind the words of `TINCLAW_TEST_EMULATOR` when the machine cannot run it itself.
fn test_program() -> Command {
    let program = std::env::current_exe().expect("the test program");
    let emulator = std::env::var("TINCLAW_TEST_EMULATOR").unwrap_or_default();
    let mut words = emulator.split_whitespace();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// The test `name` of the module `module` (its `module_path!()`), as a command. The child's standard output is that of
/// the test.
pub fn test_in_a_child(module: &str, name: &str) -> Command {
    let path = match module.split_once("::") {
        Some((_, inside)) => format!("{inside}::{name}"),
        None => name.to_owned(),
    };
    let mut command = test_program();
    // On one processor the test program would write the name of the test in front of the first line that the test writes.
    command.args(["--exact", &path, "--nocapture", "--test-threads=2"]);
    command
}

/// Runs the test that calls it once more, in a process of its own, and fails when that fails. Gives whether this is that
/// process: in the other one, the test has nothing left to do.
#[must_use]
pub fn is_alone(module: &str, name: &str) -> bool {
    const ALONE: &str = "TINCLAW_TEST_ALONE";
    if std::env::var(ALONE).is_ok_and(|test| test == name) {
        return true;
    }
    let ran = test_in_a_child(module, name).env(ALONE, name).output().expect("the test program runs");
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{output}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(output.contains("1 passed"), "no test is called {module}::{name}: {output}");
    false
}
