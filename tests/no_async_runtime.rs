//! There is no async runtime anywhere in the tree, not even behind a feature or for the tests.

#[test]
fn the_lock_file_names_no_async_runtime() {
    let lock =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).expect("Cargo.lock");
    let runtimes = [
        "tokio",
        "async-std",
        "smol",
        "async-executor",
        "async-io",
        "async-global-executor",
        "futures-executor",
        "monoio",
        "glommio",
        "actix-rt",
        "embassy-executor",
        "compio",
        "pollster",
    ];
    for runtime in runtimes {
        assert!(!lock.contains(&format!("name = \"{runtime}\"\n")), "{runtime} is in Cargo.lock");
    }
}
