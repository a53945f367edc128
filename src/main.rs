//! The tinclaw daemon.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tinclaw::cli::main()
}
